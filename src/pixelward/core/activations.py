"""Activations written out by hand: functions of one tensor that several nodes spell, as x * sigmoid(x)."""

from __future__ import annotations

from pixelward.core.edges import BOUNDED, ELEMENTWISE, Edge, Edges, bounds, constant, factor, names
from pixelward.core.gates import is_hard_sigmoid
from pixelward.core.nodes import known_operation as operation

EXPONENTIAL = names("Exp Expm1 Sub Add Mul Div")  # what exp(x) - 1 is made of, also scaled


def activation(edges: Edges, name: str, feature: Edge, other: Edge) -> tuple[Edge, float] | None:
    """The tensor x where feature and the other factor (or divisor) spell an activation of x, and how many times it."""
    for root, share in _roots(edges, feature):
        found = edges.only_from(other, root, ELEMENTWISE)
        if not found:
            continue
        if name == "Div":
            return (root, share) if "Exp" in found and "Add" in found else None
        largest = _largest(edges, other, root)
        return None if largest is None else (root, share * largest)
    return None


def is_exponential(edges: Edges, edge: Edge, source: Edge) -> bool:
    """Whether a tensor is exp(x) - 1, also scaled, of `source`: the negative half of an ELU."""
    found = edges.only_from(edge, source, EXPONENTIAL)
    return bool(found and found & {"Exp", "Expm1"})


def leaky(edges: Edges, edge: Edge, source: Edge) -> bool:
    """Whether a tensor is `source` times a constant that is nowhere negative."""
    node, inputs = edge[0], edges.inputs(edge[0])
    if operation(node) not in ("Mul", "Div") or [below for _, below in inputs] != [source]:
        return False
    share = constant(node, inputs[0][0])
    return share is not None and bool((share >= 0).all())


def _roots(edges: Edges, edge: Edge) -> list[tuple[Edge, float]]:
    """The tensor, and those that it is a constant multiple of, each with that constant."""
    found = [(edge, 1.0)]
    while True:
        (node, _), share = found[-1]
        inputs = edges.inputs(node)
        if operation(node) == "Neg":
            times: float | None = -1.0
        elif operation(node) in ("Mul", "Div") and len(inputs) == 1:
            times = factor(node, inputs[0][0])
        else:
            return found
        if times is None:
            return found
        found.append((inputs[0][1], share * times))


def _largest(edges: Edges, edge: Edge, root: Edge) -> float | None:
    """What a function of `root` that grows from 0 to a bound comes to, read off its form; None for another."""
    if edge == root:
        return None
    node, inputs = edge[0], edges.inputs(edge[0])
    name, source = operation(node), inputs[0][1]
    if name in ("Sigmoid", "Hardsigmoid"):
        return 1.0 if _grows(edges, source, root) else None
    if name in BOUNDED:
        spelled = is_hard_sigmoid(edges, node) or (bounds(node) == (0.0, 1.0) and source[0] in edges.shifts)
        return bounds(node)[1] if spelled and _grows(edges, source, root) else None
    if name == "Tanh":
        softplus = source != root and operation(source[0]) in ("Softplus", "Relu", "Log1P", "Log", "Logaddexp")
        return 1.0 if softplus else None
    if len(inputs) != 1:
        return None
    if name == "Add":
        bounded = source != root and operation(source[0]) in ("Tanh", "Erf")
        return 2.0 if bounded and edges.shifts.get(node) == 1 else None
    if name == "ToCopy":
        return _largest(edges, source, root)
    below = _largest(edges, source, root) if name in ("Mul", "Div") else None
    times = None if below is None else factor(node, inputs[0][0])
    return None if below is None or times is None or times <= 0 else below * times


def _grows(edges: Edges, edge: Edge, root: Edge) -> bool:
    """Whether a tensor is not a falling function of `root`, as -x is."""
    while edge != root:
        node, inputs = edge[0], edges.inputs(edge[0])
        if operation(node) == "Neg" or len(inputs) != 1:
            return operation(node) != "Neg"
        times = factor(node, inputs[0][0]) if operation(node) in ("Mul", "Div") else None
        if times is not None and times < 0:
            return False
        edge = inputs[0][1]
    return True
