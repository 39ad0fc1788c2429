"""Boxes: which input pixels a unit can see (its field), and which the signal can arrive at (its reach)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # an atlas is read without torch
    from pixelward.core.plan import Geometry, Plan


class Box(NamedTuple):
    """A rectangle of pixels; it may leave the picture, so `top` and `left` may be negative."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Span:
    """Along one axis, unit i covers the pixels i * stride + start and the `size - 1` that follow."""

    stride: int
    start: int
    size: int


@dataclass(frozen=True)
class Extent:
    """The pixels of any unit of a layer, by its position. An axis that is None covers the whole picture."""

    rows: Span | None
    columns: Span | None

    @property
    def is_global(self) -> bool:
        return self.rows is None or self.columns is None

    def box(self, position: tuple[int, ...], picture: tuple[int, int]) -> Box:
        """The box of the unit at `position` (y, x), for a picture of (height, width) pixels; not clipped."""
        edges = []
        for axis, span in enumerate((self.rows, self.columns)):
            edges.append((0, picture[axis]) if span is None else (position[axis] * span.stride + span.start, span.size))
        (top, height), (left, width) = edges
        return Box(top, left, height, width)


UNIT = Span(stride=1, start=0, size=1)
WHOLE = Extent(None, None)


def extents(plan: Plan, value: int) -> dict[int, Extent]:
    """For every value below `value`, the box that a unit of it depends on, by the unit's position.

    The boxes are in samples of each value's own map; that of value 0 is the field, in pixels. Branches are united.
    """
    found = {value: Extent(UNIT, UNIT) if plan.values[value].map is not None else WHOLE}
    for step in reversed(plan.below(value)):
        above = [found[output] for output in step.outputs if output in found]
        for index in step.inputs:
            if index is None:
                continue
            for extent in above:
                box = _through(extent, step.geometry)
                found[index] = box if index not in found else _united(found[index], box)
    return found


def _through(extent: Extent, geometry: Geometry | None) -> Extent:
    if geometry is None:
        return WHOLE
    spans = []
    for axis, span in enumerate((extent.rows, extent.columns)):
        spans.append(
            None
            if span is None
            else Span(
                stride=span.stride * geometry.stride[axis],
                start=span.start * geometry.stride[axis] - geometry.padding[axis],
                size=(span.size - 1) * geometry.stride[axis]
                + geometry.dilation[axis] * (geometry.kernel[axis] - 1)
                + 1,
            )
        )
    return Extent(*spans)


def _united(one: Extent, other: Extent) -> Extent:
    return Extent(_joined(one.rows, other.rows), _joined(one.columns, other.columns))


def _joined(one: Span | None, other: Span | None) -> Span | None:
    """Both spans in one; paths of different stride have none in common but the whole."""
    if one is None or other is None or one.stride != other.stride:
        return None
    start = min(one.start, other.start)
    return Span(one.stride, start, max(one.start + one.size, other.start + other.size) - start)
