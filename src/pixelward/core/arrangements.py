"""Exact transposes of steps that move, drop, copy or mix samples, written out so that they need no node.

Each is called with the signals of the step's outputs (None where there is none) and the shapes of its inputs (None for
a constant), and gives one signal per input. They work on whole maps and on windows alike, since none of them looks
at rows or columns: only `Shuffled` changes these, by a fixed factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Signals = Sequence[Tensor | None]
Shapes = Sequence[tuple[int, ...] | None]


@dataclass(frozen=True)
class Reshaped:
    """Of a view, squeeze, unsqueeze or flattening: the shape of the input again."""

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        return [_only(signals).reshape(_shape(shapes))]


@dataclass(frozen=True)
class Permuted:
    """Of a permutation or transposition of axes: the inverse one."""

    axes: tuple[int, ...]

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        inverse = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return [_only(signals).permute(inverse)]


@dataclass(frozen=True)
class Sliced:
    """Of every `step`-th sample of an axis from `start` on: zeros elsewhere."""

    axis: int
    start: int
    step: int

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        signal = _only(signals)
        down = signal.new_zeros(_shape(shapes))
        stop = self.start + (signal.shape[self.axis] - 1) * self.step + 1
        index = (slice(None),) * self.axis + (slice(self.start, stop, self.step),)
        down[index] = signal
        return [down]


@dataclass(frozen=True)
class Selected:
    """Of one sample of an axis, which goes: zeros elsewhere."""

    axis: int
    index: int

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        signal = _only(signals)
        down = signal.new_zeros(_shape(shapes))
        down.select(self.axis, self.index).copy_(signal)
        return [down]


@dataclass(frozen=True)
class Divided:
    """Of parts of an axis, of `sizes` samples each: the parts joined."""

    axis: int
    sizes: tuple[int, ...]

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        some = _any(signals)
        parts = []
        for signal, size in zip(signals, self.sizes, strict=True):
            shape = [*some.shape[: self.axis], size, *some.shape[self.axis + 1 :]]
            parts.append(some.new_zeros(shape) if signal is None else signal)
        return [torch.cat(parts, self.axis)]


@dataclass(frozen=True)
class Unbound:
    """Of all samples of an axis one by one: the samples stacked."""

    axis: int

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        some = _any(signals)
        return [torch.stack([torch.zeros_like(some) if s is None else s for s in signals], self.axis)]


@dataclass(frozen=True)
class Stacked:
    """Of tensors stacked on a new axis: to each its own."""

    axis: int

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        return _only(signals).unbind(self.axis)


@dataclass(frozen=True)
class Joined:
    """Of tensors concatenated on an axis, of `sizes` samples each: to each its own."""

    axis: int
    sizes: tuple[int, ...]

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        parts = torch.split(_only(signals), list(self.sizes), self.axis)
        return [None if shape is None else part for part, shape in zip(parts, shapes, strict=True)]


@dataclass(frozen=True)
class Summed:
    """Of a sum or mean over axes: `share` of the signal to every sample. keep: whether the axes stayed, of size 1."""

    axes: tuple[int, ...]
    keep: bool
    share: float

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        signal, shape = _only(signals), _shape(shapes)
        if not self.keep:
            for axis in sorted(self.axes):
                signal = signal.unsqueeze(axis)
        return [(signal * self.share if self.share != 1 else signal).expand(shape)]


@dataclass(frozen=True)
class Expanded:
    """Of broadcasting: the sum over what was broadcast."""

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        return [_only(signals).sum_to_size(_shape(shapes))]


@dataclass(frozen=True)
class Mixed:
    """Of a linear layer over the last axis, weight (out, in): the transposed matrix."""

    weight: Tensor

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        return [_only(signals) @ self.weight]


@dataclass(frozen=True)
class Weighed:
    """Of a sum of inputs, each times a weight of its own that broadcasts over it; None is 1."""

    weights: tuple[Tensor | None, ...]

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        signal = _only(signals)
        down: list[Tensor | None] = []
        for weight, shape in zip(self.weights, shapes, strict=True):
            part = signal if weight is None else signal * weight
            down.append(None if shape is None else part.sum_to_size(shape))
        return down


@dataclass(frozen=True)
class ChannelsShuffled:
    """Of channels dealt round from `groups` groups."""

    groups: int

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        signal = _only(signals)
        dealt = signal.reshape(signal.shape[0], -1, self.groups, *signal.shape[2:])
        return [dealt.transpose(1, 2).reshape(signal.shape)]


@dataclass(frozen=True)
class Shuffled:
    """Of blocks of factor x factor pixels put into channels: the channels as pixels again."""

    factor: int

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        return [F.pixel_shuffle(_only(signals), self.factor)]


@dataclass(frozen=True)
class Blocks:
    """Of blocks of `sides` pixels put into channels in any order: the pixels again.

    order: of the axes (picture, channel, row of blocks, row within, column of blocks, column within) above.
    """

    order: tuple[int, ...]
    sides: tuple[int, int]

    def __call__(self, signals: Signals, shapes: Shapes) -> Signals:
        signal, shape = _only(signals), _shape(shapes)
        sizes = (len(signal), shape[1], signal.shape[2], self.sides[0], signal.shape[3], self.sides[1])
        apart = signal.reshape([sizes[axis] for axis in self.order])
        return [apart.permute(sorted(range(6), key=self.order.__getitem__)).reshape(shape)]


def _only(signals: Signals) -> Tensor:
    (signal,) = signals
    if signal is None:
        raise LookupError("no signal arrived")
    return signal


def _any(signals: Signals) -> Tensor:
    return next(signal for signal in signals if signal is not None)


def _shape(shapes: Shapes) -> tuple[int, ...]:
    (shape,) = shapes
    if shape is None:
        raise LookupError("the input is a constant")
    return shape
