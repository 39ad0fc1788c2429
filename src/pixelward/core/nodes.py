"""Autograd's nodes, one row a kind: which kind of step a node is, and what reads it (`readers.py`,
`pools.py`, `moves.py`).

A node without a row is of unknown kind, which only autograd's own rule may cross.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from torch.nn.modules._functions import BackwardHookFunction

from pixelward.core import moves, pools, readers, rules
from pixelward.core.readers import Node, Reader


def operation(node: Node) -> str:
    """`ConvolutionBackward0` -> `Convolution`."""
    return re.sub(r"Backward\d*$", "", type(node).__name__)


def known_operation(node: Node) -> str:
    """Its operation, or nothing for a user's autograd function, whatever name that bears."""
    made = getattr(type(node), "_forward_cls", None)
    return operation(node) if made in (None, BackwardHookFunction) else ""


def row_of(node: Node) -> tuple[str, Reader]:
    """The node's row of the table. A user's autograd function has none."""
    return NODES.get(known_operation(node), (operation(node), readers.plain))


_FAMILIES: tuple[tuple[str, Reader, str], ...] = (
    (rules.CONVOLUTION, readers.convolution, "Convolution"),
    (rules.RECTIFIER, readers.pointwise, "Relu Threshold Clamp ClampMin Hardtanh"),
    (rules.ACTIVATION, readers.noisy, "RreluWithNoise"),
    (rules.ACTIVATION, readers.activation, "LeakyRelu PreluKernel Elu Celu Silu Gelu Mish Hardswish Softplus"),
    (rules.SATURATION, readers.pointwise, "Sigmoid Tanh Hardsigmoid"),
    (rules.SATURATION, moves.along_axes, "Softmax LogSoftmax SafeSoftmax"),
    (rules.MAX_POOL, pools.max_pool, "MaxPool2DWithIndices MaxPool3DWithIndices"),
    (rules.MAX_POOL, pools.adaptive_max_pool, "AdaptiveMaxPool2D AdaptiveMaxPool3D"),
    (rules.MAXIMUM, pools.largest_over, "Amax Max"),
    (rules.MAXIMUM, readers.maximum, "Maximum Fmax"),
    (rules.BATCH_NORM, readers.batch_norm, "NativeBatchNorm CudnnBatchNorm MiopenBatchNorm"),
    (rules.STATISTIC, readers.layer_norm, "NativeLayerNorm"),
    (rules.STATISTIC, readers.group_norm, "NativeGroupNorm"),
    (rules.SCALE, readers.product, "Mul"),
    (rules.SCALE, readers.quotient, "Div"),
    (rules.SCALE, readers.negation, "Neg"),
    (rules.AVERAGE_POOL, pools.average_pool, "AvgPool2D"),
    (rules.AVERAGE_POOL, pools.adaptive_average_pool, "AdaptiveAvgPool2D"),
    (rules.AVERAGE_POOL, readers.plain, "AvgPool3D AdaptiveAvgPool3D"),
    (rules.AVERAGE_POOL, pools.sum_over, "Mean"),
    (rules.LINEAR, pools.sum_over, "Sum"),
    (rules.PADDING, moves.padding, "ConstantPadNd"),
    (rules.IDENTITY, readers.pointwise, "Clone Alias"),
    (rules.IDENTITY, readers.hooked, "BackwardHookFunction"),
    (rules.IDENTITY, readers.overwritten, "CopyBackwards"),
    (rules.ADDITION, readers.sum_of(1), "Add"),
    (rules.ADDITION, readers.sum_of(-1), "Sub"),
    (rules.ADDITION, readers.sum_from, "Rsub"),
    (rules.CONCATENATION, moves.concatenation, "Cat"),
    (rules.LINEAR, readers.addcmul, "Addcmul"),
    (rules.LINEAR, readers.matrix_product, "Mm Addmm Bmm Baddbmm Mv Addmv"),
    (rules.LINEAR, moves.view, "View ReshapeAlias UnsafeView Unsqueeze Squeeze"),
    (rules.LINEAR, moves.permutation, "Permute Transpose T"),
    (rules.LINEAR, moves.piece, "Slice"),
    (rules.LINEAR, moves.one_of, "Select"),
    (rules.LINEAR, moves.parts, "Split SplitWithSizes UnsafeSplit UnsafeSplitWithSizes"),
    (rules.LINEAR, moves.unbound, "Unbind"),
    (rules.LINEAR, moves.stack, "Stack"),
    (rules.LINEAR, moves.expansion, "Expand"),
    (rules.LINEAR, moves.along_axes, "Roll Flip Cumsum"),
    (rules.LINEAR, moves.picked, "Index IndexSelect"),
    (rules.LINEAR, moves.mirrored, "ReflectionPad2D ReplicationPad2D"),
    (rules.LINEAR, moves.unshuffled, "PixelUnshuffle"),
    (rules.LINEAR, moves.channels_shuffled, "ChannelShuffle"),
    (rules.LINEAR, readers.pointwise, "ToCopy Where MaskedFill"),
    (rules.LINEAR, readers.mixture, "Lerp"),
    (rules.LINEAR, readers.with_constant(1), "GridSampler2D GridSampler3D"),
    (rules.GATE, readers.gated_half, "Glu"),
    (
        rules.LINEAR,
        readers.plain,
        "Rot90 Tril Triu Diagonal AsStrided Repeat Unfold Im2Col Col2Im "
        "PixelShuffle Gather MaxUnpool2D MaxUnpool3D "
        "ReflectionPad1D ReflectionPad3D ReplicationPad1D ReplicationPad3D "
        "UpsampleNearest1D UpsampleNearest2D UpsampleNearest3D UpsampleNearestExact1D UpsampleNearestExact2D "
        "UpsampleNearestExact3D UpsampleLinear1D UpsampleBilinear2D UpsampleBicubic2D UpsampleTrilinear3D "
        "UpsampleBilinear2DAa UpsampleBicubic2DAa",
    ),
)
# Without a rule on the signal's way, but often inside gates and statistics: what they see bounds a unit's field.
_SEEING: tuple[tuple[Reader, str], ...] = (
    (
        readers.pointwise,
        "Pow Sqrt Rsqrt Exp Expm1 Log Log1P Abs Reciprocal Erf Sign ClampMax Minimum Sin Cos Atan LogSigmoid Logaddexp "
        "Hardshrink Softshrink Addcdiv",
    ),
    (pools.reduction, "Var Std VarMean StdMean LinalgVectorNorm Norm Amin Min Logsumexp"),
)
NODES: Mapping[str, tuple[str, Reader]] = MappingProxyType(
    {
        **{name: (name, reader) for reader, names in _SEEING for name in names.split()},
        **{name: (kind, reader) for kind, reader, names in _FAMILIES for name in names.split()},
    }
)
