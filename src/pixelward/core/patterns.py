"""What several nodes spell together: gates, statistics of the picture, activations and norms written out by hand.

A product of two tensors that both depend on the picture is not linear. It has a rule where one of the two is a *gate*
(a sigmoid, tanh or softmax, also moved and scaled), a *statistic* (a reduction of the very tensor that it scales or
shifts), or where both are functions of one tensor that spell an activation or a response norm. Else it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from pixelward.core import rules
from pixelward.core.nodes import known_operation as operation
from pixelward.core.readers import Node, as_tensor, axis_of

Edge = tuple[Node, int]  # a node and the number of one of its outputs on the way up: one tensor


_Told = TypeVar("_Told")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


GATES = _names("Sigmoid Hardsigmoid Tanh Softmax")
CLAMPS = _names("Clamp ClampMin ClampMax Hardtanh Threshold")
WHOLE_MOVES = _names(
    "View ReshapeAlias UnsafeView Transpose Permute Unsqueeze Squeeze Expand ToCopy Clone Alias Flip Roll PixelShuffle "
    "PixelUnshuffle ChannelShuffle"
)
VIEWS = _names("View ReshapeAlias UnsafeView")
NORMS = _names("NativeBatchNorm NativeLayerNorm NativeGroupNorm")
MOVES = _names(
    "View ReshapeAlias UnsafeView T Transpose Permute Unsqueeze Squeeze Select Slice Expand Repeat Split "
    "SplitWithSizes UnsafeSplit UnsafeSplitWithSizes Unbind Stack Cat Index IndexSelect ToCopy Clone Alias "
    "ConstantPadNd ReflectionPad2D ReplicationPad2D UpsampleNearest2D UpsampleNearestExact2D UpsampleBilinear2D "
    "UpsampleBicubic2D PixelShuffle PixelUnshuffle ChannelShuffle"
)
ARITHMETIC = _names("Add Sub Rsub Mul Div Neg")
ELEMENTWISE = ARITHMETIC | _names(
    "Pow Sqrt Rsqrt Exp Expm1 Log Log1P Abs Reciprocal Erf Sigmoid Tanh Hardsigmoid Softplus Relu Threshold Hardtanh "
    "Clamp ClampMin ClampMax LeakyRelu Elu Silu Gelu Hardswish Mish Maximum Minimum Sign Addcmul Addcdiv Where ToCopy "
    "Clone Alias"
)
REDUCTIONS = _names("Mean Sum Var Std VarMean StdMean LinalgVectorNorm Norm Amax Amin Max Min Logsumexp")
NEIGHBOURS = _names("AvgPool2D AvgPool3D Convolution Cumsum")  # what mixes a place with those beside it
POWERS = _names("Pow Mul Abs")
NORMALISING = MOVES | NEIGHBOURS | POWERS | _names("Add Div Sqrt Rsqrt Reciprocal Sum Mean")
AVERAGES = _names("AvgPool2D AdaptiveAvgPool2D")
BOUNDED = _names("Hardtanh Clamp")


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
    share: float = 1.0
    kept: int | None = None
    turned: tuple[int, ...] | None = None
    reason: str | None = None


class Patterns:
    """Reads patterns out of a graph in which `live` tells whether a node depends on the picture.

    shifts: the numbers that were added by sums, by node; autograd does not save them.
    """

    def __init__(self, live: Callable[[Node], bool], shifts: Mapping[Node, float] | None = None) -> None:
        self._live = live
        self._shifts = shifts or {}
        self._verdicts: dict[Node, Verdict | None] = {}
        self._gates: dict[Edge, bool] = {}
        self._reduced: dict[Edge, frozenset[frozenset[Edge]] | None] = {}

    def verdict(self, node: Node) -> Verdict | None:
        """What the node spells with those below it; None where it is what its own name says."""
        if node not in self._verdicts:
            try:
                self._verdicts[node] = self._read(node)
            except RuntimeError:  # a saved tensor that was overwritten in place
                reason = "what it worked with was overwritten in place later"
                self._verdicts[node] = Verdict(operation(node), reason=reason)
        return self._verdicts[node]

    def inputs(self, node: Node) -> list[tuple[int, Edge]]:
        """The inputs that depend on the picture, numbered as the node's arguments."""
        return [
            (number, edge)
            for number, edge in enumerate(node.next_functions)
            if edge[0] is not None and self._live(edge[0])
        ]

    def _read(self, node: Node) -> Verdict | None:
        name, inputs = operation(node), self.inputs(node)
        if name in CLAMPS or (name in ("Maximum", "Fmax", "Minimum") and len(inputs) == 1):
            return self._clamp(node, inputs)
        if name in VIEWS and len(inputs) == 1:
            return self._blocks(node, inputs[0][1])
        if name == "Pow" and len(inputs) == 1 and inputs[0][0] == 0:
            return self._power(node, inputs[0][1])
        if name == "Maximum" and len(inputs) == 2:
            for (_, one), (_, other) in (inputs, reversed(inputs)):
                if leaky(other, one, self.inputs(other[0])):
                    return Verdict(rules.ACTIVATION, source=one)
        if name in ("Log", "Log1P", "Logaddexp"):
            return self._logarithm(node, inputs)
        if name in ("Mul", "Div") and len(inputs) == 2:
            return self._of_two(node, name, inputs[0][1], inputs[1][1])
        if name in ("Add", "Sub", "Rsub", "Addcmul", "Lerp") and len(inputs) == 2:
            for kept in (1, 0):
                if self.is_statistic(inputs[kept][1], inputs[1 - kept][1]):
                    return Verdict(rules.STATISTIC, kept=inputs[kept][0])
        if name in ("Div", "Reciprocal") and len(inputs) == 1 and inputs[0][0] == (1 if name == "Div" else 0):
            return Verdict(rules.PRODUCT, reason="the divisor carries the signal")
        return None

    def _clamp(self, node: Node, inputs: Sequence[tuple[int, Edge]]) -> Verdict:
        """A clamp from 0 is a rectifier, whether bounded above or not; so is a bound above of a rectified tensor."""
        if len(inputs) > 1:
            return Verdict(rules.PRODUCT, reason="its bounds are computed from the picture")
        low, high = _bounds(node)
        if low == 0:
            return Verdict(rules.RECTIFIER if high == torch.inf else rules.ACTIVATION)
        constant = _constant(node, inputs[0][0]) if operation(node) in ("Maximum", "Fmax") else None
        if constant is not None and constant.numel() > 1:
            return Verdict(rules.ACTIVATION)  # a rectifier from learnt thresholds
        if low == -torch.inf and high > 0 and self._is_rectified(inputs[0][1]):
            return Verdict(rules.ACTIVATION)
        return Verdict(rules.SATURATION, reason="it clamps elsewhere than at 0")

    def _blocks(self, node: Node, source: Edge) -> Verdict | None:
        """A view, a permutation and a view that put blocks of pixels into channels: space to depth."""
        while operation(source[0]) in ("Clone", "Alias"):
            ((_, source),) = self.inputs(source[0])
        if operation(source[0]) != "Permute" or len(node._input_metadata[0].shape) != 4:
            return None
        order = tuple(axis_of(axis, len(source[0]._saved_dims)) for axis in source[0]._saved_dims)
        ((_, parted),) = self.inputs(source[0])
        if len(order) != 6 or operation(parted[0]) not in VIEWS or order[0] != 0 or order[4:] != (2, 4):
            return None
        before, between = parted[0]._saved_self_sym_sizes, parted[0]._input_metadata[0].shape
        split = len(before) == 4 and tuple(between[:2]) == tuple(before[:2])
        made = node._input_metadata[0].shape
        if not split or before[2] != between[2] * between[3] or before[3] != between[4] * between[5]:
            return None
        if (made[0], *made[2:]) != (before[0], between[2], between[4]):
            return None
        return Verdict(rules.LINEAR, source=self.inputs(parted[0])[0][1], turned=order)

    def _is_rectified(self, edge: Edge) -> bool:
        return operation(edge[0]) in (*CLAMPS, "Relu") and _bounds(edge[0])[0] == 0

    def _power(self, node: Node, source: Edge) -> Verdict | None:
        """A positive power of a rectified tensor is a rectifier; the power of a mean of powers is an Lp pool."""
        if operation(source[0]) in AVERAGES | {"Mean"} and operation(self.inputs(source[0])[0][1][0]) == "Pow":
            return Verdict(rules.LP_POOL, source=self._powered(self.inputs(source[0])[0][1]))
        exponent = getattr(node, "_saved_exponent", None)
        if isinstance(exponent, int | float) and exponent > 0 and self._is_rectified(source):
            return Verdict(rules.ACTIVATION)
        return None

    def _logarithm(self, node: Node, inputs: Sequence[tuple[int, Edge]]) -> Verdict | None:
        """log(1 + exp(x)) in its spellings is a softplus."""
        source = inputs[0][1]
        if operation(node) == "Logaddexp":
            constant = _constant(node, inputs[0][0]) if len(inputs) == 1 else None
            return None if constant is None or constant.any() else Verdict(rules.ACTIVATION)
        if operation(node) == "Log" and operation(source[0]) == "Add" and len(self.inputs(source[0])) == 1:
            source = self.inputs(source[0])[0][1]
        elif operation(node) == "Log":
            return None
        exponential = operation(source[0]) == "Exp"
        return Verdict(rules.ACTIVATION, source=self.inputs(source[0])[0][1]) if exponential else None

    def _powered(self, power: Edge) -> Edge:
        """The tensor whose powers are averaged, before it was held away from zero."""
        ((_, source),) = self.inputs(power[0])[:1]
        if operation(source[0]) in ("ClampMin", "Clamp") and 0 < _bounds(source[0])[0] < 1e-2:
            ((_, source),) = self.inputs(source[0])
        return source

    def _of_two(self, node: Node, name: str, one: Edge, other: Edge) -> Verdict:
        pairs = ((one, other, 1), (other, one, 0)) if name == "Mul" else ((one, other, 1),)
        if name == "Mul" and one == other and self._is_rectified(one):
            return Verdict(rules.ACTIVATION, source=one)
        for feature, factor, _ in pairs:
            spelled = self._spelled(name, feature, factor)
            if spelled is not None:
                return Verdict(rules.ACTIVATION, source=spelled[0], share=spelled[1])
        gates = [number for number, edge in enumerate((one, other)) if self.is_gate(edge)]
        if len(gates) == 1 and (name == "Mul" or gates == [1]):
            return Verdict(rules.GATE, kept=gates[0])
        if len(gates) == 2:
            return Verdict(rules.PRODUCT, reason="both factors are gates")
        for feature, factor, number in pairs:
            if self.is_statistic(factor, feature):
                return Verdict(rules.STATISTIC, kept=number)
            if self._normalises(name, factor, feature):
                return Verdict(rules.RESPONSE_NORM, kept=number)
        both = "numerator and divisor" if name == "Div" else "both factors"
        names = " and ".join(sorted(operation(edge[0]).lower() for edge in (one, other)))
        return Verdict(rules.PRODUCT, reason=f"{both} carry the signal ({names}), and neither is a gate")

    # Gates.

    def is_gate(self, edge: Edge) -> bool:
        """Whether a tensor is a sigmoid, tanh or softmax of something, also moved, scaled, shifted or averaged."""
        return self._settled(edge, self._gates, MOVES | ARITHMETIC | AVERAGES | {"Mean", "Sum"}, self._gates_out)

    def _settled(
        self, edge: Edge, known: dict[Edge, _Told], through: frozenset[str], tell: Callable[[Node], _Told]
    ) -> _Told:
        """What is told of a tensor, once it is known of all those that it is made of `through` some operations."""
        stack = [edge]
        while stack:
            here = stack[-1]
            below = [e for _, e in self.inputs(here[0])] if operation(here[0]) in through else []
            waiting = [e for e in below if e not in known] if here not in known else []
            if waiting:
                stack += waiting
            else:
                known.setdefault(stack.pop(), tell(here[0]))
        return known[edge]

    def _gates_out(self, node: Node) -> bool:
        name, inputs = operation(node), self.inputs(node)
        if name in GATES:
            return True
        if self._is_sigmoid_by_hand(node, name, inputs):
            return True
        if name in BOUNDED:
            return self._is_hard_sigmoid(node) or _bounds(node) in ((0.0, 1.0), (-1.0, 1.0), (-0.5, 0.5))
        if name in ("Mul", "Div") and len(inputs) == 1 and operation(inputs[0][1][0]) in BOUNDED:
            return self._scaled_to_one(node, inputs[0])
        if name not in MOVES | ARITHMETIC | AVERAGES | {"Mean", "Sum"} or not inputs:
            return False
        return all(self._gates[edge] for _, edge in inputs)

    def _is_sigmoid_by_hand(self, node: Node, name: str, inputs: Sequence[tuple[int, Edge]]) -> bool:
        """1 / (1 + exp(-x)), or exp(x) over its own sum."""
        if name == "Reciprocal" or (name == "Div" and len(inputs) == 1 and inputs[0][0] == 1):
            below = inputs[0][1][0]
            sums = self.inputs(below)
            return self._shifts.get(below) == 1 and len(sums) == 1 and operation(sums[0][1][0]) == "Exp"
        if name == "Div" and len(inputs) == 2 and operation(inputs[0][1][0]) == "Exp":
            sums = self.inputs(inputs[1][1][0])
            return operation(inputs[1][1][0]) == "Sum" and [edge for _, edge in sums] == [inputs[0][1]]
        return False

    def _is_hard_sigmoid(self, node: Node) -> bool:
        """relu6(x + 3), which is divided by 6 later."""
        return _bounds(node) == (0.0, 6.0) and self._shifts.get(self.inputs(node)[0][1][0]) == 3

    @staticmethod
    def _scaled_to_one(node: Node, source: tuple[int, Edge]) -> bool:
        """A clamp that is scaled to the width of one, as relu6(x + 3) / 6: a hard sigmoid."""
        number, (clamp, _) = source
        low, high = _bounds(clamp)
        factor = _factor(node, number)
        return factor is not None and abs((high - low) * abs(factor) - 1) < 1e-3

    # Activations and norms spelled out: functions of one tensor.

    def _only_from(self, edge: Edge, source: Edge, allowed: frozenset[str]) -> set[str] | None:
        """Names of the nodes between `source` and `edge`; None where anything else than `source` comes in."""
        names: set[str] = set()
        stack, seen = [edge], {source}
        while stack:
            here = stack.pop()
            if here in seen:
                continue
            seen.add(here)
            if operation(here[0]) not in allowed or not self.inputs(here[0]):
                return None
            names.add(operation(here[0]))
            stack += [below for _, below in self.inputs(here[0])]
            if len(seen) > 64:
                return None
        return names

    def is_exponential(self, edge: Edge, source: Edge) -> bool:
        """Whether a tensor is exp(x) - 1, also scaled, of `source`: the negative half of an ELU."""
        names = self._only_from(edge, source, _names("Exp Expm1 Sub Add Mul Div"))
        return bool(names and names & {"Exp", "Expm1"})

    def _roots(self, edge: Edge) -> list[tuple[Edge, float]]:
        """The tensor, and those that it is a constant multiple of, each with that constant."""
        found = [(edge, 1.0)]
        while True:
            (node, _), share = found[-1]
            inputs = self.inputs(node)
            if operation(node) == "Neg":
                factor: float | None = -1.0
            elif operation(node) in ("Mul", "Div") and len(inputs) == 1:
                factor = _factor(node, inputs[0][0])
            else:
                return found
            if factor is None:
                return found
            found.append((inputs[0][1], share * factor))

    def _spelled(self, name: str, feature: Edge, factor: Edge) -> tuple[Edge, float] | None:
        """The tensor x where feature and factor spell an activation of x, as x * sigmoid(x), and how many times it."""
        for root, share in self._roots(feature):
            names = self._only_from(factor, root, ELEMENTWISE)
            if not names:
                continue
            if name == "Div":
                return (root, share) if "Exp" in names and "Add" in names else None
            largest = self._largest(factor, root)
            return None if largest is None else (root, share * largest)
        return None

    def _largest(self, edge: Edge, root: Edge) -> float | None:
        """What a function of `root` that grows from 0 to a bound comes to, read off its form; None for another."""
        if edge == root:
            return None
        node, inputs = edge[0], self.inputs(edge[0])
        name, source = operation(node), inputs[0][1]
        if name in ("Sigmoid", "Hardsigmoid"):
            return 1.0 if self._grows(source, root) else None
        if name in BOUNDED:
            spelled = self._is_hard_sigmoid(node) or (_bounds(node) == (0.0, 1.0) and source[0] in self._shifts)
            return _bounds(node)[1] if spelled and self._grows(source, root) else None
        if name == "Tanh":
            softplus = source != root and operation(source[0]) in ("Softplus", "Relu", "Log1P", "Log", "Logaddexp")
            return 1.0 if softplus else None
        if len(inputs) != 1:
            return None
        if name == "Add":
            bounded = source != root and operation(source[0]) in ("Tanh", "Erf")
            return 2.0 if bounded and self._shifts.get(node) == 1 else None
        if name == "ToCopy":
            return self._largest(source, root)
        below = self._largest(source, root) if name in ("Mul", "Div") else None
        factor = None if below is None else _factor(node, inputs[0][0])
        return None if below is None or factor is None or factor <= 0 else below * factor

    def _grows(self, edge: Edge, root: Edge) -> bool:
        """Whether a tensor is not a falling function of `root`, as -x is."""
        while edge != root:
            node, inputs = edge[0], self.inputs(edge[0])
            if operation(node) == "Neg" or len(inputs) != 1:
                return operation(node) != "Neg"
            factor = _factor(node, inputs[0][0]) if operation(node) in ("Mul", "Div") else None
            if factor is not None and factor < 0:
                return False
            edge = inputs[0][1]
        return True

    def _normalises(self, name: str, factor: Edge, feature: Edge) -> bool:
        """Whether x / f(x) or x * f(x) is a response norm: f mixes x with what is beside it, and divides."""
        names = self._only_from(factor, feature, NORMALISING)
        if not names or not names & POWERS or not names & (NEIGHBOURS | {"Cat", "Slice"}):
            return False
        return name == "Div" or self._divides(factor[0])

    def _divides(self, node: Node) -> bool:
        """Whether a tensor is the reciprocal or a negative power of another, also scaled."""
        while True:
            name = operation(node)
            if name in ("Reciprocal", "Rsqrt") or (name == "Pow" and _negative(node)):
                return True
            inputs = self.inputs(node)
            if name not in MOVES | {"Mul", "Div"} or len(inputs) != 1:
                return False
            node = inputs[0][1][0]

    # Statistics.

    def is_statistic(self, edge: Edge, of: Edge) -> bool:
        """Whether a tensor is a reduction, then elementwise, of the tensor `of` or of one that makes it elementwise."""
        reduced = self._reductions(edge)
        if not reduced:
            return False
        family = self._family(of)
        return all(any(family & self._family(origin) for origin in chain) for chain in reduced)

    def _reductions(self, edge: Edge) -> frozenset[frozenset[Edge]] | None:
        """The reductions that alone make this tensor, elementwise; None where anything else does.

        A reduction of a reduction is told by what entered either: the second may be of a pooled tensor.
        """
        return self._settled(edge, self._reduced, REDUCTIONS | ELEMENTWISE | MOVES, self._reduced_by)

    def _reduced_by(self, node: Node) -> frozenset[frozenset[Edge]] | None:
        name, inputs = operation(node), self.inputs(node)
        if name not in REDUCTIONS | ELEMENTWISE | MOVES or not inputs:
            return None
        found: set[frozenset[Edge]] = set()
        for _, edge in inputs:
            own = self._reduced[edge]
            if name in REDUCTIONS:
                found |= {chain | {edge} for chain in own or (frozenset(),)}
            elif own is None:
                return None
            else:
                found |= own
        return frozenset(found)

    def _family(self, edge: Edge) -> set[Edge]:
        """The tensor, and those from which it is made elementwise or by moving samples."""
        found: set[Edge] = set()
        stack = [edge]
        while stack:
            here = stack.pop()
            if here not in found:
                found.add(here)
                if operation(here[0]) in ELEMENTWISE | WHOLE_MOVES | NORMS:
                    stack += [below for _, below in self.inputs(here[0])]
        return found


def _constant(node: Node, live: int) -> Tensor | None:
    """The constant factor of a product or quotient whose argument `live` carries the signal."""
    constant = node._saved_other if live == 0 else node._saved_self
    return None if constant is None else as_tensor(constant)


def _factor(node: Node, live: int) -> float | None:
    """The number that a product or quotient multiplies its argument `live` with; None where it is no single number."""
    constant = _constant(node, live)
    if constant is None or constant.numel() != 1 or (operation(node) == "Div" and live == 1):
        return None
    return float(constant) if operation(node) == "Mul" else 1 / float(constant)


def _bounds(node: Node) -> tuple[float, float]:
    """The bounds of a clamp in any spelling; NaN for one that differs from place to place."""
    name = operation(node)
    if name == "Relu":
        return 0.0, torch.inf
    if name == "Threshold":
        return float(node._saved_threshold), torch.inf
    if name in ("Maximum", "Fmax", "Minimum"):
        constant = node._saved_self if node.next_functions[0][0] is None else node._saved_other
        bound = _number(constant, torch.nan)
        return (-torch.inf, bound) if name == "Minimum" else (bound, torch.inf)
    low, high = (getattr(node, f"_saved_{side}_val", getattr(node, f"_saved_{side}", None)) for side in ("min", "max"))
    return _number(low, -torch.inf), _number(high, torch.inf)


def _number(bound: Any, missing: float) -> float:
    if bound is None:
        return missing
    if not isinstance(bound, Tensor):
        return float(bound)
    return float(bound.flatten()[0]) if bound.numel() and bool((bound == bound.flatten()[0]).all()) else torch.nan


def _negative(node: Node) -> bool:
    exponent = getattr(node, "_saved_exponent", 0)
    return bool(isinstance(exponent, int | float) and exponent < 0)


def leaky(edge: Edge, source: Edge, inputs: Sequence[tuple[int, Edge]]) -> bool:
    """Whether a tensor is `source` times a constant that is nowhere negative."""
    node = edge[0]
    if operation(node) not in ("Mul", "Div") or [below for _, below in inputs] != [source]:
        return False
    constant = _constant(node, inputs[0][0])
    return constant is not None and bool((constant >= 0).all())
