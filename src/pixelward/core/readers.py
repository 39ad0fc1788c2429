"""What a step needs of autograd's node: readers, one a family of nodes, as fields of `Step`.

A reader gets the node and the step as far as it is known: kind, inputs, shapes, where the maps are, and which inputs
are kept fixed. It says what the step `sees` (nothing said: everything) and where the maps of its output are. Read of a
node only what a rule needs: a saved tensor that was overwritten in place raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pixelward.core import arrangements, rules
from pixelward.core.devices import is_near
from pixelward.core.plan import MAPS, POINTWISE, WHOLE, Axes, Geometry, Step

MIXES = "it mixes the pictures of a batch"
RANDOM = "it is random (training mode): call eval() first"
NOISE = "it uses random numbers that were drawn while the network ran"

Node = Any  # torch.autograd.graph.Node; its saved attributes are not typed
Fields = dict[str, Any]
Reader = Callable[[Node, Step], Fields]


def plain(node: Node, step: Step) -> Fields:
    return {}


def pointwise(node: Node, step: Step) -> Fields:
    """Every output place looks at its own place of each input; what is broadcast, at the one that it has."""
    made, axes, sees = step.made, None, []
    found = pictures_together(step)
    for shape, own in zip(step.input_shapes, step.input_axes, strict=True):
        if shape is None:
            sees.append(POINTWISE)
            continue
        if own is None:
            return found
        there = own[0] + len(made) - len(shape), own[1] + len(made) - len(shape)
        if axes not in (None, there):
            return found
        axes = there
        once = [shape[axis] == 1 and made[out] > 1 for axis, out in zip(own, there, strict=True)]
        sees.append(Geometry(stride=(0 if once[0] else 1, 0 if once[1] else 1)) if any(once) else POINTWISE)
    return {**found, "axes": axes, "sees": tuple(sees)}


def pictures_together(step: Step) -> Fields:
    """Where the pictures are in what several tensors make; on axes that do not meet, counted from behind, they mix."""
    inputs = zip(step.input_pictures, step.input_shapes, strict=True)
    there = {axis + len(step.made) - len(shape) for axis, shape in inputs if axis is not None and shape is not None}
    return {"unfit": MIXES} if len(there) > 1 else {"pictures": next(iter(there), None)}


def mixes(step: Step, over: Sequence[int]) -> bool:
    """Whether some axes of the first input hold the pictures; where these were lost, the first axis may."""
    pictures = step.input_pictures[0]
    return 0 in over if pictures is None else pictures in over


def windowed(step: Step, geometry: Geometry) -> Fields:
    """A step on (N, C, H, W) whose windows `geometry` tells; elsewhere it sees the whole map."""
    if step.input_pictures[0] in MAPS:
        return {"unfit": MIXES}
    if step.input_axes[0] != MAPS or len(step.input_shapes[0] or ()) != 4:
        return {}
    return {
        "geometry": geometry,
        "axes": MAPS,
        "sees": (geometry,) * len(step.inputs),
        "margins": whole_margins(geometry, step, MAPS, MAPS),
    }


def whole_margins(geometry: Geometry, step: Step, axes: Axes, made_axes: Axes) -> tuple[int, int, int, int]:
    """Margins that bring the footprint of the whole output map to the whole input map."""
    inputs, made = step.input_shapes[0] or (), step.made
    rows, columns = geometry.footprint((made[made_axes[0]], made[made_axes[1]]))
    top, left = -geometry.padding[0], -geometry.padding[1]
    return top, inputs[axes[0]] - (rows + top), left, inputs[axes[1]] - (columns + left)


def signed(number: int) -> int:
    """Autograd shows a negative number as unsigned, of 64 bits."""
    return number - (1 << 64) if number >= 1 << 63 else number


def axis_of(saved: int, rank: int) -> int:
    """An axis counted from the front."""
    return signed(saved) % rank


def as_tensor(number: Tensor | float) -> Tensor:
    """A number with all its digits; without axes, it takes on the type of what it is multiplied with.

    Autograd saves a Python number as a tensor that forgets its digits when it meets another number; on a GPU, where
    reading would wait, there are none but a network's own.
    """
    if isinstance(number, Tensor) and (number.dim() > 0 or not is_near(number.device)):
        return number
    return torch.tensor(float(number), dtype=torch.float64)


def aligned(factor: Tensor | float, step: Step) -> Tensor:
    """A factor with as many axes as the output, as broadcasting reads it, so that windows can cut it."""
    factor = as_tensor(factor)
    missing = len(step.made) - factor.dim()
    return factor.detach()[(None,) * missing] if factor.dim() > 0 and missing > 0 else factor.detach()


# Convolutions and linear layers.


def convolution(node: Node, step: Step) -> Fields:
    if any(index is not None for index in step.inputs[1:]):
        return {"kind": rules.PRODUCT, "reason": "its weights are computed from the picture"}
    if step.input_pictures[0]:  # they stand where channels, rows or columns belong
        return {"unfit": MIXES}
    weight, axes = node._saved_weight, step.input_axes[0]
    if node._saved_transposed or weight.dim() not in (4, 5) or axes is None:
        return {}
    kernel, stride, padding, dilation = (
        (pair[0], pair[0]) if len(pair) == 1 else tuple(pair)[-2:]  # padding="valid" saves one number
        for pair in (weight.shape[2:], node._saved_stride, node._saved_padding, node._saved_dilation)
    )
    geometry = Geometry(kernel, stride, padding, dilation)
    if weight.dim() == 5:
        return {"axes": axes, "sees": (geometry,) * len(step.inputs)} if axes == (3, 4) else {}
    found = windowed(step, geometry)
    return {**found, "weight": weight.detach(), "groups": node._saved_groups} if found else {}


def linear(weight: Tensor) -> Reader:
    """A linear layer over the last axis, weight (out, in), whatever nodes it was made of."""

    def reader(node: Node, step: Step) -> Fields:
        if step.input_pictures[0] == len(step.made) - 1:
            return {"unfit": MIXES}
        found: Fields = {"undo": arrangements.Mixed(weight.detach()), "pictures": step.input_pictures[0]}
        axes = step.input_axes[0]
        return found if axes is None or len(step.made) - 1 in axes else {**found, "axes": axes, "sees": (POINTWISE,)}

    return reader


def matrix_product(node: Node, step: Step) -> Fields:
    first, second = step.inputs[-2:]
    if first is not None and second is not None:
        return {"kind": rules.PRODUCT, "reason": "both factors carry the signal, as in attention"}
    if first is None and second is None:  # what is added to a product of constants
        return {}
    factor = len(step.inputs) - (1 if first is None else 2)
    rank, pictures = len(step.input_shapes[factor] or ()), step.input_pictures[factor]
    summed = rank - 1 if second is None else max(rank - 2, 0)
    return {"unfit": MIXES} if pictures == summed else {"pictures": pictures}


def with_constant(argument: int) -> Reader:
    """Linear in its first arguments as long as one of them, the weight or the grid, is a constant."""

    def reader(node: Node, step: Step) -> Fields:
        if len(step.inputs) > argument and step.inputs[argument] is not None:
            return {"kind": rules.PRODUCT, "reason": "both factors carry the signal"}
        return {}

    return reader


def gated_half(node: Node, step: Step) -> Fields:
    """A gated linear unit: half of the channels, times the sigmoid of the other half, which is the gate."""
    shape, axes = step.input_shapes[0] or (), step.input_axes[0]
    axis = axis_of(node._saved_dim, len(shape))
    if mixes(step, [axis]):
        return {"unfit": MIXES}
    gate = node._saved_self.detach().chunk(2, axis)[1].sigmoid()
    found: Fields = {"undo": arrangements.Sliced(axis, 0, 1), "factors": (gate,)}
    return found if axis == 0 or axes is None or axis in axes else {**found, "axes": axes, "sees": (POINTWISE,)}


# Norms.


def batch_norm(node: Node, step: Step) -> Fields:
    if any(index is not None for index in step.inputs[1:]):
        return {"kind": rules.PRODUCT, "reason": "its scale is computed from the picture"}
    if node._saved_training:
        return {"unfit": "its statistics are those of the batch (training mode): call eval() first"}
    factor = (node._saved_running_var + node._saved_eps).rsqrt()
    if node._saved_weight is not None:
        factor = factor * node._saved_weight.detach()
    return {**pointwise(node, step), "factors": (_of_channels(factor, step),)}


def _of_channels(factor: Tensor, step: Step) -> Tensor:
    return factor.detach().reshape(-1, step.made[1], *[1] * (len(step.made) - 2))


def layer_norm(node: Node, step: Step) -> Fields:
    if any(index is not None for index in step.inputs[1:]):
        return {"kind": rules.PRODUCT, "reason": "its scale is computed from the picture"}
    factors = [node._saved_result2] + ([] if node._saved_weight is None else [node._saved_weight])
    rank = len(step.made)
    return _normed(node, step, range(rank - len(node._saved_normalized_shape), rank), factors)


def group_norm(node: Node, step: Step) -> Fields:
    if any(index is not None for index in step.inputs[1:]):
        return {"kind": rules.PRODUCT, "reason": "its scale is computed from the picture"}
    pictures, groups = step.made[0], node._saved_group
    each = node._saved_result2.reshape(pictures, groups).repeat_interleave(step.made[1] // groups, 1)
    factors = [_of_channels(each, step)]
    if node._saved_weight is not None:
        factors.append(_of_channels(node._saved_weight, step))
    return _normed(node, step, range(1, len(step.made)), factors)


def instance_norm(inner: Node, step: Step) -> Fields:
    """Of the batch norm inside an instance norm, which sees every channel of every picture as one channel."""
    own = inner._saved_training  # else its running statistics are constants
    factor = inner._saved_result2 if own else (inner._saved_running_var + inner._saved_eps).rsqrt()
    if inner._saved_weight is not None:
        factor = factor * inner._saved_weight
    factor = factor.detach().reshape(*step.made[:2], *[1] * (len(step.made) - 2))
    if not own:
        return {**pointwise(inner, step), "factors": (factor,)}
    return _normed(inner, step, range(2, len(step.made)), [factor])


def _normed(node: Node, step: Step, over: Sequence[int], factors: Sequence[Tensor]) -> Fields:
    """A norm over some axes: a unit depends on all of these, but the signal stays at its place."""
    if mixes(step, over):
        return {"unfit": MIXES}
    found = pointwise(node, step)
    if "axes" in found:
        whole = found["axes"][0] in over, found["axes"][1] in over
        found["sees"] = (Geometry(whole=whole), *found["sees"][1:])
    kept = (POINTWISE, *[None] * (len(step.inputs) - 1))
    return {**found, "reaches": kept, "factors": tuple(aligned(factor, step) for factor in factors)}


# Rectifiers.


def activation(node: Node, step: Step) -> Fields:
    if any(index is not None for index in step.inputs[1:]):
        return {"kind": rules.PRODUCT, "reason": "its slope is computed from the picture"}
    return pointwise(node, step)


def multiple_of(share: float | Tensor) -> Reader:
    """An activation spelled by hand, `share` times, which may differ from channel to channel."""

    def reader(node: Node, step: Step) -> Fields:
        found = pointwise(node, step)
        if not isinstance(share, Tensor) and abs(share - 1) < 1e-12:
            return found
        return {**found, "factors": (aligned(share, step),)}

    return reader


def noisy(node: Node, step: Step) -> Fields:
    return {"unfit": RANDOM} if node._saved_training else pointwise(node, step)


def maximum(node: Node, step: Step) -> Fields:
    """The larger of two tensors that carry the signal: of equal ones the first."""
    if step.kind != rules.MAXIMUM or any(value is None for value in step.inputs):
        return pointwise(node, step)
    one, other = node._saved_self.detach(), node._saved_other.detach()
    winners = aligned(one >= other, step), aligned(one < other, step)
    return {**pointwise(node, step), "winners": winners}


# Sums and products of several tensors.


def product(node: Node, step: Step) -> Fields:
    found = pointwise(node, step)
    live = [index for index, value in enumerate(step.inputs) if value is not None]
    if len(live) == 2 and not any(step.kept):
        return {**found, "kind": rules.PRODUCT}
    fixed = step.kept.index(True) if len(live) == 2 else 1 - live[0]
    if step.kind == rules.RESPONSE_NORM:
        return found
    constant = node._saved_other if fixed == 1 else node._saved_self
    return found if constant is None else {**found, "factors": (aligned(constant, step),)}


def quotient(node: Node, step: Step) -> Fields:
    found = pointwise(node, step)
    if getattr(node, "_saved_rounding_mode", None) is not None:
        return {"kind": "rounded division"}
    if step.inputs[0] is None or (len(step.inputs) > 1 and step.inputs[1] is not None and not any(step.kept)):
        return {**found, "kind": rules.PRODUCT}
    if step.kind == rules.RESPONSE_NORM:
        return found
    divisor = as_tensor(node._saved_other).detach()
    dtype = divisor.dtype if divisor.is_floating_point() else node._input_metadata[0].dtype
    return {**found, "factors": (aligned(1 / divisor.to(dtype), step),)}


def hooked(node: Node, step: Step) -> Fields:
    """What torch puts round a module with a backward hook: one tensor goes through unchanged."""
    if len(step.inputs) > 1:
        return {"kind": "BackwardHookFunction", "reason": "it hooks a module of several tensors"}
    return pointwise(node, step)


def overwritten(node: Node, step: Step) -> Fields:
    """A copy into a tensor: what was there before is gone, so the signal goes to the source alone."""
    found = pointwise(node, step)
    return {**found, "reaches": (None, *found["sees"][1:]) if "sees" in found else (None, WHOLE)}


def negation(node: Node, step: Step) -> Fields:
    return {**pointwise(node, step), "factors": (as_tensor(-1.0),)}


def sum_of(sign: int) -> Reader:
    def reader(node: Node, step: Step) -> Fields:
        found = pointwise(node, step)
        coefficients = (1.0, float(sign * getattr(node, "_saved_alpha", 1)))[: len(step.inputs)]
        if step.kind != rules.STATISTIC:
            return {**found, "coefficients": coefficients}
        moved = coefficients[1 - step.kept.index(True)]
        return {**found, "factors": () if moved == 1 else (as_tensor(moved),)}

    return reader


def sum_from(node: Node, step: Step) -> Fields:
    """Something less the tensor: of two, the first is what is taken away."""
    found = pointwise(node, step)
    coefficients = (-float(node._saved_alpha), 1.0)
    if step.kind != rules.STATISTIC:
        return {**found, "coefficients": coefficients[: len(step.inputs)]}
    return {**found, "factors": (as_tensor(coefficients[1 - step.kept.index(True)]),)}


def mixture(node: Node, step: Step) -> Fields:
    """start + weight * (end - start), with a constant weight, or a gate."""
    if len(step.inputs) > 2 and step.inputs[2] is not None and not step.kept[2]:
        return {"kind": rules.PRODUCT, "reason": "both factors carry the signal"}
    found = pointwise(node, step)
    if step.kind != rules.STATISTIC:
        return found
    weight = as_tensor(node._saved_weight)
    return {**found, "factors": (aligned(1 - weight if step.kept[1] else weight, step),)}


def addcmul(node: Node, step: Step) -> Fields:
    """self + value * one * other: with one of the factors constant, a sum."""
    if step.inputs[1] is not None and step.inputs[2] is not None:
        return {"kind": rules.PRODUCT, "reason": "both factors carry the signal"}
    found = pointwise(node, step)
    constant = node._saved_tensor1 if step.inputs[1] is None else node._saved_tensor2
    if step.kind == rules.STATISTIC:
        share = () if not step.kept[0] else (aligned(node._saved_value * as_tensor(constant), step),)
        return {**found, "factors": share}
    wide = "axes" in found and constant is not None and constant.dim() > 0
    if constant is None or (wide and torch.Size(_spatial(constant, step, found["axes"])).numel() > 1):
        return found
    weight = node._saved_value * constant.detach()
    return {**found, "undo": arrangements.Weighed((None, weight, weight))}


def _spatial(constant: Tensor, step: Step, axes: Axes) -> list[int]:
    wide = aligned(constant, step).shape
    return [wide[axis] for axis in axes]
