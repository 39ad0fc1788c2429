"""Whole numbers of float32: no TF32 on GPUs, which rounds to ten bits of digits, and none of the caller's autocast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def like_of(net: nn.Module) -> Tensor:
    """A tensor of the type and on the device that a network computes with."""
    return next((each for each in net.parameters() if each.is_floating_point()), torch.zeros(()))


def has_gpu() -> bool:
    """Whether torch finds a GPU of CUDA."""
    return torch.cuda.is_available()


@contextmanager
def full_precision() -> Iterator[None]:
    """Without autocast and TF32 meanwhile; afterwards as it was. What a network turns on in its own forward stays."""
    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if has_gpu():
            stack.enter_context(_without_tf32())
        yield


@contextmanager
def _without_tf32() -> Iterator[None]:
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
