"""Twins of linear operations that pick, mask and stride samples, in the spellings that make nodes of their own.

Where the twin is None, the inner-product law decides.
"""

import numpy as np
import torch
import torch.nn.functional as F

from slow import Chain, linear, over_windows, places, switched
from twins import IDENTITY, LINEAR, pair, tensor, twin

# ---------------------------------------------------------------- pieces


def strided(x):
    """Every other row, read from memory by strides."""
    y = x.contiguous() * 1
    n, c, h, w = y.shape
    return y.as_strided((n, c, -(-h // 2), w), (c * h * w, h * w, 2 * w, 1))


def view_of_a_changed_base(x):
    """A view that is read again after its base was changed is made anew by strides."""
    y = x * 1
    part = y[:, 1:]
    y.mul_(2)
    return part * 1


PIECES = {
    "unsafe_split": (lambda x: torch.unsafe_split(x, 1, 1)[-1], lambda x: x[:, -1:]),
    "unsafe_chunk": (
        lambda x: torch.cat(torch.unsafe_chunk(x, 2, 3)[::-1], 3),
        lambda x: np.roll(x, x.shape[3] // 2, 3),
    ),
    "unsafe_split by sizes": (
        lambda x: torch.cat(torch.unsafe_split_with_sizes(x, [1, x.shape[2] - 1], 2)[::-1], 2),
        lambda x: np.roll(x, -1, 2),
    ),
    "view of a tensor in steps": (
        lambda x: x[..., ::2].reshape(len(x), x.shape[1], -1),
        lambda x: x[..., ::2].reshape(*x.shape[:2], -1),
    ),
    "turned by t there and back": (
        lambda x: x.flatten(1).t()[1:].t(),
        lambda x: x.reshape(len(x), -1)[:, 1:],
    ),
    "strides of memory": (strided, lambda x: x[:, :, ::2]),
}
for name, (operation, slow) in PIECES.items():
    pair((LINEAR, IDENTITY), name, operation, linear(slow))


@twin(LINEAR, "a view read again after its base was changed")
def _view_again(m):
    m.need(m.channels > 1)
    return view_of_a_changed_base, linear(lambda x: 2 * x[:, 1:])


# ---------------------------------------------------------------- picked, masked


def picked(m, *shape):
    """For each place of maps of this shape, a channel."""
    return m.random.integers(0, m.channels, shape)


@twin(LINEAR, "gather")
def _gather(m):
    index = picked(m, 3, m.height, m.width)
    return (
        lambda x: x.gather(1, tensor(index).expand(len(x), -1, -1, -1)),
        linear(lambda x: np.take_along_axis(x, np.repeat(index[None], len(x), 0), 1)),
    )


@twin(LINEAR, "take_along_dim")
def _take_along(m):
    index = picked(m, 2, m.height, 1)

    def slow(x):
        return np.take_along_axis(x, np.broadcast_to(index, (len(x), *index.shape[:2], x.shape[3])), 1)

    return lambda x: torch.take_along_dim(x, tensor(index)[None], 1), linear(slow)


def masked(m):
    return m.normal(*m.shape) > 0


@twin(LINEAR, "masked_fill by a mask of constants")
def _masked_fill(m):
    mask = masked(m)
    return lambda x: x.masked_fill(tensor(mask), 3.5), linear(lambda x: np.where(mask, 3.5, x))


@twin(LINEAR, "where by a mask of constants")
def _where(m):
    mask, other = masked(m), m.normal(*m.shape)
    return lambda x: torch.where(tensor(mask), x, tensor(other)), linear(lambda x: np.where(mask, x, other))


@twin(LINEAR, "one of two tensors by a mask of constants")
def _one_of_two(m):
    mask = masked(m)[:1]
    return lambda x: torch.where(tensor(mask), x, 2 * x.flip(3)), linear(lambda x: np.where(mask, x, 2 * x[..., ::-1]))


TRIANGLES = {
    "lower triangle": (lambda x: x.tril(), lambda x: np.where(np.tri(*x.shape[2:], dtype=bool), x, 0)),
    "upper triangle, shifted": (
        lambda x: torch.triu(x, 1),
        lambda x: np.where(np.tri(*x.shape[2:], k=0, dtype=bool), 0, x),
    ),
}
for name, (operation, slow) in TRIANGLES.items():
    pair(LINEAR, name, operation, linear(slow))


# ---------------------------------------------------------------- volumes


def sampled(x):
    """A volume sampled on a grid of constants."""
    turned = torch.tensor([[[0.8, 0.2, 0.1, 0.0], [-0.3, 0.9, 0.0, 0.1], [0.1, 0.0, 0.7, -0.2]]]).to(x)
    grid = F.affine_grid(turned.expand(len(x), -1, -1), (len(x), 1, 3, 5, 4), align_corners=False)
    return F.grid_sample(x[:, None], grid, align_corners=False)


pair(LINEAR, "a volume sampled on a grid of constants", sampled, None)


def volumes_unpooled(x, at):
    """Maxima of 2 by 2 by 2 put back where they were, zeros elsewhere."""
    x, at = x[:, None], np.broadcast_to(at, x.shape)[:, None]
    windows = [places(size, 2, 2) for size in x.shape[2:]]
    out = np.zeros_like(x)

    def put(samples, place):
        starts = tuple(2 * p for p in place)
        for n in range(len(x)):
            block = at[(n, 0, *(slice(s, s + 2) for s in starts))].real
            where = np.unravel_index(np.argmax(block), block.shape)
            spot = (n, 0, *(s + w for s, w in zip(starts, where, strict=True)))
            out[spot] = x[spot]
        return 0

    over_windows(x, windows, put)
    return out


def volumes_pooled_and_back(x):
    values, indices = F.max_pool3d(x[:, None], 2, return_indices=True)
    return F.max_unpool3d(3 * values, indices, 2, output_size=x.shape[1:])


@twin(LINEAR, "volumes pooled, scaled and unpooled")
def _volumes(m):
    m.need(min(m.shape) > 1)
    return volumes_pooled_and_back, Chain(switched(volumes_unpooled), linear(lambda x: 3 * x))


# ---------------------------------------------------------------- products


@twin(LINEAR, "addmv")
def _addmv(m):
    weight = m.normal(int(np.prod(m.shape)))
    return (
        lambda x: torch.addmv(tensor(np.array([0.7])), x.flatten(1), tensor(weight), beta=2, alpha=3)[:, None],
        linear(lambda x: 1.4 + 3 * (x.reshape(len(x), -1) @ weight)[:, None]),
    )
