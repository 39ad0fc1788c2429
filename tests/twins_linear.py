"""Twins of padding, sums, joins and constant scales."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from slow import SAME, linear, maps
from twins import (
    ADDITION,
    AVERAGE_POOL,
    CONCATENATION,
    IDENTITY,
    LINEAR,
    PADDING,
    SCALE,
    pair,
    tensor,
    twin,
)

# ---------------------------------------------------------------- padding


def widened(margins, mode, **keywords):
    return linear(lambda x: np.pad(x, ((0, 0), (0, 0), *margins), mode=mode, **keywords))


PADDINGS = {
    "zeros": (nn.ZeroPad2d((1, 2, 0, 3)), widened(((0, 3), (1, 2)), "constant")),
    "zeros, functional": (lambda x: F.pad(x, (2, 1)), widened(((0, 0), (2, 1)), "constant")),
    "a constant": (nn.ConstantPad2d(1, 3.5), widened(((1, 1), (1, 1)), "constant", constant_values=3.5)),
    "cut by negative numbers": (lambda x: F.pad(x, (-1, -2, 0, -1)), linear(lambda x: x[:, :, :-1, 1:-2])),
    "widened and cut": (
        lambda x: F.pad(x, (1, -2, -1, 2)),
        linear(lambda x: np.pad(x[:, :, 1:, :-2], ((0, 0), (0, 0), (0, 2), (1, 0)))),
    ),
    "of channels": (
        lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)),
        linear(lambda x: np.pad(x, ((0, 0), (1, 2), (0, 0), (0, 0)))),
    ),
    "reflected": (nn.ReflectionPad2d((1, 2, 0, 3)), widened(((0, 3), (1, 2)), "reflect")),
    "replicated": (nn.ReplicationPad2d((1, 2, 0, 3)), widened(((0, 3), (1, 2)), "edge")),
    "replicated and cut": (
        lambda x: F.pad(x, (2, -1, 1, 0), mode="replicate"),
        linear(lambda x: np.pad(x[..., :-1], ((0, 0), (0, 0), (1, 0), (2, 0)), mode="edge")),
    ),
    "circular": (lambda x: F.pad(x, (1, 2, 0, 3), mode="circular"), widened(((0, 3), (1, 2)), "wrap")),
    "circular module": (nn.CircularPad2d(2), widened(((2, 2), (2, 2)), "wrap")),
    "reflected, of one axis": (
        lambda x: F.pad(x.flatten(2), (1, 2), mode="reflect"),
        linear(lambda x: np.pad(x.reshape(*x.shape[:2], -1), ((0, 0), (0, 0), (1, 2)), mode="reflect")),
    ),
    "replicated, of one axis": (
        lambda x: F.pad(x.flatten(2), (2, 1), mode="replicate"),
        linear(lambda x: np.pad(x.reshape(*x.shape[:2], -1), ((0, 0), (0, 0), (2, 1)), mode="edge")),
    ),
    "reflected, of three axes": (
        lambda x: F.pad(x[:, None], (1, 0, 1, 1, 0, 2), mode="reflect"),
        linear(lambda x: np.pad(x[:, None], ((0, 0), (0, 0), (0, 2), (1, 1), (1, 0)), mode="reflect")),
    ),
    "replicated, of three axes": (
        lambda x: F.pad(x[:, None], (1, 0, 1, 1, 0, 2), mode="replicate"),
        linear(lambda x: np.pad(x[:, None], ((0, 0), (0, 0), (0, 2), (1, 1), (1, 0)), mode="edge")),
    ),
}
for name, (operation, slow) in PADDINGS.items():
    pair((PADDING, LINEAR), name, operation, slow)


# ---------------------------------------------------------------- identity, addition, concatenation


IDENTITIES = {
    "clone": lambda x: x.clone(),
    "Identity": nn.Identity(),
    "contiguous": lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "channels last in memory": lambda x: x.contiguous(memory_format=torch.channels_last),
    "to another memory format": lambda x: x.to(memory_format=torch.channels_last),
    "to its own dtype": lambda x: x.to(torch.float64),
    "copied to a new tensor": lambda x: torch.empty_like(x).copy_(x),
    "alias": lambda x: x.view_as(x),
}
for name, operation in IDENTITIES.items():
    pair((IDENTITY, LINEAR, SCALE), name, operation, SAME)
NOTHING = {
    "dropout in eval": nn.Dropout().eval(),
    "dropout of maps in eval": nn.Dropout2d().eval(),
    "dropout, functional": lambda x: F.dropout(x, 0.5, training=False),
    "alpha dropout in eval": nn.AlphaDropout().eval(),
}
for name, operation in NOTHING.items():  # no step at all, only the harness's own
    pair((IDENTITY, SCALE), name, operation, SAME)

ADDITIONS = {
    "residual": (lambda x: x + x.flip(3), lambda x: x + x[..., ::-1]),
    "residual in place": (lambda x: x.flip(3).add_(x), lambda x: x + x[..., ::-1]),
    "of itself": (lambda x: x + x, lambda x: 2 * x),
    "with a factor": (lambda x: torch.add(x, x.flip(2), alpha=0.3), lambda x: x + 0.3 * x[:, :, ::-1]),
    "subtraction": (lambda x: x - x.flip(3), lambda x: x - x[..., ::-1]),
    "subtraction with a factor": (lambda x: torch.sub(x, x.flip(2), alpha=0.3), lambda x: x - 0.3 * x[:, :, ::-1]),
    "subtraction turned round": (lambda x: torch.rsub(x, x.flip(2) * 2), lambda x: 2 * x[:, :, ::-1] - x),
    "of a number": (lambda x: x + 2, lambda x: x + 2),
    "from a number": (lambda x: 1 - x, lambda x: 1 - x),
    "of a broadcast part": (lambda x: x + x[:, :1], lambda x: x + x[:, :1]),
    "of a broadcast column": (lambda x: x[..., :1] - x, lambda x: x[..., :1] - x),
    "of three": (lambda x: sum([x, x.flip(3), x.flip(2)]), lambda x: x + x[..., ::-1] + x[:, :, ::-1]),
}
for name, (operation, slow) in ADDITIONS.items():
    pair((ADDITION, LINEAR), name, operation, linear(slow))
pair(LINEAR, "sum of a stack", lambda x: torch.stack([x, x.flip(3)]).sum(0), linear(lambda x: x + x[..., ::-1]))
pair(
    (LINEAR, AVERAGE_POOL),
    "mean of a stack",
    lambda x: torch.stack([x, x.flip(3)]).mean(0),
    linear(lambda x: (x + x[..., ::-1]) / 2),
)
pair(
    LINEAR,
    "lerp",
    lambda x: torch.lerp(x, x.flip(3), 0.3),
    linear(lambda x: 0.7 * x + 0.3 * x[..., ::-1]),
)


@twin(ADDITION, "a bias of constants at each place")
def _positions(m):
    table = m.normal(1, *m.shape)
    return lambda x: x + nn.Parameter(tensor(table)), linear(lambda x: x + table)


def together(axis, *parts):
    return linear(lambda x: np.concatenate([part(x) for part in parts], axis))


CONCATENATIONS = {
    "of channels": (lambda x: torch.cat([x, x.flip(3)], 1), together(1, lambda x: x, lambda x: x[..., ::-1])),
    "of rows": (lambda x: torch.cat([x[:, :, 1:], x], 2), together(2, lambda x: x[:, :, 1:], lambda x: x)),
    "of columns": (lambda x: torch.cat((x, x * 2), dim=-1), together(3, lambda x: x, lambda x: 2 * x)),
    "of one tensor twice": (lambda x: torch.cat([x, x], 1), together(1, lambda x: x, lambda x: x)),
    "by hstack": (lambda x: torch.hstack([x, -x]), together(1, lambda x: x, lambda x: -x)),
    "by concat": (lambda x: torch.concat([x, x[:, :1]], 1), together(1, lambda x: x, lambda x: x[:, :1])),
    "of vectors": (
        lambda x: torch.cat([x.flatten(1), x.mean((2, 3))], 1),
        together(1, lambda x: x.reshape(len(x), -1), lambda x: x.mean((2, 3))),
    ),
    "channels last": (
        lambda x: torch.cat([x.permute(0, 2, 3, 1)] * 2, 3).permute(0, 3, 1, 2),
        together(1, lambda x: x, lambda x: x),
    ),
}
for name, (operation, slow) in CONCATENATIONS.items():
    pair((CONCATENATION, LINEAR), name, operation, slow)
for axis in (1, 2, 3):

    @twin((CONCATENATION, LINEAR), f"with constants along axis {axis}")
    def _with_constants(m, axis=axis):
        table = m.normal(1, *m.shape)
        return (
            lambda x: torch.cat([tensor(table).expand(len(x), -1, -1, -1), x], axis),
            linear(lambda x: np.concatenate([np.repeat(table, len(x), 0), x], axis)),
        )


# ---------------------------------------------------------------- constant scales


SCALES = {
    "times 2": (lambda x: x * 2, lambda x: 2 * x),
    "2 times": (lambda x: 2.0 * x, lambda x: 2 * x),
    "in place": (lambda x: (x + 0).mul_(-1.5), lambda x: -1.5 * x),
    "divided": (lambda x: x / 3, lambda x: x / 3),
    "divided by a float": (lambda x: x / 6.0, lambda x: x / 6),
    "divided in place": (lambda x: (x + 0).div_(3), lambda x: x / 3),
    "true_divide": (lambda x: torch.true_divide(x, 7), lambda x: x / 7),
    "negative": (lambda x: -x, lambda x: -x),
    "negative, by name": (lambda x: torch.neg(x), lambda x: -x),
    "one axis": (
        lambda x: x * torch.arange(1.0, 1.0 + x.shape[3], dtype=x.dtype),
        lambda x: x * np.arange(1.0, 1.0 + x.shape[3]),
    ),
    "two axes": (
        lambda x: torch.linspace(1, 2, x.shape[2], dtype=x.dtype)[:, None] * x,
        lambda x: x * np.linspace(1, 2, x.shape[2])[:, None],
    ),
}
for name, (operation, slow) in SCALES.items():
    pair(SCALE, name, operation, linear(slow))


@twin(SCALE, "layer scale")
def _layer_scale(m):
    factors = m.normal(m.channels)
    return lambda x: x * nn.Parameter(tensor(factors)).view(1, -1, 1, 1), linear(lambda x: x * maps(factors))


@twin(SCALE, "layer scale on a residual branch, channels last")
def _layer_scale_last(m):
    factors = m.normal(m.channels)
    return (
        lambda x: x + (tensor(factors) * x.flip(3).permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        linear(lambda x: x + maps(factors) * x[..., ::-1]),
    )


@twin(SCALE, "scale that broadcasts the map")
def _broadcasting(m):
    factors = m.normal(3, 1, 1)
    return lambda x: x[:, :1] * tensor(factors), linear(lambda x: x[:, :1] * factors)


@twin(SCALE, "divided by a tensor")
def _divided(m):
    factors = m.positive(m.channels, 1, 1)
    return lambda x: x / tensor(factors), linear(lambda x: x / factors)


@twin(SCALE, "another factor at each place")
def _everywhere(m):
    factors = m.normal(*m.shape)
    return lambda x: torch.mul(x, tensor(factors)), linear(lambda x: x * factors)


@twin(SCALE, "a mask of constants")
def _masked(m):
    mask = m.normal(*m.shape[1:]) > 0
    return lambda x: x * tensor(mask), linear(lambda x: x * mask)


class FrozenNorm(nn.Module):
    """Batch norm written by hand: a scale and a shift made of buffers at every call."""

    def __init__(self, **buffers):
        super().__init__()
        for name, array in buffers.items():
            self.register_buffer(name, tensor(array))

    def forward(self, x):
        weight, bias, mean, var = (b.reshape(1, -1, 1, 1) for b in (self.weight, self.bias, self.mean, self.var))
        scale = weight * (var + 1e-5).rsqrt()
        return x * scale + (bias - mean * scale)


@twin(SCALE, "batch norm by hand, frozen in buffers")
def _frozen(m):
    weight, bias, middle, spread = m.batch_norm()
    return (
        FrozenNorm(weight=weight, bias=bias, mean=middle, var=spread),
        linear(lambda x: (x - maps(middle)) / np.sqrt(maps(spread) + 1e-5) * maps(weight) + maps(bias)),
    )


@twin((SCALE, ADDITION), "batch norm by hand, the mean taken away first")
def _frozen_centred(m):
    weight, bias, middle, spread = m.batch_norm()
    w, b, mu, var = (tensor(maps(array)) for array in (weight, bias, middle, spread))
    return (
        lambda x: (x - mu) / torch.sqrt(var + 1e-3) * w + b,
        linear(lambda x: (x - maps(middle)) / np.sqrt(maps(spread) + 1e-3) * maps(weight) + maps(bias)),
    )
