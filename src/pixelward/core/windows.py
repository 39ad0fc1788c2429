"""A plan cut to the windows that hits can reach: the same steps on small maps, one window a hit.

The way down of the deconvnet needs weights and switches only, so a hit costs no more than its cone: for a first
layer a handful of pixels instead of the whole picture. The windows of all hits of one layer have equal shapes and
go down as one batch, by the same rules as whole maps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pixelward.core.devices import is_near
from pixelward.core.fields import Extent
from pixelward.core.layout import rows
from pixelward.core.path import Crossing
from pixelward.core.plan import Axes, Geometry, Margins, Plan, Step, Value
from pixelward.core.rules import sends_inside

Starts = tuple[Tensor, Tensor]  # first row and first column of every hit's window, (n,) int64 each; may be negative


def of_pictures(plan: Plan, path: Sequence[Crossing], pictures: Tensor) -> Plan:
    """The plan along `path` for n signals on whole maps, signal i in picture `pictures[i]` of the batch.

    A plan of one picture serves all as it is. In another, what is recorded has the pictures in front.
    """

    def chosen(tensor: Tensor, axes: Axes | None) -> Tensor:
        return rows(tensor, pictures) if tensor.dim() and len(tensor) == plan.pictures else tensor

    steps = [crossing.step for crossing in path]
    if plan.pictures > 1:
        # Where pictures are not in front, a length of theirs is another axis's: what stands there is the same for all.
        steps = [replace(_recorded(step, chosen), node=step.node) if step.pictures == 0 else step for step in steps]
    return Plan(plan.values, tuple(steps))


def cut(plan: Plan, path: Sequence[Crossing], boxes: Mapping[int, Extent], pictures: Tensor, positions: Tensor) -> Plan:
    """The plan along `path` for n hits: picture of the batch, (n,) int64, and position (y, x), (n, 2) int64.

    boxes: the even extents of all values along the path, and of others. Signals of the result have the hits in front.
    The window of value 0 is the reach of the hit, outside the picture too.
    """
    met = {number for crossing in path for number in (*crossing.step.inputs, *crossing.step.outputs)}
    boxes = {number: extent for number, extent in boxes.items() if number in met}
    starts = {number: _starts(extent, positions) for number, extent in boxes.items()}
    shapes = {number: _window(plan.values[number], extent, len(positions)) for number, extent in boxes.items()}
    values = tuple(
        replace(value, shape=shapes[number]) if number in shapes else value for number, value in enumerate(plan.values)
    )
    steps = tuple(_cut_step(crossing, boxes, starts, shapes, pictures, plan.pictures) for crossing in path)
    inside = {}
    for number in _spread(plan, path):
        mask = _inside(starts[number], shapes[number], plan.values[number])
        if mask is not None:
            inside[number] = mask
    return Plan(values, steps, inside=inside)


def _spread(plan: Plan, path: Sequence[Crossing]) -> set[int]:
    """The values at which signals may arrive outside of their maps: below steps that spread them, or pad the map.

    What looks at its own place only, of a map of the same size, leaves nothing where nothing was; and no pool has its
    maximum outside of the map.
    """
    spread: set[int] = set()
    for crossing in path:
        if sends_inside(crossing.rule):
            continue
        above = {plan.values[number].map for number in crossing.step.outputs if number is not None}
        for number, sent in zip(crossing.step.inputs, crossing.sent, strict=True):
            if number is not None and sent is not None:
                same = sent.is_pointwise and above == {plan.values[number].map}
                spread.update(() if same else (number,))
    return spread


def _recorded(step: Step, taken: Callable[[Tensor, Axes | None], Tensor]) -> Step:
    """The step without its node, with what it recorded of the pictures taken in parts."""

    def of(tensor: Tensor | None, axes: Axes | None) -> Tensor | None:
        return None if tensor is None else taken(tensor, axes)

    winners, factors = step.winners, step.factors
    return replace(
        step,
        switches=of(step.switches, step.axes),
        middles=of(step.middles, step.axes),
        factors=None if factors is None else tuple(taken(factor, step.axes) for factor in factors),
        winners=None if winners is None else tuple(of(w, a) for w, a in zip(winners, _laid_out(step), strict=True)),
        node=None,
    )


def _laid_out(step: Step) -> Sequence[Axes | None]:
    """Where the maps are in the winners: those over axes lie as the input does, those of two tensors as the output."""
    return step.input_axes if step.undo is not None else (step.axes,) * len(step.inputs)


def _starts(extent: Extent, positions: Tensor) -> Starts:
    rows, columns = extent.rows, extent.columns
    if rows is None or columns is None:
        raise LookupError("a window of a value that has no bounds")
    return positions[:, 0] * rows.stride + rows.start, positions[:, 1] * columns.stride + columns.start


def _window(value: Value, extent: Extent, hits: int) -> tuple[int, ...]:
    if value.axes is None or extent.rows is None or extent.columns is None:
        raise LookupError("a window of a value that has no bounds")
    shape = [hits, *value.shape[1:]]
    shape[value.axes[0]], shape[value.axes[1]] = extent.rows.size, extent.columns.size
    return tuple(shape)


def _cut_step(
    crossing: Crossing,
    boxes: Mapping[int, Extent],
    starts: Mapping[int, Starts],
    shapes: Mapping[int, tuple[int, ...]],
    pictures: Tensor,
    pictures_in: int,
) -> Step:
    step = crossing.step
    output = next(number for number in step.outputs if number is not None and number in boxes)
    sizes = [shapes[output][axis] for axis in step.axes or ()]
    plan_axes = {number: axes for number, axes in zip(step.inputs, step.input_axes, strict=True) if axes is not None}

    def gathered(tensor: Tensor, axes: Axes | None) -> Tensor:
        """The part of a recorded tensor under each hit's window; what is the same everywhere stays."""
        if tensor.dim() == 0 or axes is None:
            return tensor
        apart = pictures_in > 1 and len(tensor) == pictures_in
        if tensor.shape[axes[0]] == tensor.shape[axes[1]] == 1:
            return tensor[pictures] if apart else tensor
        rows, columns = (
            (start[:, None] + torch.arange(size, device=start.device)).clamp(0, tensor.shape[axis] - 1)
            for start, size, axis in zip(starts[output], sizes, axes, strict=True)
        )
        chosen = pictures if apart else torch.zeros_like(pictures)
        in_front = tensor.movedim((0, *axes), (0, 1, 2))
        return in_front[chosen[:, None, None], rows[:, :, None], columns[:, None, :]].movedim((0, 1, 2), (0, *axes))

    def arriving(number: int | None, sent: Geometry | None) -> tuple[int, ...] | None:
        """The shape of what goes to an input: under the output's window, before other branches' windows widen it."""
        if number is None or sent is None:
            return None
        shape = list(shapes[number])
        for axis, size in zip(plan_axes[number], sent.footprint((sizes[0], sizes[1])), strict=True):
            shape[axis] = size
        return tuple(shape)

    return replace(
        _recorded(step, gathered),
        input_shapes=tuple(arriving(number, sent) for number, sent in zip(step.inputs, crossing.sent, strict=True)),
        output_shapes=tuple(shapes.get(number) if number is not None else None for number in step.outputs),
        margins=(0, 0, 0, 0),
        widening=tuple(
            (0, 0, 0, 0) if number is None or sent is None else _widening(sent, boxes[output], boxes[number])
            for number, sent in zip(step.inputs, crossing.sent, strict=True)
        ),
    )


def _widening(geometry: Geometry, output: Extent, box: Extent) -> Margins:
    """From the footprint of the output's window to the input's window, which other branches may have made larger."""
    margins: list[int] = []
    for axis, (above, below) in enumerate(((output.rows, box.rows), (output.columns, box.columns))):
        if above is None or below is None:
            raise LookupError("a window of a value that has no bounds")
        start = above.start * geometry.stride[axis] - geometry.padding[axis]
        size = (above.size - 1) * geometry.stride[axis] + geometry.dilation[axis] * (geometry.kernel[axis] - 1) + 1
        margins += [start - below.start, below.start + below.size - start - size]
    top, bottom, left, right = margins
    return top, bottom, left, right


def _inside(starts: Starts, shape: Sequence[int], value: Value) -> Tensor | None:
    """Which samples of the windows lie on the map, broadcasting over the window of `value`.

    None where all do, if that can be told without waiting for a GPU.
    """
    if value.axes is None or value.map is None:
        return None
    mask = torch.ones([len(starts[0])] + [1] * (len(shape) - 1), dtype=torch.bool, device=starts[0].device)
    for start, axis, limit in zip(starts, value.axes, value.map, strict=True):
        places = start[:, None] + torch.arange(shape[axis], device=start.device)
        view = [len(start)] + [1] * (len(shape) - 1)
        view[axis] = shape[axis]
        mask = mask & ((places >= 0) & (places < limit)).view(view)
    return None if is_near(mask.device) and bool(mask.all()) else mask
