"""Pooled signals sent back to places in their windows, and what happens where windows meet. Plain tensors.

All ways give the same bits on every run and device: nothing depends on the order in which threads write.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pixelward.core.layout import laid_out
from pixelward.core.plan import Geometry


def added(signal: Tensor, places: Tensor, geometry: Geometry) -> Tensor:
    """Send each signal to its place; where windows chose one place, signals add.

    signal: (N, C, h, w) float. places: (N or 1, C or 1, h, w) int: place in the window, row by row.
    Returns (N, C, H, W), the footprint of all windows.
    """
    if signal.device.type != "cpu":  # elsewhere scattering adds in whatever order threads arrive
        return _place_by_place(signal, places, geometry, keep_larger=False)
    channels, rows, columns = signal.shape[1:]
    height, width = geometry.footprint((rows, columns))
    offsets = torch.tensor(
        [
            row * geometry.dilation[0] * width + column * geometry.dilation[1]
            for row in range(geometry.kernel[0])
            for column in range(geometry.kernel[1])
        ]
    )
    starts = torch.arange(rows)[:, None] * (geometry.stride[0] * width) + torch.arange(columns) * geometry.stride[1]
    # Flat places in a footprint with its channels last.
    first = starts[:, :, None] * channels + torch.arange(channels)
    index = (offsets * channels).take(places.permute(0, 2, 3, 1).long()) + first
    sent = laid_out(signal).permute(0, 2, 3, 1).flatten(1)
    down = signal.new_zeros(len(signal), height * width * channels)
    down.scatter_add_(1, index.flatten(1).expand(sent.shape), sent)
    return down.view(len(signal), height, width, channels).permute(0, 3, 1, 2)


def placed(signal: Tensor, places: Tensor, geometry: Geometry) -> Tensor:
    """Like `added`, but where signals meet, the one of largest magnitude stands; of equal ones the positive."""
    return _place_by_place(signal, places, geometry, keep_larger=True)


def _place_by_place(signal: Tensor, places: Tensor, geometry: Geometry, *, keep_larger: bool) -> Tensor:
    """One place of the window after the other: within a place no two windows meet."""
    rows, columns = signal.shape[2:]
    down = signal.new_zeros(*signal.shape[:2], *geometry.footprint((rows, columns)))
    nothing = signal.new_zeros(())
    for place in range(geometry.kernel[0] * geometry.kernel[1]):
        row, column = divmod(place, geometry.kernel[1])
        top, left = row * geometry.dilation[0], column * geometry.dilation[1]
        standing = down[
            :,
            :,
            top : top + (rows - 1) * geometry.stride[0] + 1 : geometry.stride[0],
            left : left + (columns - 1) * geometry.stride[1] + 1 : geometry.stride[1],
        ]
        arriving = torch.where(places == place, signal, nothing)
        if keep_larger:
            larger, equal = arriving.abs() > standing.abs(), arriving.abs() == standing.abs()
            standing.copy_(torch.where(larger | (equal & (arriving > standing)), arriving, standing))
        else:
            standing.add_(arriving)
    return down


def added_flat(signal: Tensor, places: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Like `added` for pools without a window of one size: flat places in each map of an input of `shape`.

    signal: (N, C, ...) float, one to three axes of maps. places: (N or 1, C, ...) int64. Returns a tensor of `shape`.
    """
    flat, index = _flat(signal, places, shape)
    if signal.device.type == "cpu":
        return flat.scatter_add_(2, index, signal.flatten(2)).view(shape)
    summed = flat.cpu().scatter_add_(2, index.cpu(), signal.flatten(2).cpu())  # a GPU would add in any order
    return summed.view(shape).to(signal.device)


def placed_flat(signal: Tensor, places: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Like `placed`, for flat places."""
    flat, index = _flat(signal, places, shape)
    highest = flat.scatter_reduce(2, index, signal.flatten(2), "amax")
    lowest = flat.scatter_reduce(2, index, signal.flatten(2), "amin")
    return torch.where(-lowest > highest, lowest, highest).view(shape)


def _flat(signal: Tensor, places: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    flat = signal.new_zeros(*shape[:2], torch.Size(shape[2:]).numel())
    return flat, places.long().expand(signal.shape).flatten(2)
