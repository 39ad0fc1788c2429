"""Whole numbers of float32 on GPUs, which else round those of convolutions to ten bits of digits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
    # Of torch's two ways to say it only this one: read after the other was used, `allow_tf32` raises.
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    settings: list[Any] = [cuda.matmul, cudnn.conv, cudnn.rnn]  # type: ignore[attr-defined]
    before = [setting.fp32_precision for setting in settings]
    for setting in settings:
        setting.fp32_precision = "ieee"
    try:
        yield
    finally:
        for setting, precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision
