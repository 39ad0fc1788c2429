"""What the plan reads of autograd's nodes, which torch promises to nobody: every name of it is there in this torch.

A name that torch drops or changes fails here by name, not as a wrong picture. The first tables list what is read;
the sources are searched for reads that are listed nowhere.
"""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.nn.modules._functions import BackwardHookFunction

from pixelward.core import activations, edges, gates, graph, norms, patterns, readers
from pixelward.core.nodes import NODES, operation

CORE = Path(graph.__file__).parent


def weight(*shape):
    return torch.rand(*shape, dtype=torch.float64)


def vector():
    return weight(4)


def other():
    return weight(1, 4, 6, 6)


# Node (and which of several of its name): the smallest call on maps (1, 4, 6, 6) that makes it, and what is read of
# what it saved.
READ = {
    "Convolution": (
        lambda x: F.conv2d(x, weight(2, 4, 3, 3)),
        "weight stride padding dilation transposed groups",
    ),
    "Relu": (lambda x: torch.relu(x), ""),
    "Threshold": (lambda x: F.threshold(x, 0, 0), "threshold"),
    "Clamp": (lambda x: x.clamp(0, 6), "min max"),
    "ClampMin": (lambda x: x.clamp_min(0), "min"),
    "Hardtanh": (lambda x: F.relu6(x), "min_val max_val"),
    "LeakyRelu": (lambda x: F.leaky_relu(x), ""),
    "PreluKernel": (lambda x: F.prelu(x, vector()), ""),
    "Elu": (lambda x: F.elu(x), ""),
    "Celu": (lambda x: F.celu(x), ""),
    "Silu": (lambda x: F.silu(x), ""),
    "Gelu": (lambda x: F.gelu(x), ""),
    "Mish": (lambda x: F.mish(x), ""),
    "Hardswish": (lambda x: F.hardswish(x), ""),
    "Softplus": (lambda x: F.softplus(x), ""),
    "Sigmoid": (lambda x: torch.sigmoid(x), ""),
    "Tanh": (lambda x: torch.tanh(x), ""),
    "Hardsigmoid": (lambda x: F.hardsigmoid(x), ""),
    "Softmax": (lambda x: torch.softmax(x, 1), "dim"),
    "LogSoftmax": (lambda x: torch.log_softmax(x, 1), "dim"),
    "Pow": (lambda x: x.pow(2), "exponent"),
    "Pow by a tensor": (lambda x: x.pow(other()), "exponent"),
    "MaxPool2DWithIndices": (
        lambda x: F.max_pool2d(x, 3, 2),
        "kernel_size stride padding dilation result1",
    ),
    "MaxPool3DWithIndices": (
        lambda x: F.max_pool3d(x, (1, 3, 3)),
        "kernel_size stride padding dilation result1",
    ),
    "AdaptiveMaxPool2D": (lambda x: F.adaptive_max_pool2d(x, 2), "result1"),
    "AdaptiveMaxPool3D": (lambda x: F.adaptive_max_pool3d(x, 2), "result1"),
    "Amax": (lambda x: x.amax((2, 3)), "self dim keepdim"),
    "Max": (lambda x: x.max(1).values, "indices dim keepdim"),
    "Max of all": (lambda x: x.max(), "self"),
    "Maximum": (lambda x: torch.maximum(x, other()), "self other"),
    "NativeBatchNorm": (
        lambda x: F.batch_norm(x, vector(), vector(), vector(), vector()),
        "training running_var eps weight result2",
    ),
    "NativeLayerNorm": (
        lambda x: F.layer_norm(x, (6, 6), weight(6, 6)),
        "result2 weight normalized_shape",
    ),
    "NativeGroupNorm": (lambda x: F.group_norm(x, 2, vector()), "result2 weight group"),
    "Mul": (lambda x: x * other(), "self other"),
    "Div": (lambda x: x / other(), "self other"),
    "Div with rounding": (lambda x: torch.div(x, other(), rounding_mode="floor"), "rounding_mode"),
    "Neg": (lambda x: -x, ""),
    "AvgPool2D": (
        lambda x: F.avg_pool2d(x, 2),
        "kernel_size stride padding divisor_override count_include_pad",
    ),
    "AvgPool3D": (lambda x: F.avg_pool3d(x, 2), ""),
    "AdaptiveAvgPool2D": (lambda x: F.adaptive_avg_pool2d(x, 2), ""),
    "AdaptiveAvgPool3D": (lambda x: F.adaptive_avg_pool3d(x, 2), ""),
    "Mean": (lambda x: x.mean((2, 3)), "dim keepdim"),
    "Sum": (lambda x: x.sum((2, 3)), "dim keepdim"),
    "Mean of all": (lambda x: x.mean(), ""),
    "Sum of all": (lambda x: x.sum(), ""),
    "ConstantPadNd": (lambda x: F.pad(x, (1, 1)), "pad"),
    "Clone": (lambda x: x.clone(), ""),
    "BackwardHookFunction": (lambda x: BackwardHookFunction.apply(x)[0], ""),
    "Alias": (lambda x: torch.ops.aten.alias(x), ""),
    "Add": (lambda x: x + other(), "alpha"),
    "Sub": (lambda x: x - other(), "alpha"),
    "Rsub": (lambda x: 1 - x, "alpha"),
    "Cat": (lambda x: torch.cat([x, x], 1), "dim"),
    "Addcmul": (lambda x: torch.addcmul(other(), other(), x), "tensor1 tensor2 value"),
    "Mm": (lambda x: x[0, 0] @ weight(6, 6), ""),
    "Addmm": (lambda x: F.linear(x[0, 0], weight(2, 6), weight(2)), ""),
    "Bmm": (lambda x: torch.bmm(x[0], weight(4, 6, 6)), ""),
    "Baddbmm": (lambda x: torch.baddbmm(weight(4, 6, 6), x[0], weight(4, 6, 6)), ""),
    "Mv": (lambda x: x[0, 0] @ weight(6), ""),
    "Addmv": (lambda x: torch.addmv(weight(6), x[0, 0], weight(6)), ""),
    "View": (lambda x: x.view(1, -1), "self_sym_sizes"),
    "ReshapeAlias": (lambda x: torch.ops.aten._reshape_alias(x, [1, 144], [144, 1]), "self_sym_sizes"),
    "UnsafeView": (lambda x: torch.ops.aten._unsafe_view(x, [1, 144]), "self_sym_sizes"),
    "Unsqueeze": (lambda x: x.unsqueeze(1), ""),
    "Squeeze": (lambda x: x.squeeze(0), ""),
    "Permute": (lambda x: x.permute(0, 2, 3, 1), "dims"),
    "Transpose": (lambda x: x.transpose(1, 2), "dim0 dim1"),
    "T": (lambda x: x[0, 0].t(), ""),
    "Slice": (lambda x: x[:, 1:3], "dim start step"),
    "Select": (lambda x: x[:, 1], "dim index"),
    "Split": (lambda x: x.split(2, 1)[0], "dim"),
    "SplitWithSizes": (lambda x: x.split((1, 3), 1)[0], "dim"),
    "UnsafeSplit": (lambda x: torch.unsafe_split(x, 2, 1)[0], "dim"),
    "UnsafeSplitWithSizes": (lambda x: torch.unsafe_split_with_sizes(x, (1, 3), 1)[0], "dim"),
    "Unbind": (lambda x: x.unbind(1)[0], "dim"),
    "Stack": (lambda x: torch.stack([x, x], 1), "dim"),
    "Expand": (lambda x: x.expand(3, 4, 6, 6), ""),
    "Roll": (lambda x: x.roll((1, 1), (2, 3)), "dims"),
    "Flip": (lambda x: x.flip(2), "dims"),
    "Cumsum": (lambda x: x.cumsum(1), "dim"),
    "Index": (lambda x: x[:, torch.tensor([1, 0])], "indices"),
    "IndexSelect": (lambda x: x.index_select(1, torch.tensor([1, 0])), "dim"),
    "ReflectionPad2D": (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "padding"),
    "ReplicationPad2D": (lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate"), "padding"),
    "PixelUnshuffle": (lambda x: F.pixel_unshuffle(x, 2), "downscale_factor"),
    "ChannelShuffle": (lambda x: F.channel_shuffle(x, 2), "groups"),
    "ToCopy": (lambda x: x.float(), ""),
    "Where": (lambda x: torch.where(other() > 0, x, other()), ""),
    "MaskedFill": (lambda x: x.masked_fill(other() > 0, 0), ""),
    "Lerp": (lambda x: torch.lerp(x, other(), 0.5), ""),
    "GridSampler2D": (lambda x: F.grid_sample(x, weight(1, 3, 3, 2), align_corners=False), ""),
    "GridSampler3D": (lambda x: F.grid_sample(x[None], weight(1, 3, 3, 3, 3), align_corners=False), ""),
    "CopyBackwards": (lambda x: other().copy_(x), ""),
    "RreluWithNoise": (lambda x: F.rrelu(x, training=True), "training"),
    "Glu": (lambda x: F.glu(x, 1), "dim self"),
    "SafeSoftmax": (lambda x: torch.ops.aten._safe_softmax(x, 1), "dim"),
    "Fmax": (lambda x: torch.fmax(x, other()), "self other"),
    "Minimum": (lambda x: torch.minimum(x, other()), "self other"),
    "ClampMax": (lambda x: x.clamp_max(1), "max"),
    "Sqrt": (lambda x: x.sqrt(), ""),
    "Rsqrt": (lambda x: x.rsqrt(), ""),
    "Exp": (lambda x: x.exp(), ""),
    "Expm1": (lambda x: x.expm1(), ""),
    "Log": (lambda x: x.log(), ""),
    "Log1P": (lambda x: x.log1p(), ""),
    "Logaddexp": (lambda x: torch.logaddexp(x, other()), ""),
    "Abs": (lambda x: x.abs(), ""),
    "Reciprocal": (lambda x: x.reciprocal(), ""),
    "Erf": (lambda x: x.erf(), ""),
    "Sign": (lambda x: x.sign(), ""),
    "Sin": (lambda x: x.sin(), ""),
    "Cos": (lambda x: x.cos(), ""),
    "Atan": (lambda x: x.atan(), ""),
    "LogSigmoid": (lambda x: F.logsigmoid(x), ""),
    "Hardshrink": (lambda x: F.hardshrink(x), ""),
    "Softshrink": (lambda x: F.softshrink(x), ""),
    "Addcdiv": (lambda x: torch.addcdiv(x, other(), other()), ""),
    "Var": (lambda x: x.var(1), "dim keepdim"),
    "Std": (lambda x: x.std(1), "dim keepdim"),
    "VarMean": (lambda x: torch.var_mean(x, 1)[0], "dim keepdim"),
    "StdMean": (lambda x: torch.std_mean(x, 1)[0], "dim keepdim"),
    "LinalgVectorNorm": (lambda x: torch.linalg.vector_norm(x, dim=1), "dim keepdim"),
    "Norm": (lambda x: torch.ops.aten.norm(x, 2, [1], False), "dim keepdim"),
    "Amin": (lambda x: x.amin(1), "dim keepdim"),
    "Min": (lambda x: x.min(1).values, "dim keepdim"),
    "Logsumexp": (lambda x: x.logsumexp(1), "dim keepdim"),
    "Rot90": (lambda x: x.rot90(1, (2, 3)), ""),
    "Tril": (lambda x: x.tril(), ""),
    "Triu": (lambda x: x.triu(), ""),
    "Diagonal": (lambda x: x.diagonal(0, 2, 3), ""),
    "AsStrided": (lambda x: x.as_strided((1, 4, 6, 6), (144, 36, 6, 1)), ""),
    "Repeat": (lambda x: x.repeat(1, 2, 1, 1), ""),
    "Unfold": (lambda x: x.unfold(2, 3, 1), ""),
    "Im2Col": (lambda x: F.unfold(x, 3), ""),
    "Col2Im": (lambda x: F.fold(x.reshape(1, 4, 36), 7, 2), ""),
    "PixelShuffle": (lambda x: F.pixel_shuffle(x, 2), ""),
    "MaxUnpool2D": (lambda x: F.max_unpool2d(x, torch.arange(36).expand(1, 4, 36).view(1, 4, 6, 6), 2), ""),
    "MaxUnpool3D": (
        lambda x: F.max_unpool3d(x[:, None], torch.arange(144).view(1, 1, 4, 6, 6), (1, 2, 2)),
        "",
    ),
    "Gather": (lambda x: x.gather(1, torch.zeros(1, 1, 6, 6, dtype=torch.int64)), ""),
    "ReflectionPad1D": (lambda x: F.pad(x[0], (1, 1), mode="reflect"), ""),
    "ReflectionPad3D": (lambda x: F.pad(x[None], (1,) * 6, mode="reflect"), ""),
    "ReplicationPad1D": (lambda x: F.pad(x[0], (1, 1), mode="replicate"), ""),
    "ReplicationPad3D": (lambda x: F.pad(x[None], (1,) * 6, mode="replicate"), ""),
    "UpsampleNearest1D": (lambda x: F.interpolate(x[0], scale_factor=2), ""),
    "UpsampleNearest2D": (lambda x: F.interpolate(x, scale_factor=2), ""),
    "UpsampleNearest3D": (lambda x: F.interpolate(x[None], scale_factor=2), ""),
    "UpsampleNearestExact1D": (lambda x: F.interpolate(x[0], scale_factor=2, mode="nearest-exact"), ""),
    "UpsampleNearestExact2D": (lambda x: F.interpolate(x, scale_factor=2, mode="nearest-exact"), ""),
    "UpsampleNearestExact3D": (lambda x: F.interpolate(x[None], scale_factor=2, mode="nearest-exact"), ""),
    "UpsampleLinear1D": (lambda x: F.interpolate(x[0], scale_factor=2, mode="linear"), ""),
    "UpsampleBilinear2D": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), ""),
    "UpsampleBicubic2D": (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), ""),
    "UpsampleTrilinear3D": (lambda x: F.interpolate(x[None], scale_factor=2, mode="trilinear"), ""),
    "UpsampleBilinear2DAa": (lambda x: F.interpolate(x, size=3, mode="bilinear", antialias=True), ""),
    "UpsampleBicubic2DAa": (lambda x: F.interpolate(x, size=3, mode="bicubic", antialias=True), ""),
}
ELSEWHERE = {"CudnnBatchNorm", "MiopenBatchNorm"}  # nodes of other devices
# Beside what nodes saved: what is read of every node, and of the class of a user's own.
OF_NODES = {"_input_metadata", "_sequence_nr"}
OF_CLASSES = {"_forward_cls"}
KNOWN = {name.split()[0] for name in READ} | ELSEWHERE


def maps():
    """Live maps, not a leaf."""
    return weight(1, 4, 6, 6).requires_grad_().clone()


def saved(names):
    return {f"_saved_{name}" for name in names.split()}


def reads():
    """Names, and patterns of names (from f-strings), of what the core's sources read of nodes."""
    found = set()
    for source in sorted(CORE.glob("*.py")):
        for part in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(part, ast.Attribute):
                found.add(part.attr)
            elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                found.add(part.value)
            elif isinstance(part, ast.JoinedStr):
                found.add("".join(str(p.value) if isinstance(p, ast.Constant) else "*" for p in part.values))
    return {name for name in found if re.fullmatch(r"_saved_[\w*]+", name) or name in OF_NODES | OF_CLASSES}


def test_every_attribute_that_the_sources_read_is_listed_and_no_other():
    listed = set().union(*(saved(names) for _, names in READ.values())) | OF_NODES | OF_CLASSES
    read = reads()
    unlisted = sorted(name for name in read if not any(fnmatch(known, name) for known in listed))
    assert not unlisted, f"read by the core, but of no node in READ: {unlisted}"
    stale = sorted(name for name in listed if not any(fnmatch(name, pattern) for pattern in read))
    assert not stale, f"listed, but read nowhere in the core: {stale}"


def test_every_node_that_the_library_knows_by_name_is_listed():
    named = []
    for module in (edges, gates, activations, norms, patterns):
        sets = [value for value in vars(module).values() if isinstance(value, frozenset)]
        assert sets, module.__name__
        named += sets
    for names in [NODES, *named]:
        assert set(names) <= KNOWN, f"of no call in READ: {sorted(set(names) - KNOWN)}"


@pytest.mark.parametrize("name", list(READ))
def test_torch_still_makes_this_node_and_it_has_what_is_read(name):
    call, names = READ[name]
    node = call(maps()).grad_fn
    assert operation(node) == name.split()[0], f"torch {torch.__version__} calls it {type(node).__name__}"
    missing = sorted(n for n in saved(names) | OF_NODES | {"next_functions"} if not hasattr(node, n))
    assert not missing, f"{type(node).__name__} of torch {torch.__version__} lacks {', '.join(missing)}"


class Watched:
    """A node that writes down which of its attributes were there when they were read."""

    def __init__(self, node, seen):
        self.node, self.seen = node, seen

    def __getattr__(self, name):
        value = getattr(self.node, name)
        self.seen.add(name)
        return value


@pytest.mark.parametrize("name", [name for name in READ if name.split()[0] in NODES])
def test_a_reader_reads_nothing_of_its_node_but_what_is_listed(name, monkeypatch):
    call, names = READ[name]
    own, seen = name.split()[0], set()

    def row_of(node):
        kind, reader = NODES.get(operation(node), (operation(node), readers.plain))
        return kind, reader if operation(node) != own else lambda node, step: reader(Watched(node, seen), step)

    monkeypatch.setattr(graph, "row_of", row_of)
    x = maps()
    out, picture = call(x), x.grad_fn.next_functions[0][0]
    graph.read([(out.grad_fn, out.output_nr)], picture, graph.Notes({}, {}, {}, {}, None, [(0, 1 << 62, None)]))
    assert {n for n in seen if n.startswith("_saved_")} <= saved(names)


def test_nodes_can_be_called_and_tell_whose_signals_they_give():
    x = maps()
    one = torch.relu(x)
    assert one.grad_fn.next_functions == ((x.grad_fn, 0),)
    assert x.grad_fn.next_functions[0][0].variable.is_leaf
    (metadata,) = one.grad_fn._input_metadata
    assert (tuple(metadata.shape), metadata.dtype, metadata.device) == (tuple(x.shape), x.dtype, x.device)
    assert torch.equal(one.grad_fn(torch.ones_like(one)), torch.ones_like(one))
    two = one.exp()
    assert two.grad_fn._sequence_nr() > one.grad_fn._sequence_nr() > x.grad_fn._sequence_nr()


def test_a_users_function_shows_its_class_and_no_node_of_torch_does():
    class Mine(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x * 2

        @staticmethod
        def backward(context, signal):
            return signal * 2

    assert type(Mine.apply(maps()).grad_fn)._forward_cls is Mine
    assert not hasattr(type(torch.relu(maps()).grad_fn), "_forward_cls")


def test_a_module_that_is_not_compiled_says_so():
    assert torch.nn.ReLU()._compiled_call_impl is None
