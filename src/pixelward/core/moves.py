"""Views, permutations, slices and paddings: what moves samples about, and where the maps are afterwards.

Readers as in `readers.py`. Rows and columns are followed as long as they stay axes of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pixelward.core import arrangements, rules
from pixelward.core.plan import MAPS, POINTWISE, Axes, Geometry, Step
from pixelward.core.readers import (
    MIXES,
    Fields,
    Node,
    Reader,
    axis_of,
    mixes,
    pictures_together,
    pointwise,
    signed,
    whole_margins,
)


def view(node: Node, step: Step) -> Fields:
    """A view, squeeze or unsqueeze: maps stay maps where rows, columns and pictures stay axes of their own."""
    before, after = step.input_shapes[0] or (), step.made
    found: Fields = {"pictures": _pictures_in(step, before, after)}
    if not before or not after or before[0] != after[0]:
        return found
    found["undo"] = arrangements.Reshaped()
    if step.input_axes[0] is not None:
        rows = _place_of(step.input_axes[0][0], before, after, 0)
        columns = None if rows is None else _place_of(step.input_axes[0][1], before, after, 0)
        if rows is not None and columns == rows:
            columns = _place_of(step.input_axes[0][1], before, after, rows + 1)
        if rows is not None and columns is not None:
            found |= {"axes": (rows, columns), "sees": (POINTWISE,)}
    return found


def _place_of(axis: int, before: Sequence[int], after: Sequence[int], first: int) -> int | None:
    """Where an axis of the input stands in the output of a view, None where it was merged or split."""
    samples = math.prod(before[:axis])
    for place in range(first, len(after)):
        if after[place] == before[axis] and math.prod(after[:place]) == samples:
            return place
    return None


def _pictures_in(step: Step, before: Sequence[int], after: Sequence[int]) -> int | None:
    """The axis of a view's output in which the pictures are, alone or as the slowest of those merged into one."""
    axis = step.input_pictures[0]
    if axis is None or tuple(before[: axis + 1]) == tuple(after[: axis + 1]):
        return axis
    samples, own = math.prod(before[:axis]), before[axis]
    places = [at for at, size in enumerate(after) if math.prod(after[:at]) == samples and _holds(size, own)]
    return places[0] if len(places) == 1 else None


def _holds(size: int, pictures: int) -> bool:
    """Whether an axis can be that of the pictures, alone, merged with others, or parted from them."""
    if pictures == 1:  # what is merged with one picture tells nothing of it
        return size == 1
    return size % pictures == 0 or (size > 0 and pictures % size == 0)


def permutation(node: Node, step: Step) -> Fields:
    rank = len(step.made)
    order = list(range(rank))
    if hasattr(node, "_saved_dims"):
        order = [axis_of(axis, rank) for axis in node._saved_dims]
    elif hasattr(node, "_saved_dim0"):
        one, other = axis_of(node._saved_dim0, rank), axis_of(node._saved_dim1, rank)
        order[one], order[other] = order[other], order[one]
    else:
        order.reverse()
    pictures = step.input_pictures[0]
    found: Fields = {} if pictures is None else {"pictures": order.index(pictures)}
    if order[0] != 0:
        return found
    found["undo"] = arrangements.Permuted(tuple(order))
    if step.input_axes[0] is not None:
        rows, columns = step.input_axes[0]
        found |= {"axes": (order.index(rows), order.index(columns)), "sees": (POINTWISE,)}
    return found


def piece(node: Node, step: Step) -> Fields:
    """A slice: of channels and the like, or a cut of the map itself, in steps."""
    shape, axes = step.input_shapes[0] or (), step.input_axes[0]
    axis = axis_of(node._saved_dim, len(shape))
    start = signed(node._saved_start)
    start = min(max(start + shape[axis] if start < 0 else start, 0), shape[axis])
    if mixes(step, [axis]) and step.made[axis] != shape[axis]:
        return {"unfit": MIXES}
    found: Fields = {"pictures": step.input_pictures[0]}
    if axis == 0:
        return found
    if axes is None or axis not in axes:
        found["undo"] = arrangements.Sliced(axis, start, node._saved_step)
        return found if axes is None else {**found, "axes": axes, "sees": (POINTWISE,)}
    steps, starts = [1, 1], [0, 0]
    steps[axes.index(axis)], starts[axes.index(axis)] = node._saved_step, -start
    geometry = Geometry(stride=(steps[0], steps[1]), padding=(starts[0], starts[1]))
    margins = whole_margins(geometry, step, axes, axes)
    return {**found, "geometry": geometry, "axes": axes, "sees": (geometry,), "margins": margins}


def one_of(node: Node, step: Step) -> Fields:
    shape, axes = step.input_shapes[0] or (), step.input_axes[0]
    axis = axis_of(node._saved_dim, len(shape))
    found = _pictures_without(step, axis)
    if axis == 0:
        return found
    found["undo"] = arrangements.Selected(axis, axis_of(node._saved_index, shape[axis]))
    return {**found, **without(axes, [axis])}


def _pictures_without(step: Step, gone: int) -> Fields:
    """Where the pictures are when one axis goes; where it is their own, it held one picture, or the others are lost."""
    pictures, shape = step.input_pictures[0], step.input_shapes[0] or ()
    if pictures == gone:
        return {"unfit": MIXES} if shape[gone] > 1 else {"pictures": None}
    return {"pictures": None if pictures is None else pictures - (gone < pictures)}


def without(axes: Axes | None, gone: Sequence[int]) -> Fields:
    """Where the maps are after some axes went; nothing where they were the maps' own."""
    if axes is None or set(axes) & set(gone):
        return {}
    rows, columns = (axis - sum(other < axis for other in gone) for axis in axes)
    return {"axes": (rows, columns), "sees": (POINTWISE,)}


def parts(node: Node, step: Step) -> Fields:
    shape, axes = step.input_shapes[0] or (), step.input_axes[0]
    axis = axis_of(node._saved_dim, len(shape))
    sizes = tuple(metadata.shape[axis] for metadata in node._input_metadata)
    if axis == step.input_pictures[0] and len(sizes) > 1:
        return {"unfit": MIXES}
    found: Fields = {"pictures": step.input_pictures[0]}
    if axis == 0:
        return found
    found["undo"] = arrangements.Divided(axis, sizes)
    return found if axes is None or axis in axes else {**found, "axes": axes, "sees": (POINTWISE,)}


def unbound(node: Node, step: Step) -> Fields:
    axis = axis_of(node._saved_dim, len(step.input_shapes[0] or ()))
    if axis == step.input_pictures[0]:  # as in a loop over the pictures
        return {"pictures": None}
    found = _pictures_without(step, axis)
    return found if axis == 0 else {**found, "undo": arrangements.Unbound(axis), **without(step.input_axes[0], [axis])}


def stack(node: Node, step: Step) -> Fields:
    axis = axis_of(node._saved_dim, len(step.made))
    found = pictures_together(step)  # as if the new axis were the first
    if found.get("pictures") is not None:
        found["pictures"] -= found["pictures"] <= axis
    if axis == 0:
        return found
    found["undo"] = arrangements.Stacked(axis)
    axes = {own for own, shape in zip(step.input_axes, step.input_shapes, strict=True) if shape is not None}
    (own,) = axes if len(axes) == 1 else (None,)
    if own is None:
        return found
    moved = own[0] + (own[0] >= axis), own[1] + (own[1] >= axis)
    return {**found, "axes": moved, "sees": (POINTWISE,) * len(step.inputs)}


def concatenation(node: Node, step: Step) -> Fields:
    axis = axis_of(node._saved_dim, len(step.made))
    constants = [index for index, shape in enumerate(step.input_shapes) if shape is None]
    together = pictures_together(step)
    if together.get("pictures") == axis:  # other pictures join them, as in an ensemble over flipped ones
        together["pictures"] = None
    if axis == 0 or len(constants) > 1:
        return together
    sizes = [0 if shape is None else shape[axis] for shape in step.input_shapes]
    if constants:
        sizes[constants[0]] = step.made[axis] - sum(sizes)
    found: Fields = {**together, "undo": arrangements.Joined(axis, tuple(sizes))}
    axes = {own for own, shape in zip(step.input_axes, step.input_shapes, strict=True) if shape is not None}
    (own,) = axes if len(axes) == 1 else (None,)
    return found if own is None or axis in own else {**found, "axes": own, "sees": (POINTWISE,) * len(step.inputs)}


def expansion(node: Node, step: Step) -> Fields:
    found = pointwise(node, step)
    return {**found, "undo": arrangements.Expanded()} if len(step.made) == len(step.input_shapes[0] or ()) else found


def along_axes(node: Node, step: Step) -> Fields:
    """Rolls, flips, running sums, softmax: of a map they see the whole axis, of channels their own place."""
    rank, axes = len(step.made), step.input_axes[0]
    saved = getattr(node, "_saved_dims", None)
    over = {axis_of(axis, rank) for axis in (saved if saved is not None else (node._saved_dim,))}
    if not over or mixes(step, sorted(over)):
        return {"unfit": MIXES}
    if axes is None:
        return {}
    return {"axes": axes, "sees": (Geometry(whole=(axes[0] in over, axes[1] in over)),)}


def padding(node: Node, step: Step) -> Fields:
    pads = [signed(number) for number in node._saved_pad]
    rank, axes = len(step.made), step.input_axes[0]
    sides = {rank - 1 - index // 2: tuple(pads[index : index + 2]) for index in range(0, len(pads), 2)}
    padded = {axis for axis, pair in sides.items() if any(pair)}
    if mixes(step, sorted(padded)):
        return {"unfit": MIXES}
    if axes is None or not padded <= set(axes):
        if axes is None:
            return {"kind": rules.LINEAR}
        return {"kind": rules.LINEAR, "axes": axes, "sees": (POINTWISE,)} if not padded & set(axes) else {}
    (top, _), (left, _) = (sides.get(axis, (0, 0)) for axis in axes)
    geometry = Geometry(padding=(top, left))
    return {
        "geometry": geometry,
        "axes": axes,
        "sees": (geometry,),
        "margins": whole_margins(geometry, step, axes, axes),
    }


def mirrored(node: Node, step: Step) -> Fields:
    """Padding that repeats the border: outside, an output looks at most twice the padding away from its place."""
    pads = [signed(number) for number in node._saved_padding]
    if step.input_axes[0] != MAPS or len(pads) != 4:
        return {}
    left, right, top, bottom = (max(0, number) for number in pads)
    start, first = signed(node._saved_padding[2]), signed(node._saved_padding[0])
    geometry = Geometry(
        kernel=(2 * (top + bottom) + 1, 2 * (left + right) + 1), padding=(start + 2 * bottom, first + 2 * right)
    )
    return {"axes": MAPS, "sees": (geometry,)}


def unshuffled(node: Node, step: Step) -> Fields:
    factor = node._saved_downscale_factor
    found: Fields = {"undo": arrangements.Shuffled(factor)} if len(step.made) == 4 else {}
    if step.input_axes[0] != MAPS:
        return found
    return {**found, "axes": MAPS, "sees": (Geometry(kernel=(factor, factor), stride=(factor, factor)),)}


def blocks(order: tuple[int, ...]) -> Reader:
    """Blocks of pixels put into channels by hand; see `arrangements.Blocks` for the order."""

    def reader(node: Node, step: Step) -> Fields:
        before, after = step.input_shapes[0] or (), step.made
        if step.input_axes[0] != MAPS:
            return {}
        sides = before[2] // after[2], before[3] // after[3]
        undo = arrangements.Blocks(order, sides)
        return {"axes": MAPS, "sees": (Geometry(kernel=sides, stride=sides),), "undo": undo}

    return reader


def channels_shuffled(node: Node, step: Step) -> Fields:
    found: Fields = {"undo": arrangements.ChannelsShuffled(node._saved_groups)}
    return {**found, **(pointwise(node, step) if step.input_axes[0] == MAPS else {})}


def picked(node: Node, step: Step) -> Fields:
    """Samples of one axis by a constant list."""
    rank, axes = len(step.input_shapes[0] or ()), step.input_axes[0]
    if hasattr(node, "_saved_dim"):
        over = [axis_of(node._saved_dim, rank)]
    else:
        over = [axis for axis, index in enumerate(node._saved_indices) if index is not None]
        if any(node._saved_indices[axis].dim() != 1 for axis in over):
            return {}
    if mixes(step, over):
        return {"unfit": MIXES}
    if axes is None or len(over) != 1 or over[0] in axes:
        return {}
    return {"axes": axes, "sees": (POINTWISE,)}
