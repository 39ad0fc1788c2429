"""The transpose of a convolution, in the form that takes the least time.

On a processor signals lie with their channels last: there kernels read them as they lie, the faster.
What a form makes of the weights is kept with the step, whose weights do not change.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelward.core import sparse
from pixelward.core.layout import laid_out, nothing
from pixelward.core.margins import stretched, with_margins
from pixelward.core.memory import at_once
from pixelward.core.plan import MAPS, Geometry, Margins, Pair, Step

# Measured for kernels of 3 to 11 and 3 to 512 channels.
FEW_CHANNELS = 8  # with fewer below, libraries leave most of a transposed convolution's speed unused
FEW_PLACES = 512  # with fewer above, in all signals, they spend their time on the weights
SIDE_BY_SIDE = 8  # channels that libraries make together: 9 take as long as 16, or longer
NUMBERS = 8_000_000  # made at once on the way: for each place as many as the kernel has weights, or a part of these


def transposed(signal: Tensor, step: Step) -> Tensor:
    """`signal`, (N, out, h, w), down through a convolution's own weight, with the step's margins: (N, in, H, W)."""
    weight, geometry = _of(step)
    signal = laid_out(signal)
    dense = step.groups == 1
    if dense and geometry.kernel == (1, 1):
        down = torch.matmul(signal.permute(0, 2, 3, 1), weight.flatten(1)).permute(0, 3, 1, 2)
        return with_margins(stretched(down, geometry, MAPS), step.margins, MAPS)
    # Where kernels stand apart, most of the stride's phases would be zeros.
    overlap = all(stride <= kernel for stride, kernel in zip(geometry.stride, geometry.kernel, strict=True))
    if dense and overlap and geometry.dilation == (1, 1) and weight.shape[1] <= FEW_CHANNELS:
        return with_margins(_to_few_channels(signal, step), step.margins, MAPS)
    places, numbers = signal.shape[2] * signal.shape[3], weight[0].numel()
    if dense and numbers * places <= NUMBERS:
        if sparse.is_quicker(signal.permute(0, 2, 3, 1), numbers):
            return with_margins(_place_by_place(signal, step, sparse.product), step.margins, MAPS)
        if len(signal) * places <= FEW_PLACES:
            return with_margins(_place_by_place(signal, step, torch.mm), step.margins, MAPS)
    cut, left = _cut(step)
    if geometry.stride == (1, 1):
        padding = tuple(d * (k - 1) - c for d, k, c in zip(geometry.dilation, geometry.kernel, cut, strict=True))
        turned = step.kept_form("turned", lambda: _turned(weight, step.groups))
        down = F.conv2d(signal, turned, padding=padding, dilation=geometry.dilation, groups=step.groups)
    else:
        down = F.conv_transpose2d(
            signal, weight, stride=geometry.stride, padding=cut, dilation=geometry.dilation, groups=step.groups
        )
    return with_margins(down, left, MAPS)


def _of(step: Step) -> tuple[Tensor, Geometry]:
    if step.weight is None or step.geometry is None:
        raise LookupError(f"{step.operation} has no weight to go down through")
    return step.weight, step.geometry


def _turned(weight: Tensor, groups: int) -> Tensor:
    """The weight of the ordinary convolution that is the transpose where the stride is 1."""
    out, below = weight.shape[:2]
    grouped = weight.flip(2, 3).view(groups, out // groups, below, *weight.shape[2:]).transpose(1, 2)
    return laid_out(grouped.reshape(groups * below, out // groups, *weight.shape[2:]))


def _cut(step: Step) -> tuple[Pair, Margins]:
    """How much of the margins a kernel can leave out by itself, alike on both sides; and the margins that are left."""
    _, geometry = _of(step)
    top, bottom, left, right = step.margins
    rows, columns = (
        max(0, min(-before, -after, dilation * (kernel - 1)))
        for before, after, dilation, kernel in zip(
            (top, left), (bottom, right), geometry.dilation, geometry.kernel, strict=True
        )
    )
    return (rows, columns), (top + rows, bottom + rows, left + columns, right + columns)


def _at_once(one: int, number: int) -> int:
    """How many of a number of signals go on together, each of which makes `one` count of numbers on its way."""
    return max(1, number) if one * number <= NUMBERS else at_once(NUMBERS, one, number)


def _to_few_channels(signal: Tensor, step: Step) -> Tensor:
    """One convolution along the rows, and what it gave for each row of the kernel put where that goes.

    Its channels are those rows, and the phases of the stride, side by side: enough to make use of a processor. Rows
    that are a stride apart, or more, are in other slices, and there are so few of these that adding them up takes
    little beside.
    """
    weight, geometry = _of(step)
    (down, right), channels = geometry.stride, weight.shape[1]
    by_row = step.kept_form("by row", lambda: _by_row(weight, geometry.stride))
    slices, together = math.ceil(geometry.kernel[0] / down), down * right * channels
    number, _, rows, columns = signal.shape
    high, wide = rows + slices - 1, columns + by_row.shape[3] - 1
    height, width = geometry.footprint((rows, columns))

    def sent(some: Tensor) -> Tensor:
        given = F.conv2d(some, by_row, padding=(0, by_row.shape[3] - 1)).permute(0, 2, 3, 1)
        phases = given.new_zeros(len(some), high, wide, together)
        for at in range(slices):
            phases[:, at : at + rows] += given[..., at * together : (at + 1) * together]
        beside = phases.view(-1, high, wide, down, right, channels).permute(0, 5, 1, 3, 2, 4)
        return beside.reshape(-1, channels, high * down, wide * right)[:, :, :height, :width]

    most = _at_once(len(by_row) * rows * wide, number)
    return sent(signal) if most >= number else torch.cat([sent(some) for some in torch.split(signal, most)])


def _by_row(weight: Tensor, stride: Pair) -> Tensor:
    """Of a weight (out, in, h, w), filled up with zeros to whole strides, that of an ordinary convolution along rows.

    (h / down * down * right * in, out, 1, w / right): its channels are the rows of the kernel, for each the phases of
    the stride, (down, right), for each the channels below; and some of zeros, which make a number that goes well.
    """
    (down, right), (out, below) = stride, weight.shape[:2]
    whole = F.pad(weight, (0, -weight.shape[3] % right, 0, -weight.shape[2] % down))
    rows, columns = whole.shape[2] // down, whole.shape[3] // right
    apart = whole.view(out, below, rows, down, columns, right).permute(2, 3, 5, 1, 0, 4)
    by_row = apart.reshape(-1, out, 1, columns).flip(3)
    return laid_out(torch.cat([by_row, by_row.new_zeros(-len(by_row) % SIDE_BY_SIDE, *by_row.shape[1:])]))


def _place_by_place(signal: Tensor, step: Step, product: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """A product of all places with all weights, put where each place of the kernel goes, the channels last."""
    weight, geometry = _of(step)
    (down, right), (height, width) = geometry.stride, geometry.kernel
    number, out, rows, columns = signal.shape
    by_place = step.kept_form("by place", lambda: weight.permute(0, 2, 3, 1).reshape(out, -1))
    below = nothing(signal, (number, weight.shape[1], *geometry.footprint((rows, columns))))
    most = _at_once(by_place.shape[1] * rows * columns, number)
    for first in range(0, number, most):
        some = signal[first : first + most].permute(0, 2, 3, 1).flatten(0, 2)
        given = product(some, by_place).view(-1, rows, columns, height, width, weight.shape[1])
        places = below[first : first + most].permute(0, 2, 3, 1)
        for y, x in itertools.product(range(height), range(width)):
            top, left = y * geometry.dilation[0], x * geometry.dilation[1]
            bottom, end = top + (rows - 1) * down + 1, left + (columns - 1) * right + 1
            places[:, top:bottom:down, left:end:right] += given[:, :, :, y, x]
    return below
