"""What several nodes spell together: a gate, a norm, an activation written out, or a product without a rule.

A product of two tensors that both depend on the picture is not linear. It has a rule where one of the two is a *gate*
(a sigmoid, tanh or softmax, also moved and scaled), a *statistic* (a reduction of the very tensor that it scales or
shifts), or where both are functions of one tensor that spell an activation or a response norm. Else it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from pixelward.core import rules
from pixelward.core.activations import Share, activation, leaky, softplus_of
from pixelward.core.edges import AVERAGES, CLAMPS, Edge, Edges, bounds, constant, is_rectified, names
from pixelward.core.gates import Gates
from pixelward.core.nodes import known_operation as operation
from pixelward.core.norms import Statistics, normalises
from pixelward.core.readers import Node, axis_of

VIEWS = names("View ReshapeAlias UnsafeView")


@dataclass(frozen=True)
class Verdict:
    """What a node is, beside what its name says.

    kind: its row of the table of rules. source: where it is a function of one tensor, spelled by several nodes, that
    tensor; share: how many times the activation itself that function is, 6 in x * relu6(x + 3). kept: the number of the
    input that the deconvnet keeps fixed. turned: where blocks of pixels become channels, the order of the six axes
    between. reason: why a kind has no rule.
    """

    kind: str
    source: Edge | None = None
    share: Share = 1.0
    kept: int | None = None
    turned: tuple[int, ...] | None = None
    reason: str | None = None


class Patterns:
    """Reads patterns out of a graph in which `live` tells whether a node depends on the picture.

    shifts: the numbers that were added by sums, by node; autograd does not save them.
    """

    def __init__(self, live: Callable[[Node], bool], shifts: Mapping[Node, float] | None = None) -> None:
        self._edges = Edges(live, shifts)
        self._gates = Gates(self._edges)
        self._statistics = Statistics(self._edges)
        self._verdicts: dict[Node, Verdict | None] = {}

    def verdict(self, node: Node) -> Verdict | None:
        """What the node spells with those below it; None where it is what its own name says."""
        if node not in self._verdicts:
            try:
                self._verdicts[node] = self._read(node)
            except RuntimeError:  # a saved tensor that was overwritten in place
                reason = "what it worked with was overwritten in place later"
                self._verdicts[node] = Verdict(operation(node), reason=reason)
        return self._verdicts[node]

    def is_gate(self, edge: Edge) -> bool:
        """Whether a tensor is a gate."""
        return self._gates.is_gate(edge)

    def is_shift(self, edge: Edge, of: Edge) -> bool:
        """Whether a tensor is a statistic that centres the tensor `of`."""
        return self._statistics.is_shift(edge, of)

    def _read(self, node: Node) -> Verdict | None:
        name, inputs = operation(node), self._edges.inputs(node)
        if name in CLAMPS or (name in ("Maximum", "Fmax", "Minimum") and len(inputs) == 1):
            return self._clamp(node, inputs)
        if name in VIEWS and len(inputs) == 1:
            return self._blocks(node, inputs[0][1])
        if name == "Pow" and len(inputs) == 1 and inputs[0][0] == 0:
            return self._power(node, inputs[0][1])
        if name == "Maximum" and len(inputs) == 2:
            for (_, one), (_, other) in (inputs, reversed(inputs)):
                if leaky(self._edges, other, one):
                    return Verdict(rules.ACTIVATION, source=one)
        if name in ("Log", "Log1P", "Logaddexp"):
            source = softplus_of(self._edges, node)
            return None if source is None else Verdict(rules.ACTIVATION, source=source)
        if name in ("Mul", "Div") and len(inputs) == 2:
            return self._of_two(node, name, inputs[0][1], inputs[1][1])
        if name in ("Add", "Sub", "Rsub", "Addcmul", "Lerp") and len(inputs) == 2:
            for kept in (1, 0):
                if self.is_shift(inputs[kept][1], inputs[1 - kept][1]):
                    return Verdict(rules.STATISTIC, kept=inputs[kept][0])
        if name == "Lerp" and len(inputs) == 3 and self.is_gate(inputs[2][1]):
            return Verdict(rules.GATE, kept=2)
        if name in ("Div", "Reciprocal") and len(inputs) == 1 and inputs[0][0] == (1 if name == "Div" else 0):
            return Verdict(rules.PRODUCT, reason="the divisor carries the signal")
        return None

    def _clamp(self, node: Node, inputs: Sequence[tuple[int, Edge]]) -> Verdict:
        """A clamp from 0 is a rectifier, whether bounded above or not; so is a bound above of a rectified tensor."""
        if len(inputs) > 1:
            return Verdict(rules.PRODUCT, reason="its bounds are computed from the picture")
        low, high = bounds(node)
        if low == 0:
            return Verdict(rules.RECTIFIER if high == torch.inf else rules.ACTIVATION)
        floor = constant(node, inputs[0][0]) if operation(node) in ("Maximum", "Fmax") else None
        if floor is not None and floor.numel() > 1:
            return Verdict(rules.ACTIVATION)  # a rectifier from learnt thresholds
        if low == -torch.inf and high > 0 and is_rectified(inputs[0][1]):
            return Verdict(rules.ACTIVATION)
        return Verdict(rules.SATURATION, reason="it clamps elsewhere than at 0")

    def _blocks(self, node: Node, source: Edge) -> Verdict | None:
        """A view, a permutation and a view that put blocks of pixels into channels: space to depth."""
        while operation(source[0]) in ("Clone", "Alias"):
            ((_, source),) = self._edges.inputs(source[0])
        if operation(source[0]) != "Permute" or len(node._input_metadata[0].shape) != 4:
            return None
        order = tuple(axis_of(axis, len(source[0]._saved_dims)) for axis in source[0]._saved_dims)
        ((_, parted),) = self._edges.inputs(source[0])
        if len(order) != 6 or operation(parted[0]) not in VIEWS or order[0] != 0 or order[4:] != (2, 4):
            return None
        before, between = parted[0]._saved_self_sym_sizes, parted[0]._input_metadata[0].shape
        split = len(before) == 4 and tuple(between[:2]) == tuple(before[:2])
        made = node._input_metadata[0].shape
        if not split or before[2] != between[2] * between[3] or before[3] != between[4] * between[5]:
            return None
        if (made[0], *made[2:]) != (before[0], between[2], between[4]):
            return None
        return Verdict(rules.LINEAR, source=self._edges.inputs(parted[0])[0][1], turned=order)

    def _power(self, node: Node, source: Edge) -> Verdict | None:
        """A positive power of a rectified tensor is a rectifier; the power of a mean of powers is an Lp pool."""
        if operation(source[0]) in AVERAGES | {"Mean"} and operation(self._edges.inputs(source[0])[0][1][0]) == "Pow":
            return Verdict(rules.LP_POOL, source=self._powered(self._edges.inputs(source[0])[0][1]))
        exponent = getattr(node, "_saved_exponent", None)
        if isinstance(exponent, int | float) and exponent > 0 and is_rectified(source):
            return Verdict(rules.ACTIVATION)
        return None

    def _powered(self, power: Edge) -> Edge:
        """The tensor whose powers are averaged, before it was held away from zero."""
        ((_, source),) = self._edges.inputs(power[0])[:1]
        if operation(source[0]) in ("ClampMin", "Clamp") and 0 < bounds(source[0])[0] < 1e-2:
            ((_, source),) = self._edges.inputs(source[0])
        return source

    def _of_two(self, node: Node, name: str, one: Edge, other: Edge) -> Verdict:
        pairs = ((one, other, 1), (other, one, 0)) if name == "Mul" else ((one, other, 1),)
        if name == "Mul" and one == other and is_rectified(one):
            return Verdict(rules.ACTIVATION, source=one)
        for feature, factor, _ in pairs:
            spelled = activation(self._edges, name, feature, factor)
            if spelled is not None:
                return Verdict(rules.ACTIVATION, source=spelled[0], share=spelled[1])
        gates = [number for number, edge in enumerate((one, other)) if self.is_gate(edge)]
        if len(gates) == 1 and (name == "Mul" or gates == [1]):
            return Verdict(rules.GATE, kept=gates[0])
        if len(gates) == 2:
            return Verdict(rules.PRODUCT, reason="both factors are gates")
        for feature, factor, number in pairs:
            if self._statistics.is_statistic(factor, feature):
                return Verdict(rules.STATISTIC, kept=number)
            if normalises(self._edges, name, factor, feature):
                return Verdict(rules.RESPONSE_NORM, kept=number)
        both = "numerator and divisor" if name == "Div" else "both factors"
        called = " and ".join(sorted(operation(edge[0]).lower() for edge in (one, other)))
        return Verdict(rules.PRODUCT, reason=f"{both} carry the signal ({called}), and neither is a gate")
