"""Numbers on their way to a GPU and back, without waiting for it until they are needed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def is_near(device: torch.device) -> bool:
    """Whether looking at a number there takes no time: a GPU is waited for, until it has done all that it was given."""
    return device.type == "cpu"


def moved(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor of the CPU on another device, of its own type or another; to a GPU while the processor goes on."""
    tensor = tensor.to(dtype or tensor.dtype)  # first, since what is converted on its way is not pinned any more
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def returning(tensor: Tensor) -> Callable[[], Tensor]:
    """Begin to copy a tensor to the CPU; what is returned waits until it is there, and for nothing that came later."""
    if tensor.device.type != "cuda":
        there = tensor.cpu()
        return lambda: there
    coming = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
    arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrival.record(torch.cuda.current_stream(tensor.device))  # the network's may not be the current device

    def arrived() -> Tensor:
        arrival.synchronize()
        return coming

    return arrived
