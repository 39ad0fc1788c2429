"""How signals lie in memory on the way down: on a processor with their channels last, as its kernels read them best."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDING = 1e-3  # of the largest number: between two ways of one pass


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


def rows(tensor: Tensor, numbers: Tensor) -> Tensor:
    """`tensor[numbers]`, (n, ...), lying as the tensor does: whole rows are copied, where indexing copies numbers."""
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1).index_select(0, numbers).permute(0, 3, 1, 2)
    return tensor.index_select(0, numbers)


def looked_up(table: Tensor, indices: Tensor) -> Tensor:
    """`table[indices]` of a table of one axis, lying as the indices do: read in the order in which these lie."""
    last = indices.dim() == 4 and indices.is_contiguous(memory_format=torch.channels_last)
    read = indices.permute(0, 2, 3, 1) if last else indices
    found = table.index_select(0, read.reshape(-1)).view(read.shape)
    return found.permute(0, 3, 1, 2) if last else found


def is_close(one: Tensor, other: Tensor) -> bool:
    """Whether two ways of one pass gave the same, but for rounding; half precision rounds more."""
    rounding = max(ROUNDING, 8 * torch.finfo(one.dtype).eps) if one.is_floating_point() else 0.0
    return torch.allclose(one, other, rtol=rounding, atol=rounding * float(one.abs().max()), equal_nan=True)
