"""Products with a matrix that is zero nearly everywhere, as unpooling and rectifying leave a signal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor

# At these bounds a product takes about as long as a dense convolution, beyond them less: measured with one number of
# ten not zero, kernels of 3 to 11 and 9 to 512 channels below.
SHARE = 1 / 8  # of the numbers that are not zero, at most
COLUMNS = 128  # of the matrix, at least
DENSE = 100_000  # numbers of the other, at least
SAMPLED = 64  # rows of it that are counted
# Where torch has a kernel for float32 that was measured; float64 has none.
QUICK = torch.backends.cpu.get_cpu_capability() in {"AVX2", "AVX512"}
GOLDEN = (5**0.5 - 1) / 2  # multiples of it, less their whole parts, are spread evenly and fall in step with nothing
_ASSUMED: ContextVar[bool] = ContextVar("_ASSUMED", default=False)


@contextmanager
def assumed() -> Iterator[None]:
    """All matrices that may be zero nearly everywhere are taken to be: products then take the most memory that they
    can, for what others hold is not known before."""
    before = _ASSUMED.set(True)
    try:
        yield
    finally:
        _ASSUMED.reset(before)


def is_quicker(rows: Tensor, width: int) -> bool:
    """Whether `product` of rows, (..., n), with (n, width) takes less time than a dense one: told by some of them."""
    columns = rows.shape[-1]
    if not QUICK or rows.device.type != "cpu" or rows.dtype != torch.float32:
        return False
    if columns < COLUMNS or columns * width < DENSE:
        return False
    if _ASSUMED.get():
        return True
    some = rows.flatten(0, -2)
    if len(some) > SAMPLED:
        some = some[(torch.arange(SAMPLED, dtype=torch.float64) * GOLDEN % 1 * len(some)).long()]
    return int(some.count_nonzero()) <= SHARE * some.numel()


def product(matrix: Tensor, dense: Tensor) -> Tensor:
    """`matrix @ dense`, (m, n) @ (n, k), but that only numbers which are not zero are multiplied.

    Each row is the sum of a bag of rows of `dense`, by their numbers: torch's sparse matrices take longer. A row
    of `dense` that meets no number is not read, and may hold what is no number.
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
