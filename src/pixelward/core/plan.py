"""What lies between a layer and the pixels, as immutable data: steps, and the values that they pass on.

A plan is read once from the graph that autograd wrote of a forward pass (`graph.py`); after that it can be
walked down by any set of rules, or cut to windows (`windows.py`), without the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

Pair = tuple[int, int]
Margins = tuple[int, int, int, int]  # top, bottom, left, right


@dataclass(frozen=True)
class Geometry:
    """How an output place of a step maps to places of its input, along rows and columns.

    Output i looks at the inputs i * stride - padding + dilation * (0 .. kernel - 1). Everything is in samples of the
    input map. `POINTWISE` looks at its own place only.
    """

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)  # top, left
    dilation: Pair = (1, 1)

    def footprint(self, size: Pair) -> Pair:
        """Rows and columns of input under `size` = (rows, columns) of neighbouring outputs."""
        return (
            (size[0] - 1) * self.stride[0] + self.dilation[0] * (self.kernel[0] - 1) + 1,
            (size[1] - 1) * self.stride[1] + self.dilation[1] * (self.kernel[1] - 1) + 1,
        )


POINTWISE = Geometry()


@dataclass(frozen=True)
class Value:
    """A tensor that carries the signal: its shape with the batch, (N, C, H, W) for maps, and its dtype."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def map(self) -> Pair | None:
        """(height, width), or None where the tensor holds no maps."""
        return (self.shape[2], self.shape[3]) if len(self.shape) == 4 else None


@dataclass(frozen=True, eq=False)
class Step:
    """One operation of the forward pass, with all that the way down needs of it.

    kind: row of the table of rules (`rules.py`).
    operation, where: what it is called and in which module it ran, for people.
    inputs: the value each argument is, None for a constant. outputs: the values it made, None where unused.
    geometry: None where an output place depends on places that no window bounds (linear layers, resizing, ...).
    margins: (top, bottom, left, right) samples to add to the footprint of the output to get the input map; negative
        ones cut. Zero in a window.
    widening: for windows only, per input, the margins from what arrives there to the window of the input value.
    weight, groups: of a convolution, as torch keeps them.
    switches: of a max-pool, (N, C, h, w) int: which place of its window held the maximum, in row-major order.
    middles: of a max-pool, (1, 1, h, w) int: the window's middle place, moved into the map at its border.
    factor: what a scale multiplies with, broadcasting over its input; of an addition, one number per input.
    node: autograd's own transpose; call it with the signals of the outputs. None in a window.
    function: the torch function or autograd Function class that made it, if known: a key for a user's own rule.
    refusal: why no rule may cross this step but autograd's own, or None.
    """

    kind: str
    operation: str
    where: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int | None, ...]
    input_shapes: tuple[tuple[int, ...] | None, ...]
    output_shapes: tuple[tuple[int, ...] | None, ...]
    geometry: Geometry | None = None
    margins: Margins = (0, 0, 0, 0)
    widening: tuple[Margins, ...] = ()
    weight: Tensor | None = None
    groups: int = 1
    switches: Tensor | None = None
    middles: Tensor | None = None
    factor: Tensor | None = None
    node: Callable[..., object] | None = None
    function: object = None
    refusal: str | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """Steps in the order of the way up. Value 0 is the picture.

    inside: for windows only, by value: (n, 1, h, w) bool, False where the window leaves the map.
    """

    values: tuple[Value, ...]
    steps: tuple[Step, ...]
    inside: Mapping[int, Tensor] = field(default_factory=dict)

    def without_nodes(self) -> Plan:
        """The same plan without autograd's nodes, so that the graph and its activations can be freed."""
        return replace(self, steps=tuple(replace(step, node=None) for step in self.steps))

    def below(self, value: int) -> tuple[Step, ...]:
        """The steps that a signal starting at `value` crosses, in the order of the way up."""
        wanted, crossed = {value}, []
        for step in reversed(self.steps):
            if any(output in wanted for output in step.outputs):
                crossed.append(step)
                wanted.update(index for index in step.inputs if index is not None)
        return tuple(reversed(crossed))
