"""The way of a signal through a plan: the steps that it crosses under a rule set, and how far it spreads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from pixelward.core.fields import Extent, extents
from pixelward.core.plan import Geometry, Plan, Step
from pixelward.core.rules import Rule, RuleSet, autograd, lacks, needs_node, rule_for, sent
from pixelward.errors import PixelwardError


@dataclass(frozen=True, eq=False)
class Crossing:
    """A step that the signal crosses, its rule, and per input the geometry along which it is sent, None for nowhere."""

    step: Step
    rule: Rule
    sent: tuple[Geometry | None, ...]


@dataclass(frozen=True, eq=False)
class Refusal:
    """A step that the signal meets, the error that says why it cannot cross it, and where a rule would send it."""

    step: Step
    error: PixelwardError
    sent: tuple[Geometry | None, ...]


Met = Crossing | Refusal
Judge = Callable[[Step], tuple[Met, Met]]


def sent_to(crossing: Crossing) -> Iterator[int]:
    """The values that a crossing sends a signal to; what is kept fixed gets none, and has no window."""
    inputs = zip(crossing.step.inputs, crossing.sent, strict=True)
    return (number for number, sent in inputs if number is not None and sent is not None)


def judge(rules: RuleSet) -> Judge:
    """Of a step, what a signal meets at it, and what within a gate or statistic; each step is judged once."""

    @cache
    def judged(step: Step) -> tuple[Met, Met]:
        met: Met
        try:
            rule = rule_for(step, rules)
            met = Crossing(step, rule, sent(step, rule))
        except PixelwardError as error:  # a rule for it would keep fixed what others keep
            met = Refusal(step, error, step.reaches)
        unfit = step.unfit is not None and isinstance(met, Refusal)
        differentiated = not unfit and (step.gates or lacks(step, rules))
        return met, Crossing(step, autograd, sent(step, autograd)) if differentiated else met

    return judged


def meetings(plan: Plan, values: Iterable[int], judged: Judge, *, past: bool = False) -> Iterator[Met]:
    """What signals that start at some values meet, consumers first: steps that they cross, and refusals.

    Gates and statistics that a rule keeps fixed get no signal, so what is only below them is not met; a rule set that
    differentiates them may cross whatever they are made of. What makes all above it unfit is met also beside the way.
    past: whether the way goes on below a refusal, as it would if there were a rule.
    """
    below: set[int | None] = set(values)
    crossed, own = set(below), set(below)  # own: crossed, and not only within what a deconvnet keeps fixed
    for step in reversed(plan.steps):
        if below.isdisjoint(step.outputs):
            continue
        below.update(step.inputs)
        below.discard(None)  # a constant, or an output that nobody uses
        on_the_way = not crossed.isdisjoint(step.outputs)
        if not on_the_way and step.unfit is None:
            continue
        apart = own.isdisjoint(step.outputs)
        met = judged(step)[apart]
        refused = isinstance(met, Refusal)
        if on_the_way or refused:
            yield met
        if not on_the_way or (refused and not past):
            continue
        for number, kept, geometry in zip(step.inputs, step.kept, met.sent, strict=True):
            if number is not None and geometry is not None:
                crossed.add(number)
                if not apart and not kept:
                    own.add(number)


def path(plan: Plan, value: int, rules: RuleSet) -> list[Crossing]:
    """The steps that a signal starting at `value` crosses, consumers first (see `meetings`).

    Raises PixelwardError for a step without a rule, and for one below that makes the layer unfit.
    """
    return crossings(plan, value, judge(rules))


def crossings(plan: Plan, value: int, judged: Judge) -> list[Crossing]:
    """Like `path`, for several values of a plan, whose steps are judged once."""
    found = []
    for met in meetings(plan, [value], judged):
        if isinstance(met, Refusal):
            raise met.error
        found.append(met)
    return found


def reaches(plan: Plan, value: int, crossed: Sequence[Crossing]) -> Mapping[int, Extent]:
    """For every value on a path, the box that a unit of `value` can send a signal to; that of value 0 is its reach."""
    geometries = {id(crossing.step): crossing.sent for crossing in crossed}
    return extents(plan, value, [crossing.step for crossing in crossed], lambda step: geometries[id(step)])


def in_front(plan: Plan, value: int, crossed: Sequence[Crossing]) -> bool:
    """Whether the axis of the pictures is the first of every tensor on a path that starts at `value`."""
    below = (number for crossing in crossed for number in crossing.step.inputs if number is not None)
    count = plan.values[0].shape[0]
    met = [plan.values[number] for number in (value, *below)]
    return all(each.pictures == 0 and each.shape[:1] == (count,) for each in met)


def calls_nodes(crossed: Sequence[Crossing]) -> bool:
    """Whether autograd's nodes, which know whole maps of all pictures only, are called on a path."""
    return any(needs_node(crossing.step, crossing.rule) for crossing in crossed)
