"""Autograd's nodes, one row a kind: which kind of step a node is, and what that step keeps of it.

A node without a row is of unknown kind, which only autograd's own rule may cross. Read of a node only what a rule
needs: a saved tensor that was overwritten in place raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from pixelward.core import rules
from pixelward.core.plan import POINTWISE, Geometry, Step

Node = Any  # torch.autograd.graph.Node; its saved attributes are not typed


def operation(node: Node) -> str:
    """`ConvolutionBackward0` -> `Convolution`."""
    return re.sub(r"Backward\d*$", "", type(node).__name__)


def row_of(node: Node) -> tuple[str, _Reader]:
    """The node's row of the table. A user's autograd function has none, whatever name it bears."""
    unknown = operation(node), _plain
    return unknown if hasattr(type(node), "_forward_cls") else NODES.get(operation(node), unknown)


# Readers: what a kind of step needs of its node, as fields of `Step`.


def _plain(node: Node, step: Step) -> dict[str, Any]:
    return {}


def _pointwise(node: Node, step: Step) -> dict[str, Any]:
    return {"geometry": POINTWISE} if _is_map(step) else {}


def _is_map(step: Step) -> bool:
    """Whether the step takes maps to maps of one shape, the batch aside: only constants may be broadcast."""
    shapes = {shape[1:] for shape in (*step.input_shapes, *step.output_shapes) if shape is not None and len(shape) == 4}
    return len(shapes) == 1 and all(shape is None or len(shape) == 4 for shape in step.input_shapes)


def _convolution(node: Node, step: Step) -> dict[str, Any]:
    if any(index is not None for index in step.inputs[1:]):
        return {"kind": rules.PRODUCT, "refusal": "its weights are computed from the picture"}
    weight = node._saved_weight
    if node._saved_transposed or weight.dim() != 4:
        return {}
    geometry = Geometry(
        tuple(weight.shape[2:]), tuple(node._saved_stride), tuple(node._saved_padding), tuple(node._saved_dilation)
    )
    return {
        "geometry": geometry,
        "margins": whole_margins(geometry, step),
        "weight": weight.detach(),
        "groups": node._saved_groups,
    }


def whole_margins(geometry: Geometry, step: Step) -> tuple[int, int, int, int]:
    """Margins that bring the footprint of the whole output map to the whole input map."""
    inputs, outputs = step.input_shapes[0], step.output_shapes[0]
    if inputs is None or outputs is None:
        raise LookupError(f"{step.operation} has no shapes")
    rows, columns = geometry.footprint((outputs[2], outputs[3]))
    top, left = -geometry.padding[0], -geometry.padding[1]
    return top, inputs[2] - (rows + top), left, inputs[3] - (columns + left)


def _max_pool(node: Node, step: Step) -> dict[str, Any]:
    if len(step.output_shapes[0] or ()) != 4:
        return {}
    stride = node._saved_stride or node._saved_kernel_size
    geometry = Geometry(
        tuple(node._saved_kernel_size), tuple(stride), tuple(node._saved_padding), tuple(node._saved_dilation)
    )
    indices = node._saved_result1
    return {
        "geometry": geometry,
        "margins": whole_margins(geometry, step),
        "switches": _places(indices, geometry, step),
        "middles": _middles(geometry, step).to(indices.device),
    }


def _places(indices: Tensor, geometry: Geometry, step: Step) -> Tensor:
    """Flat places in the input map -> places in each window, counted row by row."""
    width = step.input_shapes[0][3]  # type: ignore[index]
    rows, columns = (
        torch.arange(size, device=indices.device) * stride - padding
        for size, stride, padding in zip(indices.shape[2:], geometry.stride, geometry.padding, strict=True)
    )
    row = (indices // width - rows[:, None]) // geometry.dilation[0]
    column = (indices % width - columns) // geometry.dilation[1]
    return _small(row * geometry.kernel[1] + column, geometry)


def _small(places: Tensor, geometry: Geometry) -> Tensor:
    """Places of windows in the smallest type that holds them: plans of large batches are mostly switches."""
    return places.to(torch.int16 if geometry.kernel[0] * geometry.kernel[1] < 1 << 15 else torch.int32)


def _middles(geometry: Geometry, step: Step) -> Tensor:
    """The middle place of each window; where that lies outside the map, the nearest place of the window inside."""
    axes = []
    inputs, outputs = step.input_shapes[0], step.output_shapes[0]
    for axis in (0, 1):
        kernel, dilation = geometry.kernel[axis], geometry.dilation[axis]
        starts = torch.arange(outputs[2 + axis]) * geometry.stride[axis] - geometry.padding[axis]  # type: ignore[index]
        last = torch.div(inputs[2 + axis] - 1 - starts, dilation, rounding_mode="floor")  # type: ignore[index]
        first = torch.div(-starts + dilation - 1, dilation, rounding_mode="floor")
        axes.append(torch.full_like(starts, (kernel - 1) // 2).minimum(last).maximum(first))
    return _small((axes[0][:, None] * geometry.kernel[1] + axes[1])[None, None], geometry)


def _average_pool(node: Node, step: Step) -> dict[str, Any]:
    stride = node._saved_stride or node._saved_kernel_size
    geometry = Geometry(tuple(node._saved_kernel_size), tuple(stride), tuple(node._saved_padding))
    inputs, outputs = step.input_shapes[0], step.output_shapes[0]
    if inputs is None or outputs is None or len(inputs) != 4:
        return {}
    if node._saved_divisor_override is not None:
        divisor = torch.full((1, 1, *outputs[2:]), float(node._saved_divisor_override))
    else:
        counts = []
        for axis in (0, 1):
            starts = torch.arange(outputs[2 + axis]) * geometry.stride[axis] - geometry.padding[axis]
            stops = (starts + geometry.kernel[axis]).clamp(max=inputs[2 + axis] + geometry.padding[axis])
            if not node._saved_count_include_pad:
                starts, stops = starts.clamp(min=0), stops.clamp(max=inputs[2 + axis])
            counts.append(stops - starts)
        divisor = (counts[0][:, None] * counts[1])[None, None]
    return {
        "geometry": geometry,
        "margins": whole_margins(geometry, step),
        "factor": 1 / divisor.to(node._input_metadata[0].device, node._input_metadata[0].dtype),
    }


def _activation(node: Node, step: Step) -> dict[str, Any]:
    if any(index is not None for index in step.inputs[1:]):
        return {"kind": rules.PRODUCT, "refusal": "its slope is computed from the picture"}
    return _pointwise(node, step)


def _average(node: Node, step: Step) -> dict[str, Any]:
    """Means and sums over chosen axes; over the pictures of a batch they are refused."""
    axes = getattr(node, "_saved_dim", None)
    return _along(axes if axes is None or isinstance(axes, tuple) else (axes,), step)


def _moved(node: Node, step: Step) -> dict[str, Any]:
    return _along(tuple(node._saved_dims), step)


def _along(axes: tuple[int, ...] | None, step: Step) -> dict[str, Any]:
    rank = len(step.input_shapes[0] or ())
    if rank == 4 and (axes is None or 0 in {_axis(axis, rank) for axis in axes}):
        return {"refusal": "it mixes the pictures of a batch"}
    return {}


def _batch_norm(node: Node, step: Step) -> dict[str, Any]:
    if any(index is not None for index in step.inputs[1:]):
        return {"kind": rules.PRODUCT, "refusal": "its scale is computed from the picture"}
    if node._saved_training:
        return {"refusal": "its statistics are those of the batch (training mode)"}
    factor = (node._saved_running_var + node._saved_eps).rsqrt()
    if node._saved_weight is not None:
        factor = factor * node._saved_weight.detach()
    axes = len(step.input_shapes[0] or ()) - 2
    return {"geometry": POINTWISE if axes == 2 else None, "factor": factor.view(1, -1, *[1] * axes)}


def _clamp(node: Node, step: Step) -> dict[str, Any]:
    low, high = node._saved_min, getattr(node, "_saved_max", None)
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return {"kind": operation(node)}
    return _bounded(low, high, step)


def _hardtanh(node: Node, step: Step) -> dict[str, Any]:
    return _bounded(node._saved_min_val, node._saved_max_val, step)


def _bounded(low: float | None, high: float | None, step: Step) -> dict[str, Any]:
    if low != 0:
        return {"kind": rules.SATURATION}
    return {"kind": rules.RECTIFIER if high is None else rules.ACTIVATION, "geometry": POINTWISE}


def _threshold(node: Node, step: Step) -> dict[str, Any]:
    return {"geometry": POINTWISE} if node._saved_threshold == 0 else {"kind": operation(node)}


def _maximum(node: Node, step: Step) -> dict[str, Any]:
    for index, saved in ((0, "_saved_other"), (1, "_saved_self")):
        if step.inputs[1 - index] is None and step.inputs[index] is not None:
            constant = getattr(node, saved)
            if constant is not None and not constant.any():
                return {"kind": rules.RECTIFIER, **_pointwise(node, step)}
    return {"kind": operation(node)}


def _product(node: Node, step: Step) -> dict[str, Any]:
    live = [index for index, value in enumerate(step.inputs) if value is not None]
    if len(live) > 1:
        return {"kind": rules.PRODUCT, "refusal": "both factors carry the signal"}
    constant = node._saved_other if live == [0] else node._saved_self
    if constant is None or not _is_map(step):
        return {}
    return {"geometry": POINTWISE, "factor": _as_maps(constant.detach())}


def _as_maps(factor: Tensor) -> Tensor:
    """A factor with axes for picture and channel in front, as broadcasting reads it, so that windows can cut it."""
    return factor[(None,) * (4 - factor.dim())] if 0 < factor.dim() < 4 else factor


def _quotient(node: Node, step: Step) -> dict[str, Any]:
    if len(step.inputs) > 1 and step.inputs[1] is not None:
        return {"kind": rules.PRODUCT, "refusal": "the divisor carries the signal"}
    if getattr(node, "_saved_rounding_mode", None) is not None:
        return {"kind": "rounded division"}
    if not _is_map(step):
        return {}
    return {"geometry": POINTWISE, "factor": _as_maps(1 / node._saved_other.detach().to(node._input_metadata[0].dtype))}


def _matrix_product(node: Node, step: Step) -> dict[str, Any]:
    live = [value for value in step.inputs[-2:] if value is not None]
    return {"kind": rules.PRODUCT, "refusal": "both factors carry the signal"} if len(live) > 1 else {}


def _negation(node: Node, step: Step) -> dict[str, Any]:
    return {"geometry": POINTWISE, "factor": torch.tensor(-1)} if _is_map(step) else {}


def _sum(sign: int) -> Callable[[Node, Step], dict[str, Any]]:
    def reader(node: Node, step: Step) -> dict[str, Any]:
        shapes = {shape for shape in (*step.input_shapes, *step.output_shapes) if shape is not None}
        if len(shapes) != 1 or len(step.output_shapes[0] or ()) != 4:
            return {}
        return {"geometry": POINTWISE, "factor": torch.tensor([1, sign * node._saved_alpha], dtype=torch.float64)}

    return reader


def _concatenation(node: Node, step: Step) -> dict[str, Any]:
    rank = len(step.output_shapes[0] or ())
    constants = any(index is None for index in step.inputs)
    return {"geometry": POINTWISE} if rank == 4 and _axis(node._saved_dim, rank) == 1 and not constants else {}


def _axis(saved: int, rank: int) -> int:
    """An axis counted from the front; autograd shows one that was counted from the back as unsigned, of 64 bits."""
    return (saved - (1 << 64) if saved >= 1 << 63 else saved) % rank


def _padding(node: Node, step: Step) -> dict[str, Any]:
    pad = tuple(number - (1 << 64) if number >= 1 << 63 else number for number in node._saved_pad)
    if len(pad) > 4 or len(step.output_shapes[0] or ()) != 4:
        return {"kind": rules.LINEAR}
    left, right, top, bottom = (*pad, 0, 0)[:4]
    return {"geometry": Geometry(padding=(top, left)), "margins": (-top, -bottom, -left, -right)}


_Reader = Callable[[Node, Step], dict[str, Any]]
_FAMILIES: tuple[tuple[str, _Reader, str], ...] = (
    (rules.CONVOLUTION, _convolution, "Convolution"),
    (rules.RECTIFIER, _pointwise, "Relu"),
    (rules.RECTIFIER, _threshold, "Threshold"),
    (rules.RECTIFIER, _clamp, "Clamp ClampMin"),
    (rules.RECTIFIER, _maximum, "Maximum"),
    (rules.ACTIVATION, _hardtanh, "Hardtanh"),
    (rules.ACTIVATION, _activation, "LeakyRelu PreluKernel Elu Celu Silu Gelu Mish Hardswish Softplus"),
    (rules.SATURATION, _plain, "Sigmoid Tanh Softmax LogSoftmax Hardsigmoid"),
    (rules.MAX_POOL, _max_pool, "MaxPool2DWithIndices"),
    (rules.MAX_POOL, _plain, "AdaptiveMaxPool2D MaxPool3DWithIndices"),
    (rules.BATCH_NORM, _batch_norm, "NativeBatchNorm CudnnBatchNorm MiopenBatchNorm"),
    (rules.SCALE, _product, "Mul"),
    (rules.SCALE, _quotient, "Div"),
    (rules.SCALE, _negation, "Neg"),
    (rules.AVERAGE_POOL, _average_pool, "AvgPool2D"),
    (rules.AVERAGE_POOL, _plain, "AdaptiveAvgPool2D AvgPool3D AdaptiveAvgPool3D"),
    (rules.AVERAGE_POOL, _average, "Mean"),
    (rules.LINEAR, _average, "Sum"),
    (rules.LINEAR, _moved, "Roll Flip"),
    (rules.PADDING, _padding, "ConstantPadNd"),
    (rules.IDENTITY, _pointwise, "Clone Alias"),
    (rules.ADDITION, _sum(1), "Add"),
    (rules.ADDITION, _sum(-1), "Sub"),
    (rules.CONCATENATION, _concatenation, "Cat"),
    (rules.LINEAR, _matrix_product, "Mm Addmm Bmm Baddbmm Mv Addmv"),
    (
        rules.LINEAR,
        _plain,
        "View ReshapeAlias UnsafeView T Transpose Permute Unsqueeze Squeeze Select Slice Narrow Expand Repeat "
        "Split SplitWithSizes Unbind Stack ToCopy "
        "ReflectionPad1D ReflectionPad2D ReplicationPad1D ReplicationPad2D "
        "UpsampleNearest1D UpsampleNearest2D UpsampleNearestExact2D UpsampleBilinear2D UpsampleBicubic2D "
        "UpsampleBilinear2DAa UpsampleBicubic2DAa PixelShuffle PixelUnshuffle Im2Col Col2Im Unfold Rsub",
    ),
)
NODES: Mapping[str, tuple[str, _Reader]] = MappingProxyType(
    {name: (kind, reader) for kind, reader, names in _FAMILIES for name in names.split()}
)


def rectifies(node: Node) -> bool:
    """Whether a node is a rectifier, as `:relu` in an address means it (not a sigmoid, tanh or softmax)."""
    kind, reader = row_of(node)
    if kind not in _RECTIFYING:
        return False
    inputs = tuple(None if below is None else index for index, (below, _) in enumerate(node.next_functions))
    step = Step(kind, operation(node), "", inputs, (None,), (None,) * len(inputs), (None,))
    return reader(node, step).get("kind", kind) in _RECTIFYING


_RECTIFYING = frozenset({rules.RECTIFIER, rules.ACTIVATION})
