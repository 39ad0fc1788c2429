"""What a check of a network found, as immutable data and in words: operations and their rules, layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pixelward.core.fields import Extent
from pixelward.core.remedies import family
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
    reason, remedy: of what is refused. blocks: the addresses of the report's layers that cannot be projected because
    their signals meet it before anything else that is refused.
    """

    operation: str
    kind: str
    how: str
    count: int
    where: str
    reason: str | None = None
    remedy: str | None = None
    blocks: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What people call it: SiLU, gate, softmax."""
        return self.kind if self.operation in _ARITHMETIC else _TITLES.get(self.operation, self.operation)


@dataclass(frozen=True)
class Obstacle:
    """All operations that are refused for one reason and with one remedy, the first that runs in front.

    The parts of an attention count as one, for the reason of the first.
    """

    operations: tuple[Operation, ...]
    reason: str
    remedy: str

    @property
    def blocks(self) -> tuple[str, ...]:
        """The addresses of the layers that cannot be projected because of it."""
        return tuple(dict.fromkeys(address for operation in self.operations for address in operation.blocks))

    @property
    def place(self) -> str:
        """What is met, and where: `softmax in 'head'`; of several, where the first is."""
        names = listed(list(dict.fromkeys(operation.operation for operation in self.operations)))
        count = sum(operation.count for operation in self.operations)
        where = repr(self.operations[0].where) if self.operations[0].where else "the network itself"
        return f"{names} in {where}" if count == 1 else f"{names} ({count} of them, the first in {where})"


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
    def obstacles(self) -> tuple[Obstacle, ...]:
        """What is refused, by reason; what keeps most layers of the report from being projected comes first."""
        found: dict[tuple[str, str], Obstacle] = {}
        for operation in self.operations:
            reason, remedy = operation.reason, operation.remedy
            if reason is not None and remedy is not None:
                known = found.get((family(reason), remedy), Obstacle((), reason, remedy))
                found[family(reason), remedy] = replace(known, operations=(*known.operations, operation))
        return tuple(sorted(found.values(), key=lambda obstacle: -len(obstacle.blocks)))

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
            "operations": [_operation_to_json(operation) for operation in self.operations],
            "layers": [_layer_to_json(layer) for layer in self.layers],
        }

    def __str__(self) -> str:
        return " ".join(self.sentences)

    def __repr__(self) -> str:
        return f"<Report on {self.network}: {self}>"


def _of_layers(report: Report) -> str:
    number, possible = len(report.layers), len(report.projectable)
    if not number:
        return "It has no convolution over pictures, so there is no layer to list unless all are asked for."
    windows = sum(layer.windows for layer in report.projectable)
    if not possible:
        none = {1: "Its one layer cannot", 2: "Neither of its two layers can"}
        return none.get(number, f"None of its {number} layers can") + " be projected."
    which = f"{possible} of {number} layers"
    if possible == number:
        which = {1: "Its one layer", 2: "Both layers"}.get(number, f"All {number} layers")
    if windows == possible:
        return f"{which} can be projected exactly, in windows of the picture."
    if not windows:
        return f"{which} can be projected exactly, each on the whole picture."
    whole = f"{possible - windows} on the whole picture, which takes longer"
    return f"{which} can be projected exactly: {windows} in windows of the picture, {whole}."


def _of_obstacles(report: Report) -> list[str]:
    sentences, shown = [], 3
    met = [obstacle for obstacle in report.obstacles if obstacle.blocks]
    for each in met[:shown]:
        which = counted(len(each.blocks), "layer")
        lies = "lies" if len(each.blocks) == 1 else "lie"
        sentences.append(f"The signal cannot cross {each.place}: {each.reason}; {which} {lies} above it.")
    more = len(met) - shown
    return sentences + ([f"There {'is' if more == 1 else 'are'} {more} more such."] if more > 0 else [])


def _of_extensions(report: Report) -> list[str]:
    names = list(dict.fromkeys(operation.title for operation in report.extensions))
    if names:
        are = "is a stated extension" if len(names) == 1 else "are stated extensions"
        return [f"{counted(len(names), 'operation')} {are} of the paper: {listed(names)}."]
    if report.projectable and all(operation.how in (PAPER, EXACT, KEPT, REFUSED) for operation in report.operations):
        every = "Everything else" if report.refused else "Everything"
        return [f"{every} that the signal crosses is the paper's own or an exact transpose."]
    return []


def _operation_to_json(operation: Operation) -> dict[str, Any]:
    return asdict(operation) | {"blocks": list(operation.blocks), "title": operation.title}


def _layer_to_json(layer: CheckedLayer) -> dict[str, Any]:
    return {
        "address": layer.address,
        "aliases": list(layer.aliases),
        "shape": list(layer.shape),
        "field": layer.field.to_json(),
        "reach": layer.reach.to_json(),
        "stride": layer.stride and list(layer.stride),
        "offset": layer.offset and list(layer.offset),
        "windows": layer.windows,
        "whole": layer.whole,
        "blocked_by": layer.blocked_by,
        "blocked_in": layer.blocked_in,
        "refusal": layer.refusal,
    }
