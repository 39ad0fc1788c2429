"""Which network an atlas is of: a hash of all its numbers."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from pixelward.atlas import Atlas
from pixelward.core.passage import unwrapped
from pixelward.errors import PixelwardError


def fingerprint(net: nn.Module) -> str:
    """The sha256 over names, types, shapes and bytes of all parameters and buffers, by name; in hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(unwrapped(net).state_dict().items()):
        if isinstance(tensor, Tensor):  # a module may add other things to its state
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            # Without a copy where it lies in order on the CPU: it may be the largest thing that a scan has to hold.
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def recognised(atlas: Atlas, net: nn.Module) -> str:
    """The fingerprint of the network that an atlas was scanned with. Raises PixelwardError for another network."""
    found = fingerprint(net)
    if found != atlas.network["sha256"]:
        raise PixelwardError(
            given=f"a network that is not the one of {atlas.path} ({atlas.network['model'] or 'unnamed'})",
            allowed="the network that was scanned, with the same weights",
            next_step="name that network, or scan with this one into a new folder",
        )
    return found
