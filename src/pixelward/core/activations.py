"""Activations written out by hand: functions of one tensor that several nodes spell, as x * sigmoid(x)."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelward.core.devices import look
from pixelward.core.edges import BOUNDED, ELEMENTWISE, Edge, Edges, bounds, constant, factor, is_zero, names
from pixelward.core.nodes import known_operation as operation
from pixelward.core.readers import Node

EXPONENTIAL = names("Exp Expm1 Sub Add Mul Div")  # what exp(x) - 1 is made of, also scaled


Share = float | Tensor  # a tensor for one that differs from channel to channel


def activation(edges: Edges, name: str, feature: Edge, other: Edge) -> tuple[Edge, Share] | None:
    """The tensor x where feature and the other factor (or divisor) spell an activation of x, and how many times it."""
    for root, share in _roots(edges, feature):
        for twin in _twins(edges, root, other):
            largest = _largest(edges, other, twin) if name == "Mul" else _of_divisor(edges, other, twin)
            if largest is not None:
                return root, share * largest
    return None


def _twins(edges: Edges, root: Edge, other: Edge) -> list[Edge]:
    """The tensor of which alone a factor is made: the root, or one that was computed once more in the same way."""
    found, stack, seen = [], [other], {other}
    while stack:
        here = stack.pop()
        if here != other and edges.same(here, root):
            found.append(here)
        elif operation(here[0]) in ELEMENTWISE and len(seen) < 64:
            below = [edge for _, edge in edges.inputs(here[0]) if edge not in seen]
            seen.update(below)
            stack += below
    return [twin for twin in found if edges.only_from(other, twin, ELEMENTWISE)]


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
    return share is not None and look(_is_nowhere_negative, share)


def _is_nowhere_negative(share: Tensor) -> bool:
    return bool((share >= 0).all())


def _roots(edges: Edges, edge: Edge) -> list[tuple[Edge, Share]]:
    """The tensor, and those that it is a constant multiple of, each with that constant."""
    found: list[tuple[Edge, Share]] = [(edge, 1.0)]
    while True:
        (node, _), share = found[-1]
        inputs = edges.inputs(node)
        if operation(node) == "Neg":
            times: Share | None = -1.0
        elif operation(node) in ("Mul", "Div") and len(inputs) == 1:
            times = factor(node, inputs[0][0])
            times = constant(node, inputs[0][0]) if times is None and operation(node) == "Mul" else times
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
    if name == "Reciprocal":
        return _of_divisor(edges, source, root)
    if name in BOUNDED:
        low, high = bounds(node)
        return high if low == 0 and 0 < high < torch.inf and _is_shifted(edges, source, root) else None
    if name == "Tanh":
        rectified = None if source == root else _positive(edges, source[0])
        return 1.0 if rectified is not None and _grows(edges, rectified, root) else None
    if len(inputs) != 1:
        return None
    if name == "Div" and inputs[0][0] == 1:
        above, largest = constant(node, 1), _of_divisor(edges, source, root)
        return None if above is None or above.numel() != 1 or largest is None else look(float, above) * largest
    if name == "Add":
        bounded = source != root and operation(source[0]) in ("Tanh", "Erf")
        return 2.0 if bounded and edges.shifts.get(node) == 1 else None
    if name == "ToCopy":
        return _largest(edges, source, root)
    below = _largest(edges, source, root) if name in ("Mul", "Div") else None
    times = None if below is None else factor(node, inputs[0][0])
    return None if below is None or times is None or times <= 0 else below * times


def _of_divisor(edges: Edges, edge: Edge, root: Edge) -> float | None:
    """What one over a function of `root` comes to where that is 1 + exp(-x), or the like; None for another."""
    inputs = edges.inputs(edge[0])
    if edge == root or edges.shifts.get(edge[0]) != 1 or len(inputs) != 1 or operation(inputs[0][1][0]) != "Exp":
        return None
    ((_, exponent),) = edges.inputs(inputs[0][1][0])
    return 1.0 if _falls(edges, exponent, root) else None


def softplus_of(edges: Edges, node: Node) -> Edge | None:
    """The tensor x if the node ends log(1 + exp(x)) in one of its spellings."""
    name, inputs = operation(node), edges.inputs(node)
    source = inputs[0][1]
    if name == "Logaddexp":
        other = constant(node, inputs[0][0]) if len(inputs) == 1 else None
        return source if other is not None and look(is_zero, other) else None
    if name == "Log" and edges.shifts.get(source[0]) == 1 and len(edges.inputs(source[0])) == 1:
        source = edges.inputs(source[0])[0][1]
    elif name != "Log1P":
        return None
    return edges.inputs(source[0])[0][1] if operation(source[0]) == "Exp" else None


def _positive(edges: Edges, node: Node) -> Edge | None:
    """What a softplus, a rectifier or an exponential is of."""
    if operation(node) in ("Softplus", "Relu", "Exp"):
        return edges.inputs(node)[0][1]
    return softplus_of(edges, node) if operation(node) in ("Log", "Log1P", "Logaddexp") else None


def _is_shifted(edges: Edges, edge: Edge, root: Edge) -> bool:
    """Whether a tensor is a positive multiple of `root` with a constant added, as what a hard sigmoid clamps."""
    added, here = False, edge
    while here != root:
        name, inputs = operation(here[0]), edges.inputs(here[0])
        if name not in ("Add", "Sub", "Mul", "Div", "Neg", "ToCopy") or len(inputs) != 1:
            return False
        added = added or name in ("Add", "Sub")
        here = inputs[0][1]
    return added and _grows(edges, edge, root)


def _grows(edges: Edges, edge: Edge, root: Edge) -> bool:
    """Whether a tensor is not a falling function of `root`, as -x is."""
    return _turns(edges, edge, root) % 2 == 0


def _falls(edges: Edges, edge: Edge, root: Edge) -> bool:
    """Whether a tensor is a falling function of `root`: the negative of one that grows."""
    return _turns(edges, edge, root) % 2 == 1


def _turns(edges: Edges, edge: Edge, root: Edge) -> int:
    """How often a function of `root` changes its sign on the way, as far as it is one of a single tensor."""
    turns = 0
    while edge != root:
        node, inputs = edge[0], edges.inputs(edge[0])
        if len(inputs) != 1:
            return turns
        times = factor(node, inputs[0][0]) if operation(node) in ("Mul", "Div") else None
        turns += operation(node) == "Neg" or (times is not None and times < 0)
        edge = inputs[0][1]
    return turns
