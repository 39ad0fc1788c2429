"""Receptive fields and reaches by brute force: change every pixel alone; look where every signal arrives.

`Net` is what the small networks of `field_graphs.py` and `random_graphs.py` are made of.
"""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch import nn

from pixelward.core.fields import Box
from pixelward.core.project import walk
from pixelward.core.rules import DECONVNET
from pixelward.core.trace import trace

LARGE = 1e4  # a pixel that outshines all others, so that every window which sees it chooses it
ROUNDING = 1e-12


class Way(nn.Module):
    """Parts, and the way that a tensor takes through them."""

    def __init__(self, way, **parts):
        super().__init__()
        self.way = way
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.way(self, x)


class Net(Way):
    """A network of one way; the layer that is looked at is `last`."""

    def __init__(self, way, last=None, **parts):
        # A 1x1 convolution mixes all channels, so that each sees what any of them sees.
        super().__init__(way, last=last or nn.Conv2d(4, 3, 1), **parts)

    def forward(self, x):
        return self.last(super().forward(x))


@contextmanager
def one_thread():
    """On maps this small, threads spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def positive(net, seed=0):
    """Weights above 0 everywhere, so that nothing cancels; float64, in evaluation mode."""
    made = torch.Generator().manual_seed(seed)
    net = net.double().eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5, generator=made)
                tensor /= tensor[0].numel() if tensor.dim() > 1 else 1
                tensor *= 0.1 if name.endswith(("bias", "running_mean")) else 1
    return net


def signed(net, seed=0):
    """The same with weights of both signs."""
    net = positive(net, seed)
    made = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            tensor *= torch.randn(tensor.shape, generator=made, dtype=tensor.dtype) if "weight" in name else 1
    return net


def picture_of(size, channels=2, seed=0):
    return torch.randn(1, channels, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def places(net, picture):
    """First, middle and last rows and columns of the layer, in all pairs; () for a vector."""
    with torch.no_grad():
        size = net(picture).shape[2:]
    if not size:
        return [()]
    rows, columns = (sorted({0, length // 2, length - 1}) for length in size)
    return [(row, column) for row in rows for column in columns]


def with_one_pixel_changed(picture, amount, seed=0):
    """(H * W, C, H, W): copies of a picture; in copy i, pixel i is changed in every channel by about `amount`."""
    _, channels, height, width = picture.shape
    made = torch.Generator().manual_seed(seed)
    by = amount * (0.5 + torch.rand(height * width, channels, dtype=picture.dtype, generator=made))
    copies = picture.repeat(height * width, 1, 1, 1)
    number = torch.arange(height * width)
    copies[number, :, number // width, number % width] += by
    return copies


@torch.no_grad()
def changes(net, picture):
    """(H, W, h, w) bool: whether pixel (row, column), changed alone, changes any channel at a place of the layer.

    Changes of several sizes, of which a large one makes it the maximum of every window that sees it; on several
    pictures, since a gate cannot make its place the maximum by itself. (H, W) for a vector.
    """
    found = None
    others = [picture_of(picture.shape[2:], picture.shape[1], seed) for seed in range(50, 53)]
    tries = [(picture, LARGE), (picture, -LARGE), (picture, -0.1)]
    for number, (base, amount) in enumerate([*tries, *((base, 1.0) for base in (picture, *others, *slopes(picture)))]):
        before = net(base)
        after = net(with_one_pixel_changed(base, amount, number))
        moved = ((after - before).abs() > ROUNDING * before.abs().max()).any(1)
        found = moved if found is None else found | moved
    return found.reshape(*picture.shape[2:], *before.shape[2:])


def slopes(picture):
    """Pictures that grow towards each corner, where windows find their maximum at that side."""
    rows, columns = (torch.linspace(-1, 1, size, dtype=picture.dtype) for size in picture.shape[2:])
    return [1 + y * rows[:, None] + x * columns + 0.05 * picture for y in (-1, 1) for x in (-1, 1)]


@torch.no_grad()
def arrivals(net, picture, chosen, rules=DECONVNET, seed=None):
    """For each place of the layer, (H, W) bool: the pixels that its signal reaches in any of many pictures.

    In every picture another pixel outshines all others. A signal of ones starts in all channels, or a random one.
    """
    dull = 0.01 * picture
    shining = [with_one_pixel_changed(dull, amount) for amount in (LARGE, 30.0)]
    traced = trace(net, torch.cat([picture, *shining]), ["last"])
    target = traced.targets["last"]
    found = []
    for place in chosen:
        signal = torch.zeros_like(target.activations)
        start = torch.ones(signal.shape[:2], dtype=signal.dtype)
        if seed is not None:
            start = torch.randn(start.shape, dtype=start.dtype, generator=torch.Generator().manual_seed(seed))
        signal[(slice(None), slice(None), *place)] = start
        found.append(walk(traced.plan, target.value, signal, rules).ne(0).any(0).any(0))
    return found


def hull(mask):
    """The smallest box round the pixels of a mask, or None where there are none."""
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    if not len(rows):
        return None
    top, left = rows[0].item(), columns[0].item()
    return Box(top, left, rows[-1].item() + 1 - top, columns[-1].item() + 1 - left)


def within(box, size):
    """(H, W) bool: the pixels of a picture of that size that lie in a box."""
    mask = torch.zeros(size, dtype=torch.bool)
    rows, columns = (
        slice(max(0, start), max(0, start + length)) for start, length in ((box.top, box.height), (box.left, box.width))
    )
    mask[rows, columns] = True
    return mask
