"""Plan -> report: every operation that signals meet in a network and its rule, and how units of every layer go down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from torch import nn

from pixelward.core import rules as table_of_rules
from pixelward.core.edges import Edge
from pixelward.core.fields import WHOLE, Extent
from pixelward.core.findings import (
    AUTOGRAD,
    EXACT,
    EXTENSION,
    GUIDED,
    KEPT,
    ORDER,
    PAPER,
    REFUSED,
    USERS,
    CheckedLayer,
    Operation,
    Report,
)
from pixelward.core.layers import Survey
from pixelward.core.path import Crossing, Judge, Met, Refusal, in_front, judge, meetings, reaches
from pixelward.core.plan import Plan, Step
from pixelward.core.remedies import ATTENTION, WEIGHTS, family
from pixelward.core.rules import DECONVNET, RuleSet, needs_node, resolve
from pixelward.errors import PixelwardError


def check(
    net: nn.Module,
    *,
    size: tuple[int, int] = (224, 224),
    channels: int = 3,
    rules: str | RuleSet = "deconvnet",
    all_layers: bool = False,
) -> Report:
    """Every operation that signals meet in a network, its rule, and which layers can be projected, and how.

    size: (height, width) of the prepared pictures. Runs the network once, on a grey picture. all_layers: report on
    every tensor of maps or vector that has an address, instead of the default layers. Raises PixelwardError only
    where the network cannot be watched or does not take such pictures; what has no rule stands in the report.
    """
    table = resolve(rules, "sum")
    survey = Survey(net, size, channels, table)
    edges = survey.everything() if all_layers else survey.convolutions()
    judged = judge(table)
    found = [_layer(survey, edge, judged, size) for edge in edges]
    blocked = {row.address: {refusal.step for refusal in refusals} for row, refusals in found}
    return Report(
        network=type(net).__name__,
        size=size,
        channels=channels,
        rules=rules if isinstance(rules, str) else "own",
        operations=_operations(
            survey.plan, list(meetings(survey.plan, _ends(survey, edges), judged, past=True)), blocked, table
        ),
        layers=tuple(layer for layer, _ in found),
    )


def _ends(survey: Survey, edges: Sequence[Edge]) -> set[int]:
    """The values at which signals may start: the layers, and what the network puts out."""
    return {*survey.outputs(), *(survey.number(edge) for edge in edges)}


def _operations(
    plan: Plan, met: Sequence[Met], blocked: Mapping[str, set[Step]], table: RuleSet
) -> tuple[Operation, ...]:
    """The rows, those of one way of crossing together. blocked: by layer, the steps that keep it from projection."""
    ways: dict[Step, tuple[str, str | None, str | None]] = {}  # how, reason, remedy
    for each in met:
        if isinstance(each, Refusal):
            ways[each.step] = REFUSED, _reason(each.step), each.error.next_step
        else:
            ways[each.step] = _how(each, table), None, None
    blocking = set().union(*blocked.values())
    for softmax, product in _softmaxes([each.step for each in met if isinstance(each, Refusal)]):
        if softmax not in blocking:  # it is in nobody's way but behind the products
            ways[softmax] = REFUSED, WEIGHTS, ways[product][2]
    found: dict[tuple[str, str, str, str | None, str | None], list[Step]] = {}
    for step in plan.steps:
        if step.function is None and step.kind == table_of_rules.IDENTITY and 0 in step.inputs:
            continue  # the copy of the picture that every network is given
        found.setdefault((step.operation, step.kind, *ways.get(step, (KEPT, None, None))), []).append(step)
    rows = [
        Operation(
            operation=operation,
            kind=kind,
            how=how,
            count=len(steps),
            where=steps[0].where,
            reason=reason,
            remedy=remedy,
            blocks=tuple(address for address, by in blocked.items() if not by.isdisjoint(steps)),
        )
        for (operation, kind, how, reason, remedy), steps in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: ORDER.index(row.how)))


def _reason(step: Step) -> str:
    return step.unfit or step.refusal or step.reason or "no row of the table of rules names it"


def _softmaxes(refused: Sequence[Step]) -> Iterator[tuple[Step, Step]]:
    """The softmaxes between two products of one attention, each with the product above it. refused: from above."""
    for above, step, below in zip(refused, refused[1:], refused[2:], strict=False):
        around = {family(_reason(product)) for product in (above, below)}
        if step.operation == "softmax" and around == {ATTENTION} and above.where == below.where:
            yield step, above


def _how(crossing: Crossing, table: RuleSet) -> str:
    kind, rule = crossing.step.kind, crossing.rule
    row = DECONVNET.get(kind)
    if rule is table_of_rules.autograd and (row is not rule or kind not in table):
        return AUTOGRAD
    if rule is not row:
        return GUIDED if rule is table_of_rules.guided else USERS
    if kind in table_of_rules.PAPERS_OWN:
        return PAPER
    return EXTENSION if kind in table_of_rules.EXTENSIONS else EXACT


def _layer(survey: Survey, edge: Edge, judged: Judge, size: tuple[int, int]) -> tuple[CheckedLayer, Sequence[Refusal]]:
    """A layer's row, and the refusals that keep it from being projected."""
    number = survey.number(edge)
    try:
        (layer,) = survey.described([edge])
    except PixelwardError as error:
        shape = survey.plan.values[number].shape[1:]
        return CheckedLayer(survey.name(edge), (), shape, WHOLE, WHOLE, False, refusal=str(error)), ()
    row = CheckedLayer(layer.address, layer.aliases, layer.shape, layer.field, layer.field, windows=False)
    met = list(meetings(survey.plan, [number], judged))
    refused = [each for each in met if isinstance(each, Refusal)]
    if refused:
        first = refused[0].step
        return replace(row, blocked_by=first.operation, blocked_in=first.where, refusal=str(refused[0].error)), refused
    crossed = [each for each in met if isinstance(each, Crossing)]
    boxes = reaches(survey.plan, number, crossed)
    whole = _why_whole(crossed, boxes, layer.shape, size)
    if whole is None and not in_front(survey.plan, number, crossed):
        whole = "the pictures are not in front"
    return replace(row, reach=boxes.get(0, WHOLE), windows=whole is None, whole=whole), ()


def _why_whole(
    crossed: Sequence[Crossing], boxes: Mapping[int, Extent], shape: tuple[int, ...], size: tuple[int, int]
) -> str | None:
    """Why units go down on the whole picture, not in windows (`Descent`), or None."""
    if len(shape) == 1:
        return "a vector"
    calling = next((crossing.step for crossing in crossed if needs_node(crossing.step, crossing.rule)), None)
    if calling is not None:
        return f"{calling.operation} needs autograd's node"
    reach = boxes.get(0, WHOLE)
    if reach.is_global:
        for crossing in crossed:  # from above, so that the first without bounds is the cause of those below
            below = [n for n, to in zip(crossing.step.inputs, crossing.sent, strict=True) if n is not None and to]
            if any(boxes[number].is_global for number in below):
                return f"{crossing.step.operation} is global"
        return "it is global"
    if not all(box.is_even for box in boxes.values()):
        return "paths of several strides"
    first = reach.box((0, 0), size)
    return None if first.height * first.width < size[0] * size[1] else "large reach"
