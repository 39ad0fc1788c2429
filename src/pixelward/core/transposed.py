"""The transpose of a convolution, in the form that takes the least time."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pixelward.core.margins import stretched
from pixelward.core.plan import MAPS, Geometry

FEW = 8  # channels below which libraries leave most of a transposed convolution's speed unused


def transposed(signal: Tensor, weight: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """The footprint of `signal`, (N, out, h, w), through a convolution's weight, (out, in / groups, k, k)."""
    if geometry.kernel == (1, 1) and groups == 1:  # an ordinary convolution does it at twice the speed
        return stretched(F.conv2d(signal, weight.transpose(0, 1).contiguous()), geometry, MAPS)
    strided = geometry.stride[0] * geometry.stride[1] > 1
    if strided and groups == 1 and geometry.dilation == (1, 1) and weight.shape[1] <= FEW:
        return _by_phases(signal, weight, geometry)
    return F.conv_transpose2d(signal, weight, stride=geometry.stride, dilation=geometry.dilation, groups=groups)


def _by_phases(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """An ordinary convolution that gives every phase of the stride as channels, which are then put side by side.

    Each pixel meets only those weights of which its phase has any, so nothing is multiplied with the zeros between the
    samples that a stride skipped.
    """
    (down, right), (height, width) = geometry.stride, geometry.kernel
    rows, columns = -(-height // down), -(-width // right)
    channels = weight.shape[1]
    whole = F.pad(weight, (0, columns * right - width, 0, rows * down - height))
    phases = whole.view(len(weight), channels, rows, down, columns, right).permute(1, 3, 5, 0, 2, 4)
    flipped = phases.reshape(channels * down * right, len(weight), rows, columns).flip(2, 3)
    found = F.conv2d(signal, flipped, padding=(rows - 1, columns - 1))
    high, wide = found.shape[2:]
    beside = found.view(len(signal), channels, down, right, high, wide).permute(0, 1, 4, 2, 5, 3)
    size = geometry.footprint((signal.shape[2], signal.shape[3]))
    return beside.reshape(len(signal), channels, high * down, wide * right)[:, :, : size[0], : size[1]]
