"""Parts of a layer's map whose windows leave the picture alike: there they are cut, for nothing is outside.

A unit at a border reaches as far as one in the middle, but half of it lies where there is no picture. Along each axis a
map is split in three, so that its windows are smallest on the whole; hits of one region go down in windows of one size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations_with_replacement, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from pixelward.core.fields import Extent, Span
from pixelward.core.plan import Plan

FINE = 32  # places along an axis, at most, at which it may be split
WORTH = 0.95  # of the windows' rows or columns: where more than that is left, an axis is not split


class Run(NamedTuple):
    """Places of a map along one axis: from the first to the last, inclusive."""

    first: int
    last: int


class Regions:
    """The regions of a map, numbered row by row; all of it is one where its windows lie in the picture.

    size: (rows, columns) of the map. reach: the even extent of its units in a picture of `picture` = (height, width).
    """

    def __init__(self, size: tuple[int, int], reach: Extent, picture: tuple[int, int]) -> None:
        spans = (reach.rows, reach.columns)
        self._runs = tuple(_runs(span, *sizes) for span, *sizes in zip(spans, size, picture, strict=True))

    def of(self, positions: Tensor) -> Tensor:
        """The regions' numbers, (n,) int64, of hits at positions, (n, 2) int64."""
        rows, columns = (
            torch.bucketize(positions[:, axis].contiguous(), torch.tensor([run.first for run in runs[1:]]), right=True)
            for axis, runs in enumerate(self._runs)
        )
        return rows * len(self._runs[1]) + columns

    def cut(self, region: int, boxes: Mapping[int, Extent], plan: Plan) -> Mapping[int, Extent]:
        """The even extents of values, by their numbers, for the hits of a region alone: without what is outside."""
        row, column = divmod(region, len(self._runs[1]))
        rows, columns = self._runs[0][row], self._runs[1][column]
        found = dict(boxes)
        for number, extent in boxes.items():
            size = plan.values[number].map
            if size is not None and extent.rows is not None and extent.columns is not None:
                found[number] = Extent(_inside(extent.rows, rows, size[0]), _inside(extent.columns, columns, size[1]))
        return found


def _inside(span: Span, run: Run, size: int) -> Span:
    """What all units of a run can reach of a map of `size`; a sample at least, where that is nothing."""
    before = min(max(0, -span.edges(run.last)[0]), span.size - 1)
    after = min(max(0, span.edges(run.first)[1] - size), span.size - 1 - before)
    return replace(span, start=span.start + before, size=span.size - before - after)


def _runs(span: Span | None, size: int, picture: int) -> list[Run]:
    """One run, or up to three, that have the smallest windows on the whole."""
    whole = [Run(0, size - 1)]
    if span is None:
        return whole

    def left(runs: list[Run]) -> int:
        return sum((run.last - run.first + 1) * _inside(span, run, picture).size for run in runs)

    if left([Run(place, place) for place in range(size)]) > WORTH * left(whole):
        return whole
    coarse = sorted({*range(0, size, -(-size // FINE)), size})
    bounds = ((0, first, second, size) for first, second in combinations_with_replacement(coarse, 2))
    splits = ([Run(a, b - 1) for a, b in pairwise(cuts) if a < b] for cuts in bounds)
    return min(splits, key=left)
