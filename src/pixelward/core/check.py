"""Plan -> report: every operation that signals meet in a network and its rule, and how units of every layer go down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

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
from pixelward.core.path import Crossing, path, reaches
from pixelward.core.plan import Geometry, Step
from pixelward.core.rules import DECONVNET, RuleSet, lacks, needs_node, resolve, rule_for, sent
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
    judged = [_judged(step, table) for step in survey.plan.steps]
    found = [_layer(survey, edge, judged, table, size) for edge in edges]
    return Report(
        network=type(net).__name__,
        size=size,
        channels=channels,
        rules=rules if isinstance(rules, str) else "own",
        operations=_operations(judged, _ends(survey, edges), {row.address: set(steps) for row, steps in found}, table),
        layers=tuple(layer for layer, _ in found),
    )


@dataclass(frozen=True, eq=False)
class _Judged:
    """A step with the error that says why it has no rule, or None, and where it sends a signal.

    differentiated: whether autograd's own rule stands in within what a deconvnet keeps fixed (see `path`).
    """

    step: Step
    error: PixelwardError | None
    sent: Sequence[Geometry | None]
    differentiated: bool


def _judged(step: Step, table: RuleSet) -> _Judged:
    differentiated = step.gates or lacks(step, table)
    try:
        return _Judged(step, None, sent(step, rule_for(step, table)), differentiated)
    except PixelwardError as error:  # a rule for it would keep fixed what others keep
        return _Judged(step, error, step.reaches, differentiated)


class _Way(NamedTuple):
    """Numbers of the steps that signals meet, from above: those with a rule, and those refused on or beside the way.

    differentiated: those among `crossed` that only autograd's own rule crosses.
    """

    crossed: list[int]
    refused: list[int]
    differentiated: set[int]


def _way(judged: Sequence[_Judged], values: Iterable[int], *, past: bool) -> _Way:
    """What `path` would meet, from several values, and without an error at what is refused.

    past: whether the way goes on below a refused step, as it would if there were a rule for it.
    """
    below = set(values)
    wanted, own = set(below), set(below)
    way = _Way([], [], set())
    for at in range(len(judged) - 1, -1, -1):
        step, error, geometries, differentiated = judged[at].step, judged[at].error, judged[at].sent, False
        if below.isdisjoint(step.outputs):
            continue
        below.update(number for number in step.inputs if number is not None)
        on_the_way = not wanted.isdisjoint(step.outputs)
        apart = own.isdisjoint(step.outputs)
        if on_the_way and apart and judged[at].differentiated:
            geometries, differentiated = step.sees, True
        refused = error is not None and ((on_the_way and not differentiated) or step.unfit is not None)
        if refused:
            way.refused.append(at)
        if not on_the_way or (refused and not past):
            continue
        if not refused:
            way.crossed.append(at)
            way.differentiated.update({at} if differentiated else ())
        for number, kept, geometry in zip(step.inputs, step.kept, geometries, strict=True):
            if number is not None and geometry is not None:
                wanted.add(number)
                if not apart and not kept:
                    own.add(number)
    return way


def _ends(survey: Survey, edges: Sequence[Edge]) -> set[int]:
    """The values at which signals may start: the layers, and what the network puts out."""
    steps = survey.plan.steps
    used = {number for step in steps for number in step.inputs}
    made = {number for step in steps for number in step.outputs if number is not None}
    return (made - used) | {survey.number(edge) for edge in edges}


def _operations(
    judged: Sequence[_Judged], ends: Iterable[int], blocked: Mapping[str, set[int]], table: RuleSet
) -> tuple[Operation, ...]:
    """The rows, those of one way of crossing together. blocked: by layer, the steps that keep it from projection."""
    way = _way(judged, ends, past=True)
    crossed, refused = set(way.crossed), set(way.refused)
    found: dict[tuple[str, str, str, str | None, str | None], list[int]] = {}
    for at, each in enumerate(judged):
        step = each.step
        if step.function is None and step.kind == table_of_rules.IDENTITY and 0 in step.inputs:
            continue  # the copy of the picture that every network is given
        how, reason, remedy = (_how(step, table) if at in crossed else KEPT), None, None
        if at in way.differentiated:
            how = AUTOGRAD
        if at in refused and each.error is not None:
            how, remedy = REFUSED, each.error.next_step
            reason = step.unfit or step.refusal or step.reason or "no row of the table of rules names it"
        found.setdefault((step.operation, step.kind, how, reason, remedy), []).append(at)
    rows = [
        Operation(
            operation=operation,
            kind=kind,
            how=how,
            count=len(steps),
            where=judged[steps[0]].step.where,
            reason=reason,
            remedy=remedy,
            blocks=tuple(address for address, by in blocked.items() if not by.isdisjoint(steps)),
        )
        for (operation, kind, how, reason, remedy), steps in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: ORDER.index(row.how)))


def _how(step: Step, table: RuleSet) -> str:
    kind = step.kind
    row = table.get(step.function) or table.get(kind)
    if row is None or (row is table_of_rules.autograd and row is not DECONVNET.get(kind)):
        return AUTOGRAD
    if row is not DECONVNET.get(kind):
        return GUIDED if row is table_of_rules.guided else USERS
    if kind in table_of_rules.PAPERS_OWN:
        return PAPER
    return EXTENSION if kind in table_of_rules.EXTENSIONS else EXACT


def _layer(
    survey: Survey, edge: Edge, judged: Sequence[_Judged], table: RuleSet, size: tuple[int, int]
) -> tuple[CheckedLayer, Sequence[int]]:
    """A layer's row, and the numbers of the steps that keep it from being projected."""
    number = survey.number(edge)
    try:
        (layer,) = survey.described([edge])
    except PixelwardError as error:
        shape = survey.plan.values[number].shape[1:]
        return CheckedLayer(survey.name(edge), (), shape, WHOLE, WHOLE, False, refusal=str(error)), ()
    row = CheckedLayer(layer.address, layer.aliases, layer.shape, layer.field, layer.field, windows=False)
    try:
        crossed = path(survey.plan, number, table)
    except PixelwardError as error:
        refused = _way(judged, [number], past=False).refused
        first = judged[refused[0]].step
        return replace(row, blocked_by=first.operation, blocked_in=first.where, refusal=str(error)), refused
    boxes = reaches(survey.plan, number, crossed)
    whole = _why_whole(crossed, boxes, layer.shape, size)
    return replace(row, reach=boxes.get(0, WHOLE), windows=whole is None, whole=whole), ()


def _why_whole(
    crossed: Sequence[Crossing], boxes: Mapping[int, Extent], shape: tuple[int, ...], size: tuple[int, int]
) -> str | None:
    """Why units go down on the whole picture, not in windows (`project_hits`), or None."""
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
