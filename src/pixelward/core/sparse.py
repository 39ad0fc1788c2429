"""Products with a matrix that is zero nearly everywhere, as unpooling and rectifying leave a signal."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# With these a product takes less time than a dense convolution of 3 x 3 or 5 x 5, as measured.
SHARE = 1 / 8  # of the numbers that are not zero, at most
COLUMNS = 128  # of the matrix, at least
SAMPLED = 64  # rows of it that are counted, about
QUICK = torch.backends.cpu.get_cpu_capability() in {"AVX2", "AVX512"}  # others add one number after the other


def is_quicker(matrix: Tensor) -> bool:
    """Whether `product` with a matrix, (m, n), takes less time than a dense one: told by some of its rows."""
    if not QUICK or matrix.device.type != "cpu" or matrix.dtype != torch.float32 or matrix.shape[1] < COLUMNS:
        return False
    some = matrix[:: len(matrix) // SAMPLED | 1]  # odd steps meet all columns of maps of an even width
    return int(some.count_nonzero()) <= SHARE * some.numel()


def product(matrix: Tensor, dense: Tensor) -> Tensor:
    """`matrix @ dense`, (m, n) @ (n, k), but that only numbers which are not zero are multiplied.

    Each row is the sum of a bag of rows of `dense`, by their numbers: torch's sparse matrices take twice as long.
    """
    is_there = matrix != 0
    places = is_there.flatten().nonzero()[:, 0]
    ends = is_there.sum(1).cumsum(0)
    return F.embedding_bag(
        places % matrix.shape[1],
        dense,
        F.pad(ends, (1, 0)),
        mode="sum",
        per_sample_weights=matrix.take(places),
        include_last_offset=True,
    )
