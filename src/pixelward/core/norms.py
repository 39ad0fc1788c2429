"""Norms written out by hand: a tensor scaled or shifted by what was computed from that very tensor.

Statistics come from reductions, as the variance of an instance norm; a response norm's divisor, from the values beside
each place.
"""

from __future__ import annotations

from pixelward.core.edges import ELEMENTWISE, MOVES, Edge, Edges, names, negative
from pixelward.core.nodes import known_operation as operation
from pixelward.core.readers import Node

REDUCTIONS = names("Mean Sum Var Std VarMean StdMean LinalgVectorNorm Norm Amax Amin Max Min Logsumexp")
WHOLE_MOVES = names(
    "View ReshapeAlias UnsafeView Transpose Permute Unsqueeze Squeeze Expand ToCopy Clone Alias Flip Roll PixelShuffle "
    "PixelUnshuffle ChannelShuffle"
)
NORMS = names("NativeBatchNorm NativeLayerNorm NativeGroupNorm")
NEIGHBOURS = names("AvgPool2D AvgPool3D Convolution Cumsum")  # what mixes a place with those beside it
POOLS = names("AvgPool2D AdaptiveAvgPool2D")
ENLARGING = names(
    "Repeat UpsampleNearest2D UpsampleNearestExact2D UpsampleBilinear2D UpsampleBicubic2D ConstantPadNd "
    "ReflectionPad2D ReplicationPad2D"
)
POWERS = names("Pow Mul Abs")
NORMALISING = MOVES | NEIGHBOURS | POWERS | names("Add Div Sqrt Rsqrt Reciprocal Sum Mean")


class Statistics:
    """Tells the statistics of a graph; each tensor is looked at once."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._reduced: dict[Edge, frozenset[frozenset[Edge]] | None] = {}

    def is_statistic(self, edge: Edge, of: Edge) -> bool:
        """Whether a tensor is a reduction, then elementwise, of the tensor `of` or of one that makes it elementwise."""
        return self._is_reduced(edge, of, ELEMENTWISE | WHOLE_MOVES | NORMS)

    def is_shift(self, edge: Edge, of: Edge) -> bool:
        """Whether a tensor is a statistic that centres `of` itself: a reduction that is broadcast back onto it.

        One that is enlarged in another way, or is of another tensor, is a branch like others, which gets its signal.
        """
        return self._is_reduced(edge, of, WHOLE_MOVES | names("Mul Div Neg")) and self._is_broadcast(edge)

    def _is_reduced(self, edge: Edge, of: Edge, through: frozenset[str]) -> bool:
        reduced = self._reductions(edge)
        if not reduced:
            return False
        family = self._family(of, through)
        return all(any(family & self._family(origin, through) for origin in chain) for chain in reduced)

    def _is_broadcast(self, edge: Edge) -> bool:
        """Whether nothing between a tensor and its reductions repeats more than one sample."""
        stack, seen = [edge], {edge}
        while stack:
            node, _ = stack.pop()
            if _is_reduction(node):
                continue
            inputs = [below for _, below in self._edges.inputs(node)]
            if operation(node) in ENLARGING:
                before, after = (tuple(e[0]._input_metadata[e[1]].shape) for e in (inputs[0], (node, 0)))
                before = (1,) * (len(after) - len(before)) + before
                if any(one not in (1, other) for one, other in zip(before, after, strict=True)):
                    return False
            stack += [below for below in inputs if below not in seen]
            seen.update(inputs)
        return True

    def _reductions(self, edge: Edge) -> frozenset[frozenset[Edge]] | None:
        """The reductions that alone make this tensor, elementwise; None where anything else does.

        A reduction of a reduction is told by what entered either: the second may be of a pooled tensor.
        """
        return self._edges.settled(edge, self._reduced, REDUCTIONS | POOLS | ELEMENTWISE | MOVES, self._reduced_by)

    def _reduced_by(self, node: Node) -> frozenset[frozenset[Edge]] | None:
        name, inputs = operation(node), self._edges.inputs(node)
        reduces = _is_reduction(node)
        if not (reduces or name in ELEMENTWISE | MOVES) or not inputs:
            return None
        found: set[frozenset[Edge]] = set()
        for _, edge in inputs:
            own = self._reduced[edge]
            if reduces:
                found |= {chain | {edge} for chain in own or (frozenset(),)}
            elif own is None:
                return None
            else:
                found |= own
        return frozenset(found)

    def _family(self, edge: Edge, through: frozenset[str]) -> set[Edge]:
        """The tensor, and those from which it is made `through` some operations."""
        found: set[Edge] = set()
        stack = [edge]
        while stack:
            here = stack.pop()
            if here not in found:
                found.add(here)
                if operation(here[0]) in through:
                    stack += [below for _, below in self._edges.inputs(here[0])]
        return found


def _is_reduction(node: Node) -> bool:
    """Whether a node reduces axes, or pools whole maps, to one place each."""
    name = operation(node)
    return name in REDUCTIONS or (name in POOLS and tuple(node._input_metadata[0].shape[-2:]) == (1, 1))


def normalises(edges: Edges, name: str, factor: Edge, feature: Edge) -> bool:
    """Whether x / f(x) or x * f(x) is a response norm: f mixes x with what is beside it, and divides."""
    found = edges.only_from(factor, feature, NORMALISING)
    if not found or not found & POWERS or not found & (NEIGHBOURS | {"Cat", "Slice"}):
        return False
    return name == "Div" or _divides(edges, factor[0])


def _divides(edges: Edges, node: Node) -> bool:
    """Whether a tensor is the reciprocal or a negative power of another, also scaled."""
    while True:
        name = operation(node)
        if name in ("Reciprocal", "Rsqrt") or (name == "Pow" and negative(node)):
            return True
        inputs = edges.inputs(node)
        if name not in MOVES | {"Mul", "Div"} or len(inputs) != 1:
            return False
        node = inputs[0][1][0]
