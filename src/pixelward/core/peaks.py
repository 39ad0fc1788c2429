"""The maximum of every map of a batch and where it is, found in the way that is quickest for how the maps lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelward.core.devices import is_near

_MAPS_AT_ONCE = 1024  # maps copied at a time in the search for a place: bounds memory


@dataclass(frozen=True)
class Peaks:
    """value: (N, C) float32, the maxima of the maps of N pictures. Their places are told by `position`."""

    value: Tensor
    _maps: Tensor
    _place: Tensor | None  # (N, C) int64, of the first of equal ones in row-major order; None: not searched for yet

    @classmethod
    def of(cls, maps: Tensor) -> Peaks:
        """maps: (N, C, h, w) or (N, C), float32."""
        if maps.dim() == 2:
            return cls(maps, maps[:, :, None, None], torch.zeros_like(maps, dtype=torch.int64))
        if not is_near(maps.device):
            value, place = maps.flatten(2).max(2)
            return cls(value, maps, place)
        if maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous():
            # torch's pool over whole maps goes through such memory in order and notes the places as it does. Reading
            # one map out of it, to search for a place, takes as long as reading sixteen, and at first many are read.
            value, place = F.max_pool2d(maps, maps.shape[2:], return_indices=True)
            return cls(value.flatten(1), maps, place.flatten(1))
        return cls(maps.amax((2, 3)), maps, None)  # with its place, a maximum takes three times as long

    def position(self, rows: Tensor, channels: Tensor, wanted: Tensor) -> Tensor:
        """Where the maxima of these maps are, y and x: (..., 2) int32; anything where it is not wanted.

        rows, channels: (...) int64, which picture and unit. wanted: (...) bool. Of equal numbers the first in row-major
        order.
        """
        if self._place is not None:
            place = self._place[rows, channels]
        else:
            place = torch.zeros_like(rows)
            place[wanted] = self._searched(rows[wanted], channels[wanted])
        width = self._maps.shape[3]
        return torch.stack([place // width, place % width], -1).to(torch.int32)

    def _searched(self, rows: Tensor, channels: Tensor) -> Tensor:
        pieces = zip(torch.split(rows, _MAPS_AT_ONCE), torch.split(channels, _MAPS_AT_ONCE), strict=True)
        return torch.cat([self._maps[row, channel].flatten(1).argmax(1) for row, channel in pieces])


def are_finite(maps: Tensor, peaks: Tensor) -> Tensor:
    """Of each picture whether its maps, (N, C, ...) float32, hold neither NaN nor infinity: (N,) bool.

    peaks: (N, C), the maxima, in which NaN and infinity show already.
    """
    lowest = maps.amin((2, 3)) if maps.dim() == 4 else maps
    return (peaks.isfinite() & lowest.isfinite()).all(1)
