"""Local response norm, between channels that lie beside each other (Krizhevsky et al., 2012): x / (k + a mean(x^2))^b.

torch has it by a general pool over three axes, at the price of the convolutions around it. It is a sum of some
channels, added up a few pictures at a time, so that what is made on the way stays in the processor's cache.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

NUMBERS = 300_000  # at once


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """`torch.nn.functional.local_response_norm`, with its arguments: the same but for rounding, and lying alike.

    What this does not serve (other devices, types and shapes) goes to torch's own.
    """
    if not _serves(input):
        return F.local_response_norm(input, size, alpha, beta, k)
    return _ResponseNorm.apply(input, size, alpha, beta, k)  # type: ignore[no-any-return,no-untyped-call]


def _serves(maps: Tensor) -> bool:
    plain = type(maps) is Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(maps)
    return plain and maps.device.type == "cpu" and maps.dtype in (torch.float32, torch.float64) and maps.dim() == 4


class _ResponseNorm(Function):
    """One node of autograd, which keeps its input only."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        ctx.save_for_backward(maps)
        ctx.numbers = size, alpha, beta, k
        made = torch.empty_like(maps)
        at_once = max(1, NUMBERS // max(1, maps[:1].numel()))
        for some, put in zip(torch.split(maps, at_once), torch.split(made, at_once), strict=True):
            torch.div(some, _power(_base(some, size, alpha, k), beta), out=put)
        return made

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, None, None, None]:
        (maps,) = ctx.saved_tensors
        size, alpha, beta, k = ctx.numbers
        base = _base(maps, size, alpha, k)
        divided = signal / base.pow(beta)
        # A channel stands in the windows of those that have it in theirs.
        through = _windows(divided * maps / base, size, (size - 1) // 2)
        return divided - 2 * alpha * beta / size * maps * through, None, None, None, None


def _base(maps: Tensor, size: int, alpha: float, k: float) -> Tensor:
    """What is raised to the power: (N, C, H, W)."""
    return _windows(maps.square(), size, size // 2).mul_(alpha / size).add_(k)


def _windows(maps: Tensor, size: int, before: int) -> Tensor:
    """Sums of `size` channels each, of which `before` stand in front; zeros beyond the first and the last."""
    padded = F.pad(maps, (0, 0, 0, 0, before, size - 1 - before))
    channels = maps.shape[1]
    sums = padded.narrow(1, 0, channels).clone()
    for at in range(1, size):
        sums += padded.narrow(1, at, channels)
    return sums


def _power(base: Tensor, exponent: float) -> Tensor:
    """`base` to the exponent, in place; by roots, which are several times as fast, for the exponent that all use."""
    if exponent != 0.75:
        return base.pow_(exponent)
    root = base.sqrt_()
    return root.mul_(root.sqrt())
