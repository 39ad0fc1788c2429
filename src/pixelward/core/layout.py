"""How signals lie in memory on the way down: on a processor with their channels last, as its kernels read them best."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def laid_out(maps: Tensor) -> Tensor:
    """Maps, (N, C, H, W), lying as is best for the device; the same numbers and shape."""
    if maps.dim() != 4 or maps.device.type != "cpu":
        return maps
    return maps.contiguous(memory_format=torch.channels_last)


def nothing(signal: Tensor, shape: Sequence[int]) -> Tensor:
    """Zeros of a shape, of the signal's type and device, lying as `laid_out` does."""
    best = signal.dim() == 4 and signal.device.type == "cpu"
    layout = torch.channels_last if best else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=signal.dtype, device=signal.device, memory_format=layout).zero_()
