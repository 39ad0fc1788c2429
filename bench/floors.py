"""The arithmetic floors of a gallery and of a pass: multiply-adds of a dense way up and down, at rates measured here.

Counted are convolutions only, which are nearly all. Way up: once a picture, as far as pools, gates or norms have to be
recorded of it; of a pass, to its last layer. Way down: for every hit the windows that its signal can reach, as far as
they lie on the maps; a unit's first step is a slice of the weights. Zeros after unpooling and rectifying are counted as
numbers, so a way that leaves them out can go below this floor.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.timing import best
from pixelward.core import rules
from pixelward.core.fields import Extent
from pixelward.core.path import path, reaches
from pixelward.core.plan import Plan, Step
from pixelward.core.recorder import Recorder
from pixelward.core.transposed import transposed

NUMBERS = 40_000_000  # of a tensor that is timed, at most


class Work(NamedTuple):
    """A convolution on maps of `size` (above it) with its weight; way: up or down. adds: multiply-adds."""

    step: Step
    size: tuple[int, int]
    adds: int
    down: bool

    @property
    def shape(self) -> tuple[object, ...]:
        geometry = self.step.geometry
        return (
            self.down,
            self.step.weight is not None and tuple(self.step.weight.shape),
            self.size,
            geometry and geometry.stride,
        )


@dataclass(frozen=True)
class Floor:
    """The least seconds that one picture's way up and one hit's way down by layer take.

    up, down: multiply-adds. rate: the best, of them a second, of all shapes. own_up, own_down: seconds where every
    shape goes at the best rate of its own.
    """

    up: int
    down: Sequence[int]
    rate: float
    own_up: float
    own_down: Sequence[float]

    def seconds(self, pictures: float, hits: Sequence[int]) -> float:
        """All at the best rate."""
        return (self.up * pictures + sum(map(operator.mul, self.down, hits))) / self.rate

    def own_seconds(self, pictures: float, hits: Sequence[int]) -> float:
        """Every shape at its own rate."""
        return self.own_up * pictures + sum(map(operator.mul, self.own_down, hits))

    def __str__(self) -> str:
        return f"Best rate of torch's convolutions: {self.rate / 1e9:.1f} G multiply-adds/s."


def floor(
    up: Sequence[Work],
    down: Sequence[Sequence[Work]],
    hits: Sequence[int],
    pictures: int,
    shapes: int,
    batches: Sequence[int],
) -> Floor:
    """The floor of a gallery of some pictures, which times what it needs.

    hits: by layer, as `down` is. shapes: of each way, the most expensive, that have a rate of their own. batches: in
    which they are timed.
    """
    amounts: Counter[tuple[object, ...]] = Counter()
    for works, times in ((up, pictures), *zip(down, hits, strict=True)):
        for work in works:
            amounts[work.shape] += work.adds * times
    rates = rates_of([*up, *(work for works in down for work in works)], amounts, shapes, batches)
    best = max(rates.values(), default=1.0)

    def own(works: Sequence[Work]) -> float:
        return sum(work.adds / rates.get(work.shape, best) for work in works)

    sums = [sum(work.adds for work in works) for works in down]
    return Floor(sum(work.adds for work in up), sums, best, own(up), [own(works) for works in down])


def last_recorded(recorder: Recorder, picture: Tensor) -> int:
    """The number of the last step that a recorder makes anew of every batch, so far the network runs; -1 for none.

    picture: (1, C, H, W), whose plans share all other steps.
    """
    pairs = zip(recorder.plan(picture).steps, recorder.plan(picture).steps, strict=True)
    return max((number for number, (one, other) in enumerate(pairs) if one is not other), default=-1)


def up(plan: Plan, last: int | None = None) -> list[Work]:
    """The convolutions of one picture's way up to the plan's last step, or to the one of this number."""
    works = []
    for step in plan.steps if last is None else plan.steps[: last + 1]:
        if step.kind == rules.CONVOLUTION and step.weight is not None:
            height, width = step.made[2:]
            works.append(Work(step, (height, width), height * width * step.weight.numel(), down=False))
    return works


def down(
    plan: Plan, value: int, positions: Sequence[tuple[int, int]], table: rules.RuleSet = rules.DECONVNET
) -> list[Work]:
    """The convolutions of one hit's way down from a unit of `value`: of the mean of hits at some positions, (y, x)."""
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
            places = _on_the_map(plan, boxes, outputs[0], positions)
            works.append(Work(step, size, round(places * share), down=True))
            channels *= step.weight.shape[1]
        for number, sent in zip(step.inputs, crossing.sent, strict=True):
            if number is not None and sent is not None:
                most = plan.values[number].shape[1] if len(plan.values[number].shape) > 1 else 1
                active[number] = max(active.get(number, 0), min(channels, most))
    return works


def _on_the_map(plan: Plan, boxes: Mapping[int, Extent], value: int, positions: Sequence[tuple[int, int]]) -> float:
    """How many places of a value's map a hit's window holds, in the mean."""
    sizes, extent = plan.values[value].map or (1, 1), boxes.get(value)
    if extent is None or not extent.is_even or not positions:
        return sizes[0] * sizes[1]
    inside = 0
    for position in positions:
        top, left, height, width = extent.box(position, sizes)
        rows, columns = min(top + height, sizes[0]) - max(top, 0), min(left + width, sizes[1]) - max(left, 0)
        inside += max(0, rows) * max(0, columns)
    return inside / len(positions)


def _window(plan: Plan, boxes: Mapping[int, Extent], value: int) -> tuple[int, int]:
    height, width = plan.values[value].map or (1, 1)
    extent = boxes.get(value)
    if extent is None or extent.rows is None or extent.columns is None or not extent.is_even:
        return height, width
    return min(extent.rows.size, height), min(extent.columns.size, width)


def rates_of(
    works: Iterable[Work], amounts: Mapping[tuple[object, ...], int], shapes: int, batches: Sequence[int]
) -> dict[tuple[object, ...], float]:
    """The most multiply-adds a second that torch's convolutions reach, for the shapes that most of the time goes to."""
    chosen: dict[tuple[object, ...], Work] = {}
    for way in (False, True):
        own = {work.shape: work for work in works if work.down is way}
        ordered = sorted(own, key=lambda shape: -amounts[shape])
        chosen |= {shape: own[shape] for shape in ordered[:shapes]}
    rates = {shape: max(_rate(work, batch) for batch in batches) for shape, work in chosen.items()}
    return {shape: rate for shape, rate in rates.items() if rate}


def by_phases(weight: Tensor, stride: tuple[int, int]) -> Tensor:
    """The weight, (out, below, h, w), of a transpose as that of an ordinary convolution of stride 1, whose channels are
    those below at each phase of the stride: (stride * stride * below, out, h', w')."""
    down, right = stride
    height, width = weight.shape[2:]
    whole = F.pad(weight, (0, -width % right, 0, -height % down))
    phases = [whole[:, :, y::down, x::right].flip(2, 3).transpose(0, 1) for y in range(down) for x in range(right)]
    return torch.cat(phases)


def _rate(work: Work, batch: int) -> float:
    """Of one shape in a batch, the best of both layouts and of all forms: of a transpose the ordinary convolution by
    the phases of its stride, and what is used here, too."""
    step = work.step
    weight, geometry = step.weight, step.geometry
    assert weight is not None
    assert geometry is not None
    out, below = weight.shape[:2]
    size = work.size if work.down else geometry.footprint(work.size)
    given = torch.rand(batch, out if work.down else below * step.groups, *size)
    if given.numel() > NUMBERS:
        return 0.0
    options = {"stride": geometry.stride, "dilation": geometry.dilation, "groups": step.groups}
    ways: list[tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]] = []
    if not work.down:
        ways.append((weight, partial(F.conv2d, **options)))
    else:
        ways.append((weight, partial(F.conv_transpose2d, **options)))
        ways.append((weight, lambda signal, _: transposed(signal, step)))
        if geometry.stride == (1, 1) and step.groups == 1:
            margin = tuple(d * (k - 1) for d, k in zip(geometry.dilation, geometry.kernel, strict=True))
            ways.append(
                (weight.flip(2, 3).transpose(0, 1), partial(F.conv2d, padding=margin, dilation=geometry.dilation))
            )
        elif geometry.dilation == (1, 1) and step.groups == 1:
            phases = by_phases(weight, geometry.stride)
            ways.append((phases, partial(F.conv2d, padding=tuple(k - 1 for k in phases.shape[2:]))))
    adds = batch * work.size[0] * work.size[1] * weight.numel()
    with torch.no_grad():
        # Maps and weights lie alike, so that no call has to lay one of them anew.
        runs = [
            partial(way, *(tensor.contiguous(memory_format=layout) for tensor in (given, weight)))
            for weight, way in ways
            for layout in (torch.contiguous_format, torch.channels_last)
        ]
        return adds / min(best(run, at_least=0.02, times=2) for run in runs)
