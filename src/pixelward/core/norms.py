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
POWERS = names("Pow Mul Abs")
NORMALISING = MOVES | NEIGHBOURS | POWERS | names("Add Div Sqrt Rsqrt Reciprocal Sum Mean")


class Statistics:
    """Tells the statistics of a graph; each tensor is looked at once."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._reduced: dict[Edge, frozenset[frozenset[Edge]] | None] = {}

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
        return self._edges.settled(edge, self._reduced, REDUCTIONS | ELEMENTWISE | MOVES, self._reduced_by)

    def _reduced_by(self, node: Node) -> frozenset[frozenset[Edge]] | None:
        name, inputs = operation(node), self._edges.inputs(node)
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
                    stack += [below for _, below in self._edges.inputs(here[0])]
        return found


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
