"""Hits that go down side by side: all together where their signals are small, in smaller groups as these grow.

A signal grows on its way: one number at the unit, a map at the pixels. Many small ones make use of the processor, of
large ones few do, and take less memory. So hits cross a step together as long as they are few, or their
largest signal below it has a bound; what waits where they part, and what has arrived at the pixels, comes on top.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from pixelward.core.devices import is_near
from pixelward.core.fields import Extent
from pixelward.core.memory import at_once
from pixelward.core.path import Crossing, sent_to
from pixelward.core.plan import Plan
from pixelward.core.project import follow_part
from pixelward.errors import PixelwardError

TOGETHER = 800_000  # numbers in the largest signal of hits that cross a step together
FEWEST = 16  # hits that go on together, however large they are: with fewer a part of the processor waits

Boxes = Mapping[int, Extent]
Own = Callable[[Sequence[Crossing], slice], Plan]


@dataclass(frozen=True)
class Groups:
    """How hits of one layer go down in a plan.

    boxes: of the values in windows; None for whole pictures. own: the plan of a part of the path, for some of the hits.
    """

    plan: Plan
    boxes: Boxes | None
    own: Own

    def down(self, path: Sequence[Crossing], value: int, signal: Tensor) -> Tensor:
        """Send a signal at a value, (n, ...), down to the pixels: (n, C, h, w)."""
        sizes = [self._below(crossing) for crossing in path] if is_near(signal.device) else [0] * len(path)
        return self._down(path, sizes, {value: signal}, slice(0, len(signal)), signal)

    def _down(
        self, path: Sequence[Crossing], sizes: Sequence[int], signals: dict[int, Tensor], hits: slice, like: Tensor
    ) -> Tensor:
        """signals: by the value where they are. sizes: of each crossing, what one hit's largest signal below it has.
        like: of the signals' device.
        """
        number = hits.stop - hits.start
        grown = (at for at, size in enumerate(sizes) if number > FEWEST and number * size > TOGETHER)
        stop = next(grown, len(path))
        if stop:
            own = self.own(path[:stop], hits)
            follow_part(own, along(path[:stop], own), signals)
        if stop == len(path) and 0 in signals:
            return signals[0]
        pixels = like.new_zeros((number, *shape(self.plan, 0, self.boxes)), dtype=self.plan.values[0].dtype)
        if stop < len(path):
            most = max(FEWEST, at_once(TOGETHER, sizes[stop], number))  # fewer than `number`, which do not fit
            for first in range(0, number, most):
                some, there = _part(slice(0, number), first, most), _part(hits, first, most)
                parts = {at: signal[some] for at, signal in signals.items()}  # each is taken from there on its way
                down = self._down(path[stop:], sizes[stop:], parts, there, like)
                _refuse_lost(down, there)
                pixels[some] = down
        return pixels

    def _below(self, crossing: Crossing) -> int:
        """How many numbers one hit's largest signal has below a crossing."""
        return max((math.prod(shape(self.plan, number, self.boxes)) for number in sent_to(crossing)), default=0)


def _refuse_lost(down: Tensor, hits: slice) -> None:
    """One signal would be taken for those of all."""
    if len(down) != hits.stop - hits.start:
        raise PixelwardError(
            given=f"a rule that gave {len(down)} signals for {hits.stop - hits.start} hits",
            allowed="one for each of them, along the first axis",
            next_step="look for a rule that sums or averages along it",
        )


def _part(hits: slice, first: int, most: int) -> slice:
    start = hits.start + first
    return slice(start, min(start + most, hits.stop))


def shape(plan: Plan, number: int, boxes: Boxes | None) -> tuple[int, ...]:
    """Of what one hit becomes at a value, in its window or whole, without the axis of the hits."""
    met = plan.values[number]
    sizes = list(met.shape)
    if boxes is not None and number in boxes and met.axes is not None:
        sizes[met.axes[0]], sizes[met.axes[1]] = boxes[number].box((0, 0), (0, 0))[2:]
    return tuple(sizes[1:])


def along(path: Sequence[Crossing], plan: Plan) -> list[Crossing]:
    """The same path along the steps of a plan that was made for it."""
    return [replace(crossing, step=step) for crossing, step in zip(path, plan.steps, strict=True)]
