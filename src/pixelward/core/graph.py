"""The graph that autograd wrote of a forward pass, read into a plan.

Nodes between the layers and the picture become steps, in the order of the way up; what was noted beside the graph
(`sentinel.py`) names them, joins the nodes of one function, and says which of them no rule may cross.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor
from torch.utils.checkpoint import CheckpointFunction

from pixelward.core import rules
from pixelward.core.edges import BOUNDED, Edge
from pixelward.core.moves import blocks
from pixelward.core.nodes import operation, row_of
from pixelward.core.patterns import Patterns, Verdict
from pixelward.core.plan import MAPS, WHOLE, Axes, Plan, Step, Value
from pixelward.core.pools import lp_pool
from pixelward.core.readers import NOISE, RANDOM, Fields, Node, Reader, multiple_of, pointwise
from pixelward.errors import PixelwardError

_REASONS: Mapping[str, str] = {  # why a kind, or a node without a row, has no rule
    rules.SATURATION: "it saturates, and passes no part of a signal as it is",
    rules.PRODUCT: "both factors carry the signal, and neither is a gate",
    "CopySlices": "a part of a tensor was changed in place",
}
_ATTENTION = "attention: what it multiplies with is computed from the picture"
_RECURRENT = "a recurrent layer"
_FUNCTIONS: Mapping[str, str] = {  # why what these functions do inside has no rule
    "scaled_dot_product_attention": _ATTENTION,
    "multi_head_attention_forward": _ATTENTION,
    **dict.fromkeys(
        ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _RECURRENT
    ),
}


@dataclass(frozen=True)
class Origin:
    """Where a node came from: the module's name, the function's name, its count there, and the function itself."""

    where: str
    name: str
    count: int
    function: object


@dataclass(frozen=True, eq=False)
class Composite:
    """One function made of several nodes, taken as one step: its kind and the tensors that entered it.

    reader: what the step needs of the node called `inner` among them, or of the last one. view: the view through which
    the first input was seen, if it was.
    """

    kind: str
    inputs: tuple[Edge, ...]
    reader: Reader = pointwise
    inner: str | None = None
    view: Edge | None = None


@dataclass(frozen=True)
class Notes:
    """What was seen of the forward pass beside the graph, by node (see `sentinel.py`)."""

    origins: Mapping[Node, Origin]
    composites: Mapping[Node, Composite]
    suspects: Mapping[Node, str]
    shifts: Mapping[Node, float]  # what a number added to a tensor was, which autograd does not save
    escaped: tuple[int, str] | None  # from this sequence number on, the graph may not tell all; and why
    # Sequence numbers of nodes, from and below, that watched functions made, and which functions.
    watched: Sequence[tuple[int, int, Origin | None]]


@dataclass(frozen=True, eq=False)
class Wiring:
    """What every node is and what enters it, where several nodes may be one step."""

    notes: Notes
    live: Callable[[Node], bool] = lambda node: True
    patterns: Patterns = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "patterns", Patterns(self.live, self.notes.shifts))

    def composite(self, node: Node) -> Composite | None:
        """The step of several nodes that ends in this one, by the function that made it or by what it spells."""
        noted = self.notes.composites.get(node)
        if noted is not None:
            return noted
        verdict = self.patterns.verdict(node)
        if verdict is None or verdict.source is None:
            return None
        if verdict.kind == rules.LP_POOL:
            return Composite(verdict.kind, (verdict.source,), lp_pool, "AvgPool2D")
        if verdict.turned is not None:
            return Composite(verdict.kind, (verdict.source,), blocks(verdict.turned))
        return Composite(verdict.kind, (verdict.source,), multiple_of(verdict.share))

    def verdict(self, node: Node) -> Verdict:
        """The kind of a node, which input is kept fixed, and why it has no rule."""
        composite = self.composite(node)
        if composite is not None:
            added = composite.kind == rules.ADDITION and len(composite.inputs) == 2
            statistic = added and any(
                edge is not None and self.patterns.is_shift(composite.inputs[1], edge)
                for edge in (composite.inputs[0], composite.view)
            )
            return Verdict(rules.STATISTIC, kept=1) if statistic else Verdict(composite.kind)
        return self.patterns.verdict(node) or Verdict(row_of(node)[0])

    def is_bounded_gate(self, node: Node) -> bool:
        """Whether a clamp is a hard sigmoid where it ends in a gate."""
        if operation(node) not in BOUNDED:
            return False
        try:
            return self.patterns.is_gate((node, 0))
        except RuntimeError:  # its bounds were overwritten in place
            return False

    def inputs(self, node: Node) -> Sequence[Edge]:
        composite = self.composite(node)
        return node.next_functions if composite is None else composite.inputs

    def crossed(self, node: Node) -> list[Edge]:
        """The inputs that depend on the picture and are not kept fixed."""
        kept = self.verdict(node).kept
        return [e for number, e in enumerate(self.inputs(node)) if e[0] is not None and number != kept]


def read(targets: Sequence[Edge], picture: Node, notes: Notes) -> tuple[Plan, dict[Edge, int]]:
    """Read the graph between `targets` and `picture` (the node that would keep the picture's gradient).

    Returns the plan and the number of every value in it, by edge; those of `targets` are among them.
    """
    wiring = Wiring(notes, _dependent(targets, picture).__contains__)
    order = _order(targets, picture, wiring)
    numbers: dict[Edge, int] = {(picture, 0): 0}
    shape = tuple(picture.variable.shape)
    values = [Value(shape, picture.variable.dtype, MAPS)]
    used = {edge for node in order for edge in wiring.inputs(node)} | set(targets)
    steps = []
    for node in order:
        outputs = [
            len(values) + sum((node, before) in used for before in range(number)) if (node, number) in used else None
            for number in range(len(node._input_metadata))
        ]
        step = _step(node, numbers, outputs, values, wiring, picture)
        for number, (output, metadata) in enumerate(zip(outputs, node._input_metadata, strict=True)):
            if output is not None:
                numbers[node, number] = output
                values.append(Value(tuple(metadata.shape), metadata.dtype, step.axes, step.followed, step.pictures))
        if step.function is CheckpointFunction:  # its node would fill the parameters' gradients
            raise PixelwardError(
                given=f"a re-entrant checkpoint in {step.where or 'the network'!r}, which hides what runs inside it",
                allowed="networks whose operations autograd records",
                next_step="use checkpoint(..., use_reentrant=False)",
            )
        steps.append(step)
    return Plan(tuple(values), tuple(steps), values[0].shape[0]), numbers


def _dependent(targets: Sequence[Edge], picture: Node) -> set[Node]:
    """The nodes below the targets that depend on the picture. Others hold constants."""
    dependent: dict[Node, bool] = {picture: True}
    stack = [(node, False) for node, _ in targets]
    while stack:
        node, visited = stack.pop()
        below = [source for source, _ in node.next_functions if source is not None]
        if visited:
            dependent[node] = any(dependent[source] for source in below)
        elif node not in dependent:
            dependent[node] = False
            stack.append((node, True))
            stack += [(source, False) for source in below if source not in dependent]
    return {node for node, depends in dependent.items() if depends}


def _order(targets: Sequence[Edge], picture: Node, wiring: Wiring) -> list[Node]:
    """The nodes that end a step between the targets and the picture, producers first."""
    order: list[Node] = []
    seen = {picture}
    stack = [(node, False) for node, _ in reversed(targets)]
    while stack:
        node, visited = stack.pop()
        if visited:
            order.append(node)
        elif node not in seen and wiring.live(node):
            seen.add(node)
            stack.append((node, True))
            stack += [(below, False) for below, _ in wiring.inputs(node) if below is not None and below not in seen]
    return order


def _step(
    node: Node,
    numbers: Mapping[Edge, int],
    outputs: Sequence[int | None],
    values: Sequence[Value],
    wiring: Wiring,
    picture: Node,
) -> Step:
    notes, composite, verdict = wiring.notes, wiring.composite(node), wiring.verdict(node)
    inputs = tuple(numbers.get(edge) for edge in wiring.inputs(node))
    sequence = node._sequence_nr()
    watched, within = _watched(sequence, notes.watched)
    origin = notes.origins.get(node) or within
    function = None if composite is not None else getattr(type(node), "_forward_cls", None)
    refusal = notes.suspects.get(node)
    unfit = refusal if refusal in (RANDOM, NOISE) else None
    if notes.escaped is not None and sequence >= notes.escaped[0]:
        refusal = refusal or notes.escaped[1]
    # A view that was read again after its base was changed is made anew, by nobody's call.
    if function is None and not watched and operation(node) != "AsStrided":
        refusal = refusal or "it ran where it cannot be watched (a scripted function, vmap, another thread)"
    inside = None if origin is None else _FUNCTIONS.get(origin.name)
    if inside is _RECURRENT:
        refusal = refusal or inside
    chain = None if composite is None else Chain(node, composite.inputs, picture)
    if chain is not None and not chain.is_whole:
        refusal = refusal or "it changed a tensor in place that is read elsewhere"
    step = Step(
        kind=verdict.kind,
        operation=operation(node) if origin is None else origin.name,
        where="" if origin is None else origin.where,
        inputs=inputs,
        outputs=tuple(outputs),
        input_shapes=tuple(None if index is None else values[index].shape for index in inputs),
        output_shapes=tuple(
            None if number is None else tuple(metadata.shape)
            for number, metadata in zip(outputs, node._input_metadata, strict=True)
        ),
        input_axes=tuple(None if index is None else values[index].axes for index in inputs),
        input_pictures=tuple(None if index is None else values[index].pictures for index in inputs),
        kept=tuple(number == verdict.kept for number in range(len(inputs))),
        node=chain or _called(node),
        function=function or (origin and origin.function),
        gates=wiring.is_bounded_gate(node),
        reason=inside or verdict.reason,
        refusal=refusal,
        unfit=unfit,
    )
    reader = row_of(node)[1] if composite is None else composite.reader
    try:
        found = reader(node if chain is None or composite is None else chain.find(composite.inner), step)
    except RuntimeError as error:  # a saved tensor that is gone
        found = {"refusal": f"what it saved cannot be read: {str(error).split('.')[0]}"}
    return _completed(step, found)


def _completed(step: Step, found: Fields) -> Step:
    """The step with what its reader found; where that says nothing, it sees everything."""
    axes: Axes | None = found.get("axes")
    followed = axes is not None
    if axes is None and len(step.made) == 4:
        axes = MAPS
    sees = found.get("sees") or (WHOLE,) * len(step.inputs)
    reaches = found.get("reaches") or tuple(None if kept else seen for kept, seen in zip(step.kept, sees, strict=True))
    kind = found.get("kind", step.kind)
    return replace(
        step,
        **{
            **found,
            "axes": axes,
            "followed": followed,
            "pictures": found["pictures"] if "pictures" in found else _pictures(step),
            "sees": sees,
            "reaches": reaches,
            "reason": step.reason or found.get("reason") or _REASONS.get(kind),
            "refusal": step.refusal or found.get("refusal"),
            "unfit": step.unfit or found.get("unfit"),
        },
    )


def _pictures(step: Step) -> int | None:
    """The axis of the pictures in an output of which the reader says nothing: where it was, if it can be told."""
    for axis, shape in zip(step.input_pictures, step.input_shapes, strict=True):
        if axis is not None and shape is not None:
            stays = axis == 0 and step.made[:1] == shape[:1]
            return axis if stays or step.made == shape else None
    return None


def _watched(sequence: int, spans: Sequence[tuple[int, int, Origin | None]]) -> tuple[bool, Origin | None]:
    """Whether a watched function made the node of this number, and which."""
    at = bisect_right(spans, sequence, key=lambda span: span[0])
    for first, last, origin in reversed(spans[max(0, at - 3) : at]):
        if first <= sequence < last:
            return True, origin
    return False, None


def _called(node: Node) -> Node:
    """What calls a node: one that is not torch's own is applied."""
    return node if callable(node) else node.apply


class Chain:
    """The transposes of several nodes, run one after another: from a signal at `top` to those at `inputs`."""

    def __init__(self, top: Node, inputs: Sequence[Edge], picture: Node) -> None:
        self.inputs = tuple(inputs)
        ends = {node for node, _ in inputs}
        self.nodes: list[Node] = []
        stack, seen = [(top, False)], set(ends)
        while stack:
            node, visited = stack.pop()
            if visited:
                self.nodes.append(node)
            elif node not in seen and node is not picture:
                seen.add(node)
                stack.append((node, True))
                stack += [(below, False) for below, _ in node.next_functions if below is not None]
        self.nodes.reverse()  # consumers first

    @property
    def is_whole(self) -> bool:
        """Whether all of the inputs are really below the top."""
        below = {edge for node in self.nodes for edge in node.next_functions}
        return all(edge in below for edge in self.inputs)

    def find(self, name: str | None) -> Node:
        """The node of this name among them, or the last one of the way up."""
        return next((node for node in self.nodes if name is not None and operation(node) == name), self.nodes[0])

    def __call__(self, signal: Tensor) -> tuple[Tensor | None, ...]:
        """Signals at the inputs, one each, summed over their consumers as autograd's engine does."""
        arrived: dict[Edge, Tensor] = {(self.nodes[0], 0): signal}
        for node in self.nodes:
            signals = [arrived.get((node, number)) for number in range(len(node._input_metadata))]
            if all(signal is None for signal in signals):
                continue
            down = _called(node)(*(signal if signal is None else signal.contiguous() for signal in signals))
            parts = down if isinstance(down, tuple) else (down,)
            for edge, part in zip(node.next_functions, parts, strict=False):
                if edge[0] is None or part is None:
                    continue
                shape = edge[0]._input_metadata[edge[1]].shape
                part = part if tuple(part.shape) == tuple(shape) else part.sum_to_size(shape)
                arrived[edge] = arrived[edge] + part if edge in arrived else part
        return tuple(arrived.pop(edge, None) for edge in self.inputs)  # one that enters twice gets it all at once
