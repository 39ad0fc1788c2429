"""The arithmetic floor of a gallery: multiply-adds of a dense way up and down, at the best rate of this machine.

Counted are convolutions only, which are nearly all. Way up: once a picture, as far as pools, gates or norms have to be
recorded of it. Way down: for every
hit the windows that its signal can reach, no larger than the maps; a unit's first step is a slice of the weights. Zeros
after unpooling and rectifying are counted as numbers, so a way that leaves them out can go below this floor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from bench.timing import best
from pixelward.core import rules
from pixelward.core.path import path, reaches
from pixelward.core.plan import Plan, Step

BATCHES = (1, 8, 32)
SHAPES = 6  # of each way, the most expensive: the best rate is among them
NUMBERS = 40_000_000  # of a tensor that is timed, at most


class Work(NamedTuple):
    """A convolution on maps of `size` (above it) with its weight; way: up or down. adds: multiply-adds."""

    step: Step
    size: tuple[int, int]
    adds: int
    down: bool


@dataclass(frozen=True)
class Floor:
    """Multiply-adds of one picture's way up, and of one hit's way down by layer; rate: the best, of them a second."""

    up: int
    down: Sequence[int]
    rate: float

    def seconds(self, pictures: float, hits: Sequence[int]) -> float:
        return (self.up * pictures + sum(map(lambda a, n: a * n, self.down, hits))) / self.rate


def up(plan: Plan, last: int | None = None) -> list[Work]:
    """The convolutions of one picture's way up to the plan's last step, or to the one of this number."""
    works = []
    for step in plan.steps if last is None else plan.steps[: last + 1]:
        if step.kind == rules.CONVOLUTION and step.weight is not None:
            height, width = step.made[2:]
            works.append(Work(step, (height, width), height * width * step.weight.numel(), down=False))
    return works


def down(plan: Plan, value: int, table: rules.RuleSet = rules.DECONVNET) -> list[Work]:
    """The convolutions of one hit's way down from a unit of `value`."""
    crossed = path(plan, value, table)
    boxes = reaches(plan, value, crossed)
    active = {value: 1}  # channels in which the signal is not zero everywhere
    works = []
    for crossing in crossed:
        step = crossing.step
        outputs = [number for number in step.outputs if number in active]
        if not outputs:
            continue
        channels = max(active[number] for number in outputs)
        if step.kind == rules.CONVOLUTION and step.weight is not None:
            size = _window(plan, boxes, outputs[0])
            share = step.weight.numel() * min(channels, len(step.weight)) // len(step.weight)
            works.append(Work(step, size, size[0] * size[1] * share, down=True))
            channels *= step.weight.shape[1]
        for number, sent in zip(step.inputs, crossing.sent, strict=True):
            if number is not None and sent is not None:
                most = plan.values[number].shape[1] if len(plan.values[number].shape) > 1 else 1
                active[number] = max(active.get(number, 0), min(channels, most))
    return works


def _window(plan: Plan, boxes: object, value: int) -> tuple[int, int]:
    height, width = plan.values[value].map or (1, 1)
    extent = boxes.get(value)  # type: ignore[attr-defined]
    if extent is None or extent.rows is None or extent.columns is None or not extent.is_even:
        return height, width
    return min(extent.rows.size, height), min(extent.columns.size, width)


def best_rate(works: Iterable[Work]) -> float:
    """The most multiply-adds a second that torch's convolutions reach for shapes among these, in several batches."""
    every = list(works)
    chosen: dict[tuple[object, ...], Work] = {}
    for way in (False, True):
        for work in sorted((each for each in every if each.down is way), key=lambda each: -each.adds):
            assert work.step.weight is not None
            chosen.setdefault((way, tuple(work.step.weight.shape), work.size), work)
            if sum(each.down is way for each in chosen.values()) == SHAPES:
                break
    return max((_rate(work, batch) for work in chosen.values() for batch in BATCHES), default=0.0)


def _rate(work: Work, batch: int) -> float:
    step = work.step
    weight, geometry = step.weight, step.geometry
    assert weight is not None
    assert geometry is not None
    above = torch.rand(batch, len(weight), *work.size)
    adds = batch * work.size[0] * work.size[1] * weight.numel()
    with torch.no_grad():
        if work.down:
            if above.numel() > NUMBERS:
                return 0.0

            def run() -> object:
                return F.conv_transpose2d(
                    above, weight, stride=geometry.stride, dilation=geometry.dilation, groups=step.groups
                )
        else:
            height, width = geometry.footprint(work.size)
            below = torch.rand(batch, weight.shape[1] * step.groups, height, width)
            if below.numel() > NUMBERS:
                return 0.0

            def run() -> object:
                return F.conv2d(below, weight, stride=geometry.stride, dilation=geometry.dilation, groups=step.groups)

        return adds / best(run, at_least=0.05, times=2)
