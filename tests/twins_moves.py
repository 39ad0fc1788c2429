"""Twins of linear operations that move samples about: views, slices, resizing, shuffles, products with weights.

Where the twin is None, the inner-product law decides.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from slow import Chain, linear, places, resized, resizing, switched
from twins import ADDITION, IDENTITY, LINEAR, filled, pair, tensor, twin


def swapped(x):
    return x.swapaxes(1, 2)


def even(x):
    """The map without the last row and column that would not fill a block of 2 by 2."""
    return x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]


def blocks(x):
    """(N, C, H/2, 2, W/2, 2)."""
    return x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2)


def by_slices(x):
    x = even(x)
    return torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)


def to_depth(x):
    y = blocks(even(x))
    return y.transpose(0, 5, 3, 1, 2, 4).reshape(len(x), -1, y.shape[2], y.shape[4])


MOVES = {
    "view": (lambda x: x.view(len(x), 2, -1, *x.shape[2:]), lambda x: x.reshape(len(x), 2, -1, *x.shape[2:])),
    "view there and back": (lambda x: x.view(len(x), -1).view(x.shape), lambda x: x),
    "reshape that copies": (
        lambda x: x.transpose(2, 3).reshape(len(x), x.shape[1], -1),
        lambda x: x.swapaxes(2, 3).reshape(*x.shape[:2], -1),
    ),
    "reshape to a vector": (lambda x: x.reshape(len(x), -1), lambda x: x.reshape(len(x), -1)),
    "flatten": (nn.Flatten(), lambda x: x.reshape(len(x), -1)),
    "unflatten": (lambda x: x.unflatten(1, (2, -1)), lambda x: x.reshape(len(x), 2, -1, *x.shape[2:])),
    "permute": (lambda x: x.permute(0, 2, 3, 1), lambda x: x.transpose(0, 2, 3, 1)),
    "transpose": (lambda x: x.transpose(1, 3), lambda x: x.swapaxes(1, 3)),
    "transpose, by attribute": (lambda x: x.mT, lambda x: x.swapaxes(2, 3)),
    "movedim": (lambda x: x.movedim(1, -1), lambda x: np.moveaxis(x, 1, -1)),
    "swapaxes": (lambda x: x.swapaxes(2, 3), lambda x: x.swapaxes(2, 3)),
    "slice": (lambda x: x[:, 1:, :, :-1], lambda x: x[:, 1:, :, :-1]),
    "slices with steps": (lambda x: x[:, ::2, 1::2, ::3], lambda x: x[:, ::2, 1::2, ::3]),
    "ellipsis and a new axis": (lambda x: x[..., None, ::2], lambda x: x[..., None, ::2]),
    "narrow": (lambda x: x.narrow(2, 1, 2), lambda x: x[:, :, 1:3]),
    "select": (lambda x: x[:, 1], lambda x: x[:, 1]),
    "select the last": (lambda x: x.select(3, -1), lambda x: x[..., -1]),
    "select, axis kept": (lambda x: x[:, :1].squeeze(1).unsqueeze(1), lambda x: x[:, :1]),
    "split": (lambda x: x.split(1, 1)[1], lambda x: x[:, 1:2]),
    "split by sizes": (
        lambda x: torch.cat(torch.split(x, [1, x.shape[1] - 1], dim=1)[::-1], 1),
        lambda x: np.roll(x, -1, 1),
    ),
    "chunk": (lambda x: x.chunk(2, 3)[1], lambda x: x[..., -(-x.shape[3] // 2) :]),
    "tensor_split": (lambda x: x.tensor_split(3, 2)[0], lambda x: x[:, :, : -(-x.shape[2] // 3)]),
    "unbind and stack": (lambda x: torch.stack(x.unbind(1)[::-1], 1), lambda x: x[:, ::-1]),
    "unbind, one unused": (lambda x: torch.stack(x.unbind(1)[1:], 3), lambda x: np.moveaxis(x[:, 1:], 1, 3)),
    "roll": (lambda x: x.roll((1, -2), (2, 3)), lambda x: np.roll(x, (1, -2), (2, 3))),
    "flip": (lambda x: x.flip((2, 3)), lambda x: x[..., ::-1, ::-1]),
    "flip by torch": (lambda x: torch.flip(x, (-1,)), lambda x: x[..., ::-1]),
    "rot90": (lambda x: x.rot90(1, (2, 3)), lambda x: np.rot90(x, 1, (2, 3))),
    "repeat": (lambda x: x.repeat(1, 2, 1, 2), lambda x: np.tile(x, (1, 2, 1, 2))),
    "tile": (lambda x: torch.tile(x, (1, 1, 2, 1)), lambda x: np.tile(x, (1, 1, 2, 1))),
    "expand": (
        lambda x: x[:, :1].expand(-1, 3, -1, -1),
        lambda x: np.repeat(x[:, :1], 3, 1),
    ),
    "repeat_interleave of channels": (lambda x: x.repeat_interleave(2, 1), lambda x: np.repeat(x, 2, 1)),
    "repeat_interleave of columns": (lambda x: x.repeat_interleave(3, dim=3), lambda x: np.repeat(x, 3, 3)),
    "a list of channels": (lambda x: x[:, [2, 0, 1, 0]], lambda x: x[:, [2, 0, 1, 0]]),
    "a tensor of rows": (lambda x: x[:, :, torch.tensor([2, 0, 0])], lambda x: x[:, :, [2, 0, 0]]),
    "a mask of channels": (
        lambda x: x[:, torch.arange(x.shape[1]) % 2 == 0],
        lambda x: x[:, np.arange(x.shape[1]) % 2 == 0],
    ),
    "index_select": (lambda x: x.index_select(1, torch.tensor([2, 1])), lambda x: x[:, [2, 1]]),
    "sum over space": (lambda x: x.sum((2, 3)), lambda x: x.sum((2, 3))),
    "sum over channels": (lambda x: x.sum(1, keepdim=True), lambda x: x.sum(1, keepdims=True)),
    "sum over all": (lambda x: x.flatten(1).sum(-1, keepdim=True), lambda x: x.sum((1, 2, 3))[:, None]),
    "running sum": (lambda x: x.cumsum(2), lambda x: x.cumsum(2)),
    "differences of neighbours": (lambda x: x[..., 1:] - x[..., :-1], lambda x: x[..., 1:] - x[..., :-1]),
    "diagonal": (lambda x: x.diagonal(dim1=2, dim2=3), lambda x: np.diagonal(x, axis1=2, axis2=3)),
    "space to depth by slices": (
        by_slices,
        lambda x: np.concatenate([even(x)[..., i::2, j::2] for j in (0, 1) for i in (0, 1)], 1),
    ),
    "space to depth by view": (
        lambda x: (
            lambda y: y.permute(0, 5, 3, 1, 2, 4).reshape(len(x), -1, y.shape[2], y.shape[4])
        )(blocks(even(x))),
        to_depth,
    ),
    "windows by unfold": (
        lambda x: x.unfold(2, 3, 2),
        lambda x: np.stack([x[:, :, window] for window in places(x.shape[2], 3, 2)], 2).swapaxes(3, 4),
    ),
}  # fmt: skip
for name, (operation, slow) in MOVES.items():
    pair((LINEAR, ADDITION, IDENTITY), name, operation, linear(slow))


pair(
    LINEAR,
    "pictures and channels change places and return",
    lambda x: x.transpose(0, 1)[1:].transpose(0, 1),
    linear(lambda x: x[:, 1:]),
)


@twin(LINEAR, "shuffle of pixels")
def _pixel_shuffle(m):
    m.need(m.channels % 4 == 0)

    def slow(x):
        n, c, h, w = x.shape
        return x.reshape(n, c // 4, 2, 2, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)

    return nn.PixelShuffle(2), linear(slow)


@twin(LINEAR, "shuffle of pixels undone")
def _pixel_unshuffle(m):
    def slow(x):
        y = blocks(even(x)).transpose(0, 1, 3, 5, 2, 4)
        return y.reshape(len(x), -1, *y.shape[4:])

    return lambda x: F.pixel_unshuffle(even(x), 2), linear(slow)


for name, operation in {
    "functional": lambda x: F.channel_shuffle(x, 2),
    "module": nn.ChannelShuffle(2),
    "by view": lambda x: x.view(len(x), 2, -1, *x.shape[2:]).transpose(1, 2).contiguous().view(x.shape),
    "by a list": lambda x: x[:, [i // 2 + i % 2 * (x.shape[1] // 2) for i in range(x.shape[1])]],
}.items():

    @twin(LINEAR, f"shuffle of channels: {name}")
    def _channel_shuffle(m, operation=operation):
        m.need(m.channels % 2 == 0)
        return operation, linear(lambda x: swapped(x.reshape(len(x), 2, -1, *x.shape[2:])).reshape(x.shape))


# ---------------------------------------------------------------- resizing


def matrices(x, size, mode, **keywords):
    return [resizing(s, n, mode, **keywords) for s, n in zip(x.shape[-len(size) :], size, strict=True)]


RESIZED = {
    "nearest, twice": ({"scale_factor": 2}, "nearest", {"scale": 2}),
    "nearest, to a size": ({"size": (9, 5)}, "nearest", {}),
    "nearest, exact": ({"size": (9, 5), "mode": "nearest-exact"}, "nearest-exact", {}),
    "bilinear": ({"size": (9, 5), "mode": "bilinear"}, "linear", {}),
    "bilinear, twice, corners aligned": (
        {"scale_factor": 2, "mode": "bilinear", "align_corners": True},
        "linear",
        {"aligned": True},
    ),
    "bilinear, by a broken factor": ({"scale_factor": 1.7, "mode": "bilinear"}, "linear", {"scale": 1.7}),
    "bicubic": ({"size": (9, 5), "mode": "bicubic"}, "cubic", {}),
    "bicubic, corners aligned": (
        {"size": (9, 5), "mode": "bicubic", "align_corners": True},
        "cubic",
        {"aligned": True},
    ),
}
for name, (given, mode, keywords) in RESIZED.items():

    @twin(LINEAR, f"resized, {name}")
    def _resized(m, given=given, mode=mode, keywords=keywords):
        size = given.get("size") or [int(s * given["scale_factor"]) for s in m.shape[1:]]
        m.need(min(m.shape[1:]) > 1)
        return (
            lambda x: F.interpolate(x, **given),
            linear(lambda x: resized(x, matrices(x, size, mode, **keywords))),
        )


pair(
    LINEAR,
    "resized, nearest, module",
    nn.Upsample(scale_factor=3),
    linear(lambda x: resized(x, [resizing(s, 3 * s, "nearest", scale=3) for s in x.shape[2:]])),
)


RESIZED_OTHERWISE = {
    "of one axis, linear": (lambda x: F.interpolate(x.flatten(2), size=29, mode="linear"), (29,), "linear"),
    "of one axis, nearest": (lambda x: F.interpolate(x.flatten(2), size=29), (29,), "nearest"),
    "of one axis, exact": (
        lambda x: F.interpolate(x.flatten(2), size=29, mode="nearest-exact"),
        (29,),
        "nearest-exact",
    ),
    "of three axes, linear": (
        lambda x: F.interpolate(x[:, None], size=(5, 7, 3), mode="trilinear"),
        (5, 7, 3),
        "linear",
    ),
    "of three axes, nearest": (lambda x: F.interpolate(x[:, None], size=(5, 7, 3)), (5, 7, 3), "nearest"),
    "of three axes, exact": (
        lambda x: F.interpolate(x[:, None], size=(5, 7, 3), mode="nearest-exact"),
        (5, 7, 3),
        "nearest-exact",
    ),
}
for name, (operation, size, mode) in RESIZED_OTHERWISE.items():

    @twin(LINEAR, f"resized {name}")
    def _resized_otherwise(m, operation=operation, size=size, mode=mode):
        m.need(min(m.shape) > 1)
        view = (lambda x: x.reshape(*x.shape[:2], -1)) if len(size) == 1 else (lambda x: x[:, None])
        return operation, linear(lambda x: resized(view(x), matrices(view(x), size, mode)))


for mode in ("bilinear", "bicubic"):
    pair(
        LINEAR,
        f"resized, {mode}, antialiased",
        lambda x, mode=mode: F.interpolate(x, size=(4, 3), mode=mode, antialias=True),
        None,
    )
pair(
    LINEAR,
    "sampled on a grid of constants",
    lambda x: F.grid_sample(
        x, F.affine_grid(torch.tensor([[[0.8, 0.2, 0.1], [-0.3, 0.9, 0.0]]] * len(x)).to(x), (len(x), 1, 5, 5), False),
        align_corners=False,
    ),
    None,
)  # fmt: skip


# ---------------------------------------------------------------- windows as columns


def columns(x, kernel, stride, padding):
    wide = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    starts = [range(0, s - kernel + 1, stride) for s in wide.shape[2:]]
    return np.stack(
        [wide[:, :, i : i + kernel, j : j + kernel].reshape(len(x), -1) for i in starts[0] for j in starts[1]], 2
    )


def folded(cols, channels, size, kernel, stride, padding):
    out = np.zeros((len(cols), channels, size[0] + 2 * padding, size[1] + 2 * padding), cols.dtype)
    starts = [range(0, s - kernel + 1, stride) for s in out.shape[2:]]
    for n, (i, j) in enumerate((i, j) for i in starts[0] for j in starts[1]):
        out[:, :, i : i + kernel, j : j + kernel] += cols[:, :, n].reshape(len(cols), channels, kernel, kernel)
    return out[:, :, padding : padding + size[0], padding : padding + size[1]]


pair(LINEAR, "unfold", lambda x: F.unfold(x, 3, padding=1, stride=2), linear(lambda x: columns(x, 3, 2, 1)))
pair(
    LINEAR,
    "unfold and fold",
    lambda x: F.fold(F.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1),
    linear(lambda x: folded(columns(x, 3, 1, 1), x.shape[1], x.shape[2:], 3, 1, 1)),
)


# ---------------------------------------------------------------- products with weights


@twin(LINEAR, "linear layer on a vector")
def _linear(m):
    weight, bias = m.normal(3, int(np.prod(m.shape))), m.normal(3)
    module = nn.Sequential(nn.Flatten(), filled(nn.Linear(weight.shape[1], 3), weight=weight, bias=bias))
    return module, linear(lambda x: x.reshape(len(x), -1) @ weight.T + bias)


@twin(LINEAR, "linear layer, channels last")
def _linear_last(m):
    weight, bias = m.normal(3, m.channels), m.normal(3)
    module = filled(nn.Linear(m.channels, 3), weight=weight, bias=bias)
    return (
        lambda x: module(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        linear(lambda x: np.einsum("nchw,oc->nohw", x, weight) + bias[:, None, None]),
    )


@twin(LINEAR, "linear layer over rows, no bias")
def _linear_rows(m):
    weight = m.normal(5, m.height)
    return (
        lambda x: F.linear(x.transpose(2, 3), tensor(weight)).transpose(2, 3),
        linear(lambda x: weight @ x),
    )


PRODUCTS = {
    "matmul, channels last": (("channels", 3), lambda x, w: x.permute(0, 2, 3, 1) @ w, "nchw,co->nhwo"),
    "matmul, weights on the left": ((3, "channels"), lambda x, w: w @ x.flatten(2), "nchw,oc->nohw"),
    "matmul of columns": (("width", 5), lambda x, w: torch.matmul(x, w), "nchw,wo->ncho"),
    "matmul of rows": ((5, "height"), lambda x, w: w @ x, "nchw,oh->ncow"),
    "einsum": ((3, "channels"), lambda x, w: torch.einsum("nchw,oc->nohw", x, w), "nchw,oc->nohw"),
    "einsum, channels last": (("channels", 3), lambda x, w: torch.einsum("nchw,co->nhwo", x, w), "nchw,co->nhwo"),
    "einsum of two axes": (
        ("height", "width", 3),
        lambda x, w: torch.einsum("bchw,hwo->bco", x, w),
        "nchw,hwo->nco",
    ),
    "einsum that keeps channels": (
        ("channels", "width", 3),
        lambda x, w: torch.einsum("bchw,cwo->bcho", x, w),
        "nchw,cwo->ncho",
    ),
    "tensordot": (("channels", 3), lambda x, w: torch.tensordot(x, w, ([1], [0])), "nchw,co->nhwo"),
    "bmm": (
        (3, "channels"),
        lambda x, w: torch.bmm(w.expand(len(x), -1, -1), x.flatten(2)),
        "nchw,oc->nohw",
    ),
}
for name, (shape, operation, rule) in PRODUCTS.items():

    @twin(LINEAR, name)
    def _product(m, shape=shape, operation=operation, rule=rule, flat=name in ("bmm", "matmul, weights on the left")):
        weight = m.normal(*(getattr(m, axis) if isinstance(axis, str) else axis for axis in shape))

        def slow(x):
            out = np.einsum(rule, x, weight)
            return out.reshape(*out.shape[:2], -1) if flat else out

        return lambda x: operation(x, tensor(weight)), linear(slow)


@twin(LINEAR, "addmm, and a product with one vector")
def _addmm(m):
    size = int(np.prod(m.shape))
    weight, bias, last = m.normal(size, 3), m.normal(3), m.normal(3)
    return (
        lambda x: torch.addmm(tensor(bias), x.flatten(1), tensor(weight)).mv(tensor(last))[:, None],
        linear(lambda x: (x.reshape(len(x), -1) @ weight + bias) @ last[:, None]),
    )


@twin(LINEAR, "baddbmm")
def _baddbmm(m):
    weight, bias = m.normal(3, m.channels), m.normal(3, m.height * m.width)
    return (
        lambda x: torch.baddbmm(tensor(bias), tensor(weight).expand(len(x), -1, -1), x.flatten(2)),
        linear(lambda x: weight @ x.reshape(*x.shape[:2], -1) + bias),
    )


# ---------------------------------------------------------------- unpooling by a pool's own places


def unpooled(x, at, kernel):
    """Maxima put back where they were, zeros elsewhere."""
    out = np.zeros_like(x)
    at = np.broadcast_to(at, x.shape)
    for n, c, i, j in np.ndindex(*x.shape[:2], x.shape[2] // kernel, x.shape[3] // kernel):
        window = at[n, c, i * kernel : (i + 1) * kernel, j * kernel : (j + 1) * kernel].real
        y, z = np.unravel_index(np.argmax(window), window.shape)
        place = n, c, i * kernel + y, j * kernel + z
        out[place] = x[place]
    return out


def pooled_and_back(x):
    values, indices = F.max_pool2d(x, 2, return_indices=True)
    return F.max_unpool2d(values, indices, 2, output_size=x.shape[2:])


def pooled_scaled_and_back(x):
    values, indices = nn.MaxPool2d(2, return_indices=True)(x)
    return nn.MaxUnpool2d(2)(values * 2, indices, output_size=x.shape)


UNPOOLED = switched(lambda x, at: unpooled(x, at, 2))
for picture in ("normal", "whole numbers"):
    ties = ", ties" if picture != "normal" else ""
    pair(LINEAR, "pooled and unpooled" + ties, pooled_and_back, UNPOOLED, picture)
    pair(LINEAR, "pooled, scaled and unpooled" + ties, pooled_scaled_and_back,
         Chain(UNPOOLED, linear(lambda x: 2 * x)), picture)  # fmt: skip
