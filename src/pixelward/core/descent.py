"""The way down of a layer's hits, worked out once: in windows where their reach has a bound, else on whole pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pixelward.core.devices import moved
from pixelward.core.fields import Box, Extent
from pixelward.core.folding import Folding
from pixelward.core.groups import Groups, along, shape
from pixelward.core.path import Crossing, calls_nodes, in_front, path, reaches, sent_to
from pixelward.core.plan import Plan, Step
from pixelward.core.project import follow
from pixelward.core.regions import Regions
from pixelward.core.rules import DECONVNET, RuleSet
from pixelward.core.trace import Target
from pixelward.core.windows import cut, of_pictures


class Descent:
    """How hits of a traced layer go down by a table of rules, in its plan and in all that a recorder makes of that."""

    def __init__(self, plan: Plan, target: Target, rules: RuleSet = DECONVNET, folding: Folding | None = None) -> None:
        """folding: of the plan, shared by its layers; None to leave its steps as they are. Raises PixelwardError for a
        step without a rule, and for a layer whose units cannot be told."""
        if target.unclear is not None:
            raise target.unclear
        self._target, self.device = target, target.activations.device
        crossed = path(plan, target.value, rules)
        self._boxes = _windows(plan, target.value, crossed)
        self._windows: dict[int | None, Mapping[int, Extent] | None] = {}  # by region
        self._regions = None
        if self._boxes is not None:
            height, width = target.activations.shape[2:]
            self._regions = Regions((height, width), self._boxes[0], _size(plan))
        self._front = in_front(plan, target.value, crossed)
        # By the numbers of the steps, so that what these recorded of one batch is not kept; folded ones record nothing.
        numbers = {step: number for number, step in enumerate(plan.steps)}
        way = crossed if folding is None else folding.along(crossed)
        self._way = [(numbers.get(crossing.step, crossing.step), crossing.rule, crossing.sent) for crossing in way]

    def regions(self, positions: Tensor) -> Tensor:
        """Numbers, (n,) int64, of the parts of the map in which hits at positions, (n, 2) int64, lie: those that share
        one go down in the smallest windows."""
        if self._regions is None:
            return torch.zeros(len(positions), dtype=torch.int64)
        return self._regions.of(positions.cpu())

    def largest(self, plan: Plan, region: int | None) -> int:
        """How many numbers the largest tensor holds that one hit of a region, or of any, becomes on its way down."""
        below = {number for crossing in self._along(plan) for number in sent_to(crossing)}
        boxes = self._windows_of(plan, region)
        return max(math.prod(shape(plan, number, boxes)) for number in {self._target.value, *below})

    def project(
        self,
        plan: Plan,
        channels: Tensor,
        positions: Tensor,
        pictures: Tensor,
        seeds: Tensor | None = None,
        *,
        cut: bool = True,
    ) -> tuple[Tensor, list[Box]]:
        """Project n hits at once, each in the window that its signal can reach: cut, where they share a region.

        channels, pictures: (n,) int64; positions: (n, 2) int64. seeds: (n,) float; None for the activations. Returns
        the signals, (n, C, h, w), and their boxes in pixels, outside of which all is zero: those of whole pictures
        where the reach has no bound or is as large, and where the axis of the pictures is not the first. A plan that
        was traced of several pictures must call no nodes (`calls_nodes`); a recorder's knows itself which serve all.
        """
        activations = self._target.activations
        regions = set(self.regions(positions).tolist())
        boxes = self._windows_of(plan, regions.pop() if cut and len(regions) == 1 else None)
        where = positions.tolist() if boxes is not None else []
        channels, positions, pictures = (moved(t, self.device) for t in (channels, positions, pictures))
        place = (channels,) if activations.dim() == 2 else (channels, positions[:, 0], positions[:, 1])
        if seeds is None:
            seeds = activations[(pictures, *place)]
        seeds = moved(seeds, self.device, activations.dtype)
        crossed = self._along(plan)
        with torch.no_grad():
            if boxes is not None:
                down = self._in_windows(plan, crossed, boxes, channels, positions, pictures, seeds)
                return down, [boxes[0].box((y, x), _size(plan)) for y, x in where]
            return self._in_pictures(plan, crossed, place, pictures, seeds)

    def _along(self, plan: Plan) -> list[Crossing]:
        return [
            Crossing(step if isinstance(step, Step) else plan.steps[step], rule, sent) for step, rule, sent in self._way
        ]

    def _windows_of(self, plan: Plan, region: int | None) -> Mapping[int, Extent] | None:
        """The windows of the hits of a region, None for all together; None where these go down on whole pictures."""
        if self._boxes is None or self._regions is None:
            return None
        if region not in self._windows:
            boxes = self._boxes if region is None else self._regions.cut(region, self._boxes, plan)
            height, width = _size(plan)
            first = boxes[0].box((0, 0), (height, width))
            self._windows[region] = boxes if first.height * first.width < height * width else None
        return self._windows[region]

    def _in_windows(
        self,
        plan: Plan,
        crossed: Sequence[Crossing],
        boxes: Mapping[int, Extent],
        channels: Tensor,
        positions: Tensor,
        pictures: Tensor,
        seeds: Tensor,
    ) -> Tensor:
        signal = seeds.new_zeros(len(channels), self._target.activations.shape[1], 1, 1)
        signal[torch.arange(len(channels), device=seeds.device), channels, 0, 0] = seeds

        def own(way: Sequence[Crossing], hits: slice) -> Plan:
            return cut(plan, way, boxes, pictures[hits], positions[hits])

        return Groups(plan, boxes, own).down(crossed, self._target.value, self._target.laid_out(signal))

    def _in_pictures(
        self, plan: Plan, crossed: Sequence[Crossing], place: Sequence[Tensor], pictures: Tensor, seeds: Tensor
    ) -> tuple[Tensor, list[Box]]:
        activations, value = self._target.activations, self._target.value
        if len(activations) > 1 and calls_nodes(crossed):
            raise LookupError("a plan of several pictures cannot call their nodes for chosen ones")
        signal = seeds.new_zeros(len(seeds), *activations.shape[1:])
        signal[(torch.arange(len(seeds), device=seeds.device), *place)] = seeds
        signal = self._target.laid_out(signal)

        def own(way: Sequence[Crossing], hits: slice) -> Plan:
            return of_pictures(plan, way, pictures[hits])

        if self._front:
            down = Groups(plan, None, own).down(crossed, value, signal)
        else:  # hits cannot go down side by side
            rows = [slice(row, row + 1) for row in range(len(seeds))]
            ways = ((own(crossed, row), signal[row]) for row in rows)
            down = torch.cat([follow(one, along(crossed, one), value, some) for one, some in ways])
        return down, [Box(0, 0, *_size(plan))] * len(seeds)


def project_hits(
    plan: Plan,
    target: Target,
    channels: Tensor,
    positions: Tensor,
    pictures: Tensor,
    rules: RuleSet = DECONVNET,
    seeds: Tensor | None = None,
) -> tuple[Tensor, list[Box]]:
    """Project n hits of a traced layer once; see `Descent`."""
    return Descent(plan, target, rules).project(plan, channels, positions, pictures, seeds)


def _windows(plan: Plan, value: int, crossed: Sequence[Crossing]) -> Mapping[int, Extent] | None:
    """What signals from `value` can reach, by value, where that has bounds and one size; else None."""
    boxes = reaches(plan, value, crossed)
    if calls_nodes(crossed) or 0 not in boxes or not all(box.is_even for box in boxes.values()):
        return None
    return boxes if in_front(plan, value, crossed) else None


def _size(plan: Plan) -> tuple[int, int]:
    """(height, width) of the plan's pictures."""
    height, width = plan.values[0].shape[2:]
    return height, width
