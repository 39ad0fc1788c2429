"""What lies between a layer and the pixels, as immutable data: steps, and the values that they pass on.

A plan is read once from the graph that autograd wrote of a forward pass (`graph.py`); after that it can be
walked down by any set of rules, or cut to windows (`windows.py`), without the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

Pair = tuple[int, int]
Axes = tuple[int, int]  # which axes of a tensor are the rows and the columns of its maps
Margins = tuple[int, int, int, int]  # top, bottom, left, right
Undo = Callable[[Sequence[Tensor | None], Sequence[tuple[int, ...] | None]], Sequence[Tensor | None]]

MAPS: Axes = (2, 3)  # of (N, C, H, W)


@dataclass(frozen=True)
class Geometry:
    """How an output place of a step maps to places of its input, along rows and columns.

    Output i looks at the inputs i * stride - padding + dilation * (0 .. kernel - 1). Everything is in samples of the
    input map. A stride of 0: all outputs look at one input (broadcasting). whole: along these axes every output looks
    at the whole input. `POINTWISE` looks at its own place only.
    """

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)  # top, left
    dilation: Pair = (1, 1)
    whole: tuple[bool, bool] = (False, False)

    @cached_property
    def is_pointwise(self) -> bool:
        return self == POINTWISE

    def footprint(self, size: Pair) -> Pair:
        """Rows and columns of input under `size` = (rows, columns) of neighbouring outputs."""
        return (
            (size[0] - 1) * self.stride[0] + self.dilation[0] * (self.kernel[0] - 1) + 1,
            (size[1] - 1) * self.stride[1] + self.dilation[1] * (self.kernel[1] - 1) + 1,
        )


POINTWISE = Geometry()
WHOLE = Geometry(whole=(True, True))


@dataclass(frozen=True)
class Value:
    """A tensor that carries the signal: its shape with the batch, its dtype, and where its maps are.

    axes: of rows and columns, (2, 3) in (N, C, H, W) and (1, 2) in (N, H, W, C); None where it holds no maps.
    followed: whether they were followed from the picture's, or are taken to be where four axes mostly have them.
    pictures: the axis that counts the pictures of the batch, None where it was lost.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    axes: Axes | None = None
    followed: bool = True
    pictures: int | None = 0

    @property
    def map(self) -> Pair | None:
        """(height, width), or None where the tensor holds no maps."""
        return None if self.axes is None else (self.shape[self.axes[0]], self.shape[self.axes[1]])


@dataclass(frozen=True, eq=False)
class Step:
    """One operation of the forward pass, with all that the way down needs of it.

    kind: row of the table of rules (`rules.py`).
    operation, where: what it is called and in which module it ran, for people.
    inputs: the value each argument is, None for a constant. outputs: the values it made, None where unused.
    sees: per input, what an output place depends on. reaches: per input, where a rule that keeps gates and statistics
    fixed sends the signal; None for an input that is kept fixed.
    geometry: of a convolution, pool or padding, or None where no window bounds it.
    axes, followed: of rows and columns in the outputs; input_axes: in each input. pictures, input_pictures: likewise,
    the axis of the pictures.
    kept: per input, whether it is a gate or a statistic, which the deconvnet keeps fixed.
    margins: (top, bottom, left, right) samples to add to the footprint of the output to get the input map; negative
    ones cut. Zero in a window.
    widening: for windows only, per input, the margins from what arrives there to the window of the input value.
    weight, groups: of a convolution, as torch keeps them; where it was folded (`folding.py`) the weight is scaled.
    forms: other forms of the weight (`kept_form`).
    switches: of a max-pool with a geometry, (N, C, h, w) int: which place of its window held the maximum, in row-major
    order; of another, flat places in the input map. middles: likewise, the window's middle place.
    winners: of a maximum, per input, bool and shaped like it: True where it held the maximum.
    factors: what a scale, gate or statistic multiplies with, each broadcasting over the output.
    coefficients: of an addition, one number per input.
    undo: of a step that is linear in the signal, its exact transpose on maps and windows alike: from the signals of
    the outputs and the shapes of the inputs to the signals of the inputs.
    node: autograd's own transpose; call it with the signals of the outputs. None in a window.
    function: the torch function or autograd Function class that made it, if known: a key for a user's own rule.
    gates: whether it is a hard sigmoid if it ends in a gate, whatever its kind.
    reason: of a kind without a rule, why it has none.
    refusal: why no rule may cross this step but autograd's own, or None.
    unfit: why nothing above this step may be projected, crossed or not (it is random, or mixes pictures), or None.
    """

    kind: str
    operation: str
    where: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int | None, ...]
    input_shapes: tuple[tuple[int, ...] | None, ...]
    output_shapes: tuple[tuple[int, ...] | None, ...]
    input_axes: tuple[Axes | None, ...] = ()
    kept: tuple[bool, ...] = ()
    axes: Axes | None = None
    followed: bool = True
    input_pictures: tuple[int | None, ...] = ()
    pictures: int | None = None
    sees: tuple[Geometry, ...] = ()
    reaches: tuple[Geometry | None, ...] = ()
    geometry: Geometry | None = None
    margins: Margins = (0, 0, 0, 0)
    widening: tuple[Margins, ...] = ()
    weight: Tensor | None = None
    groups: int = 1
    switches: Tensor | None = None
    middles: Tensor | None = None
    winners: tuple[Tensor | None, ...] | None = None
    factors: tuple[Tensor, ...] | None = None
    coefficients: tuple[float, ...] | None = None
    undo: Undo | None = None
    node: Callable[..., object] | None = None
    function: object = None
    gates: bool = False
    reason: str | None = None
    refusal: str | None = None
    unfit: str | None = None
    forms: dict[str, Tensor] = field(default_factory=dict)

    def kept_form(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Another form of the weight, made once for this step and all that are cut from it."""
        if name not in self.forms:
            self.forms[name] = make()
        return self.forms[name]

    @property
    def made(self) -> tuple[int, ...]:
        """The shape of the (first used) output."""
        return next(shape for shape in self.output_shapes if shape is not None)


@dataclass(frozen=True, eq=False)
class Plan:
    """Steps in the order of the way up. Value 0 is the picture.

    pictures: of how many its steps recorded something; shapes may be those of one.
    inside: for windows only, by value: bool, broadcasting over its signals, False where the window leaves the map.
    """

    values: tuple[Value, ...]
    steps: tuple[Step, ...]
    pictures: int = 1
    inside: Mapping[int, Tensor] = field(default_factory=dict)

    def below(self, value: int) -> Iterator[Step]:
        """The steps from the one that made a value down to the picture, those beside its way included."""
        made = next((at for at, step in enumerate(self.steps) if value in step.outputs), -1)
        return reversed(self.steps[: made + 1])

    def without_nodes(self) -> Plan:
        """The same plan without autograd's nodes, so that the graph and its activations can be freed."""
        return replace(self, steps=tuple(replace(step, node=None) for step in self.steps))
