"""The transpose of a convolution, in the form that takes the least time.

On a processor signals lie with their channels last: there kernels read them as they lie, the faster.
What a form makes of the weights is kept with the step, whose weights do not change.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelward.core.layout import laid_out, nothing
from pixelward.core.margins import stretched, with_margins
from pixelward.core.plan import MAPS, Geometry, Margins, Step

# Measured on two processors, for kernels of 3 to 7 and 3 to 512 channels.
FEW_CHANNELS = 8  # with fewer below, libraries leave most of a transposed convolution's speed unused
FEW_PLACES = 512  # with fewer above, in all signals, they spend their time on the weights
NUMBERS = 8_000_000  # of a product at once: it has as many for each place as the kernel has weights


def transposed(signal: Tensor, step: Step) -> Tensor:
    """`signal`, (N, out, h, w), down through a convolution's own weight, with the step's margins: (N, in, H, W)."""
    weight, geometry = _of(step)
    signal = laid_out(signal)
    dense = step.groups == 1
    if dense and geometry.kernel == (1, 1):
        down = torch.matmul(signal.permute(0, 2, 3, 1), weight.flatten(1)).permute(0, 3, 1, 2)
        return with_margins(stretched(down, geometry, MAPS), step.margins, MAPS)
    if dense and geometry.dilation == (1, 1) and weight.shape[1] <= FEW_CHANNELS:
        at_once = max(1, NUMBERS // (weight[0].numel() * signal.shape[2] * signal.shape[3]))
        few = torch.cat([_to_few_channels(some, step) for some in torch.split(signal, at_once)])
        return with_margins(few, step.margins, MAPS)
    if dense and signal.numel() <= FEW_PLACES * signal.shape[1]:
        return with_margins(_from_few_places(signal, step), step.margins, MAPS)
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


def _cut(step: Step) -> tuple[tuple[int, int], Margins]:
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


def _to_few_channels(signal: Tensor, step: Step) -> Tensor:
    """One product of all places with all weights, and the maps that each place of the kernel gave put where they go.

    These are added up by the phases of the stride, so that neighbours lie side by side, and put together at the end.
    """
    weight, geometry = _of(step)
    (down, right), (height, width) = geometry.stride, geometry.kernel
    number, channels, (rows, columns) = len(signal), weight.shape[1], signal.shape[2:]
    given = torch.matmul(weight.flatten(1).t(), signal.permute(0, 2, 3, 1).reshape(number, rows * columns, -1).mT)
    given = given.view(number, channels, height, width, rows, columns)
    high, wide = rows + (height - 1) // down, columns + (width - 1) // right
    phases = signal.new_zeros(number, channels, down, right, high, wide)
    for y, x in product(range(height), range(width)):
        top, left = y // down, x // right
        phases[:, :, y % down, x % right, top : top + rows, left : left + columns] += given[:, :, y, x]
    beside = phases.permute(0, 1, 4, 2, 5, 3).reshape(number, channels, high * down, wide * right)
    size = geometry.footprint((rows, columns))
    return beside[:, :, : size[0], : size[1]]


def _from_few_places(signal: Tensor, step: Step) -> Tensor:
    """One product of all places with all weights, put where each place of the kernel goes, the channels last."""
    weight, geometry = _of(step)
    (down, right), (height, width) = geometry.stride, geometry.kernel
    number, out, rows, columns = signal.shape
    by_place = step.kept_form("by place", lambda: weight.permute(0, 2, 3, 1).reshape(out, -1))
    given = torch.mm(signal.permute(0, 2, 3, 1).reshape(-1, out), by_place)
    given = given.view(number, rows, columns, height, width, -1)
    below = nothing(signal, (number, weight.shape[1], *geometry.footprint((rows, columns))))
    places = below.permute(0, 2, 3, 1)
    for y, x in product(range(height), range(width)):
        top, left = y * geometry.dilation[0], x * geometry.dilation[1]
        bottom, end = top + (rows - 1) * down + 1, left + (columns - 1) * right + 1
        places[:, top:bottom:down, left:end:right] += given[:, :, :, y, x]
    return below
