"""Gates: tensors between bounds that open or close another, as a squeeze-and-excitation's sigmoid does."""

from __future__ import annotations

from collections.abc import Sequence

from pixelward.core.edges import ARITHMETIC, AVERAGES, BOUNDED, MOVES, Edge, Edges, bounds, factor, names
from pixelward.core.nodes import known_operation as operation
from pixelward.core.readers import Node

GATES = names("Sigmoid Hardsigmoid Tanh Softmax")
THROUGH = MOVES | ARITHMETIC | AVERAGES | names("Mean Sum")  # what a gate stays a gate through


class Gates:
    """Tells the gates of a graph; each tensor is looked at once."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._known: dict[Edge, bool] = {}

    def is_gate(self, edge: Edge) -> bool:
        """Whether a tensor is a sigmoid, tanh or softmax of something, also moved, scaled, shifted or averaged."""
        return self._edges.settled(edge, self._known, THROUGH, self._is_made)

    def _is_made(self, node: Node) -> bool:
        name, inputs = operation(node), self._edges.inputs(node)
        if name in GATES:
            return True
        if self._is_sigmoid_by_hand(node, name, inputs):
            return True
        if name in BOUNDED:
            return is_hard_sigmoid(self._edges, node) or bounds(node) in ((0.0, 1.0), (-1.0, 1.0), (-0.5, 0.5))
        if name in ("Mul", "Div") and len(inputs) == 1 and operation(inputs[0][1][0]) in BOUNDED:
            return _scaled_to_one(node, inputs[0])
        if name not in THROUGH or not inputs:
            return False
        return all(self._known[edge] for _, edge in inputs)

    def _is_sigmoid_by_hand(self, node: Node, name: str, inputs: Sequence[tuple[int, Edge]]) -> bool:
        """1 / (1 + exp(-x)), or exp(x) over its own sum."""
        if name == "Reciprocal" or (name == "Div" and len(inputs) == 1 and inputs[0][0] == 1):
            below = inputs[0][1][0]
            sums = self._edges.inputs(below)
            return self._edges.shifts.get(below) == 1 and len(sums) == 1 and operation(sums[0][1][0]) == "Exp"
        if name == "Div" and len(inputs) == 2 and operation(inputs[0][1][0]) == "Exp":
            sums = self._edges.inputs(inputs[1][1][0])
            return operation(inputs[1][1][0]) == "Sum" and [edge for _, edge in sums] == [inputs[0][1]]
        return False


def is_hard_sigmoid(edges: Edges, node: Node) -> bool:
    """relu6(x + 3), which is divided by 6 later."""
    return bounds(node) == (0.0, 6.0) and edges.shifts.get(edges.inputs(node)[0][1][0]) == 3


def _scaled_to_one(node: Node, source: tuple[int, Edge]) -> bool:
    """A clamp that is scaled to the width of one, as relu6(x + 3) / 6: a hard sigmoid."""
    number, (clamp, _) = source
    low, high = bounds(clamp)
    times = factor(node, number)
    return times is not None and abs((high - low) * abs(times) - 1) < 1e-3
