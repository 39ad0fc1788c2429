"""A plan cut to the windows that hits can reach: the same steps on small maps, one window a hit.

The way down of the deconvnet needs weights and switches only, so a hit costs no more than its cone: for a first
layer a handful of pixels instead of the whole picture. The windows of all hits of one layer have equal shapes and
go down as one batch, by the same rules as whole maps.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pixelward.core.fields import Extent, extents
from pixelward.core.plan import Margins, Plan, Step, Value
from pixelward.core.rules import LOCAL, RuleSet, rule_for

Starts = tuple[Tensor, Tensor]  # first row and first column of every hit's window, (n,) int64 each; may be negative


def needs_nodes(plan: Plan, value: int, rules: RuleSet) -> bool:
    """Whether autograd's nodes, which know whole maps of all pictures only, are called below `value`."""
    return any(step.geometry is None or rule_for(step, rules) not in LOCAL for step in plan.below(value))


def of_pictures(plan: Plan, value: int, pictures: Tensor) -> Plan:
    """The plan below `value` for n signals on whole maps, signal i in picture `pictures[i]` of the batch."""

    def chosen(tensor: Tensor | None) -> Tensor | None:
        return tensor if tensor is None or tensor.dim() != 4 or len(tensor) == 1 else tensor[pictures]

    steps = (
        replace(step, switches=chosen(step.switches), factor=chosen(step.factor), node=None)
        for step in plan.below(value)
    )
    return Plan(plan.values, tuple(steps))


def cut(plan: Plan, value: int, pictures: Tensor, positions: Tensor) -> Plan:
    """The plan below `value` for n hits: picture of the batch, (n,) int64, and position (y, x), (n, 2) int64.

    Signals of the result are (n, C, h, w). The window of value 0 is the field of the hit, outside the picture too.
    """
    boxes = extents(plan, value)
    starts = {number: _starts(extent, positions) for number, extent in boxes.items()}
    sizes = {number: (box.rows.size, box.columns.size) for number, box in boxes.items() if box.rows and box.columns}
    channels = [value.shape[1] if len(value.shape) > 1 else 0 for value in plan.values]
    values = tuple(
        Value((len(positions), channels[number], *sizes[number]), old.dtype) if number in sizes else old
        for number, old in enumerate(plan.values)
    )
    steps = tuple(_cut_step(step, boxes, starts, sizes, pictures) for step in plan.below(value))
    inside = {}
    for number, size in sizes.items():
        mask = _inside(starts[number], size, plan.values[number])
        if not mask.all():
            inside[number] = mask
    return Plan(values, steps, inside)


def _starts(extent: Extent, positions: Tensor) -> Starts:
    rows, columns = extent.rows, extent.columns
    if rows is None or columns is None:
        raise LookupError("a window of a value that has no bounds")
    return positions[:, 0] * rows.stride + rows.start, positions[:, 1] * columns.stride + columns.start


def _cut_step(
    step: Step,
    boxes: dict[int, Extent],
    starts: dict[int, Starts],
    sizes: dict[int, tuple[int, int]],
    pictures: Tensor,
) -> Step:
    output = next(number for number in step.outputs if number in boxes)

    def gathered(tensor: Tensor | None) -> Tensor | None:
        """The part of a tensor of the output map under each hit's window; per-channel constants stay."""
        if tensor is None or tensor.dim() != 4:
            return tensor
        if tensor.shape[2:].numel() == 1:
            return tensor if len(tensor) == 1 else tensor[pictures]
        rows, columns = (
            (start[:, None] + torch.arange(size, device=start.device)).clamp(0, limit - 1)
            for start, size, limit in zip(starts[output], sizes[output], tensor.shape[2:], strict=True)
        )
        chosen = pictures if len(tensor) > 1 else torch.zeros_like(pictures)
        return tensor[chosen[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    return replace(
        step,
        input_shapes=tuple(
            None if shape is None or number is None else (len(pictures), shape[1], *sizes[number])
            for number, shape in zip(step.inputs, step.input_shapes, strict=True)
        ),
        margins=(0, 0, 0, 0),
        widening=tuple((0, 0, 0, 0) if n is None else _widening(step, boxes[output], boxes[n]) for n in step.inputs),
        switches=gathered(step.switches),
        middles=gathered(step.middles),
        factor=gathered(step.factor),
        node=None,
    )


def _widening(step: Step, output: Extent, box: Extent) -> Margins:
    """From the footprint of the output's window to the input's window, which other branches may have made larger."""
    geometry = step.geometry
    margins: list[int] = []
    for axis, (above, below) in enumerate(((output.rows, box.rows), (output.columns, box.columns))):
        if geometry is None or above is None or below is None:
            raise LookupError(f"a window of {step.operation}, which has no bounds")
        start = above.start * geometry.stride[axis] - geometry.padding[axis]
        size = (above.size - 1) * geometry.stride[axis] + geometry.dilation[axis] * (geometry.kernel[axis] - 1) + 1
        margins += [start - below.start, below.start + below.size - start - size]
    top, bottom, left, right = margins
    return top, bottom, left, right


def _inside(starts: Starts, size: tuple[int, int], value: Value) -> Tensor:
    """(n, 1, h, w) bool: which samples of the windows lie on the map."""
    axes = []
    for start, length, limit in zip(starts, size, value.map or (0, 0), strict=True):
        places = start[:, None] + torch.arange(length, device=start.device)
        axes.append((places >= 0) & (places < limit))
    return (axes[0][:, :, None] & axes[1][:, None, :])[:, None]
