"""The way of a signal through a plan: the steps that it crosses under a rule set, and how far it spreads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pixelward.core.fields import Extent, extents
from pixelward.core.plan import Geometry, Plan, Step
from pixelward.core.rules import Rule, RuleSet, autograd, lacks, needs_node, rule_for, sent


@dataclass(frozen=True, eq=False)
class Crossing:
    """A step that the signal crosses, its rule, and per input the geometry along which it is sent, None for nowhere."""

    step: Step
    rule: Rule
    sent: tuple[Geometry | None, ...]


def path(plan: Plan, value: int, rules: RuleSet) -> list[Crossing]:
    """The steps that a signal starting at `value` crosses, consumers first.

    Gates and statistics that a rule keeps fixed get no signal, so what is only below them is not on the path; a rule
    set that differentiates them may cross whatever they are made of. Raises PixelwardError for a step without a rule,
    and for one below that makes the layer unfit.
    """
    below, crossed, own = {value}, {value}, {value}  # own: crossed, and not only within what a deconvnet keeps fixed
    crossings = []
    for step in plan.below(value):
        if not any(output in below for output in step.outputs):
            continue
        below.update(number for number in step.inputs if number is not None)
        if step.unfit is not None:
            rule_for(step, rules)
        if not any(output in crossed for output in step.outputs):
            continue
        apart = not any(output in own for output in step.outputs)
        rule = autograd if apart and (step.gates or lacks(step, rules)) else rule_for(step, rules)
        crossing = Crossing(step, rule, sent(step, rule))
        crossings.append(crossing)
        for number, kept, geometry in zip(step.inputs, step.kept, crossing.sent, strict=True):
            if number is not None and geometry is not None:
                crossed.add(number)
                if not apart and not kept:
                    own.add(number)
    return crossings


def reaches(plan: Plan, value: int, crossed: Sequence[Crossing]) -> Mapping[int, Extent]:
    """For every value on a path, the box that a unit of `value` can send a signal to; that of value 0 is its reach."""
    geometries = {id(crossing.step): crossing.sent for crossing in crossed}
    return extents(plan, value, [crossing.step for crossing in crossed], lambda step: geometries[id(step)])


def calls_nodes(crossed: Sequence[Crossing]) -> bool:
    """Whether autograd's nodes, which know whole maps of all pictures only, are called on a path."""
    return any(needs_node(crossing.step, crossing.rule) for crossing in crossed)
