"""Maps back at their size on the way down: rows and columns at the margins, and those that a stride skipped."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pixelward.core.layout import nothing
from pixelward.core.plan import MAPS, Axes, Geometry, Margins


def with_margins(signal: Tensor, margins: Margins, axes: Axes) -> Tensor:
    """Add rows and columns of zeros at top, bottom, left and right; negative numbers cut."""
    if not any(margins):
        return signal
    top, bottom, left, right = margins
    if axes == MAPS and signal.dim() == 4 and max(margins) <= 0:  # a part of what is there, without a copy
        return signal[:, :, -top : signal.shape[2] + bottom, -left : signal.shape[3] + right]
    if axes == MAPS and signal.dim() == 4:
        return F.pad(signal, (left, right, top, bottom))
    pads = [0] * (2 * signal.dim())
    for axis, (before, after) in zip(axes, ((top, bottom), (left, right)), strict=True):
        pads[2 * (signal.dim() - 1 - axis) : 2 * (signal.dim() - axis)] = before, after
    return F.pad(signal, pads)


def stretched(signal: Tensor, geometry: Geometry, axes: Axes) -> Tensor:
    """Zeros between the samples that a stride skipped."""
    if geometry.stride == (1, 1):
        return signal
    shape = list(signal.shape)
    index = [slice(None)] * signal.dim()
    for axis, stride in zip(axes, geometry.stride, strict=True):
        shape[axis] = (shape[axis] - 1) * stride + 1
        index[axis] = slice(None, None, stride)
    down = nothing(signal, shape)
    down[tuple(index)] = signal
    return down
