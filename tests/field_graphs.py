"""Small networks drawn by hand, and how exact the boxes of their units have to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from brute_fields import Net

# How a box compares with what brute force finds, along one axis:
TIGHT = "tight"  # cut to the picture, it is the hull at every place
INNER = "inner"  # as tight, but for sides that leave the picture: there a step skips samples, or drops the last ones
GLOBAL = "global"  # it is the whole picture, and so is the hull
SAFE = "safe"  # it holds the hull


@dataclass(frozen=True)
class Case:
    """A network for pictures of two channels; how exact its field and its reach are, in rows and columns."""

    build: Callable[[], Net]
    field: tuple[str, str]
    reach: tuple[str, str]
    size: tuple[int, int] = (13, 15)
    name: str = ""


def case(build, field, reach=None, size=(13, 15)):
    both = [(word, word) if isinstance(word, str) else word for word in (field, reach or field)]
    return Case(build, *both, size)


def conv(before, after, kernel, **options):
    return nn.Conv2d(before, after, kernel, **options)


class ChannelsLast(nn.Module):
    """Steps on tensors (N, H, W, C), as in ConvNeXt: the picture's axes move, each place stays by itself."""

    def __init__(self):
        super().__init__()
        self.deep, self.norm = nn.Conv2d(4, 4, 5, padding=2, groups=4), nn.LayerNorm(4)
        self.wide, self.narrow = nn.Linear(4, 8), nn.Linear(8, 4)
        self.gamma = nn.Parameter(torch.ones(4))

    def forward(self, x):
        y = self.deep(x).permute(0, 2, 3, 1)
        y = self.narrow(F.gelu(self.wide(self.norm(y))))
        return x + (self.gamma * y).permute(0, 3, 1, 2)


class ResponseNorm(nn.Module):
    """Global response normalisation, of ConvNeXt V2."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(1, 4, 1, 1)), nn.Parameter(torch.ones(1, 4, 1, 1))

    def forward(self, x):
        length = torch.norm(x, p=2, dim=(2, 3), keepdim=True)
        return self.weight * (x * (length / (length.mean(1, keepdim=True) + 1e-6))) + self.bias + x


def shuffled(x, groups=2):
    count, channels, height, width = x.shape
    return x.view(count, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


def blocks(x, height, width):
    """Blocks of 2 x 2 samples put into channels, read as maps of a size."""
    count, channels, *size = x.shape
    parted = x.reshape(count, channels, size[0] // 2, 2, size[1] // 2, 2)
    return parted.permute(0, 1, 3, 5, 2, 4).reshape(count, -1, height, width)


def shuffle_unit(branch, x):
    left, right = x.chunk(2, 1)
    return shuffled(torch.cat([left, branch(right)], 1))


def squeezed(net, x):
    return x * torch.sigmoid(net.up(F.relu(net.down(x.mean((2, 3), keepdim=True)))))


def one_axis(net, x):
    """A gate that knows the mean of its row and nothing else."""
    x = net.stem(x)
    return x * torch.sigmoid(net.gate(x.mean(3, keepdim=True)))


def coordinate(net, x):
    """Coordinate attention: means of rows and of columns, through one convolution, then apart again."""
    x = net.stem(x)
    height, width = x.shape[2:]
    means = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).permute(0, 1, 3, 2)], 2)
    rows, columns = torch.split(F.hardswish(net.norm(net.squeeze(means))), [height, width], 2)
    return x * torch.sigmoid(net.rows(rows)) * torch.sigmoid(net.columns(columns.permute(0, 1, 3, 2)))


def selected(net, x):
    """Selective kernel: two branches, weighted by a softmax over the branches."""
    x = net.stem(x)
    branches = torch.stack([net.small(x), net.large(x)], 1)
    weights = net.choose(F.relu(net.squeeze(branches.sum(1).mean((2, 3), keepdim=True))))
    weights = torch.softmax(weights.view(len(x), 2, 4, 1, 1), 1)
    return (branches * weights).sum(1)


def pyramid(mode):
    def way(net, x):
        fine = F.relu(net.stem(x))
        coarse = F.relu(net.coarse(fine))
        up = F.interpolate(coarse, size=fine.shape[2:], mode=mode)
        return net.merge(net.lateral(fine) + up)

    return lambda: Net(
        way,
        stem=conv(2, 4, 3, padding=1),
        coarse=conv(4, 4, 3, stride=2, padding=1),
        lateral=conv(4, 4, 1),
        merge=conv(4, 4, 3, padding=1),
    )


def normed(norm):
    return lambda: Net(lambda n, x: F.relu(n.b(n.norm(n.a(x)))), a=conv(2, 4, 3), norm=norm(), b=conv(4, 4, 3))


GRAPHS = {
    "plain stack with pools": case(
        lambda: Net(
            lambda n, x: F.relu(n.b(F.max_pool2d(F.relu(n.a(x)), 3, 2))),
            a=conv(2, 4, 3, padding=1),
            b=conv(4, 4, 3, padding=1),
        ),
        TIGHT,
    ),
    "strides that drop the last samples": case(
        lambda: Net(
            lambda n, x: F.max_pool2d(n.b(F.relu(n.a(x))), 2),
            a=conv(2, 4, 1, stride=2),
            b=conv(4, 4, 3, stride=2, padding=1),
        ),
        INNER,
        size=(14, 16),
    ),
    "residual": case(
        lambda: Net(
            lambda n, x: F.relu(n.c(F.relu(n.b(y := F.relu(n.a(x))))) + y) + n.short(x),
            a=conv(2, 4, 3, stride=2, padding=1),
            b=conv(4, 4, 3, padding=1),
            c=conv(4, 4, 3, padding=1),
            short=conv(2, 4, 1, stride=2),
        ),
        TIGHT,
    ),
    "branches of different kernels": case(
        lambda: Net(
            lambda n, x: torch.cat([n.a(x), n.b(x), n.c(x), n.d(F.max_pool2d(x, 3, 1, 1))], 1),
            a=conv(2, 1, 1),
            b=conv(2, 1, 3, padding=1),
            c=conv(2, 1, (1, 7), padding=(0, 3)),
            d=conv(2, 1, 1),
        ),
        TIGHT,
    ),
    "dilation": case(
        lambda: Net(
            lambda n, x: F.relu(n.b(F.relu(n.a(x)))),
            a=conv(2, 4, 3, dilation=2, padding=2),
            b=conv(4, 4, (2, 3), dilation=(3, 1)),
        ),
        INNER,
    ),
    "dilated max-pool": case(
        lambda: Net(lambda n, x: n.b(F.max_pool2d(n.a(x), 3, 2, 1, dilation=2)), a=conv(2, 4, 2), b=conv(4, 4, 2)),
        INNER,
    ),
    "ceil mode": case(
        lambda: Net(
            lambda n, x: F.max_pool2d(n.b(F.max_pool2d(n.a(x), 3, 2, ceil_mode=True)), 2, 2, 1, ceil_mode=True),
            a=conv(2, 4, 3),
            b=conv(4, 4, 3, padding=1),
        ),
        TIGHT,
        size=(14, 16),
    ),
    "asymmetric padding": case(
        lambda: Net(
            lambda n, x: n.b(F.relu(n.a(F.pad(x, (2, 0, 1, 3))))),
            a=conv(2, 4, 4, stride=2),
            b=conv(4, 4, 2),
        ),
        TIGHT,
        size=(12, 14),
    ),
    "negative padding": case(
        lambda: Net(
            lambda n, x: n.b(F.pad(F.relu(n.a(F.pad(x, (-2, 1, 2, -1)))), (-1, -2, -1, -1))),
            a=conv(2, 4, 3, padding=1),
            b=conv(4, 4, 3),
        ),
        TIGHT,
    ),
    "cropped under a padded convolution": case(  # whose outer windows see zeros where the box has pixels
        lambda: Net(lambda n, x: n.b(F.pad(n.a(x), (-2, -1, -1, -2))), a=conv(2, 4, 3), b=conv(4, 4, 5, padding=2)),
        SAFE,
    ),
    "cropped beside an unpadded convolution": case(
        lambda: Net(
            lambda n, x: torch.cat([n.a(x), F.pad(n.b(x), (-1, -1, -1, -1)), n.c(x)[:, :, 1:-1, 1:-1]], 1),
            a=conv(2, 1, 3),
            b=conv(2, 2, 1),
            c=conv(2, 1, 1),
        ),
        TIGHT,
    ),
    "even kernels with stride 2": case(
        lambda: Net(
            lambda n, x: n.c(F.relu(n.b(F.relu(n.a(x))))),
            a=conv(2, 4, 2, stride=2),
            b=conv(4, 4, 4, stride=2, padding=1),
            c=conv(4, 4, 2, padding=1),
        ),
        TIGHT,
        size=(16, 24),
    ),
    "two strides that meet": case(  # the first sees further in the middle of the map, the second at its ends
        lambda: Net(lambda n, x: n.a(x) + n.b(x), a=conv(2, 4, 11, stride=2, padding=5), b=conv(2, 4, 9)),
        TIGHT,
        size=(17, 17),
    ),
    "two strides, one within the other": case(
        lambda: Net(lambda n, x: n.a(x) + n.b(x), a=conv(2, 4, 1, stride=2), b=conv(2, 4, 9)), TIGHT, size=(17, 17)
    ),
    "channel shuffle": case(
        lambda: Net(
            lambda n, x: shuffle_unit(n.c, shuffle_unit(n.b, n.a(x))),
            a=conv(2, 4, 3, stride=2, padding=1),
            b=conv(2, 2, 3, padding=1),
            c=conv(2, 2, 3, padding=1, groups=2),
        ),
        TIGHT,
    ),
    "channels last": case(
        lambda: Net(lambda n, x: n.block(n.a(x)), a=conv(2, 4, 3, stride=2, padding=1), block=ChannelsLast()), TIGHT
    ),
    "squeeze and excite": case(
        lambda: Net(
            lambda n, x: n.b(squeezed(n, F.relu(n.a(x)))),
            a=conv(2, 4, 3),
            down=conv(4, 2, 1),
            up=conv(2, 4, 1),
            b=conv(4, 4, 3),
        ),
        GLOBAL,
        TIGHT,
    ),
    "spatial gate": case(
        lambda: Net(
            lambda n, x: (
                (y := n.a(x)) * torch.sigmoid(n.b(torch.cat([y.mean(1, keepdim=True), y.amax(1, keepdim=True)], 1)))
            ),
            a=conv(2, 4, 3, padding=1),
            b=conv(2, 1, 7, padding=3),
        ),
        TIGHT,
        TIGHT,
    ),
    "one-axis attention": case(
        lambda: Net(one_axis, stem=conv(2, 4, 3, padding=1), gate=conv(4, 4, 1)), (TIGHT, GLOBAL), TIGHT
    ),
    "coordinate attention": case(
        lambda: Net(
            coordinate,
            stem=conv(2, 4, 3, padding=1),
            squeeze=conv(4, 4, 1),
            norm=nn.BatchNorm2d(4),
            rows=conv(4, 4, 1),
            columns=conv(4, 4, 1),
        ),
        GLOBAL,
        TIGHT,
    ),
    "selective kernel": case(
        lambda: Net(
            selected,
            stem=conv(2, 4, 3),
            small=conv(4, 4, 3, padding=1),
            large=conv(4, 4, 5, padding=2),
            squeeze=conv(4, 2, 1),
            choose=conv(2, 8, 1),
        ),
        GLOBAL,
        TIGHT,
    ),
    "instance norm": case(normed(lambda: nn.InstanceNorm2d(4, affine=True)), GLOBAL, TIGHT),
    "group norm": case(normed(lambda: nn.GroupNorm(2, 4)), GLOBAL, TIGHT),
    "global response norm": case(normed(ResponseNorm), GLOBAL, TIGHT),
    "local response norm": case(normed(lambda: nn.LocalResponseNorm(3, alpha=0.5)), TIGHT),
    "batch norm": case(normed(lambda: nn.BatchNorm2d(4)), TIGHT),
    "pyramid, nearest": case(pyramid("nearest"), SAFE),
    "pyramid, bilinear": case(pyramid("bilinear"), SAFE),
    "transposed convolution": case(
        lambda: Net(
            lambda n, x: n.up(F.relu(n.a(x))),
            a=conv(2, 4, 3, stride=2, padding=1),
            up=nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1),
        ),
        SAFE,
    ),
    "global pooling and a linear layer": case(
        lambda: Net(
            lambda n, x: F.adaptive_avg_pool2d(F.relu(n.a(x)), 1).flatten(1),
            last=nn.Linear(4, 3),
            a=conv(2, 4, 3, padding=1),
        ),
        GLOBAL,
    ),
    "pixel unshuffle": case(
        lambda: Net(lambda n, x: n.b(F.pixel_unshuffle(n.a(x), 2)), a=conv(2, 4, 3, padding=1), b=conv(16, 4, 3)),
        TIGHT,
        size=(12, 14),
    ),
    "space to depth by slices": case(
        lambda: Net(
            lambda n, x: n.b(torch.cat([n.a(x)[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)),
            a=conv(2, 4, 3, padding=1),
            b=conv(16, 4, 3),
        ),
        TIGHT,
        size=(12, 14),
    ),
    "space to depth by a view": case(
        lambda: Net(lambda n, x: n.b(blocks(n.a(x), 6, 7)), a=conv(2, 4, 3, padding=1), b=conv(16, 4, 1)),
        TIGHT,
        size=(12, 14),
    ),
    "blocks read as rows": case(
        lambda: Net(lambda n, x: n.b(blocks(n.a(x), 12, 7)), a=conv(2, 4, 1), b=conv(8, 4, 1)), SAFE, size=(12, 14)
    ),
    "blocks read as columns": case(
        lambda: Net(lambda n, x: n.b(blocks(n.a(x), 7, 6)), a=conv(2, 4, 1), b=conv(16, 4, 1)), SAFE, size=(12, 14)
    ),
    "maximum of branches": case(
        lambda: Net(
            lambda n, x: torch.maximum(n.b(y := n.a(x)), n.c(y)),
            a=conv(2, 4, 2),
            b=conv(4, 4, 1),
            c=conv(4, 4, 5, padding=2),
        ),
        TIGHT,
    ),
    "average pools": case(
        lambda: Net(
            lambda n, x: F.avg_pool2d(n.b(F.avg_pool2d(n.a(x), 3, 2, 1, count_include_pad=False)), 2, 2, 1, True),
            a=conv(2, 4, 3, padding=1),
            b=conv(4, 4, 3, padding=1),
        ),
        TIGHT,
    ),
}
