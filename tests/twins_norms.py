"""Twins of normalisations: of the response, of the batch, and by statistics of the picture itself.

A statistic is a constant on the deconvnet's way down, so it is taken from `at`; what it does to x stays.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from slow import Leaf, Skipped, convolved, linear, maps, mean, padded, variance
from twins import BATCH_NORM, RESPONSE_NORM, STATISTIC, filled, pair, tensor, twin

# ---------------------------------------------------------------- response norms


def neighbours(x, size):
    """Sums over `size` neighbouring channels, the smaller half of them below."""
    wide = padded(x, [(size // 2, (size - 1) // 2), (0, 0), (0, 0)])
    return sum(wide[:, i : i + x.shape[1]] for i in range(size))


def response(size, alpha, beta, k):
    return Skipped(lambda x, at: x / (k + alpha / size * neighbours(x**2, size)) ** beta)


RESPONSES = {
    "functional": (lambda x: F.local_response_norm(x, 3), response(3, 1e-4, 0.75, 1.0)),
    "module": (nn.LocalResponseNorm(5, alpha=1.0), response(5, 1.0, 0.75, 1.0)),
    "an even number of channels": (nn.LocalResponseNorm(2, 0.5, 0.6, 2.0), response(2, 0.5, 0.6, 2.0)),
    "by hand, a volume": (
        lambda x: x / (2 + 0.3 * F.avg_pool3d(x.square()[:, None], (3, 1, 1), 1, (1, 0, 0))[:, 0]) ** 0.75,
        response(3, 0.3, 0.75, 2.0),
    ),
    "by hand, slices": (
        lambda x: (
            x / torch.pow(1 + sum(F.pad(x * x, (0, 0, 0, 0, 1, 1))[:, i : i + x.shape[1]] for i in range(3)), 0.5)
        ),
        response(3, 3.0, 0.5, 1.0),
    ),
    "by hand, power of a negative number": (
        lambda x: (
            x * (1 + F.conv3d((x**2)[:, None], torch.ones(1, 1, 3, 1, 1).double(), padding=(1, 0, 0))[:, 0]) ** -0.75
        ),
        response(3, 3.0, 0.75, 1.0),
    ),
}
for name, (operation, slow) in RESPONSES.items():
    pair(RESPONSE_NORM, name, operation, slow)


@twin(RESPONSE_NORM, "by hand, a convolution")
def _mixed(m):
    weights = m.positive(m.channels, m.channels, 1, 1)
    return (
        lambda x: x / torch.sqrt(1 + F.conv2d(x**2, tensor(weights))),
        Skipped(lambda x, at: x / np.sqrt(1 + convolved(x**2, weights))),
    )


# ---------------------------------------------------------------- batch norms


@twin(BATCH_NORM, "module")
def _batch_norm(m):
    weight, bias, middle, spread = m.batch_norm()
    module = filled(
        nn.BatchNorm2d(m.channels, eps=0.1), weight=weight, bias=bias, running_mean=middle, running_var=spread
    )
    return module, linear(lambda x: (x - maps(middle)) / np.sqrt(maps(spread) + 0.1) * maps(weight) + maps(bias))


@twin(BATCH_NORM, "functional, no weights")
def _bare_batch_norm(m):
    _, _, middle, spread = m.batch_norm()
    return (
        lambda x: F.batch_norm(x, tensor(middle), tensor(spread)),
        linear(lambda x: (x - maps(middle)) / np.sqrt(maps(spread) + 1e-5)),
    )


@twin(BATCH_NORM, "of one axis")
def _batch_norm_of_rows(m):
    weight, bias, middle, spread = m.batch_norm()
    module = filled(nn.BatchNorm1d(m.channels), weight=weight, bias=bias, running_mean=middle, running_var=spread)
    return (
        lambda x: module(x.flatten(2)).view_as(x),
        linear(lambda x: (x - maps(middle)) / np.sqrt(maps(spread) + 1e-5) * maps(weight) + maps(bias)),
    )


@twin(BATCH_NORM, "of three axes")
def _batch_norm_of_volumes(m):
    weight, bias, middle, spread = m.batch_norm()
    module = filled(nn.BatchNorm3d(m.channels), weight=weight, bias=bias, running_mean=middle, running_var=spread)
    return (
        lambda x: module(x[:, :, None]).squeeze(2),
        linear(lambda x: (x - maps(middle)) / np.sqrt(maps(spread) + 1e-5) * maps(weight) + maps(bias)),
    )


@twin(BATCH_NORM, "of a vector")
def _batch_norm_of_vectors(m):
    weight, bias, middle, spread = m.batch_norm()
    module = filled(nn.BatchNorm1d(m.channels), weight=weight, bias=bias, running_mean=middle, running_var=spread)
    return (
        lambda x: module(x.mean((2, 3))),
        linear(lambda x: (x.mean((2, 3)) - middle) / np.sqrt(spread + 1e-5) * weight + bias),
    )


# ---------------------------------------------------------------- statistics


def centred(axes, eps=1e-5, correction=0):
    """(x - mean) / deviation with both kept fixed."""
    return lambda x, at: (x - mean(at, axes)) / np.sqrt(variance(at, axes, correction) + eps)


def affine(formula, weight, bias):
    """Then times `weight` plus `bias`, a number a channel."""
    return Leaf(lambda x, at: formula(x, at) * maps(weight) + maps(bias))


def grouped_norm(groups, eps=1e-5):
    def formula(x, at):
        x_groups, at_groups = (t.reshape(len(t), groups, -1) for t in (x, at))
        return centred(2, eps)(x_groups, at_groups).reshape(x.shape)

    return formula


def channels_last(x):
    return x.transpose(0, 2, 3, 1)


def channels_first(x):
    return x.transpose(0, 3, 1, 2)


@twin(STATISTIC, "layer norm, channels last")
def _layer_norm(m):
    weight, bias = m.normal(2, m.channels)
    module = filled(nn.LayerNorm(m.channels, eps=1e-6), weight=weight, bias=bias)
    return lambda x: module(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), affine(centred(1, 1e-6), weight, bias)


@twin(STATISTIC, "layer norm, channels last and staying there")
def _layer_norm_last(m):
    weight = m.normal(m.channels)
    return (
        lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (m.channels,), tensor(weight)),
        Leaf(lambda x, at: channels_last(centred(1)(x, at) * maps(weight))),
    )


@twin(STATISTIC, "layer norm over all")
def _layer_norm_over_all(m):
    weight, bias = m.normal(2, *m.shape)
    return (
        lambda x: F.layer_norm(x, m.shape, tensor(weight), tensor(bias)),
        Leaf(lambda x, at: centred((1, 2, 3))(x, at) * weight + bias),
    )


@twin(STATISTIC, "group norm")
def _group_norm(m):
    m.need(m.channels % 2 == 0)
    weight, bias = m.normal(2, m.channels)
    module = filled(nn.GroupNorm(2, m.channels), weight=weight, bias=bias)
    return module, affine(grouped_norm(2), weight, bias)


@twin(STATISTIC, "group norm of one group, no weights")
def _group_norm_bare(m):
    return lambda x: F.group_norm(x, 1), Leaf(centred((1, 2, 3)))


@twin(STATISTIC, "instance norm")
def _instance_norm(m):
    return nn.InstanceNorm2d(m.channels).double().eval(), Leaf(centred((2, 3)))


@twin(STATISTIC, "instance norm with weights")
def _instance_norm_affine(m):
    weight, bias = m.normal(2, m.channels)
    module = filled(nn.InstanceNorm2d(m.channels, affine=True), weight=weight, bias=bias)
    return module, affine(centred((2, 3)), weight, bias)


@twin(STATISTIC, "instance norm, functional, of one axis")
def _instance_norm_of_rows(m):
    return lambda x: F.instance_norm(x.flatten(2)).view_as(x), Leaf(centred((2, 3)))


@twin((BATCH_NORM, STATISTIC), "instance norm that kept running statistics")
def _instance_norm_running(m):
    weight, bias, middle, spread = m.batch_norm()
    module = filled(
        nn.InstanceNorm2d(m.channels, affine=True, track_running_stats=True),
        weight=weight, bias=bias, running_mean=middle, running_var=spread,
    )  # fmt: skip
    return module, linear(lambda x: (x - maps(middle)) / np.sqrt(maps(spread) + 1e-5) * maps(weight) + maps(bias))


def root_mean_square(axes, eps=1e-6):
    return lambda x, at: x / np.sqrt(mean(at**2, axes) + eps)


@twin(STATISTIC, "RMS norm, channels last")
def _rms_norm(m):
    weight = m.normal(m.channels)
    module = filled(nn.RMSNorm(m.channels, eps=1e-6), weight=weight)
    return lambda x: module(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), affine(root_mean_square(1), weight, 0)


@twin(STATISTIC, "RMS norm, functional")
def _rms_norm_over_all(m):
    return lambda x: F.rms_norm(x, m.shape, eps=1e-6), Leaf(root_mean_square((1, 2, 3)))


# By hand: torch, and what it keeps fixed. The affine part follows in some.


def by_parts(x):
    away = x - x.mean(1, keepdim=True)
    return away / torch.sqrt(away.pow(2).mean(1, keepdim=True) + 1e-6)


def by_var_mean(x):
    spread, middle = torch.var_mean(x, dim=1, keepdim=True, correction=0)
    return (x - middle) * torch.rsqrt(spread + 1e-6)


def by_std_mean(x):
    spread, middle = torch.std_mean(x, dim=(2, 3), keepdim=True)
    return (x - middle) / (spread + 1e-3)


def by_mean_of_squares(x):
    middle = x.mean((1, 2, 3), keepdim=True)
    return (x - middle) * ((x * x).mean((1, 2, 3), keepdim=True) - middle**2 + 1e-6).rsqrt()


def by_groups(x):
    y = x.reshape(len(x), 2, -1)
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    return y.view_as(x)


def by_flat_moments(x):
    y = x.flatten(1)
    y = (y - y.mean(1, keepdim=True)) / torch.sqrt(y.var(1, keepdim=True) + 1e-5)
    return y.view_as(x)


def deviation(axes, eps, correction=1):
    return lambda x, at: (x - mean(at, axes)) / (np.sqrt(variance(at, axes, correction)) + eps)


def length(axes, eps=0.0):
    return lambda x, at: x / (np.sqrt((at**2).sum(axes, keepdims=True)) + eps)


BY_HAND = {
    "layer norm by hand, channels": (by_parts, centred(1, 1e-6)),
    "layer norm by hand, var": (
        lambda x: (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, keepdim=True, unbiased=False) + 1e-6),
        centred(1, 1e-6),
    ),
    "layer norm by hand, var_mean": (by_var_mean, centred(1, 1e-6)),
    "layer norm by hand, mean of squares": (by_mean_of_squares, centred((1, 2, 3), 1e-6)),
    "layer norm by hand, std": (
        lambda x: (x - x.mean((1, 2, 3), keepdim=True)) / (x.std((1, 2, 3), keepdim=True) + 1e-3),
        deviation((1, 2, 3), 1e-3),
    ),
    "layer norm by hand, flattened": (by_flat_moments, centred((1, 2, 3), correction=1)),
    "layer norm by hand, channels last": (
        lambda x: (lambda y: (y - y.mean(-1, keepdim=True)) / (y.std(-1, keepdim=True) + 1e-3))(x.permute(0, 2, 3, 1)),
        lambda x, at: channels_last(deviation(1, 1e-3)(x, at)),
    ),
    "group norm by hand": (by_groups, grouped_norm(2)),
    "instance norm by hand": (
        lambda x: (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True) + 1e-5) ** 0.5,
        centred((2, 3), correction=1),
    ),
    "instance norm by hand, std_mean": (by_std_mean, deviation((2, 3), 1e-3)),
    "RMS norm by hand": (lambda x: x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6), root_mean_square(1)),
    "RMS norm by hand, root": (
        lambda x: x / (x.pow(2).mean(1, keepdim=True) + 1e-6).sqrt(),
        root_mean_square(1),
    ),
    "RMS norm by hand, reciprocal": (
        lambda x: x * (x.pow(2).mean((1, 2, 3), keepdim=True) + 1e-6).sqrt().reciprocal(),
        root_mean_square((1, 2, 3)),
    ),
    "RMS norm by hand, product and sum": (
        lambda x: x * (1e-6 + (x * x).sum(1, keepdim=True) / x.shape[1]) ** -0.5,
        root_mean_square(1),
    ),
    "RMS norm by hand, channels last": (
        lambda x: (lambda y: y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6))(x.movedim(1, -1)),
        lambda x, at: channels_last(root_mean_square(1)(x, at)),
    ),
    "length by norm": (lambda x: x / x.norm(dim=1, keepdim=True), length(1)),
    "length by vector_norm": (
        lambda x: x / (torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True) + 1e-3),
        length((2, 3), 1e-3),
    ),
    "F.normalize over channels": (lambda x: F.normalize(x, dim=1), length(1)),
    "F.normalize of a vector": (lambda x: F.normalize(x.flatten(1)).view_as(x), length((1, 2, 3))),
    "F.normalize by the sum of magnitudes": (
        lambda x: F.normalize(x, p=1.0, dim=1),
        lambda x, at: x / (at * np.sign(at.real)).sum(1, keepdims=True),
    ),
    "mean taken away": (lambda x: x - x.mean((2, 3), keepdim=True), lambda x, at: x - mean(at, (2, 3))),
    "mean over channels taken away": (lambda x: x - x.mean(1, keepdim=True), lambda x, at: x - mean(at, 1)),
}
for name, (operation, formula) in BY_HAND.items():
    pair(STATISTIC, name, operation, Leaf(formula))


@twin(STATISTIC, "layer norm by hand, with weights")
def _layer_norm_by_hand(m):
    weight, bias = m.normal(2, m.channels)
    g, b = tensor(maps(weight)), tensor(maps(bias))
    return lambda x: g * by_parts(x) + b, affine(centred(1, 1e-6), weight, bias)


@twin(STATISTIC, "group norm, then weights by addcmul")
def _addcmul(m):
    weight, bias = m.normal(2, m.channels)
    g, b = tensor(maps(weight)), tensor(maps(bias))
    return lambda x: torch.addcmul(b, F.group_norm(x, 1), g), affine(centred((1, 2, 3)), weight, bias)


@twin(STATISTIC, "statistics of another map")
def _of_another_map(m):
    """The mean and the deviation of the mirror image: constants all the same."""
    return (
        lambda x: (lambda y: (x - y.mean(1, keepdim=True)) / (y.std(1, keepdim=True) + 1e-3))(x.flip(3)),
        Leaf(lambda x, at: (x - mean(at[..., ::-1], 1)) / (np.sqrt(variance(at[..., ::-1], 1, 1)) + 1e-3)),
    )


def response_of_channels(at, axes, channels):
    """Global response normalisation: the length of each map, relative to the mean over channels."""
    lengths = np.sqrt((at**2).sum(axes, keepdims=True))
    return lengths / (lengths.mean(channels, keepdims=True) + 1e-6)


@twin(STATISTIC, "GRN, channels last")
def _grn(m):
    weight, bias = m.normal(2, m.channels)
    g, b = tensor(weight), tensor(bias)

    def operation(x):
        y = x.permute(0, 2, 3, 1)
        lengths = torch.norm(y, p=2, dim=(1, 2), keepdim=True)
        relative = lengths / (lengths.mean(dim=-1, keepdim=True) + 1e-6)
        return (g * (y * relative) + b + y).permute(0, 3, 1, 2)

    return operation, Leaf(
        lambda x, at: maps(weight) * x * response_of_channels(at, (2, 3), 1) + maps(bias) + x
    )  # fmt: skip


@twin(STATISTIC, "GRN by addcmul")
def _grn_by_addcmul(m):
    weight, bias = m.normal(2, m.channels)
    g, b = tensor(maps(weight)), tensor(maps(bias))

    def operation(x):
        lengths = x.norm(p=2, dim=(2, 3), keepdim=True)
        return x + torch.addcmul(b, g, x * (lengths / (lengths.mean(dim=1, keepdim=True) + 1e-6)))

    return operation, Leaf(lambda x, at: x + maps(bias) + maps(weight) * x * response_of_channels(at, (2, 3), 1))


@twin(STATISTIC, "GRN by hand, sum of squares")
def _grn_by_hand(m):
    weight = m.normal(m.channels)
    g = tensor(maps(weight))

    def operation(x):
        lengths = x.pow(2).sum((2, 3), keepdim=True).sqrt()
        return g * x * (lengths / (lengths.mean(1, keepdim=True) + 1e-6)) + x

    return operation, Leaf(lambda x, at: x + maps(weight) * x * response_of_channels(at, (2, 3), 1))


@twin(STATISTIC, "its own mean added")
def _mean_added(m):
    """A statistic that shifts the tensor that it comes from gets no signal."""
    factors = m.normal(m.channels)
    return (
        lambda x: x + tensor(maps(factors)) * x.mean((2, 3), keepdim=True),
        Leaf(lambda x, at: x + maps(factors) * mean(at, (2, 3))),
    )
