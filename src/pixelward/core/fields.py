"""Boxes: which input pixels a unit can see (its field), and which the signal can arrive at (its reach)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # an atlas is read without torch
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pixelward.core.plan import Geometry, Plan, Step


class Box(NamedTuple):
    """A rectangle of pixels; it may leave the picture, so `top` and `left` may be negative."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Span:
    """Along one axis, unit i covers the pixels i * stride + start and the `size - 1` that follow.

    beside: what it covers on paths of other strides; the unit's box holds them all, so that its size depends on i.
    """

    stride: int
    start: int
    size: int
    beside: tuple[Span, ...] = ()

    def edges(self, unit: int) -> tuple[int, int]:
        """First pixel of unit i, and the first after its last."""
        first = unit * self.stride + self.start
        edges = [(first, first + self.size), *(span.edges(unit) for span in self.beside)]
        return min(low for low, _ in edges), max(high for _, high in edges)


@dataclass(frozen=True)
class Extent:
    """The pixels of any unit of a layer, by its position. An axis that is None covers the whole picture."""

    rows: Span | None
    columns: Span | None

    @property
    def is_global(self) -> bool:
        return self.rows is None or self.columns is None

    @property
    def is_even(self) -> bool:
        """Whether the boxes of all units have one size."""
        return not any(span is None or span.beside for span in (self.rows, self.columns))

    def box(self, position: tuple[int, ...], picture: tuple[int, int]) -> Box:
        """The box of the unit at `position` (y, x), for a picture of (height, width) pixels; not clipped."""
        edges = []
        for axis, span in enumerate((self.rows, self.columns)):
            edges.append((0, picture[axis]) if span is None else span.edges(position[axis]))
        (top, bottom), (left, right) = edges
        return Box(top, left, bottom - top, right - left)

    def to_json(self) -> dict[str, list[list[int]] | None]:
        """Per axis, [stride, start, size] of every path of another stride; None for the whole picture."""
        spans = {"rows": self.rows, "columns": self.columns}
        return {
            axis: None if span is None else [[each.stride, each.start, each.size] for each in (span, *span.beside)]
            for axis, span in spans.items()
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, list[list[int]] | None]) -> Extent:
        rows, columns = (_span(plain[axis]) for axis in ("rows", "columns"))
        return cls(rows, columns)


def _span(paths: list[list[int]] | None) -> Span | None:
    if paths is None:
        return None
    first, *beside = (Span(stride, start, size) for stride, start, size in paths)
    return Span(first.stride, first.start, first.size, tuple(beside))


UNIT = Span(stride=1, start=0, size=1)
WHOLE = Extent(None, None)


def field_of(plan: Plan, value: int) -> Extent:
    """The pixels that can change a unit of `value`."""
    steps, wanted = [], {value}
    for step in plan.below(value):
        if any(output in wanted for output in step.outputs):
            steps.append(step)
            wanted.update(number for number in step.inputs if number is not None)
    return extents(plan, value, steps, lambda step: step.sees).get(0, WHOLE)


def extents(
    plan: Plan, value: int, steps: Iterable[Step], sent: Callable[[Step], Sequence[Geometry | None]]
) -> dict[int, Extent]:
    """For every value below `value`, the box that belongs to a unit of it, by the unit's position.

    steps: those below, consumers first. sent(step): per input, the geometry along which boxes widen, None for an input
    that is left out. The boxes are in samples of each value's own map; that of value 0 is in pixels. Branches are
    united.
    """
    found = {value: Extent(UNIT, UNIT) if plan.values[value].axes is not None else WHOLE}
    for step in steps:
        used = [output for output in step.outputs if output in found]
        if not used:
            continue
        above = found[used[0]]
        for output in used[1:]:
            above = _united(above, found[output])
        found.update(dict.fromkeys(used, above))  # parts of one tensor go down together
        for index, geometry in zip(step.inputs, sent(step), strict=True):
            if index is not None and geometry is not None:
                box = _through(above, geometry)
                found[index] = box if index not in found else _united(found[index], box)
    return found


def _through(extent: Extent, geometry: Geometry) -> Extent:
    if geometry.is_pointwise:
        return extent
    rows, columns = (
        None if span is None or geometry.whole[axis] else _widened(span, geometry, axis)
        for axis, span in enumerate((extent.rows, extent.columns))
    )
    return Extent(rows, columns)


def _widened(span: Span, geometry: Geometry, axis: int) -> Span:
    stride = geometry.stride[axis]
    return Span(
        stride=span.stride * stride,
        start=span.start * stride - geometry.padding[axis],
        size=(span.size - 1) * stride + geometry.dilation[axis] * (geometry.kernel[axis] - 1) + 1,
        beside=tuple(_widened(other, geometry, axis) for other in span.beside),
    )


def _united(one: Extent, other: Extent) -> Extent:
    if one is other:
        return one
    return Extent(_joined(one.rows, other.rows), _joined(one.columns, other.columns))


def _joined(one: Span | None, other: Span | None) -> Span | None:
    """Both spans in one; paths of one stride become one span, those of another stand beside it."""
    if one is None or other is None:
        return None
    found: dict[int, tuple[int, int]] = {}
    for span in (one, *one.beside, other, *other.beside):
        low, high = found.get(span.stride, (span.start, span.start + span.size))
        found[span.stride] = min(low, span.start), max(high, span.start + span.size)
    first, *beside = (Span(stride, low, high - low) for stride, (low, high) in found.items())
    return Span(first.stride, first.start, first.size, tuple(beside))
