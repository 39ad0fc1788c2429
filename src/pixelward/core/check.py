"""What the signal meets in a network: every operation and its rule, every layer and how it goes down from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn

from pixelward.core import rules as table_of_rules
from pixelward.core.fields import WHOLE, Extent
from pixelward.core.layers import Survey
from pixelward.core.path import Crossing, reaches
from pixelward.core.patterns import Edge
from pixelward.core.plan import Geometry, Plan, Step
from pixelward.core.rules import DECONVNET, Rule, RuleSet, needs_node, resolve, rule_for, sent
from pixelward.errors import PixelwardError
from pixelward.words import counted, listed

# How the signal crosses an operation. The first three are the deconvnet's.
PAPER = "paper's rule"
EXACT = "exact transpose"
EXTENSION = "stated extension"
GUIDED = "guided backpropagation"
AUTOGRAD = "autograd's own"
USERS = "your own rule"
KEPT = "kept fixed"
REFUSED = "refused"
ORDER = (PAPER, EXACT, EXTENSION, GUIDED, AUTOGRAD, USERS, KEPT, REFUSED)

# What people call functions whose names are not what they call them.
_TITLES: Mapping[str, str] = {
    **dict(name.split() for name in ("relu ReLU", "relu6 ReLU6", "leaky_relu LeakyReLU", "prelu PReLU", "rrelu RReLU")),
    **dict(name.split() for name in ("elu ELU", "selu SELU", "celu CELU", "silu SiLU", "gelu GELU", "mish Mish")),
    "hardtanh": "ReLU6 (hardtanh)",
    "batch_norm": "batch norm",
    "layer_norm": "layer norm",
    "group_norm": "group norm",
    "instance_norm": "instance norm",
    "rms_norm": "RMS norm",
    "local_response_norm": "local response norm",
}
# Functions that say less of what they do here than the kind of the step.
_ARITHMETIC = frozenset(
    "mul multiply div divide true_divide add sub where pow sqrt rsqrt addcmul addcdiv __mul__ __rmul__ __imul__ "
    "__truediv__ __itruediv__ __setitem__ masked_fill clamp clamp_min minimum maximum fmax amax max".split()
)


@dataclass(frozen=True)
class Operation:
    """All steps of one function that are crossed in one way.

    operation: the torch function, or the autograd function, that made them; kind: the row of the table of rules.
    how: one of `ORDER`; a step is kept fixed where signals pass it by, as a gate's own. count: how many steps of
    autograd's graph; where: the module of the first, "" for the network itself.
    reason, remedy: of what is refused. blocks: how many of the report's layers cannot be projected because signals meet
    it before anything else that is refused.
    """

    operation: str
    kind: str
    how: str
    count: int
    where: str
    reason: str | None = None
    remedy: str | None = None
    blocks: int = 0

    @property
    def title(self) -> str:
        """What people call it: SiLU, gate, softmax."""
        return self.kind if self.operation in _ARITHMETIC else _TITLES.get(self.operation, self.operation)

    @property
    def place(self) -> str:
        """Where it is met: `softmax in 'head'`; of several, the first of them."""
        where = repr(self.where) if self.where else "the network itself"
        if self.count > 1:
            return f"{self.operation} ({self.count} of them, the first in {where})"
        return f"{self.operation} in {where}"


@dataclass(frozen=True)
class CheckedLayer:
    """A layer, and how its units go down.

    shape: (C, H, W) or (C,). field: the pixels that can change a unit's value; reach: those that its signal can
    arrive at, under the rules of the report. windows: whether units go down in windows as large as their reach, which
    is exact; else the whole picture does, and `whole` says why. blocked_by, blocked_in: the operation that the signal
    cannot cross, and its module; refusal: the line that says so, and the remedy; then reach is the field.
    """

    address: str
    aliases: tuple[str, ...]
    shape: tuple[int, ...]
    field: Extent
    reach: Extent
    windows: bool
    whole: str | None = None
    blocked_by: str | None = None
    blocked_in: str | None = None
    refusal: str | None = None

    @property
    def stride(self) -> tuple[int, int] | None:
        """Pixels between the reaches of neighbouring units, None where they have no bounds."""
        rows, columns = self.reach.rows, self.reach.columns
        return None if rows is None or columns is None else (rows.stride, columns.stride)

    @property
    def offset(self) -> tuple[int, int] | None:
        """First row and column of the reach of the unit at (0, 0); negative where it begins in the padding."""
        rows, columns = self.reach.rows, self.reach.columns
        return None if rows is None or columns is None else (rows.start, columns.start)


@dataclass(frozen=True, repr=False)
class Report:
    """What `check` found. `print` it for the verdict; `to_json()` gives plain values.

    network: the name of its class. size: (height, width) of the pictures. rules: the rule set, "own" for a dict.
    """

    network: str
    size: tuple[int, int]
    channels: int
    rules: str
    operations: tuple[Operation, ...]
    layers: tuple[CheckedLayer, ...]

    @property
    def projectable(self) -> tuple[CheckedLayer, ...]:
        """The layers that can be projected."""
        return tuple(layer for layer in self.layers if layer.refusal is None)

    @property
    def refused(self) -> tuple[CheckedLayer, ...]:
        """The layers that cannot."""
        return tuple(layer for layer in self.layers if layer.refusal is not None)

    @property
    def extensions(self) -> tuple[Operation, ...]:
        """The operations that are crossed by a stated extension of the paper."""
        return tuple(operation for operation in self.operations if operation.how == EXTENSION)

    @property
    def obstacles(self) -> tuple[Operation, ...]:
        """The operations that keep layers of the report from being projected, those of most layers first."""
        found = [operation for operation in self.operations if operation.how == REFUSED and operation.blocks]
        return tuple(sorted(found, key=lambda operation: -operation.blocks))

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict: which layers can be projected, what is in the way of others, what goes beyond the paper."""
        return (_of_layers(self), *_of_obstacles(self), *_of_extensions(self))

    def to_json(self) -> dict[str, Any]:
        """Plain values. Of an extent, per axis, [stride, start, size] of every path; None for the whole picture."""
        return {
            "network": self.network,
            "size": list(self.size),
            "channels": self.channels,
            "rules": self.rules,
            "verdict": str(self),
            "operations": [asdict(operation) | {"title": operation.title} for operation in self.operations],
            "layers": [_layer_to_json(layer) for layer in self.layers],
        }

    def __str__(self) -> str:
        return " ".join(self.sentences)

    def __repr__(self) -> str:
        return f"<Report on {self.network}: {self}>"


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
    survey = Survey(net, size, channels)
    edges = survey.everything() if all_layers else survey.convolutions()
    judged = _judged(survey.plan, table)
    found = [_layer(survey, edge, judged, size) for edge in edges]
    return Report(
        network=type(net).__name__,
        size=size,
        channels=channels,
        rules=rules if isinstance(rules, str) else "own",
        operations=_operations(judged, _ends(survey, edges), [steps for _, steps in found], table),
        layers=tuple(layer for layer, _ in found),
    )


@dataclass(frozen=True, eq=False)
class _Judged:
    """A step with its rule, or with the error that says why it has none, and where it sends a signal."""

    step: Step
    rule: Rule | None
    error: PixelwardError | None
    sent: Sequence[Geometry | None]


def _judged(plan: Plan, table: RuleSet) -> list[_Judged]:
    found = []
    for step in plan.steps:
        try:
            rule = rule_for(step, table)
        except PixelwardError as error:
            found.append(_Judged(step, None, error, step.reaches))  # a rule for it would keep fixed what others keep
        else:
            found.append(_Judged(step, rule, None, sent(step, rule)))
    return found


def _way(judged: Sequence[_Judged], values: Iterable[int], *, past: bool) -> tuple[list[int], list[int]]:
    """The steps that signals from `values` meet, and those among or beside them that are refused, from above.

    past: whether the way goes on below a refused step, as it would if there were a rule for it.
    """
    wanted = set(values)
    below: set[int] = set(wanted)
    crossed, refused = [], []
    for at in range(len(judged) - 1, -1, -1):
        each = judged[at]
        if below.isdisjoint(each.step.outputs):
            continue
        below.update(number for number in each.step.inputs if number is not None)
        on_the_way = not wanted.isdisjoint(each.step.outputs)
        if each.error is not None and (on_the_way or each.step.unfit is not None):
            refused.append(at)
        if on_the_way:
            crossed.append(at)
        if on_the_way and (past or each.error is None):
            wanted.update(n for n, to in zip(each.step.inputs, each.sent, strict=True) if n is not None and to)
    return crossed, refused


def _ends(survey: Survey, edges: Sequence[Edge]) -> set[int]:
    """The values at which signals may start: the layers, and what the network puts out."""
    steps = survey.plan.steps
    used = {number for step in steps for number in step.inputs}
    made = {number for step in steps for number in step.outputs if number is not None}
    return (made - used) | {survey.number(edge) for edge in edges}


def _operations(
    judged: Sequence[_Judged], ends: Iterable[int], blocked: Sequence[Sequence[int]], table: RuleSet
) -> tuple[Operation, ...]:
    """The rows, those of one way of crossing together. blocked: per layer, the steps that keep it from projection."""
    crossed, refused = (set(steps) for steps in _way(judged, ends, past=True))
    found: dict[tuple[str, str, str, str | None, str | None], list[int]] = {}
    for at, each in enumerate(judged):
        step = each.step
        if step.function is None and step.kind == table_of_rules.IDENTITY and 0 in step.inputs:
            continue  # the copy of the picture that every network is given
        how, reason, remedy = (_how(each, table) if at in crossed else KEPT), None, None
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
            blocks=sum(not set(steps).isdisjoint(each) for each in blocked),
        )
        for (operation, kind, how, reason, remedy), steps in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: ORDER.index(row.how)))


def _how(each: _Judged, table: RuleSet) -> str:
    kind = each.step.kind
    row = table.get(each.step.function) or table.get(kind)
    if row is None or (row is table_of_rules.autograd and row is not DECONVNET.get(kind)):
        return AUTOGRAD
    if row is not DECONVNET.get(kind):
        return GUIDED if row is table_of_rules.guided else USERS
    if kind in table_of_rules.PAPERS_OWN:
        return PAPER
    return EXTENSION if kind in table_of_rules.EXTENSIONS else EXACT


def _layer(
    survey: Survey, edge: Edge, judged: Sequence[_Judged], size: tuple[int, int]
) -> tuple[CheckedLayer, Sequence[int]]:
    """A layer's row, and the numbers of the steps that keep it from being projected."""
    number = survey.number(edge)
    try:
        (layer,) = survey.described([edge])
    except PixelwardError as error:
        shape = survey.plan.values[number].shape[1:]
        return CheckedLayer(survey.name(edge), (), shape, WHOLE, WHOLE, False, refusal=str(error)), ()
    row = CheckedLayer(layer.address, layer.aliases, layer.shape, layer.field, layer.field, windows=False)
    crossed, refused = _way(judged, [number], past=False)
    if refused:
        first = judged[refused[0]]
        by = first.step.operation, first.step.where
        return replace(row, blocked_by=by[0], blocked_in=by[1], refusal=str(first.error)), refused
    path = [Crossing(each.step, each.rule, tuple(each.sent)) for at in crossed if (each := judged[at]).rule is not None]
    boxes = reaches(survey.plan, number, path)
    whole = _why_whole(path, boxes, layer.shape, size)
    return replace(row, reach=boxes.get(0, WHOLE), windows=whole is None, whole=whole), ()


def _why_whole(
    path: Sequence[Crossing], boxes: Mapping[int, Extent], shape: tuple[int, ...], size: tuple[int, int]
) -> str | None:
    """Why units go down on the whole picture, not in windows (`project_hits`), or None."""
    if len(shape) == 1:
        return "a vector"
    calling = next((crossing.step for crossing in path if needs_node(crossing.step, crossing.rule)), None)
    if calling is not None:
        return f"{calling.operation} needs autograd's node"
    reach = boxes.get(0, WHOLE)
    if reach.is_global:
        for crossing in path:  # from above, so that the first without bounds is the cause of those below
            below = [n for n, to in zip(crossing.step.inputs, crossing.sent, strict=True) if n is not None and to]
            if any(boxes[number].is_global for number in below):
                return f"{crossing.step.operation} is global"
        return "it is global"
    if not all(box.is_even for box in boxes.values()):
        return "paths of several strides"
    first = reach.box((0, 0), size)
    return None if first.height * first.width < size[0] * size[1] else "large reach"


def _of_layers(report: Report) -> str:
    number, possible = len(report.layers), len(report.projectable)
    if not number:
        return "It has no convolution over pictures, so there is no layer to list unless all are asked for."
    windows = sum(layer.windows for layer in report.projectable)
    if not possible:
        return f"None of its {counted(number, 'layer')} can be projected."
    which = ("All" if possible == number else f"{possible} of") + f" {number} layers"
    if number == 1:
        which = "Its one layer"
    if windows == possible:
        return f"{which} can be projected exactly, in windows of the picture."
    if not windows:
        return f"{which} can be projected exactly, each on the whole picture."
    whole = f"{possible - windows} on the whole picture, which takes longer"
    return f"{which} can be projected exactly: {windows} in windows of the picture, {whole}."


def _of_obstacles(report: Report) -> list[str]:
    sentences, shown = [], 3
    for operation in report.obstacles[:shown]:
        which = counted(operation.blocks, "layer")
        lies = "lies" if operation.blocks == 1 else "lie"
        sentences.append(f"The signal cannot cross {operation.place}: {operation.reason}; {which} {lies} above it.")
    more = len(report.obstacles) - shown
    return sentences + ([f"Nor {counted(more, 'other operation')}, listed below."] if more > 0 else [])


def _of_extensions(report: Report) -> list[str]:
    names = list(dict.fromkeys(operation.title for operation in report.extensions))
    if names:
        are = "is a stated extension" if len(names) == 1 else "are stated extensions"
        return [f"{counted(len(names), 'operation')} {are} of the paper: {listed(names)}."]
    if report.projectable and all(operation.how in (PAPER, EXACT, KEPT, REFUSED) for operation in report.operations):
        every = "Everything else" if report.obstacles else "Everything"
        return [f"{every} that the signal crosses is the paper's own or an exact transpose."]
    return []


def _layer_to_json(layer: CheckedLayer) -> dict[str, Any]:
    return {
        "address": layer.address,
        "aliases": list(layer.aliases),
        "shape": list(layer.shape),
        "field": _extent_to_json(layer.field),
        "reach": _extent_to_json(layer.reach),
        "stride": layer.stride and list(layer.stride),
        "offset": layer.offset and list(layer.offset),
        "windows": layer.windows,
        "whole": layer.whole,
        "blocked_by": layer.blocked_by,
        "blocked_in": layer.blocked_in,
        "refusal": layer.refusal,
    }


def _extent_to_json(extent: Extent) -> dict[str, list[list[int]] | None]:
    spans = {"rows": extent.rows, "columns": extent.columns}
    return {
        axis: None if span is None else [[each.stride, each.start, each.size] for each in (span, *span.beside)]
        for axis, span in spans.items()
    }
