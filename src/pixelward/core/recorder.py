"""One plan for many pictures: what differs between them is recorded, and the network runs no further than that takes.

The way down needs a network's weights, which are the same for every picture, and what pools, maxima, gates and
statistics recorded of this one. Above the last of these nothing has to run again, if the activations are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from pixelward.core import rules
from pixelward.core.addresses import Address
from pixelward.core.devices import Readings, is_near
from pixelward.core.edges import Edge
from pixelward.core.graph import read
from pixelward.core.layout import is_close, laid_out
from pixelward.core.memory import in_a_block
from pixelward.core.passage import Done
from pixelward.core.path import Crossing, path
from pixelward.core.plan import Plan, Step
from pixelward.core.rules import RuleSet, needs_node, rule_for
from pixelward.core.trace import Pass, trace
from pixelward.errors import PixelwardError

# Kinds of steps that treat a signal alike for every picture.
_LINEAR = frozenset(
    {
        *(rules.CONVOLUTION, rules.PADDING, rules.AVERAGE_POOL, rules.LINEAR, rules.CONCATENATION),
        *(rules.ADDITION, rules.IDENTITY, rules.BATCH_NORM),
    }
)
# Kinds whose factors are a network's own numbers, the same for every picture.
_CONSTANT = frozenset({rules.BATCH_NORM, rules.SCALE, rules.AVERAGE_POOL, rules.RECTIFIER, rules.ACTIVATION})

UP_AT_ONCE = 16  # pictures, at most, on a processor, as in a scan: all that autograd keeps of them lives at once
TIES = 1e-2  # the share of places that two ways of one pass may choose in another way, being equal within rounding


class Recorder:
    """The plan of some layers, read off one picture, and of other pictures of its size what has to be recorded.

    addresses: of the layers. table: the rules that will be walked by. picture: (1, C, H, W) float.
    """

    def __init__(self, net: nn.Module, addresses: Sequence[str], table: RuleSet, picture: Tensor) -> None:
        self._net, self._table, self._readings = net, table, Readings(net)
        with self._readings.used():
            traced = trace(net, picture, addresses, table)
        self.targets = traced.targets
        ways = [path(traced.plan, target.value, table) for target in self.targets.values()]
        called = [crossing for way in ways for crossing in way if needs_node(crossing.step, crossing.rule)]
        self._plan = traced.plan if called else traced.plan.without_nodes()
        crossed = {crossing.step for way in ways for crossing in way}
        recorded = [(at, step) for at, step in enumerate(traced.plan.steps) if step in crossed and _is_recorded(step)]
        numbers = [next(n for n in step.outputs if n is not None) for _, step in recorded]
        self._places = {
            traced.addresses[number]: at
            for (at, _), number in zip(recorded, numbers, strict=True)
            if number in traced.addresses
        }
        apart = len(self._places) == len(recorded) and all(_has_pictures_in_front(step) for _, step in recorded)
        self.needs_all = not apart or not all(_serves_all(each) for each in called)
        turned = laid_out(picture)
        may = turned is not picture and bool(self._places) and not self.needs_all
        self._may_hurry = may and self._records_the_same(traced.plan, turned)
        self._bytes = max(math.prod(value.shape) for value in traced.plan.values) * picture.element_size()

    def plan(self, pictures: Tensor) -> Plan:
        """The plan for a batch, (N, C, H, W); its nodes are those of the first picture. Not where `needs_all`."""
        if self.needs_all:
            raise LookupError("what these layers need of a picture cannot be recorded apart")
        if not self._places:
            return self._plan
        at_once = in_a_block(self._bytes, len(pictures), pictures.device)
        at_once = min(at_once, UP_AT_ONCE) if is_near(pictures.device) else at_once
        laid = laid_out(pictures) if self._may_hurry else pictures
        return self._joined([self._recorded(some, quick=self._may_hurry) for some in torch.split(laid, at_once)])

    def _joined(self, plans: Sequence[Plan]) -> Plan:
        """The plan of all pictures, from those of some of them each."""
        if len(plans) == 1:
            return plans[0]
        steps, counts = list(self._plan.steps), [plan.pictures for plan in plans]
        for at in self._places.values():
            steps[at] = _of_all([plan.steps[at] for plan in plans], counts)
        return replace(self._plan, steps=tuple(steps), pictures=sum(counts))

    def _records_the_same(self, plan: Plan, picture: Tensor) -> bool:
        """Whether the network records the same of its first picture where that lies as is fastest, and runs quickly.

        Operations do not look at how a tensor lies, but for a few (`view` fails, `as_strided` reads other numbers).
        """
        try:
            other = self._recorded(picture, quick=True)
        except PixelwardError:
            return False
        return all(_is_close(plan.steps[at], other.steps[at]) for at in self._places.values())

    def _recorded(self, pictures: Tensor, *, quick: bool) -> Plan:
        found: dict[Address, Edge] = {}

        def see(address: Address, tensor: Tensor) -> None:
            if address in self._places and tensor.grad_fn is not None:
                found.setdefault(address, (tensor.grad_fn, tensor.output_nr))
                if len(found) == len(self._places):
                    raise Done

        with self._readings.used(), Pass(self._net, pictures, self._table, quick=quick) as forward:
            forward.run(see)
            plan, numbers = read(list(found.values()), forward.picture, forward.notes())
        makers = {number: step for step in plan.steps for number in step.outputs if number is not None}
        for step in plan.steps:
            if step.unfit is not None:  # as a mean over the pictures, which one alone does not show
                rule_for(step, self._table)
        steps = list(self._plan.steps)
        for address, at in self._places.items():
            made = makers.get(numbers.get(found.get(address)))  # type: ignore[arg-type]
            steps[at] = _renewed(steps[at], made, address)
        return replace(self._plan, steps=tuple(steps), pictures=len(pictures))


def _is_recorded(step: Step) -> bool:
    """Whether a step keeps something that differs from picture to picture."""
    return (
        step.switches is not None
        or step.winners is not None
        or (step.factors is not None and len(step.factors) > 0 and step.kind not in _CONSTANT)
    )


def _has_pictures_in_front(step: Step) -> bool:
    return step.pictures == 0 and all(
        axis == 0 for number, axis in zip(step.inputs, step.input_pictures, strict=True) if number is not None
    )


def _is_close(one: Step, other: Step) -> bool:
    """Whether two passes recorded the same, but for rounding and what ties within it."""
    picks = [(one.switches, other.switches), *zip(one.winners or (), other.winners or (), strict=True)]
    chosen = all(a is None or b is None or float((a != b).float().mean()) <= TIES for a, b in picks)
    return chosen and all(map(is_close, one.factors or (), other.factors or ()))


def _of_all(same: Sequence[Step], counts: Sequence[int]) -> Step:
    """One step with what it recorded of several batches, of so many pictures each."""

    def together(parts: Sequence[Tensor | None]) -> Tensor | None:
        found = [part for part in parts if part is not None]
        apart = len(found) == len(counts) and all(
            part.dim() and len(part) == count for part, count in zip(found, counts, strict=True)
        )
        return torch.cat(found) if apart else parts[0]  # what is the same for every picture has no axis of them

    def of_each(lists: Sequence[Sequence[Tensor | None] | None]) -> tuple[Tensor | None, ...] | None:
        found = [each for each in lists if each is not None]
        return tuple(map(together, zip(*found, strict=True))) if found else None

    return replace(
        same[0],
        switches=together([step.switches for step in same]),
        winners=of_each([step.winners for step in same]),
        factors=of_each([step.factors for step in same]),  # type: ignore[arg-type]
    )


def _serves_all(crossing: Crossing) -> bool:
    """Whether the node that a crossing calls is linear in the signal in the same way for every picture."""
    step = crossing.step
    return crossing.rule is not rules.autograd and step.kind in _LINEAR and not step.operation.startswith("max_unpool")


def _renewed(step: Step, made: Step | None, address: Address) -> Step:
    """The step with what the one that was made of other pictures recorded."""
    alike: Sequence[Callable[[Step], object]] = (
        lambda each: each.kind,
        lambda each: each.geometry,
        lambda each: [None if shape is None else shape[1:] for shape in each.input_shapes],
    )
    if made is None or any(of(made) != of(step) for of in alike):
        raise PixelwardError(
            given=f"a network that does not take the same way for every picture, at {str(address)!r}",
            allowed="networks that run the same operations for every picture",
            next_step="project its pictures one by one with pixelward.project",
        )
    return replace(step, switches=made.switches, winners=made.winners, factors=made.factors)
