"""Random networks of small size, with how exact the boxes of their units have to be.

Stages take 4 channels to 4 channels. A stage says, by axis, how exact it leaves the field and the reach: what is
written on it here is arithmetic on its own kernel, stride and padding, apart from the library's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from hypothesis import assume
from hypothesis import strategies as st
from torch import nn

from brute_fields import Net, Way
from field_graphs import GLOBAL, INNER, SAFE, TIGHT, Case, ChannelsLast, ResponseNorm, blocks, conv, shuffle_unit

Words = tuple[str, str]  # for rows and columns
LOOSE = (TIGHT, INNER, SAFE)  # from exact to loose; a chain is as loose as its loosest link


@dataclass(frozen=True)
class Stage:
    """chooses: it takes maxima. bends: of field and reach, those in which a pixel, however bright, cannot make its own
    place the maximum of a stage above, so that brute force may miss what was never chosen."""

    name: str
    module: nn.Module
    field: Words = (TIGHT, TIGHT)
    reach: Words | None = None  # as the field, if not said
    chooses: bool = False
    bends: tuple[bool, bool] = (False, False)

    def words(self):
        return self.field, self.reach or self.field


def worse(one, other):
    return tuple(max(pair, key=LOOSE.index) for pair in zip(one, other, strict=True))


def chained(below, above):
    """A whole picture below stays one; a stage that sees all sees the whole picture if nothing was skipped below."""
    words = []
    for one, other in zip(below, above, strict=True):
        if one == GLOBAL:
            words.append(GLOBAL)
        elif other == GLOBAL:
            words.append(GLOBAL if one == TIGHT else SAFE)
        else:
            words += worse([one], [other])
    return tuple(words)


def exactness(kernel, stride, dilation, before, after, size, made):
    """Of one axis: tight where windows neither skip samples between nor drop any at the end of the map."""
    dropped = size + before + after - dilation * (kernel - 1) - 1 - (made - 1) * stride
    whole = (dilation == 1 or kernel == 1) and stride <= kernel and before < kernel and dropped <= after
    return TIGHT if whole else INNER


def numbers(draw, low, high):
    return draw(st.integers(low, high)), draw(st.integers(low, high))


# ---------------------------------------------------------------- stages of the tight kind


def convolution(draw, size):
    kernel, stride, dilation = numbers(draw, 1, 4), numbers(draw, 1, 2), numbers(draw, 1, 2)
    assume(all(d * (k - 1) < n for k, d, n in zip(kernel, dilation, size, strict=True)))
    padding = tuple(draw(st.integers(0, d * (k - 1) // 2)) for k, d in zip(kernel, dilation, strict=True))
    groups = draw(st.sampled_from([1, 2, 4]))
    module = conv(4, 4, kernel, stride=stride, dilation=dilation, padding=padding, groups=groups)
    return windowed(f"{module}", module, kernel, stride, dilation, padding, padding, size)


def windowed(name, module, kernel, stride, dilation, before, after, size):
    made = module(torch.zeros(1, 4, *size)).shape[2:]
    words = tuple(
        exactness(*axis) for axis in zip(kernel, stride, dilation, before, after, tuple(size), made, strict=True)
    )
    return Stage(name, module, words)


def padded_convolution(draw, size):
    """Four different paddings in front of an unpadded convolution."""
    kernel, stride = numbers(draw, 1, 4), numbers(draw, 1, 2)
    assume(all(k <= n for k, n in zip(kernel, size, strict=True)))
    before, after = (tuple(draw(st.integers(0, k - 1)) for k in kernel) for _ in range(2))
    pad = (before[1], after[1], before[0], after[0])
    module = Way(lambda n, x: n.conv(F.pad(x, pad)), conv=conv(4, 4, kernel, stride=stride))
    return windowed(f"pad {pad}, {module.conv}", module, kernel, stride, (1, 1), before, after, size)


def pool(draw, size):
    kernel, stride, ceil = numbers(draw, 2, 3), numbers(draw, 1, 3), draw(st.booleans())
    assume(all(k <= n for k, n in zip(kernel, size, strict=True)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    largest = draw(st.booleans())
    if largest:
        module = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
    else:
        module = nn.AvgPool2d(kernel, stride, padding, ceil, draw(st.booleans()))
    return replace(windowed(f"{module}", module, kernel, stride, (1, 1), padding, padding, size), chooses=largest)


def branch(draw, size, stride, channels=4):
    """Convolutions and pools in a row that give ceil(n / stride) samples a side."""
    parts, words = [], (TIGHT, TIGHT)
    for number in range(draw(st.integers(1, 2))):
        kernel, by = numbers(draw, 1, 5), (1, 1) if number else stride
        before = tuple(draw(st.integers(0, k - 1)) for k in kernel)
        after = tuple(k - 1 - b for k, b in zip(kernel, before, strict=True))
        pad = nn.ZeroPad2d((before[1], after[1], before[0], after[0]))
        into = channels if not parts else 4
        parts += [pad, conv(into, 4, kernel, stride=by)]
        made = tuple(-(-n // s) for n, s in zip(size, by, strict=True))
        words = worse(words, [exactness(*a) for a in zip(kernel, by, (1, 1), before, after, size, made, strict=True)])
        size = made
        if draw(st.booleans()):
            parts.append(nn.ReLU())
    return nn.Sequential(*parts), words


def residual(draw, size):
    inner, words = branch(draw, size, (1, 1))
    module = Way(lambda n, x: n.branch(x) + x, branch=inner)
    return Stage(f"x + {inner}", module, words)


def branches(draw, size):
    stride = numbers(draw, 1, 2)
    (one, first), (two, second) = branch(draw, size, stride), branch(draw, size, stride)
    join = draw(st.sampled_from(["cat", "sum", "maximum", "stack"]))
    ways = {
        "cat": lambda n, x: n.mix(torch.cat([n.one(x), n.two(x)], 1)),
        "sum": lambda n, x: n.one(x) - -1 * n.two(x),
        "maximum": lambda n, x: torch.maximum(n.one(x), n.two(x)),
        "stack": lambda n, x: torch.stack([n.one(x), n.two(x)], 1).sum(1),
    }
    module = Way(ways[join], one=one, two=two, mix=conv(8, 4, 1) if join == "cat" else None)
    return Stage(f"{join} of {one} and {two}", module, worse(first, second), chooses=join == "maximum")


def shuffle(draw, size):
    inner = conv(2, 2, 3, padding=1, groups=draw(st.sampled_from([1, 2])))
    # All channels are mixed first: boxes are those of a whole tensor, of whose channels one branch takes a half.
    module = Way(lambda n, x: shuffle_unit(n.inner, n.mix(x)), mix=conv(4, 4, 1), inner=inner)
    return Stage("shuffle unit", module)


def pointwise(draw, size):
    names = {
        "relu": nn.ReLU,
        "leaky relu": nn.LeakyReLU,
        "gelu": nn.GELU,
        "batch norm": partial(nn.BatchNorm2d, 4),
        "response norm": partial(nn.LocalResponseNorm, 3, alpha=0.5),
        "scale": lambda: Way(lambda n, x: x * n.gamma, gamma=nn.Parameter(torch.ones(4, 1, 1))),
    }
    name = draw(st.sampled_from(sorted(names)))
    return Stage(name, names[name]())


def met(draw, size):
    """A path of stride 2 and one of stride 1 whose large kernel takes it to the same size."""
    kernel = tuple(n - -(-n // 2) + 1 for n in size)
    small, large = conv(4, 4, 1, stride=2), conv(4, 4, kernel)
    module = Way(lambda n, x: n.small(x) + n.large(x), small=small, large=large)
    return Stage("two strides that meet", module, (INNER,) * 2)


def deepened(draw, size):
    """Blocks of 2 x 2 samples put into channels."""
    assume(not any(n % 2 for n in size))
    height, width = (n // 2 for n in size)
    phases = [(0, 0), (0, 1), (1, 0), (1, 1)]
    ways = {
        "pixel unshuffle": lambda n, x: n.mix(F.pixel_unshuffle(x, 2)),
        "slices": lambda n, x: n.mix(torch.cat([x[..., i::2, j::2] for i, j in phases], 1)),
        "blocks": lambda n, x: n.mix(blocks(x, height, width)),
    }
    name = draw(st.sampled_from(sorted(ways)))
    return Stage(name, Way(ways[name], mix=conv(16, 4, 1)))


def thinned(draw, size):
    step = numbers(draw, 1, 3)
    rows, columns = (slice(draw(st.integers(0, s - 1)), None, s) for s in step)
    return Stage(f"[{rows}, {columns}]", Way(lambda n, x: x[:, :, rows, columns]), (INNER,) * 2)


def channels_last(draw, size):
    return Stage("channels-last block", ChannelsLast(), bends=(True, True))


# ---------------------------------------------------------------- gates and statistics: fields larger than reaches


def spatial_gate(draw, size):
    inner, words = branch(draw, size, (1, 1))
    module = Way(lambda n, x: x * torch.sigmoid(n.inner(x)), inner=inner)
    return Stage(f"x * sigmoid({inner})", module, words, (TIGHT,) * 2, bends=(True, False))


def global_gate(draw, size):
    ways = {
        "mean": lambda n, x: x * torch.sigmoid(n.mix(x.mean((2, 3), keepdim=True))),
        "adaptive pool": lambda n, x: x * F.hardsigmoid(n.mix(F.adaptive_avg_pool2d(x, 1))),
        "channel by channel": lambda n, x: (
            x * torch.sigmoid(n.along(x.mean((2, 3)).unsqueeze(1)))[:, 0, :, None, None].expand_as(x)
        ),
    }
    name = draw(st.sampled_from(sorted(ways)))
    module = Way(ways[name], mix=conv(4, 4, 1), along=nn.Conv1d(1, 1, 3, padding=1))
    return Stage(f"gate, {name}", module, (GLOBAL,) * 2, (TIGHT,) * 2)


def axis_gate(draw, size):
    axis = draw(st.sampled_from([2, 3]))
    module = Way(lambda n, x: x * torch.sigmoid(n.mix(x.mean(axis, keepdim=True))), mix=conv(4, 4, 1))
    words = (GLOBAL, TIGHT) if axis == 2 else (TIGHT, GLOBAL)
    return Stage(f"gate by means along {axis}", module, words, (TIGHT,) * 2)


def statistic(draw, size):
    names = {
        "instance norm": partial(nn.InstanceNorm2d, 4, affine=True),
        "group norm": partial(nn.GroupNorm, 2, 4),
        "global response norm": ResponseNorm,
    }
    name = draw(st.sampled_from(sorted(names)))
    assume(size[0] * size[1] > 1)
    return Stage(name, names[name](), (GLOBAL,) * 2, (TIGHT,) * 2)


# ---------------------------------------------------------------- stages of which nothing exact is asked


MOVED = {
    "reflected": lambda n, x: F.pad(x, (1, 0, 2, 1), mode="reflect"),
    "repeated at the border": lambda n, x: F.pad(x, (3, 0, -1, 2), mode="replicate"),
    "wrapped": lambda n, x: F.pad(x, (1, 0, 0, 1), mode="circular"),
    "rolled": lambda n, x: torch.roll(x, (1, -1), (2, 3)),
    "flipped": lambda n, x: x.flip(3),
    "turned": lambda n, x: x.transpose(2, 3),
    "read in another order": lambda n, x: x.contiguous().view(len(x), 4, x.shape[3], x.shape[2]),
    "mixed up": lambda n, x: x.permute(0, 2, 3, 1).reshape(x.shape),
    "in two groups of channels": lambda n, x: x.view(len(x), 2, 2, *x.shape[2:]).transpose(1, 2).reshape(x.shape),
    "apart and together": lambda n, x: torch.cat([x[:, :, :, 2:], x[:, :, :, :2]], 3),
    "rows one by one": lambda n, x: torch.stack(x.unbind(2)[::-1], 2),
    "channels one by one": lambda n, x: torch.stack(x.unbind(1)[::-1], 1),
    "stacked in front": lambda n, x: torch.stack([x, 0.5 * x]).sum(0),
    "stacked behind": lambda n, x: torch.stack([x, 0.5 * x], 4).flatten(3),
    "picked channels": lambda n, x: x[:, [2, 0, 1, 1]],
    "picked rows": lambda n, x: x[:, :, [2, 0, 1]],
    "one channel": lambda n, x: x[:, 1:2].expand(-1, 4, -1, -1) + x[:, 2].unsqueeze(1),
    "one row": lambda n, x: x + x[:, :, 2:3],
    "twice, side by side": lambda n, x: x.repeat(1, 1, 1, 2),
    "each row twice": lambda n, x: x.repeat_interleave(2, 2),
    "nearest": lambda n, x: F.interpolate(x, scale_factor=2, mode="nearest"),
    "bilinear": lambda n, x: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
    "adaptive average": lambda n, x: F.adaptive_avg_pool2d(x, 3),
    "adaptive maximum": lambda n, x: F.adaptive_max_pool2d(x, (3, 2)),
    "running sum": lambda n, x: x.cumsum(2) + x.cumsum(1),
    "windows of one axis": lambda n, x: x.unfold(3, 2, 1)[..., 1],
    "tokens": lambda n, x: n.mix(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape),
    "channels as pictures": lambda n, x: n.one(x.reshape(-1, 1, *x.shape[2:])).view(x.shape),
    "channels as a volume": lambda n, x: n.volume(x.unsqueeze(1)).squeeze(1),
}
FIXED = {  # gates and statistics: reaches that are smaller than the fields
    "softmax over channels": lambda n, x: x * n.wide(x).softmax(1),
    "softmax over rows": lambda n, x: x * x.softmax(2),
    "softmax over all places": lambda n, x: x * x.flatten(2).softmax(2).view(x.shape),
    "gate of another place": lambda n, x: x[:, :, 1:] * torch.sigmoid(n.wide(x))[:, :, :-1],
    "gate from afar": lambda n, x: x * torch.sigmoid(x.roll(2, 2)),
    "gate of one row": lambda n, x: x * torch.tanh(x[:, :, :1]),
    "gate from a smaller map": lambda n, x: x * torch.sigmoid(F.interpolate(F.avg_pool2d(x, 2), size=x.shape[2:])),
    "two halves, one a gate": lambda n, x: n.wide(x) * torch.sigmoid(x.flip(1)),
    "unit length by channels": lambda n, x: F.normalize(x, dim=1),
    "unit length by rows": lambda n, x: F.normalize(x, dim=2),
    "norm by hand": lambda n, x: (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, keepdim=True) + 1e-5),
    "root mean square": lambda n, x: x * torch.rsqrt(x.pow(2).mean((1, 3), keepdim=True) + 1e-5),
    "mean added": lambda n, x: x + x.mean(1, keepdim=True).transpose(1, 2).mean(1, keepdim=True),
    "maximum added": lambda n, x: x - x.amax((2, 3), keepdim=True),
}


def moved(draw, size):
    name = draw(st.sampled_from(sorted({**MOVED, **FIXED})))
    parts = {"mix": nn.Linear(4, 4), "one": conv(1, 1, 3, padding=1), "wide": conv(4, 4, 3, padding=1)}
    module = Way({**MOVED, **FIXED}[name], volume=nn.Conv3d(1, 1, 3, padding=1), **parts)
    return Stage(name, module, (SAFE,) * 2)


def cropped(draw, size):
    pad = tuple(draw(st.integers(-2, 2)) for _ in range(4))
    assume(pad[0] + pad[1] + size[1] >= 2 and pad[2] + pad[3] + size[0] >= 2)
    return Stage(f"pad {pad}", Way(lambda n, x: F.pad(x, pad)), (SAFE,) * 2)


def scrambled(draw, size):
    """Blocks as above, but read as maps of another shape."""
    assume(not any(n % 2 for n in size))
    height, width = (n // 2 for n in size)
    shapes = [(16, width, height), (8, 2 * height, width), (8, height, 2 * width), (4, 4 * height, width)]
    shape = draw(st.sampled_from(shapes))
    return Stage(
        f"blocks as {shape}",
        Way(lambda n, x: n.mix(blocks(x, *shape[1:])), mix=conv(shape[0], 4, 1)),
        (SAFE,) * 2,
    )


def enlarged(draw, size):
    return Stage("transposed convolution", nn.ConvTranspose2d(4, 4, 3, 2, 1), (SAFE,) * 2)


EXACT = (
    *(convolution, padded_convolution, pool, residual, branches),
    *(shuffle, pointwise, channels_last, met, deepened, thinned),
)
GATED = (spatial_gate, global_gate, axis_gate, statistic)
ANYHOW = (moved, moved, cropped, scrambled, enlarged)


@st.composite
def random_graphs(draw, exact=False, depth=4):
    """A case of up to `depth` stages above a first convolution; `exact`: without those that promise nothing."""
    size = draw(st.integers(7, 13)), draw(st.integers(7, 13))
    picture, exactly, bent = size, [(TIGHT,) * 2] * 2, (False, False)  # of field and reach
    stages = [conv(2, 4, 3, padding=1)]
    names = [f"{stages[0]}"]
    for _ in range(draw(st.integers(1, depth))):
        kinds = EXACT + GATED + (() if exact else ANYHOW)
        kind = draw(st.sampled_from(kinds))
        assume(min(size) >= 3)
        stage = kind(draw, size)
        with torch.no_grad():
            size = tuple(stage.module.eval()(torch.zeros(1, 4, *size)).shape[2:])
        assume(max(size) < 30)
        for index, above in enumerate(stage.words()):
            exactly[index] = chained(exactly[index], (SAFE,) * 2 if stage.chooses and bent[index] else above)
        bent = tuple(one or other for one, other in zip(bent, stage.bends, strict=True))
        stages.append(stage.module)
        names.append(stage.name)
    net = Net(lambda n, x: n.stages(x), stages=nn.Sequential(*stages))
    return Case(lambda: net, *exactly, picture, "; ".join(names))
