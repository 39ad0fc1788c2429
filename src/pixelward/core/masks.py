"""Rectifiers spelled with a mask: x * (x > 0), torch.where(x > 0, x, 0), x[x < 0] = 0 and their like.

Autograd takes a mask for a constant. Here a comparison of a tensor with zero is remembered as that tensor's mask, and
an operation that keeps the tensor where it is positive, and nothing (or a small share) of it elsewhere, is the
rectifier that it spells. The places that a max-pool recorded are remembered too, for the unpooling that uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from pixelward.core import rules
from pixelward.core.activations import is_exponential, leaky
from pixelward.core.devices import look
from pixelward.core.edges import Edge, Edges, is_zero

_ABOVE = frozenset("gt ge greater greater_equal __gt__ __ge__".split())
_BELOW = frozenset("lt le less less_equal __lt__ __le__".split())
_CASTS = frozenset("float double half bfloat16 to type type_as bool int long clone contiguous".split())
_FLIPS = frozenset("logical_not bitwise_not __invert__".split())
_PRODUCTS = frozenset("mul multiply __mul__ __rmul__ __imul__".split())
_ALL_LIVE = Edges(lambda node: True)


@dataclass(frozen=True)
class Call:
    """A function with what it was given. entered: the tensors among it that carry the signal, as they were before."""

    function: object
    name: str
    arguments: Sequence[Any]
    keywords: Mapping[str, Any]
    entered: tuple[Edge, ...]

    def argument(self, number: int, name: str, missing: object) -> Any:
        """An argument by its number or its name."""
        return self.arguments[number] if number < len(self.arguments) else self.keywords.get(name, missing)


class Spelled(NamedTuple):
    """What a call with a mask spells: a kind of rectifier of the tensor `source`; without a kind, nothing suspect."""

    kind: str | None
    source: Edge


class _Mask(NamedTuple):
    """True where the tensor `of` is positive, or, if not `positive`, where it is not; as long as it is unchanged."""

    of: Edge
    positive: bool
    version: int


class Masks:
    """The masks and the places of pools that were made during one forward pass.

    is_tainted: whether a tensor was computed from the picture; zeros among such are no constants.
    """

    def __init__(self, is_tainted: Callable[[Tensor], bool]) -> None:
        self._is_tainted = is_tainted
        self._masks = WeakIdKeyDictionary()
        self._places = WeakIdKeyDictionary()

    def follow(self, call: Call, made: Sequence[Tensor]) -> None:
        """Remember the mask that a call has made, if it is one."""
        if "max_pool" in call.name:
            for tensor in made:
                if tensor.dtype == torch.int64:
                    self._places[tensor] = True
        if len(made) != 1 or made[0].grad_fn is not None or len(call.arguments) < 1:
            return
        given, mask = call.arguments[0], made[0]
        if call.name in _CASTS | _FLIPS and isinstance(given, Tensor):
            known = self._known(given)
            if call.name in _FLIPS - {"logical_not"} and given.dtype != torch.bool:
                known = None
            if known is not None and mask is not given:
                positive = known.positive != (call.name in _FLIPS)
                self._masks[mask] = _Mask(known.of, positive, mask._version)
        elif call.name in _ABOVE | _BELOW and len(call.arguments) == 2:
            left, right = call.arguments
            positive = call.name in _ABOVE
            if self._is_zero(left):
                left, right, positive = right, left, not positive
            if isinstance(left, Tensor) and left.grad_fn is not None and self._is_zero(right):
                self._masks[mask] = _Mask((left.grad_fn, left.output_nr), positive, mask._version)

    def spelled(self, call: Call) -> Spelled | None:
        """The rectifier that a call spells with a mask of the tensor itself, or None."""
        if call.name in _PRODUCTS and len(call.arguments) == 2:
            for tensor, factor in (call.arguments, reversed(call.arguments)):
                mask = self._known(factor)
                if mask is not None and mask.positive and _edge(tensor) == mask.of:
                    return Spelled(rules.RECTIFIER, mask.of)
        elif call.name in ("where", "masked_fill", "__setitem__") and len(call.arguments) == 3:
            condition, yes, no = self._branches(call)
            mask = self._known(condition)
            if mask is None:
                return None
            above, below = (yes, no) if mask.positive else (no, yes)
            if _edge(above) != mask.of:
                return None
            if self._is_zero(below):
                return Spelled(rules.RECTIFIER, mask.of)
            edge = _edge(below)
            if edge is not None and (leaky(_ALL_LIVE, edge, mask.of) or is_exponential(_ALL_LIVE, edge, mask.of)):
                return Spelled(rules.ACTIVATION, mask.of)
        elif call.name.startswith("max_unpool"):
            places = call.argument(1, "indices", None)
            return Spelled(None, call.entered[0]) if isinstance(places, Tensor) and places in self._places else None
        return None

    @staticmethod
    def _branches(call: Call) -> tuple[Any, Any, Any]:
        """Condition, what stands where it holds, and what elsewhere."""
        first, second, third = call.arguments
        if call.name != "where":
            return second, third, first
        if isinstance(first, Tensor) and first.dtype == torch.bool:
            return first, second, third
        return second, first, third

    def _is_zero(self, number: Any) -> bool:
        if isinstance(number, Tensor):
            constant = number.grad_fn is None and not number.requires_grad and not self._is_tainted(number)
            return constant and look(is_zero, number)
        return isinstance(number, int | float) and not isinstance(number, bool) and number == 0

    def _known(self, mask: Any) -> _Mask | None:
        found: _Mask | None = self._masks[mask] if isinstance(mask, Tensor) and mask in self._masks else None
        return found if found is not None and found.version == mask._version else None


def _edge(tensor: Any) -> Edge | None:
    if not isinstance(tensor, Tensor) or tensor.grad_fn is None:
        return None
    return tensor.grad_fn, tensor.output_nr
