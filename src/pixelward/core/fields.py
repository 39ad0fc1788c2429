"""Boxes: which input pixels a unit can see (its field), and which the signal can arrive at (its reach)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


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
