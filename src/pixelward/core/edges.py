"""Tensors on the way up as edges of autograd's graph: which carry the signal, and what they are made of.

What `gates.py`, `activations.py`, `norms.py` and `patterns.py` share: names of nodes that go together, one reader of
the graph, and what single nodes say of their constants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from pixelward.core.devices import look
from pixelward.core.nodes import known_operation as operation
from pixelward.core.readers import Node, as_tensor

Edge = tuple[Node, int]  # a node and the number of one of its outputs on the way up: one tensor

_Told = TypeVar("_Told")


def names(text: str) -> frozenset[str]:
    """Names of nodes, written with blanks between."""
    return frozenset(text.split())


CLAMPS = names("Clamp ClampMin ClampMax Hardtanh Threshold")
BOUNDED = names("Hardtanh Clamp")
MOVES = names(
    "View ReshapeAlias UnsafeView T Transpose Permute Unsqueeze Squeeze Select Slice Expand Repeat Split "
    "SplitWithSizes UnsafeSplit UnsafeSplitWithSizes Unbind Stack Cat Index IndexSelect ToCopy Clone Alias "
    "ConstantPadNd ReflectionPad2D ReplicationPad2D UpsampleNearest2D UpsampleNearestExact2D UpsampleBilinear2D "
    "UpsampleBicubic2D PixelShuffle PixelUnshuffle ChannelShuffle"
)
ARITHMETIC = names("Add Sub Rsub Mul Div Neg")
ELEMENTWISE = ARITHMETIC | names(
    "Pow Sqrt Rsqrt Exp Expm1 Log Log1P Logaddexp Abs Reciprocal Erf Sigmoid Tanh Hardsigmoid Softplus Relu "
    "Threshold Hardtanh Clamp ClampMin ClampMax LeakyRelu Elu Silu Gelu Hardswish Mish Maximum Minimum Sign Addcmul "
    "Addcdiv Where ToCopy Clone Alias"
)
AVERAGES = names("AvgPool2D AdaptiveAvgPool2D")


class Edges:
    """Reads a graph in which `live` tells whether a node depends on the picture.

    shifts: the numbers that were added by sums, by node; autograd does not save them.
    """

    def __init__(self, live: Callable[[Node], bool], shifts: Mapping[Node, float] | None = None) -> None:
        self._live = live
        self.shifts = {} if shifts is None else shifts

    def inputs(self, node: Node) -> list[tuple[int, Edge]]:
        """The inputs that depend on the picture, numbered as the node's arguments."""
        return [
            (number, edge)
            for number, edge in enumerate(node.next_functions)
            if edge[0] is not None and self._live(edge[0])
        ]

    def settled(
        self, edge: Edge, known: dict[Edge, _Told], through: frozenset[str], tell: Callable[[Node], _Told]
    ) -> _Told:
        """What is told of a tensor, once it is known of all those that it is made of `through` some operations."""
        stack = [edge]
        while stack:
            here = stack[-1]
            if here in known:  # before, or since it was put here for a second consumer
                stack.pop()
                continue
            below = self.inputs(here[0]) if operation(here[0]) in through else []
            waiting = [each for _, each in below if each not in known]
            if waiting:
                stack += waiting
            else:
                known[stack.pop()] = tell(here[0])
        return known[edge]

    def same(self, one: Edge, other: Edge, depth: int = 12) -> bool:
        """Whether two tensors are one, or were computed twice in the same way: scaled, added, convolved."""
        (node, number), (twin, its) = one, other
        if one == other:
            return True
        name, inputs, others = operation(node), self.inputs(node), self.inputs(twin)
        alike = number == its and name == operation(twin) and [n for n, _ in inputs] == [n for n, _ in others]
        if not alike or not depth or not self._same_constants(name, node, twin, inputs):
            return False
        return all(self.same(mine, theirs, depth - 1) for (_, mine), (_, theirs) in zip(inputs, others, strict=True))

    def _same_constants(self, name: str, node: Node, twin: Node, inputs: list[tuple[int, Edge]]) -> bool:
        if name == "Convolution":
            return len(inputs) == 1 and node._saved_weight.data_ptr() == twin._saved_weight.data_ptr()
        if name in ("Mul", "Div") and len(inputs) == 1:
            return _equal(constant(node, inputs[0][0]), constant(twin, inputs[0][0]))
        if name in ("Add", "Sub"):
            if len(inputs) == 1:
                return self.shifts.get(node) is not None and self.shifts.get(node) == self.shifts.get(twin)
            return bool(node._saved_alpha == twin._saved_alpha)
        return name in ("Neg", "Mul", "Div")

    def only_from(self, edge: Edge, source: Edge, allowed: frozenset[str]) -> set[str] | None:
        """Names of the nodes between `source` and `edge`; None where anything else than `source` comes in."""
        found: set[str] = set()
        stack, seen = [edge], {source}
        while stack:
            here = stack.pop()
            if here in seen:
                continue
            seen.add(here)
            if operation(here[0]) not in allowed or not self.inputs(here[0]):
                return None
            found.add(operation(here[0]))
            stack += [below for _, below in self.inputs(here[0])]
            if len(seen) > 64:
                return None
        return found


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and one.shape == other.shape and look(torch.equal, one, other)


def constant(node: Node, live: int) -> Tensor | None:
    """The constant factor of a product or quotient whose argument `live` carries the signal."""
    value = node._saved_other if live == 0 else node._saved_self
    return None if value is None else as_tensor(value)


def factor(node: Node, live: int) -> float | None:
    """The number that a product or quotient multiplies its argument `live` with; None where it is no single number."""
    value = constant(node, live)
    if value is None or value.numel() != 1 or (operation(node) == "Div" and live == 1):
        return None
    number = look(float, value)
    return number if operation(node) == "Mul" else 1 / number


def bounds(node: Node) -> tuple[float, float]:
    """The bounds of a clamp in any spelling; NaN for one that differs from place to place."""
    name = operation(node)
    if name == "Relu":
        return 0.0, torch.inf
    if name == "Threshold":
        return float(node._saved_threshold), torch.inf
    if name in ("Maximum", "Fmax", "Minimum"):
        value = node._saved_self if node.next_functions[0][0] is None else node._saved_other
        bound = _number(value, torch.nan)
        return (-torch.inf, bound) if name == "Minimum" else (bound, torch.inf)
    low, high = (getattr(node, f"_saved_{side}_val", getattr(node, f"_saved_{side}", None)) for side in ("min", "max"))
    return _number(low, -torch.inf), _number(high, torch.inf)


def _number(bound: Any, missing: float) -> float:
    if bound is None:
        return missing
    if not isinstance(bound, Tensor):
        return float(bound)
    return look(_everywhere, bound)


def _everywhere(bound: Tensor) -> float:
    """The number that stands at every place; NaN where they differ."""
    return float(bound.flatten()[0]) if bound.numel() and bool((bound == bound.flatten()[0]).all()) else torch.nan


def is_zero(numbers: Tensor) -> bool:
    """Whether all numbers are 0."""
    return not bool(numbers.any())


def negative(node: Node) -> bool:
    """Whether a power's exponent is a negative number."""
    exponent = getattr(node, "_saved_exponent", 0)
    return bool(isinstance(exponent, int | float) and exponent < 0)


def is_rectified(edge: Edge) -> bool:
    """Whether a tensor is one clamped from 0."""
    return operation(edge[0]) in (*CLAMPS, "Relu") and bounds(edge[0])[0] == 0
