"""The graph that autograd wrote of a forward pass, read into a plan.

Nodes between the layers and the picture become steps, in the order of the way up; what was noted beside the graph
(`sentinel.py`) names them, joins the nodes of one function, and says which of them no rule may cross.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from torch.utils.checkpoint import CheckpointFunction

from pixelward.core.nodes import Node, operation, row_of
from pixelward.core.plan import POINTWISE, Plan, Step, Value
from pixelward.errors import PixelwardError

Edge = tuple[Node, int]  # a node and the number of one of its outputs on the way up: one tensor


@dataclass(frozen=True)
class Origin:
    """Where a node came from: the module's name, the function's name, its count there, and the function itself."""

    where: str
    name: str
    count: int
    function: object


@dataclass(frozen=True, eq=False)
class Composite:
    """One function made of several nodes, taken as one step: its kind and the tensors that entered it."""

    kind: str
    inputs: tuple[Edge, ...]


@dataclass(frozen=True)
class Notes:
    """What was seen of the forward pass beside the graph, by node (see `sentinel.py`)."""

    origins: Mapping[Node, Origin]
    composites: Mapping[Node, Composite]
    suspects: Mapping[Node, str]
    escaped: tuple[int, str] | None  # from this sequence number on, the graph may not tell all; and why
    watched: tuple[tuple[int, int], ...]  # sequence numbers of nodes that watched functions made, from and below


def read(targets: Sequence[Edge], picture: Node, notes: Notes) -> tuple[Plan, dict[Edge, int]]:
    """Read the graph between `targets` and `picture` (the node that would keep the picture's gradient).

    Returns the plan and the number of every value in it, by edge; those of `targets` are among them.
    """
    order = _live_nodes(targets, picture, notes)
    numbers: dict[Edge, int] = {(picture, 0): 0}
    values = [Value(tuple(picture.variable.shape), picture.variable.dtype)]
    used = {edge for node in order for edge in _inputs(node, notes)} | set(targets)
    steps = []
    for node in order:
        outputs: list[int | None] = []
        for number, metadata in enumerate(node._input_metadata):
            if (node, number) in used:
                numbers[node, number] = len(values)
                outputs.append(len(values))
                values.append(Value(tuple(metadata.shape), metadata.dtype))
            else:
                outputs.append(None)
        steps.append(_step(node, numbers, outputs, values, notes, picture))
        if steps[-1].function is CheckpointFunction:
            raise PixelwardError(
                given="a re-entrant checkpoint, which hides what runs inside it",
                allowed="networks whose operations autograd records",
                next_step="use checkpoint(..., use_reentrant=False)",
            )
    return Plan(tuple(values), tuple(steps)), numbers


def _inputs(node: Node, notes: Notes) -> Sequence[Edge]:
    composite = notes.composites.get(node)
    return node.next_functions if composite is None else composite.inputs


def _live_nodes(targets: Sequence[Edge], picture: Node, notes: Notes) -> list[Node]:
    """Nodes between the targets and the picture, producers first. Others hold constants."""
    live: dict[Node, bool] = {picture: True}
    order: list[Node] = []
    stack = [(node, False) for node, _ in reversed(targets)]
    while stack:
        node, visited = stack.pop()
        if visited:
            live[node] = any(live[below] for below, _ in _inputs(node, notes) if below is not None)
            if live[node]:
                order.append(node)
        elif node not in live:
            live[node] = False
            stack.append((node, True))
            stack += [(below, False) for below, _ in _inputs(node, notes) if below is not None and below not in live]
    return order


def _step(
    node: Node,
    numbers: Mapping[Edge, int],
    outputs: list[int | None],
    values: list[Value],
    notes: Notes,
    picture: Node,
) -> Step:
    inputs = tuple(numbers.get(edge) for edge in _inputs(node, notes))
    origin = notes.origins.get(node)
    composite = notes.composites.get(node)
    name = operation(node) if origin is None else origin.name
    kind, reader = row_of(node)
    refusal = notes.suspects.get(node)
    sequence = node._sequence_nr()
    if notes.escaped is not None and sequence >= notes.escaped[0]:
        refusal = refusal or notes.escaped[1]
    users = hasattr(type(node), "_forward_cls")
    if not users and not _is_watched(sequence, notes.watched):
        refusal = refusal or "it ran where it cannot be watched (a scripted function, vmap, another thread)"
    step = Step(
        kind=kind,
        operation=name,
        where="" if origin is None else origin.where,
        inputs=inputs,
        outputs=tuple(outputs),
        input_shapes=tuple(None if index is None else values[index].shape for index in inputs),
        output_shapes=tuple(None if index is None else values[index].shape for index in outputs),
        node=node if callable(node) else node.apply,  # a user's autograd function is applied, not called
        function=getattr(type(node), "_forward_cls", None) or (origin and origin.function),
        refusal=refusal,
    )
    if composite is not None:
        return replace(
            step, kind=composite.kind, geometry=POINTWISE, node=Chain(node, composite.inputs, picture), refusal=refusal
        )
    try:
        return replace(step, **reader(node, step))
    except RuntimeError as error:  # a saved tensor that is gone
        return replace(step, refusal=refusal or f"what it saved cannot be read: {str(error).split('.')[0]}")


def _is_watched(sequence: int, watched: Sequence[tuple[int, int]]) -> bool:
    at = bisect_right(watched, sequence, key=lambda span: span[0])
    return any(first <= sequence < last for first, last in watched[max(0, at - 3) : at])


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

    def __call__(self, signal: Tensor) -> tuple[Tensor | None, ...]:
        """Signals at the inputs, one each, summed over their consumers as autograd's engine does."""
        arrived: dict[Edge, Tensor] = {(self.nodes[0], 0): signal}
        for node in self.nodes:
            signals = [arrived.get((node, number)) for number in range(len(node._input_metadata))]
            if all(signal is None for signal in signals):
                continue
            down = node(*signals)
            parts = down if isinstance(down, tuple) else (down,)
            for edge, part in zip(node.next_functions, parts, strict=False):
                if edge[0] is None or part is None:
                    continue
                shape = edge[0]._input_metadata[edge[1]].shape
                part = part if tuple(part.shape) == tuple(shape) else part.sum_to_size(shape)
                arrived[edge] = arrived[edge] + part if edge in arrived else part
        return tuple(arrived.get(edge) for edge in self.inputs)
