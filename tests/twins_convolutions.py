"""Twins of convolutions: every padding, groups, dilation, transposed, in one to three axes."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from slow import convolved, linear, transposed
from twins import CONVOLUTION, filled, tensor, twin

CONVOLUTIONS = {
    "3 by 3": {},
    "1 by 1": {"kernel": (1, 1)},
    "kernel of even sides": {"kernel": (2, 4), "padding": (1, 2)},
    "stride and padding": {"stride": 2, "padding": 1},
    "stride larger than the kernel": {"kernel": (2, 2), "stride": 3},
    "unequal everything": {"kernel": (3, 2), "stride": (1, 2), "padding": (2, 0), "dilation": (1, 3)},
    "dilation": {"dilation": 2, "padding": 2},
    "groups": {"groups": 2, "padding": 1},
    "depthwise": {"depthwise": 1, "padding": 1},
    "depthwise, two maps each, dilated, strided": {"depthwise": 2, "padding": 2, "dilation": 2, "stride": 2},
}
for name, options in CONVOLUTIONS.items():

    @twin(CONVOLUTION, name)
    def _convolution(m, options=options):
        geometry = dict(options)
        kernel = geometry.pop("kernel", (3, 3))
        deep = geometry.pop("depthwise", 0)
        groups = geometry["groups"] = m.channels if deep else geometry.get("groups", 1)
        m.need(m.channels % groups == 0 and min(m.shape[1:]) >= 5)
        out = deep * m.channels if deep else 4
        weight, bias = m.normal(out, m.channels // groups, *kernel), m.normal(out)
        module = filled(nn.Conv2d(m.channels, out, kernel, **geometry), weight=weight, bias=bias)
        return module, linear(lambda x: convolved(x, weight, bias, **geometry))


PADDED = {
    "same": ("same", {}, "constant", 1, ((1, 1), (1, 1))),
    "same, even kernel, dilated": ("same", {"kernel": (2, 4), "dilation": 3}, "constant", 3, ((1, 2), (4, 5))),
    "valid": ("valid", {}, "constant", 1, ((0, 0), (0, 0))),
    "reflected": (1, {"mode": "reflect"}, "reflect", 1, ((1, 1), (1, 1))),
    "replicated": ((2, 1), {"mode": "replicate", "stride": 2}, "edge", 1, ((2, 2), (1, 1))),
    "circular": ((1, 2), {"mode": "circular"}, "wrap", 1, ((1, 1), (2, 2))),
    "circular, same": ("same", {"mode": "circular", "kernel": (2, 3)}, "wrap", 1, ((0, 1), (1, 1))),
}
for name, (padding, options, mode, dilation, margins) in PADDED.items():

    @twin(CONVOLUTION, f"padding {name}")
    def _padded(m, padding=padding, options=options, mode=mode, dilation=dilation, margins=margins):
        m.need(min(m.shape[1:]) >= 5)
        kernel, stride = options.get("kernel", (3, 3)), options.get("stride", 1)
        weight = m.normal(3, m.channels, *kernel)
        module = nn.Conv2d(
            m.channels, 3, kernel, stride, padding, dilation, bias=False,
            padding_mode={"constant": "zeros", "edge": "replicate", "wrap": "circular"}.get(mode, mode),
        )  # fmt: skip
        wide = ((0, 0), (0, 0), *margins)
        return filled(module, weight=weight), linear(
            lambda x: convolved(np.pad(x, wide, mode=mode), weight, stride=stride, dilation=dilation)
        )


TRANSPOSED = {
    "stride 2": {"stride": 2},
    "padding and output padding": {"stride": 2, "padding": 1, "output_padding": 1},
    "dilation and groups": {"dilation": 2, "groups": 2},
    "stride 3, padding": {"stride": 3, "padding": 2},
}
for name, options in TRANSPOSED.items():

    @twin(CONVOLUTION, f"transposed: {name}")
    def _transposed(m, options=options):
        groups = options.get("groups", 1)
        m.need(m.channels % groups == 0)
        weight, bias = m.normal(m.channels, 2, 3, 3), m.normal(2 * groups)
        module = filled(nn.ConvTranspose2d(m.channels, 2 * groups, 3, **options), weight=weight, bias=bias)
        return module, linear(lambda x: transposed(x, weight, bias, **options))


@twin(CONVOLUTION, "of one axis, over rows of pixels")
def _of_rows(m):
    weight = m.normal(3, m.channels, 3)
    return (
        lambda x: F.conv1d(x.flatten(2), tensor(weight), stride=2, padding=1),
        linear(lambda x: convolved(x.reshape(*x.shape[:2], -1), weight, stride=2, padding=1)),
    )


@twin(CONVOLUTION, "of one axis, each row of the map apart")
def _of_each_row(m):
    """Rows join the pictures of the batch and leave them again."""
    weight = m.normal(3, m.channels, 3)

    def operation(x):
        y = F.conv1d(x.permute(0, 2, 1, 3).reshape(-1, x.shape[1], x.shape[3]), tensor(weight), padding=1)
        return y.view(len(x), -1, 3, x.shape[3]).permute(0, 2, 1, 3)

    return operation, linear(lambda x: convolved(x, weight[:, :, None], padding=(0, 1)))


@twin(CONVOLUTION, "of one axis, transposed")
def _of_rows_transposed(m):
    weight = m.normal(m.channels, 2, 3)
    return (
        lambda x: F.conv_transpose1d(x.flatten(2), tensor(weight), stride=2),
        linear(lambda x: transposed(x.reshape(*x.shape[:2], -1), weight, stride=2)),
    )


@twin(CONVOLUTION, "of three axes")
def _of_volumes(m):
    weight = m.normal(2, 1, 2, 3, 3)
    return (
        lambda x: F.conv3d(x.unsqueeze(1), tensor(weight), padding=(0, 1, 1), stride=(1, 2, 1)),
        linear(lambda x: convolved(x[:, None], weight, padding=(0, 1, 1), stride=(1, 2, 1))),
    )


@twin(CONVOLUTION, "of three axes, and back to maps")
def _of_volumes_and_back(m):
    weight = m.normal(1, 1, 3, 3, 3)
    return (
        lambda x: F.conv3d(x[:, None], tensor(weight), padding=1)[:, 0],
        linear(lambda x: convolved(x[:, None], weight, padding=1)[:, 0]),
    )


@twin(CONVOLUTION, "of three axes, transposed")
def _of_volumes_transposed(m):
    weight = m.normal(1, 2, 2, 2, 2)
    return (
        lambda x: F.conv_transpose3d(x[:, None], tensor(weight), stride=2),
        linear(lambda x: transposed(x[:, None], weight, stride=2)),
    )


@twin(CONVOLUTION, "weight norm")
def _weight_norm(m):
    direction, length = m.normal(3, m.channels, 3, 3), m.positive(3, 1, 1, 1)
    module = nn.utils.parametrizations.weight_norm(nn.Conv2d(m.channels, 3, 3, bias=False).double())
    module.parametrizations.weight.original0.data = tensor(length)
    module.parametrizations.weight.original1.data = tensor(direction)
    weight = length * direction / np.sqrt((direction**2).sum((1, 2, 3), keepdims=True))
    return module, linear(lambda x: convolved(x, weight))


@twin(CONVOLUTION, "standardised weights")
def _standardised(m):
    raw = m.normal(3, m.channels, 3, 3)
    weight = (raw - raw.mean((1, 2, 3), keepdims=True)) / (raw.std((1, 2, 3), ddof=1, keepdims=True) + 1e-5)

    def operation(x):
        w = nn.Parameter(tensor(raw))
        return F.conv2d(x, (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5))

    return operation, linear(lambda x: convolved(x, weight))


@twin(CONVOLUTION, "without the batch's axis")
def _unbatched(m):
    weight = m.normal(3, m.channels, 3, 3)
    return (
        lambda x: torch.stack([F.conv2d(one, tensor(weight), padding=1) for one in x]),
        linear(lambda x: convolved(x, weight, padding=1)),
    )


@twin(CONVOLUTION, "channels last in memory")
def _channels_last(m):
    weight = m.normal(3, m.channels, 3, 3)
    return (
        lambda x: F.conv2d(x.contiguous(memory_format=torch.channels_last), tensor(weight)),
        linear(lambda x: convolved(x, weight)),
    )


@twin(CONVOLUTION, "blur pool")
def _blur(m):
    m.need(min(m.shape[1:]) >= 3)
    kernel = np.outer([1, 2, 1], [1, 2, 1])[None, None].repeat(m.channels, 0) / 16.0
    return (
        lambda x: F.conv2d(F.pad(x, [1] * 4, mode="reflect"), tensor(kernel), stride=2, groups=x.shape[1]),
        linear(
            lambda x: convolved(
                np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect"), kernel, stride=2, groups=m.channels
            )
        ),
    )
