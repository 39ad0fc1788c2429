"""Whole numbers of float32 on GPUs, which else round those of convolutions to ten bits of digits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def has_gpu() -> bool:
    """Whether torch finds a GPU of CUDA."""
    return torch.cuda.is_available()


@contextmanager
def full_precision() -> Iterator[None]:
    """Without TF32 meanwhile; afterwards as it was. Does nothing where there is no GPU of CUDA."""
    if not has_gpu():
        yield
        return
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, products.allow_tf32
    cudnn.allow_tf32 = products.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, products.allow_tf32 = before
