"""A whole tensor changed in place through a view of it: a rectifier after a permuted norm, a sum into a full slice.

Autograd writes one node that copies the changed view into its base, and nothing of what was done; so it is read off the
call. A view that shows only a part of its base is another matter, and has no rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from pixelward.core import arrangements, moves, readers, rules
from pixelward.core.edges import Edge
from pixelward.core.graph import Composite
from pixelward.core.masks import Call
from pixelward.core.plan import POINTWISE, Step
from pixelward.core.readers import Fields, Node, Reader

_RECTIFIERS: Mapping[str, str] = {
    "relu": rules.RECTIFIER,
    **dict.fromkeys("silu hardswish leaky_relu elu celu selu mish relu6".split(), rules.ACTIVATION),
}
_SUMS: Mapping[str, float] = {"add": 1.0, "__iadd__": 1.0, "sub": -1.0, "__isub__": -1.0}


class Overwritten(NamedTuple):
    """A view with the tensor under it, as the view lies in that.

    order: axis i of the view is axis `order[i]` of the base; None where it was reshaped.
    """

    view: Tensor
    base: Tensor
    before: Edge
    order: tuple[int, ...] | None


def whole_view(tensor: Tensor, before: Edge | None) -> Overwritten | None:
    """The view, if `tensor` is one of a whole tensor, reshaped or with its axes in another order.

    before: the base's edge before the view was changed.
    """
    base = tensor._base if tensor._is_view() else None
    if base is None or before is None or base.numel() != tensor.numel():
        return None
    if base.shape != tensor.shape and base.is_contiguous() and tensor.is_contiguous():
        return Overwritten(tensor, base, before, None)
    if base.dim() != tensor.dim():
        return None
    places = list(zip(base.shape, base.stride(), strict=True))
    order = []
    for place in zip(tensor.shape, tensor.stride(), strict=True):
        free = [axis for axis, other in enumerate(places) if other == place and axis not in order]
        if not free:
            return None
        order.append(free[0])
    return Overwritten(tensor, base, before, tuple(order))


def composites(call: Call, found: Overwritten, spelled: str | None = None) -> dict[Node, Composite]:
    """What the nodes of the changed view and of its base are, where the call is a rectifier or a sum; else nothing.

    spelled: the kind of rectifier that the call spells with a mask.
    """
    view, base = found.view.grad_fn, found.base.grad_fn
    kind = spelled or _RECTIFIERS.get(call.name)
    if call.name == "hardtanh" and call.argument(1, "min_val", -1.0) == 0:
        kind = rules.ACTIVATION
    if kind is not None:
        return {
            view: Composite(kind, (found.before,), moves.view if found.order is None else _turned(found.order)),
            base: Composite(kind, (found.before,)),
        }
    alike = found.order == tuple(range(found.view.dim()))
    if call.name in _SUMS and alike and len(call.entered) == 2:
        sign = _SUMS[call.name] * float(call.keywords.get("alpha", 1))
        inputs = (found.before, call.entered[1])
        return dict.fromkeys((view, base), Composite(rules.ADDITION, inputs, _added((1.0, sign)), view=call.entered[0]))
    return {}


def _turned(order: tuple[int, ...]) -> Reader:
    def reader(node: Node, step: Step) -> Fields:
        found: Fields = {"undo": arrangements.Permuted(order)}
        if step.input_axes[0] is not None:
            rows, columns = step.input_axes[0]
            found |= {"axes": (order.index(rows), order.index(columns)), "sees": (POINTWISE,)}
        return found

    return reader


def _added(coefficients: tuple[float, ...]) -> Reader:
    def reader(node: Node, step: Step) -> Fields:
        found = readers.pointwise(node, step)
        return {**found, "factors": ()} if step.kind == rules.STATISTIC else {**found, "coefficients": coefficients}

    return reader
