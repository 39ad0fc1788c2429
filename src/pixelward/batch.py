"""How many pictures go through the network at once in a scan: what is quickest, or fits into a bound on memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from pixelward.core.layers import Layer, observe, shows_the_same
from pixelward.core.layout import laid_out
from pixelward.core.memory import at_once, left_of, taken
from pixelward.core.precision import like_of
from pixelward.core.strongest import NotFiniteError, Strongest
from pixelward.incoming import AHEAD

BATCH, BATCHES = 32, {"cpu": 16}  # pictures at once where nobody asks for a number: also by kind of device


def quickest_batch(net: nn.Module) -> int:
    """How many pictures go through the network at once where nobody asks for a number."""
    return BATCHES.get(like_of(net).device.type, BATCH)


def fitting_batch(
    memory: int, net: nn.Module, layers: Sequence[Layer], shape: tuple[int, ...], k: int, most: int, surveyed: int
) -> int:
    """How many pictures of `shape` = (C, H, W) go through the network at once under a bound on memory.

    surveyed: bytes that looking for the layers took, which have to fit too.
    """
    like = like_of(net)
    strongest = [Strongest(layer.channels, k, like.device) for layer in layers]
    picture, ids = like.new_zeros(1, *shape), torch.zeros(1, dtype=torch.int64, device=like.device)

    def visit(number: int, maps: Tensor) -> None:
        with suppress(NotFiniteError):  # a network may divide by the norm of its picture, which this one has not
            strongest[number].update(maps, ids)

    def once() -> None:
        observe(net, picture, layers, visit, quick=same)

    turned = laid_out(picture)
    same = shows_the_same(net, picture, turned, layers)  # what is set up at the first call is not of every picture
    compared = taken(lambda: shows_the_same(net, picture, turned, layers), like.device)
    picture = turned if same else picture
    once()
    waiting = (1 + AHEAD) * picture.numel() * picture.element_size() if like.device.type == "cpu" else 0
    one = taken(once, like.device) + waiting
    left = left_of(memory, like.device, max(one, compared, surveyed), "a picture")
    return most if most * one <= left else at_once(left, one, most)
