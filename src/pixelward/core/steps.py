"""The paper's three operations on plain tensors, and a deconvnet for plain stacks made of nothing else.

Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks" (2013), section 2.1. A layer and its way back:

    up     maps below  ->  filter, add bias  ->  rectify  ->  pool, record switches  ->  normalise  ->  maps above
    down   signal below  <-  filter, no bias  <-  rectify  <-  unpool by switches  <-  (nothing)  <-  signal above

Any other network is `project.py`'s task. All tensors are (N, C, H, W), all sizes (H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelward.errors import PixelwardError

Step = Callable[[Tensor], Tensor]  # from the signal above a layer to the signal below it


def unpool(signal: Tensor, switches: Tensor, size: Sequence[int]) -> Tensor:
    """Put each value back where its window had its maximum; zero elsewhere. (N, C, h, w) -> (N, C, *size).

    The paper's "Unpooling". switches: int64, shaped like `signal`, flat places in a map of `size`, as torch's pools
    return them. Where windows overlap and chose one place their values add: the paper leaves this open, and so it is
    the pool's exact transpose. Raises PixelwardError where switches do not fit signal or size.
    """
    places = size[0] * size[1]
    alike = signal.dim() == 4 and signal.shape == switches.shape and switches.dtype == torch.int64
    if not alike or ((switches < 0) | (switches >= places)).any():
        raise PixelwardError(
            given=f"signal {tuple(signal.shape)}, switches {tuple(switches.shape)}, map of {tuple(size)}",
            allowed=f"one shape (N, C, h, w) for both, switches of torch.int64 from 0 to {places - 1}",
            next_step="pass what max_pool2d(..., return_indices=True) returned, and the size of its input",
        )
    flat = torch.zeros(*signal.shape[:2], places, dtype=signal.dtype)
    flat.scatter_add_(2, switches.flatten(2).cpu(), signal.flatten(2).cpu())  # a GPU would add in any order
    return flat.view(*signal.shape[:2], *size).to(signal.device)


def rectify(signal: Tensor) -> Tensor:
    """max(signal, 0): the paper's "Rectification", of the signal itself. The signs met on the way up play no part."""
    return signal.clamp(min=0)


def filter(
    signal: Tensor,
    weight: Tensor,
    size: Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Stamp every filter, times the signal, where it stood on the way up. (N, C, h, w) -> (N, channels below, *size).

    The paper's "Filtering": transposed filters, that is each filter flipped top-bottom and left-right (and input and
    output channels swapped), applied to the rectified signal. No bias. weight, stride, padding, dilation, groups: the
    convolution's own, as they are. size: of the convolution's input, recorded, for several sizes lead to one (h, w).
    Raises PixelwardError where these do not belong together.
    """
    steps, margins, gaps = _pair(stride), _pair(padding), _pair(dilation)
    axes = zip(size, weight.shape[2:], margins, gaps, strict=False)
    room = [i + 2 * p - d * (k - 1) - 1 for i, k, p, d in axes]  # how far the filter can move
    above = tuple(r // s + 1 for r, s in zip(room, steps, strict=False))
    if signal.dim() != 4 or (signal.shape[1], *signal.shape[2:]) != (len(weight), *above) or len(weight) % groups:
        raise PixelwardError(
            given=f"signal {tuple(signal.shape)}, weight {tuple(weight.shape)}, map of {tuple(size)}, groups {groups}",
            allowed=f"signal (N, {len(weight)}, *{above}), which that convolution makes of that map",
            next_step="pass the convolution's own weight, not permuted, its geometry, and the size of its input",
        )
    missed = [r % s for r, s in zip(room, steps, strict=True)]  # rows and columns at the end that no filter reached
    return F.conv_transpose2d(signal, weight, None, steps, margins, missed, groups, gaps)


def leave(signal: Tensor) -> Tensor:
    """The signal as it is: the paper normalises across maps on the way up, and does nothing for it on the way down."""
    return signal


def ascend(stack: nn.Sequential, picture: Tensor) -> tuple[Tensor, list[Step]]:
    """Send `picture` up; return the maps at the top, and the way down: one step a layer, in the order of the way up.

    The paper's first half: the picture passes through the network, sizes and switches are recorded. To start lower,
    give a slice, `net[:5]`. Raises PixelwardError for a layer that is not plain, or cannot take its maps.
    """
    maps, way = picture, list[Step]()
    for number, layer in enumerate(stack):
        try:
            with torch.no_grad():
                maps, step = _up(layer, maps)
        except RuntimeError as error:
            given = f"maps {tuple(maps.shape)} for layer {number}, {layer}"
            allowed = f"what the layer takes: {str(error).splitlines()[0]}"
            raise PixelwardError(given=given, allowed=allowed, next_step="give a picture that fits") from error
        way.append(step)
    return maps, way


def only(maps: Tensor, channel: int, position: tuple[int, int]) -> Tensor:
    """The paper's seed: every activation set to zero but one, (y, x) of a channel, which keeps its value."""
    inside = all(0 <= p < n for p, n in zip((channel, *position), maps.shape[1:], strict=False))
    if maps.dim() != 4 or not inside:
        given = f"channel {channel} at {position} of maps {tuple(maps.shape)}"
        raise PixelwardError(given=given, allowed="places inside the maps, from 0", next_step="choose one of those")
    kept = torch.zeros_like(maps)
    kept[:, channel, position[0], position[1]] = maps[:, channel, position[0], position[1]]
    return kept


def descend(way: Sequence[Step], signal: Tensor) -> Tensor:
    """Send `signal`, shaped like the maps on top of `way`, down to the pixels: shaped like the picture, and signed.

    The paper's second half: unpool, rectify and filter, layer by layer, until pixel space. The way up in reverse is
    the paper's order: rectification after unpooling and before filtering, none after the last filtering.
    """
    with torch.no_grad():
        for step in reversed(way):
            signal = step(signal)
    return signal


def _up(layer: nn.Module, maps: Tensor) -> tuple[Tensor, Step]:
    size = tuple(maps.shape[2:])
    # A subclass may compute something else.
    if maps.dim() == 4 and type(layer) in (nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.LocalResponseNorm):
        match layer:
            case nn.Conv2d(weight=w, stride=s, padding=(p, q), dilation=d, groups=g, padding_mode="zeros"):
                return layer(maps), partial(filter, weight=w, size=size, stride=s, padding=(p, q), dilation=d, groups=g)
            case nn.MaxPool2d(kernel_size=k, stride=s, padding=p, dilation=d, ceil_mode=ceil):
                pooled, switches = F.max_pool2d(maps, k, s, p, d, ceil, return_indices=True)
                return pooled, partial(unpool, switches=switches, size=size)
            case nn.ReLU():
                return F.relu(maps), rectify  # not the layer itself: in place it would change the caller's picture
            case nn.LocalResponseNorm():
                return layer(maps), leave
    raise PixelwardError(
        given=f"{' '.join(str(layer).split())} for maps {tuple(maps.shape)}",
        allowed="maps (N, C, H, W); Conv2d padded with a number of zeros, ReLU, MaxPool2d, LocalResponseNorm",
        next_step="use pixelward.project, which follows any network",
    )


def _pair(number: int | Sequence[int]) -> tuple[int, int]:
    rows, columns = (number, number) if isinstance(number, int) else number
    return rows, columns
