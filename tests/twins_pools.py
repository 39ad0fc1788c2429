"""Twins of max-pools, maxima, average pools and Lp pools: loops over windows."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from slow import (
    SAME,
    Chain,
    Larger,
    Leaf,
    Sum,
    adaptive,
    largest,
    linear,
    max_pooled,
    mean,
    over_windows,
    padded,
    places,
    switched,
)
from twins import AVERAGE_POOL, LINEAR, LP_POOL, MAX_POOL, MAXIMUM, pair, tensor, twin

# ---------------------------------------------------------------- max-pools


def windowed(rank, *arguments, **keywords):
    """The same windows along each of the last axes."""
    return lambda x: [places(size, *arguments, **keywords) for size in x.shape[-rank:]]


def pooling(windows):
    return switched(lambda x, at: max_pooled(x, at, windows(x)))


def in_view(view, slow, back=None):
    """Slow, on another view of the picture."""
    return Chain(linear(view), slow, *([linear(back)] if back else []))


def of_rows(x):
    return x.reshape(len(x), x.shape[1], -1)


def of_volumes(x):
    return x[:, None]


MAX_POOLS = {
    "3 by 3": (lambda x: F.max_pool2d(x, 3), windowed(2, 3, 3)),
    "windows that overlap": (lambda x: F.max_pool2d(x, 3, 1), windowed(2, 3, 1)),
    "stride and padding": (nn.MaxPool2d(3, 2, 1), windowed(2, 3, 2, 1)),
    "ceil mode": (nn.MaxPool2d(3, 2, ceil_mode=True), windowed(2, 3, 2, ceil=True)),
    "ceil mode and padding": (lambda x: F.max_pool2d(x, 2, 2, 1, ceil_mode=True), windowed(2, 2, 2, 1, ceil=True)),
    "dilation": (lambda x: F.max_pool2d(x, 2, 1, 1, dilation=2), windowed(2, 2, 1, 1, 2)),
    "dilation, stride and ceil": (
        lambda x: F.max_pool2d(x, 3, 2, 1, 2, ceil_mode=True),
        windowed(2, 3, 2, 1, 2, ceil=True),
    ),
    "stride larger than the window": (lambda x: F.max_pool2d(x, 2, 3), windowed(2, 2, 3)),
    "unequal sides": (
        lambda x: F.max_pool2d(x, (2, 3), (1, 2), (1, 0)),
        lambda x: [places(x.shape[2], 2, 1, 1), places(x.shape[3], 3, 2)],
    ),
    "with its indices": (lambda x: F.max_pool2d(x, 2, 2, return_indices=True)[0], windowed(2, 2, 2)),
    "adaptive, divisible": (
        nn.AdaptiveMaxPool2d((3, 4)),
        lambda x: [adaptive(x.shape[2], 3), adaptive(x.shape[3], 4)],
    ),
    "adaptive, not divisible": (
        lambda x: F.adaptive_max_pool2d(x, (4, 3)),
        lambda x: [adaptive(x.shape[2], 4), adaptive(x.shape[3], 3)],
    ),
    "adaptive, larger than the map": (
        lambda x: F.adaptive_max_pool2d(x, (7, 9)),
        lambda x: [adaptive(x.shape[2], 7), adaptive(x.shape[3], 9)],
    ),
    "adaptive to 1": (nn.AdaptiveMaxPool2d(1), lambda x: [[list(range(size))] for size in x.shape[2:]]),
}
for picture in ("normal", "whole numbers"):
    ties = ", ties" if picture != "normal" else ""
    for name, (operation, windows) in MAX_POOLS.items():
        pair(MAX_POOL, name + ties, operation, pooling(windows), picture)
    pair(
        MAX_POOL,
        "of one axis" + ties,
        lambda x: F.max_pool1d(x.flatten(2), 3, 2, 1),
        in_view(of_rows, pooling(windowed(1, 3, 2, 1))),
        picture,
    )
    pair(
        MAX_POOL,
        "of one axis, dilation and ceil" + ties,
        lambda x: F.max_pool1d(x.flatten(2), 3, 2, 1, 2, ceil_mode=True),
        in_view(of_rows, pooling(windowed(1, 3, 2, 1, 2, ceil=True))),
        picture,
    )
    pair(
        MAX_POOL,
        "of three axes" + ties,
        lambda x: F.max_pool3d(x.unsqueeze(1), 2, 1, 1),
        in_view(of_volumes, pooling(windowed(3, 2, 1, 1))),
        picture,
    )
    pair(
        MAX_POOL,
        "of three axes, dilation and ceil" + ties,
        lambda x: F.max_pool3d(x.unsqueeze(1), 2, 2, 1, 2, ceil_mode=True),
        in_view(of_volumes, pooling(windowed(3, 2, 2, 1, 2, ceil=True))),
        picture,
    )
    pair(
        MAX_POOL,
        "over channels, as a volume" + ties,
        lambda x: F.max_pool3d(x[:, None], (2, 1, 1))[:, 0],
        in_view(
            of_volumes,
            pooling(lambda x: [places(x.shape[2], 2, 2), *([[i] for i in range(s)] for s in x.shape[3:])]),
            lambda x: x[:, 0],
        ),
        picture,
    )
    pair(
        MAX_POOL,
        "adaptive of one axis" + ties,
        lambda x: F.adaptive_max_pool1d(x.flatten(2), 7),
        in_view(of_rows, pooling(lambda x: [adaptive(x.shape[2], 7)])),
        picture,
    )
    pair(
        MAX_POOL,
        "adaptive of three axes" + ties,
        lambda x: F.adaptive_max_pool3d(x[:, None], (2, 4, 3)),
        in_view(of_volumes, pooling(lambda x: [adaptive(s, n) for s, n in zip(x.shape[2:], (2, 4, 3), strict=True)])),
        picture,
    )


# ---------------------------------------------------------------- maxima


def greatest(axes, keep=False):
    def formula(x, at):
        out = largest(x, at, axes)
        return np.expand_dims(out, tuple(axis % x.ndim for axis in axes)) if keep else out

    return switched(formula)


def grouped(x):
    return x.reshape(len(x), 2, -1, *x.shape[2:])


def first_half(x):
    return x[:, : -(-x.shape[1] // 2)]


def second_half(x):
    return x[:, -(-x.shape[1] // 2) :]


HALVES = Larger(linear(first_half), linear(second_half))
MAXIMA = {
    "amax over channels": (lambda x: x.amax(1, keepdim=True), greatest((1,), True)),
    "amax over channels, axis dropped": (lambda x: torch.amax(x, dim=1), greatest((1,))),
    "amax over space": (lambda x: x.amax((2, 3)), greatest((2, 3))),
    "amax over space, kept": (lambda x: torch.amax(x, (-2, -1), keepdim=True), greatest((2, 3), True)),
    "amax over rows": (lambda x: x.amax(-2, keepdim=True), greatest((2,), True)),
    "amax over all": (lambda x: x.amax((1, 2, 3), keepdim=True), greatest((1, 2, 3), True)),
    "max over channels": (lambda x: x.max(1, keepdim=True)[0], greatest((1,), True)),
    "max over columns": (lambda x: torch.max(x, dim=3).values, greatest((3,))),
    "max over columns, then rows": (lambda x: x.max(3)[0].max(2)[0], Chain(greatest((3,)), greatest((2,)))),
    "max over flattened space": (lambda x: x.flatten(2).max(-1)[0], greatest((2, 3))),
    "maxout by amax": (lambda x: x.view(len(x), 2, -1, *x.shape[2:]).amax(2), Chain(linear(grouped), greatest((2,)))),
    "maxout by max": (lambda x: x.unflatten(1, (2, -1)).max(2)[0], Chain(linear(grouped), greatest((2,)))),
    "maxout across groups": (lambda x: x.unflatten(1, (2, -1)).amax(1), Chain(linear(grouped), greatest((1,)))),
    "maxout by maximum": (lambda x: torch.maximum(*x.chunk(2, 1)), HALVES),
    "maxout by max of two": (lambda x: torch.max(*x.chunk(2, 1)), HALVES),
    "maximum of a map and its mirror": (
        lambda x: torch.maximum(x, x.flip(3)),
        Larger(linear(lambda x: x), linear(lambda x: x[..., ::-1])),
    ),
    "maximum, the mirror first": (
        lambda x: torch.maximum(x.flip(1), x),
        Larger(linear(lambda x: x[:, ::-1]), linear(lambda x: x)),
    ),
    "fmax of a map and its mirror": (
        lambda x: torch.fmax(x, x.flip(3)),
        Larger(SAME, linear(lambda x: x[..., ::-1])),
    ),
    "maximum with a column": (
        lambda x: torch.maximum(x, x[..., :1]),
        Larger(linear(lambda x: x), linear(lambda x: x[..., :1])),
    ),
    "pool by unfolding": (
        lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2)),
        switched(lambda x, at: max_pooled(x, at, [places(s, 2, 2) for s in x.shape[2:]])),
    ),
}
for picture in ("normal", "whole numbers"):
    ties = ", ties" if picture != "normal" else ""
    for name, (operation, slow) in MAXIMA.items():
        pair((MAXIMUM,), name + ties, operation, slow, picture)


# ---------------------------------------------------------------- averages


def averaging(windows, divisor=None):
    return linear(
        lambda x: over_windows(
            x,
            windows(x),
            lambda samples, place: (
                samples.sum(tuple(range(-len(windows(x)), 0))) / (divisor or np.prod(samples.shape[-len(windows(x)) :]))
            ),
        )
    )


def with_border(kernel, stride, padding, ceil=False):
    """Counting the padding, but not what ceil mode adds beyond it."""

    def formula(x):
        windows = [places(size, kernel, stride, padding, ceil=ceil) for size in x.shape[-2:]]
        sizes = [
            [min(i * stride - padding + kernel, size + padding) - (i * stride - padding) for i in range(len(axis))]
            for axis, size in zip(windows, x.shape[-2:], strict=True)
        ]
        return over_windows(x, windows, lambda s, place: s.sum((-2, -1)) / (sizes[0][place[0]] * sizes[1][place[1]]))

    return linear(formula)


AVERAGES = {
    "2 by 2": (lambda x: F.avg_pool2d(x, 2), averaging(windowed(2, 2, 2))),
    "windows that overlap": (nn.AvgPool2d(3, 2), averaging(windowed(2, 3, 2))),
    "padding that counts": (nn.AvgPool2d(3, 2, 1), with_border(3, 2, 1)),
    "padding that does not count": (
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        averaging(windowed(2, 3, 2, 1)),
    ),
    "ceil mode": (nn.AvgPool2d(3, 2, ceil_mode=True), averaging(windowed(2, 3, 2, ceil=True))),
    "ceil mode, padding that counts": (nn.AvgPool2d(2, 2, 1, ceil_mode=True), with_border(2, 2, 1, True)),
    "ceil mode, padding that counts, overlap": (nn.AvgPool2d(3, 2, 1, ceil_mode=True), with_border(3, 2, 1, True)),
    "ceil mode, padding that does not count": (
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        averaging(windowed(2, 3, 2, 1, ceil=True)),
    ),
    "a divisor": (nn.AvgPool2d(2, divisor_override=3), averaging(windowed(2, 2, 2), 3)),
    "a divisor and padding": (
        nn.AvgPool2d(3, 2, 1, divisor_override=5),
        averaging(windowed(2, 3, 2, 1), 5),
    ),
    "unequal sides": (
        lambda x: F.avg_pool2d(x, (2, 3), (1, 2)),
        averaging(lambda x: [places(x.shape[2], 2, 1), places(x.shape[3], 3, 2)]),
    ),
    "of one axis": (
        lambda x: F.avg_pool1d(x.flatten(2), 3, 2, 1, count_include_pad=False),
        in_view(of_rows, averaging(windowed(1, 3, 2, 1))),
    ),
    "of three axes": (
        lambda x: F.avg_pool3d(x[:, None], 2, 1),
        in_view(of_volumes, averaging(windowed(3, 2, 1))),
    ),
    "of three axes, padding that does not count": (
        lambda x: F.avg_pool3d(x[:, None], 3, 2, 1, count_include_pad=False),
        in_view(of_volumes, averaging(windowed(3, 3, 2, 1))),
    ),
    "adaptive, divisible": (
        nn.AdaptiveAvgPool2d((3, 4)),
        averaging(lambda x: [adaptive(x.shape[2], 3), adaptive(x.shape[3], 4)]),
    ),
    "adaptive, not divisible": (
        nn.AdaptiveAvgPool2d((4, 3)),
        averaging(lambda x: [adaptive(x.shape[2], 4), adaptive(x.shape[3], 3)]),
    ),
    "adaptive, larger than the map": (
        nn.AdaptiveAvgPool2d((7, None)),
        averaging(lambda x: [adaptive(x.shape[2], 7), [[i] for i in range(x.shape[3])]]),
    ),
    "adaptive to 1": (nn.AdaptiveAvgPool2d(1), linear(lambda x: mean(x, (2, 3)))),
    "adaptive of one axis": (
        lambda x: F.adaptive_avg_pool1d(x.flatten(2), 7),
        in_view(of_rows, averaging(lambda x: [adaptive(x.shape[2], 7)])),
    ),
    "adaptive of three axes": (
        lambda x: F.adaptive_avg_pool3d(x[:, None], (2, 4, 3)),
        in_view(of_volumes, averaging(lambda x: [adaptive(s, n) for s, n in zip(x.shape[2:], (2, 4, 3), strict=True)])),
    ),
    "area": (
        lambda x: F.interpolate(x, size=(4, 3), mode="area"),
        averaging(lambda x: [adaptive(x.shape[2], 4), adaptive(x.shape[3], 3)]),
    ),
    "mean over space": (lambda x: x.mean((2, 3)), linear(lambda x: x.mean((2, 3)))),
    "mean over space, kept": (lambda x: torch.mean(x, [-2, -1], keepdim=True), linear(lambda x: mean(x, (2, 3)))),
    "mean over flattened space": (lambda x: x.flatten(2).mean(-1), linear(lambda x: x.mean((2, 3)))),
    "mean over channels": (lambda x: x.mean(1, keepdim=True), linear(lambda x: mean(x, (1,)))),
    "mean over rows": (lambda x: x.mean(2), linear(lambda x: x.mean(2))),
    "mean over all": (lambda x: x.mean((1, 2, 3), keepdim=True), linear(lambda x: mean(x, (1, 2, 3)))),
}
for name, (operation, slow) in AVERAGES.items():
    pair(AVERAGE_POOL, name, operation, slow)


# ---------------------------------------------------------------- Lp pools: soft switches, autograd's own way down


def normed(p, windows):
    def formula(x, at):
        axes = tuple(range(-len(windows(x)), 0))

        def norm(samples, place):
            powers = (samples**p).sum(axes)
            silent = powers.real <= 0  # where all samples are 0 the root has no slope: autograd takes 0
            return np.where(silent, 0, np.where(silent, 1, powers) ** (1 / p))

        return over_windows(x, windows(x), norm)

    return Leaf(formula, fixed=())


LP = {
    "squares": (lambda x: F.lp_pool2d(x, 2, 2), normed(2, windowed(2, 2, 2))),
    "squares, windows that overlap": (nn.LPPool2d(2, 3, 2), normed(2, windowed(2, 3, 2))),
    "unequal sides": (
        lambda x: F.lp_pool2d(x, 2, (2, 3), 1),
        normed(2, lambda x: [places(x.shape[2], 2), places(x.shape[3], 3)]),
    ),
    "of one axis": (
        lambda x: F.lp_pool1d(x.flatten(2), 2, 3, 2),
        in_view(of_rows, normed(2, windowed(1, 3, 2))),
    ),
    "of three axes": (
        lambda x: F.lp_pool3d(x[:, None], 2, 2, 1),
        in_view(of_volumes, normed(2, windowed(3, 2, 1))),
    ),
}
for name, (operation, slow) in LP.items():
    pair(LP_POOL, name, operation, slow)
pair(LP_POOL, "cubes", nn.LPPool2d(3, 2), normed(3, windowed(2, 2, 2)), "positive")
pair(LP_POOL, "a broken power", nn.LPPool2d(2.5, 3, 2), normed(2.5, windowed(2, 3, 2)), "positive")


pair(
    MAX_POOL,
    "added to its input",
    lambda x: x + F.max_pool2d(x, 3, 1, 1),
    Sum(SAME, pooling(windowed(2, 3, 1, 1))),
)
pair(
    MAXIMUM,
    "largest neighbour by unfolding, added to its input",
    lambda x: x + F.pad(x, [1] * 4).unfold(2, 3, 1).unfold(3, 3, 1).amax((-1, -2)),
    Sum(
        SAME,
        Chain(
            linear(lambda x: padded(x, [(1, 1), (1, 1)])),
            switched(lambda x, at: max_pooled(x, at, [places(s, 3) for s in x.shape[2:]])),
        ),
    ),
)
pair(
    AVERAGE_POOL,
    "its input taken away",
    lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) - x,
    Sum(averaging(windowed(2, 3, 1, 1)), SAME, weights=[1.0, -1.0]),
)
pair(
    (AVERAGE_POOL, LINEAR),
    "mean of neighbours by unfolding, taken away",
    lambda x: x - F.pad(x, [1] * 4).unfold(2, 3, 1).unfold(3, 3, 1).mean((-1, -2)),
    Sum(SAME, with_border(3, 1, 1), weights=[1.0, -1.0]),
)


@twin(MAX_POOL, "after a scale of either sign, ties", "whole numbers")
def _scaled(m):
    factors = np.round(3 * m.normal(m.channels, 1, 1))
    return (
        lambda x: F.max_pool2d(x * tensor(factors), 3, 2, 1),
        Chain(linear(lambda x: x * factors), pooling(windowed(2, 3, 2, 1))),
    )
