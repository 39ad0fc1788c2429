"""Pools, sums and maxima: which place held the maximum, which is a window's middle, what shares averages give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from pixelward.core import arrangements, rules
from pixelward.core.devices import moved
from pixelward.core.layout import laid_out, looked_up
from pixelward.core.moves import without
from pixelward.core.plan import MAPS, Axes, Geometry, Step
from pixelward.core.readers import MIXES, Fields, Node, axis_of, mixes, signed, windowed


def max_pool(node: Node, step: Step) -> Fields:
    """Max-pools over rows and columns, with padding, dilation and ceil mode; over one or three axes as flat places."""
    kernel = [signed(number) for number in node._saved_kernel_size]
    stride = [signed(number) for number in node._saved_stride] or kernel
    padding, dilation = node._saved_padding, node._saved_dilation
    indices = node._saved_result1
    if len(kernel) == 2:
        geometry = Geometry(tuple(kernel), tuple(stride), tuple(padding), tuple(dilation))  # type: ignore[arg-type]
        found = windowed(step, geometry)
        if found:
            return {**found, **_switches(indices, geometry, step)}
    if len(step.input_shapes[0] or ()) != 2 + len(kernel):
        return {}
    sizes, made = (step.input_shapes[0] or ())[2:], step.made[2:]
    axes = tuple(zip(sizes, made, kernel, stride, padding, dilation, strict=True))
    return {"switches": indices, "middles": _flat_middles(axes, indices.device)}


def adaptive_max_pool(node: Node, step: Step) -> Fields:
    """Where the output divides the map it is a plain pool; elsewhere windows differ in size and overlap."""
    indices = node._saved_result1
    axes = 3 if "3D" in node.name() else 2  # also of a tensor without an axis for pictures
    shape = step.input_shapes[0] or ()
    sizes, made = shape[-axes:], step.made[-axes:]
    geometry = _dividing(sizes, made)
    if geometry is not None:
        found = windowed(step, geometry)
        if found:
            return {**found, **_switches(indices, geometry, step)}
    if len(shape) != 2 + axes:
        return {}
    return {"switches": indices, "middles": _adaptive_middles(tuple(sizes), tuple(made), indices.device)}


def _dividing(sizes: Sequence[int], made: Sequence[int]) -> Geometry | None:
    if len(sizes) != 2 or any(size % out for size, out in zip(sizes, made, strict=True)):
        return None
    window = sizes[0] // made[0], sizes[1] // made[1]
    return Geometry(kernel=window, stride=window)


# What pools keep beside their switches is the same for every picture: made once for maps of a size.


@lru_cache(maxsize=64)
def _flat_middles(axes: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """The middles of windows as flat places in the map; of each axis what `_middles` wants."""
    places = [
        torch.arange(out) * stride - padding + dilation * _middles(size, out, kernel, stride, padding, dilation)
        for size, out, kernel, stride, padding, dilation in axes
    ]
    return _flat(places, [size for size, *_ in axes], device)


@lru_cache(maxsize=64)
def _adaptive_middles(sizes: Sequence[int], made: Sequence[int], device: torch.device) -> Tensor:
    places = []
    for size, out in zip(sizes, made, strict=True):
        windows = [(number * size // out, -(-(number + 1) * size // out)) for number in range(out)]
        places.append(torch.tensor([first + (stop - first - 1) // 2 for first, stop in windows]))
    return _flat(places, sizes, device)


def _flat(places: Sequence[Tensor], sizes: Sequence[int], device: torch.device) -> Tensor:
    flat = torch.zeros([1] * len(places), dtype=torch.int64)
    for axis, place in enumerate(places):
        shape = [1] * len(places)
        shape[axis] = len(place)
        flat = flat * sizes[axis] + place.view(shape)
    return moved(flat[None, None], device)


def _switches(indices: Tensor, geometry: Geometry, step: Step) -> Fields:
    """Flat places in the input map -> places in each window, counted row by row; and the windows' middles."""
    sizes, made = (step.input_shapes[0] or ())[2:], step.made[2:]
    counts, starts, middles = _counts(geometry, tuple(sizes), tuple(made), indices.device)
    places = looked_up(counts, indices)
    places -= starts
    if geometry.dilation[0] * geometry.dilation[1] > 1:
        places //= geometry.dilation[0] * geometry.dilation[1]
    return {"switches": laid_out(_small(places, geometry)), "middles": middles}


@lru_cache(maxsize=64)
def _counts(
    geometry: Geometry, sizes: Sequence[int], made: Sequence[int], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """What each place of a map counts, (h * w,); what each window begins with, and its middle, (1, 1, h, w)."""
    # Place r, c of a map counts r * high + c * wide, whatever its window begins with: the difference is the place.
    wide, high = geometry.dilation[0], geometry.kernel[1] * geometry.dilation[1]
    counted = torch.int16 if sizes[0] * high + sizes[1] * wide < 1 << 13 else torch.int32
    counts = _counted(torch.arange(sizes[0]), torch.arange(sizes[1]), high, wide)
    rows, columns = (
        torch.arange(out) * stride - padding
        for out, stride, padding in zip(made, geometry.stride, geometry.padding, strict=True)
    )
    starts = _counted(rows, columns, high, wide)[None, None]
    middle = [
        _middles(size, out, *of_axis)
        for size, out, *of_axis in zip(
            sizes, made, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation, strict=True
        )
    ]
    middles = _small((middle[0][:, None] * geometry.kernel[1] + middle[1])[None, None], geometry)
    return moved(counts.flatten(), device, counted), moved(starts, device, counted), moved(middles, device)


def _counted(rows: Tensor, columns: Tensor, high: int, wide: int) -> Tensor:
    return rows[:, None] * high + columns * wide


def _small(places: Tensor, geometry: Geometry) -> Tensor:
    """Places of windows in the smallest type that holds them: plans of large batches are mostly switches."""
    return places.to(torch.int16 if geometry.kernel[0] * geometry.kernel[1] < 1 << 15 else torch.int32)


def _middles(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """The middle place of each window; where that lies outside the map, the nearest place of the window inside."""
    starts = torch.arange(out) * stride - padding
    last = torch.div(size - 1 - starts, dilation, rounding_mode="floor")
    first = torch.div(-starts + dilation - 1, dilation, rounding_mode="floor")
    return torch.full_like(starts, (kernel - 1) // 2).minimum(last).maximum(first)


def average_pool(node: Node, step: Step) -> Fields:
    stride = node._saved_stride or node._saved_kernel_size
    geometry = Geometry(tuple(node._saved_kernel_size), tuple(stride), tuple(node._saved_padding))
    found = windowed(step, geometry)
    if not found:
        return {}
    sizes, made = (step.input_shapes[0] or ())[2:], step.made[2:]
    device, dtype = node._input_metadata[0].device, node._input_metadata[0].dtype
    if node._saved_divisor_override is not None:
        divisor = torch.full((1, 1, *made), float(node._saved_divisor_override), device=device, dtype=dtype)
    else:
        counted = _sizes(geometry, tuple(sizes), tuple(made), bool(node._saved_count_include_pad), device)
        divisor = counted.to(dtype)
    return {**found, "factors": (1 / divisor,)}


@lru_cache(maxsize=64)
def _sizes(geometry: Geometry, sizes: Sequence[int], made: Sequence[int], padded: bool, device: torch.device) -> Tensor:
    """How many places each window counts, (1, 1, h, w). padded: whether those outside of the map count too."""
    counts = []
    for axis in (0, 1):
        starts = torch.arange(made[axis]) * geometry.stride[axis] - geometry.padding[axis]
        stops = (starts + geometry.kernel[axis]).clamp(max=sizes[axis] + geometry.padding[axis])
        if not padded:
            starts, stops = starts.clamp(min=0), stops.clamp(max=sizes[axis])
        counts.append(stops - starts)
    return moved((counts[0][:, None] * counts[1])[None, None], device)


def adaptive_average_pool(node: Node, step: Step) -> Fields:
    if len(step.made) != 4:
        return {}
    geometry = _dividing((step.input_shapes[0] or ())[2:], step.made[2:])
    found = {} if geometry is None else windowed(step, geometry)
    if geometry is None or not found:
        return {}
    metadata = node._input_metadata[0]
    share = torch.full((), 1 / math.prod(geometry.kernel), device=metadata.device, dtype=metadata.dtype)
    return {**found, "factors": (share,)}


def largest_over(node: Node, step: Step) -> Fields:
    """`amax` and `max` over axes, so maxout too: of equal maxima the first in row-major order."""
    shape, axes = step.input_shapes[0] or (), step.input_axes[0]
    saved = getattr(node, "_saved_dim", ())  # none: over all axes
    over = sorted({axis_of(axis, len(shape)) for axis in (saved if isinstance(saved, tuple) else (saved,))})
    over = over or list(range(len(shape)))
    if mixes(step, over):
        return {"unfit": MIXES}
    keep = bool(node._saved_keepdim)
    if hasattr(node, "_saved_indices"):
        index = node._saved_indices if keep else node._saved_indices.unsqueeze(over[0])
        winners = torch.zeros(shape, dtype=torch.bool, device=index.device).scatter_(over[0], index, True)
    else:
        winners = _first_largest(node._saved_self.detach(), over)
    return {
        "winners": (winners,),
        "undo": arrangements.Summed(tuple(over), keep, 1.0),
        **reduced(axes, over, keep),
        **_pictures_after(step, over, keep),
    }


def _first_largest(tensor: Tensor, over: Sequence[int]) -> Tensor:
    """Bool, shaped like `tensor`: True at the first of the largest along some axes together."""
    others = [axis for axis in range(tensor.dim()) if axis not in over]
    order = [*others, *over]
    flat = tensor.permute(order).flatten(len(others))
    first = flat.argmax(-1, keepdim=True)
    winners = torch.zeros_like(flat, dtype=torch.bool).scatter_(-1, first, True)
    inverse = sorted(range(tensor.dim()), key=order.__getitem__)
    return winners.view([tensor.shape[axis] for axis in order]).permute(inverse)


def sum_over(node: Node, step: Step) -> Fields:
    """Means and sums over chosen axes; over the pictures of a batch they are refused."""
    shape, axes = step.input_shapes[0] or (), step.input_axes[0]
    saved = getattr(node, "_saved_dim", None)
    over = sorted({axis_of(axis, len(shape)) for axis in saved} if saved else range(len(shape)))
    if mixes(step, over):
        return {"unfit": MIXES}
    keep = bool(getattr(node, "_saved_keepdim", False))
    count = math.prod(shape[axis] for axis in over)
    found: Fields = {"undo": arrangements.Summed(tuple(over), keep, 1 / count if step.kind != rules.LINEAR else 1.0)}
    return {**found, **reduced(axes, over, keep), **_pictures_after(step, over, keep)}


def reduction(node: Node, step: Step) -> Fields:
    """A variance, a norm: what it sees; as a statistic it is kept fixed, and on the signal's way it has no rule."""
    shape = step.input_shapes[0] or ()
    saved = getattr(node, "_saved_dim", None)
    saved = saved if saved is None or isinstance(saved, tuple | list) else (saved,)
    over = sorted({axis_of(axis, len(shape)) for axis in saved} if saved else range(len(shape)))
    if mixes(step, over):
        return {"unfit": MIXES}
    keep = bool(getattr(node, "_saved_keepdim", False))
    return {**reduced(step.input_axes[0], over, keep), **_pictures_after(step, over, keep)}


def _pictures_after(step: Step, over: Sequence[int], keep: bool) -> Fields:
    pictures = step.input_pictures[0]
    if pictures is None or keep:
        return {"pictures": pictures}
    return {"pictures": pictures - sum(axis < pictures for axis in over)}


def reduced(axes: Axes | None, over: Sequence[int], keep: bool) -> Fields:
    """What a reduction over some axes sees, and where the maps are afterwards."""
    if axes is None:
        return {}
    if not keep:
        return without(axes, over)
    return {"axes": axes, "sees": (Geometry(whole=(axes[0] in over, axes[1] in over)),)}


def lp_pool(inner: Node, step: Step) -> Fields:
    """Of the average pool inside: an Lp pool looks at the same windows."""
    if not hasattr(inner, "_saved_kernel_size"):  # a mean over axes
        return {}
    kernel = tuple(inner._saved_kernel_size)
    stride = tuple(inner._saved_stride or inner._saved_kernel_size)
    if len(kernel) != 2 or step.input_axes[0] != MAPS or len(step.made) != 4:
        return {}
    return {"axes": MAPS, "sees": (Geometry(kernel, stride, tuple(inner._saved_padding)),)}
