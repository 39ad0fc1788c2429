"""The operations of steps.py are the paper's: transposed filters are flipped filters, and switches place."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from pixelward import PixelwardError
from pixelward.core.steps import filter, rectify, unpool
from written_maps import EXACT, grid, randn, small

# ---------------------------------------------------------------- the transposed filter


def flipped(weight, groups):
    """Filters upside down and mirrored, input and output channels swapped inside each group."""
    above, below, *kernel = weight.shape
    parts = weight.reshape(groups, above // groups, below, *kernel).transpose(1, 2)
    return parts.reshape(groups * below, above // groups, *kernel).flip(2, 3)


def spread(signal, weight, size, stride, padding, dilation, groups):
    """The transposed filter in words: s - 1 zeros between samples, a border of zeros, flipped filters at stride 1."""
    apart = signal.new_zeros(
        *signal.shape[:2], *((n - 1) * s + 1 for n, s in zip(signal.shape[2:], stride, strict=True))
    )
    apart[:, :, :: stride[0], :: stride[1]] = signal
    border = []
    for i, k, s, p, d in zip(size, weight.shape[2:], stride, padding, dilation, strict=True):
        first = d * (k - 1) - p
        border = [first, first + (i + 2 * p - d * (k - 1) - 1) % s, *border]  # F.pad begins with the last axis
    return F.conv2d(F.pad(apart, border), flipped(weight, groups), dilation=dilation, groups=groups)


def matrix(weight, size, stride, padding, dilation, groups):
    """The convolution as a dense matrix, from the flattened map below to the map above; and the shape above."""
    weight = weight.numpy()
    above, below, *kernel = weight.shape
    outer = [
        (i + 2 * p - d * (k - 1) - 1) // s + 1
        for i, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    ]
    dense = np.zeros((above, *outer, below * groups, *size))
    for m, n, u, v in itertools.product(*map(range, outer), *map(range, kernel)):
        a, c = stride[0] * m + dilation[0] * u - padding[0], stride[1] * n + dilation[1] * v - padding[1]
        if 0 <= a < size[0] and 0 <= c < size[1]:
            for o in range(above):
                first = o // (above // groups) * below
                dense[o, m, n, first : first + below, a, c] = weight[o, :, u, v]
    return torch.from_numpy(dense.reshape(above * outer[0] * outer[1], -1)), (above, *outer)


PAPERS_GRID = [
    (i, k, s, p, d, g)
    for i, k, s, p, d, g in itertools.product((7, 8, 9), (1, 2, 3, 5), (1, 2, 3), (0, 1, 2), (1, 2), (1, 2))
    if i + 2 * p > d * (k - 1)
]


def test_the_transposed_filter_on_the_whole_grid_of_sizes():
    assert len(PAPERS_GRID) == 420
    for i, k, s, p, d, g in PAPERS_GRID:
        geometry = ((s, s), (p, p), (d, d), g)
        weight, below = randn(2, 2 // g, k, k, seed=1), randn(1, 2, i, i, seed=2).requires_grad_(True)
        above = F.conv2d(below, weight, None, s, p, d, g)
        signal = randn(*above.shape, seed=3)
        down = filter(signal, weight, (i, i), s, p, d, g)
        (gradient,) = torch.autograd.grad(above, below, signal)
        dense, shape = matrix(weight, (i, i), *geometry)
        assert shape == above.shape[1:]
        torch.testing.assert_close(down, gradient, **EXACT)
        torch.testing.assert_close(down, spread(signal, weight, (i, i), *geometry), **EXACT)
        torch.testing.assert_close(down.flatten(), dense.T @ signal.flatten(), **EXACT)


@st.composite
def convolutions(draw, strides=(1, 2, 4)):
    """(weight, size below, (stride, padding, dilation, groups)): all pairs, rows and columns apart."""

    def pair(values):
        return draw(st.tuples(values, values))

    groups, kernel = draw(st.integers(1, 3)), pair(st.integers(1, 4))
    stride, padding, dilation = pair(st.sampled_from(strides)), pair(st.integers(0, 3)), pair(st.integers(1, 3))
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation, strict=True)]
    size = tuple(n + draw(st.integers(0, 6)) for n in least)
    weight = randn(groups * draw(st.integers(1, 2)), draw(st.integers(1, 2)), *kernel, seed=draw(st.integers(0, 99)))
    return weight, size, (stride, padding, dilation, groups)


def above_of(weight, size, geometry, batch=2):
    """A map below of that size, and a signal shaped like what the convolution makes of it."""
    below = randn(batch, weight.shape[1] * geometry[-1], *size, seed=4)
    return below, randn(*F.conv2d(below, weight, None, *geometry).shape, seed=5)


@small
@given(convolutions(strides=(1,)))
def test_at_stride_one_it_is_an_ordinary_convolution_with_flipped_and_swapped_filters(convolution):
    weight, size, (stride, padding, dilation, groups) = convolution
    _, signal = above_of(weight, size, (stride, padding, dilation, groups))
    around = [d * (k - 1) - p for k, p, d in zip(weight.shape[2:], padding, dilation, strict=True)]
    wide = F.pad(signal, (around[1], around[1], around[0], around[0]))  # cuts where a margin is negative
    ordinary = F.conv2d(wide, flipped(weight, groups), dilation=dilation, groups=groups)
    torch.testing.assert_close(filter(signal, weight, size, stride, padding, dilation, groups), ordinary, **EXACT)


@small
@given(convolutions(strides=(2, 4)))
def test_at_stride_two_and_four_zeros_go_between_the_samples_first(convolution):
    weight, size, geometry = convolution
    _, signal = above_of(weight, size, geometry)
    torch.testing.assert_close(
        filter(signal, weight, size, *geometry), spread(signal, weight, size, *geometry), **EXACT
    )


@small
@given(convolutions())
def test_it_is_the_transpose_of_the_convolution_as_a_matrix(convolution):
    weight, size, geometry = convolution
    below, signal = above_of(weight, size, geometry, batch=1)
    dense, shape = matrix(weight, size, *geometry)
    assert shape == signal.shape[1:]
    torch.testing.assert_close(dense @ below.flatten(), F.conv2d(below, weight, None, *geometry).flatten(), **EXACT)
    torch.testing.assert_close(filter(signal, weight, size, *geometry).flatten(), dense.T @ signal.flatten(), **EXACT)


@small
@given(convolutions())
def test_filter_up_and_filter_down_are_adjoint(convolution):
    weight, size, geometry = convolution
    below, signal = above_of(weight, size, geometry)
    up, down = F.conv2d(below, weight, None, *geometry), filter(signal, weight, size, *geometry)
    assert down.shape == below.shape
    torch.testing.assert_close((up * signal).sum(), (below * down).sum(), rtol=1e-12, atol=1e-11)


def test_without_the_flip_or_with_half_of_it_the_result_is_another():
    signal, weight = randn(1, 6, 24, 24).clamp(min=0), randn(6, 3, 3, 3, seed=1)
    down, swapped = filter(signal, weight, (24, 24), padding=1), weight.transpose(0, 1)
    torch.testing.assert_close(down, F.conv2d(signal, swapped.flip(2, 3), padding=1), **EXACT)
    for wrong in (swapped, swapped.flip(2), swapped.flip(3)):
        assert (down - F.conv2d(signal, wrong, padding=1)).abs().max() > 10


def test_a_single_one_stamps_the_filter_upright():
    one, weight = F.pad(grid([[1]]), (1, 1, 1, 1)), grid([[0, 1, 2], [-1, 1, 0], [1, 0, -1]])
    assert torch.equal(filter(one, weight, (3, 3), padding=1), weight)
    assert torch.equal(F.conv2d(one, weight, padding=1), weight.flip(2, 3))


@pytest.mark.parametrize("size", [(223, 223), (224, 224), (223, 224)])
def test_the_recorded_size_settles_which_of_several_sizes_it_was(size):
    signal, weight = torch.zeros(1, 2, 110, 110), torch.zeros(2, 3, 7, 7)
    assert filter(signal, weight, size, stride=2, padding=1).shape == (1, 3, *size)
    assert F.conv_transpose2d(signal, weight, stride=2, padding=1).shape[2:] == (223, 223)


# ---------------------------------------------------------------- unpooling and rectification


def test_two_by_two_values_go_to_their_switches_in_four_by_four():
    r = grid([[0, 0, 0, 1], [5, 0, 0, 0], [3, 5, 1, 0], [2, 3, 6, 0]])
    pooled, switches = F.max_pool2d(r, 2, return_indices=True)
    assert pooled.tolist() == [[[[5, 1], [5, 6]]]]
    assert switches.tolist() == [[[[4, 3], [9, 14]]]]
    down = unpool(grid([[4, -3], [2, 1]]), switches, (4, 4))
    assert down.tolist() == [[[[0, 0, 0, -3], [4, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0]]]]


@st.composite
def pools(draw):
    """(map, kernel, stride, padding, dilation, ceil mode): whole numbers with many ties, rows and columns apart."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = draw(st.integers(1, 2))
    size = [dilation * (k - 1) + 1 + draw(st.integers(0, 7)) for k in kernel]
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    maps = torch.from_numpy(random.integers(-3, 4, (2, 3, *size)).astype(np.float64))
    return maps, kernel, stride, padding, dilation, draw(st.booleans())


@small
@given(pools())
def test_unpool_equals_a_loop_and_the_transpose_of_the_pool(pool):
    maps, *geometry = pool
    maps.requires_grad_(True)
    pooled, switches = F.max_pool2d(maps, *geometry, return_indices=True)
    signal = randn(*pooled.shape)
    down = unpool(signal, switches, maps.shape[2:])
    loop = torch.zeros_like(maps, requires_grad=False)
    for n, c, y, x in np.ndindex(*signal.shape):
        row, column = divmod(int(switches[n, c, y, x]), maps.shape[3])
        loop[n, c, row, column] += signal[n, c, y, x]
    assert torch.equal(down, loop)  # the loop adds in row-major order: the same bits
    torch.testing.assert_close(down, torch.autograd.grad(pooled, maps, signal)[0], **EXACT)
    torch.testing.assert_close(down.sum(), signal.sum(), rtol=0, atol=1e-10)
    off = torch.ones_like(maps, dtype=torch.bool).flatten(2).scatter_(2, switches.flatten(2), False)
    assert not down.flatten(2)[off].any()


def test_where_windows_do_not_overlap_unpool_is_torchs_own_with_the_recorded_size():
    maps = randn(2, 3, 7, 9)
    pooled, switches = F.max_pool2d(maps, 2, ceil_mode=True, return_indices=True)
    signal = randn(*pooled.shape, seed=1)
    assert torch.equal(unpool(signal, switches, (7, 9)), F.max_unpool2d(signal, switches, 2, output_size=(7, 9)))


def test_values_that_meet_in_one_place_add():
    maps = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    maps[0, 0, 2, 2] = 1  # wins all four windows
    _, switches = F.max_pool2d(maps, 3, 2, return_indices=True)
    down = unpool(grid([[1, 2], [3, 4]]), switches, (5, 5))
    assert down[0, 0, 2, 2] == 10
    assert down.abs().sum() == 10


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
def test_values_that_meet_add_in_the_order_of_their_windows(device):
    values = torch.randn(1, 64, 50, 50, generator=torch.Generator().manual_seed(0))
    switches = torch.zeros(values.shape, dtype=torch.int64)
    in_order = np.add.accumulate(values.flatten(2).numpy(), axis=2)[:, :, -1]  # one after the other, in float32
    for _ in range(3):
        down = unpool(values.to(device), switches.to(device), (1, 1))
        assert down.device.type == device
        assert np.array_equal(down.cpu().numpy()[:, :, 0, 0], in_order)


def test_the_size_of_a_pool_that_rounds_up_is_kept():
    maps = torch.zeros(1, 1, 110, 110)
    maps[0, 0, 60, 40] = 1
    pooled, switches = F.max_pool2d(maps, 3, 2, ceil_mode=True, return_indices=True)
    assert unpool(pooled, switches, (110, 110)).nonzero().tolist() == [[0, 0, 60, 40]]
    assert F.max_unpool2d(pooled, switches, 3, 2)[0, 0, 59, 91] == 1  # without the size: 111x111, and no error


def test_rectify_keeps_what_is_positive_in_the_signal():
    signal = grid([[4, -3], [0, 1]])
    assert rectify(signal).tolist() == [[[[4, 0], [0, 1]]]]
    assert signal[0, 0, 0, 1] == -3


# ---------------------------------------------------------------- what does not fit is refused in words


INDICES = torch.zeros(1, 2, 3, 3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("switches", "size"),
    [
        (INDICES[:, :1], (6, 6)),
        (INDICES[0], (6, 6)),
        (INDICES.int(), (6, 6)),
        (INDICES + 36, (6, 6)),
        (INDICES - 1, (6, 6)),
    ],
    ids=["other channels", "three axes", "int32", "too large", "negative"],
)
def test_switches_that_do_not_fit_are_refused(switches, size):
    words = (
        r"given: signal \(1, 2, 3, 3\), switches .*, map of \(6, 6\) - allowed: one shape .* 0 to 35 - next step: pass"
    )
    with pytest.raises(PixelwardError, match=words):
        unpool(torch.zeros(1, 2, 3, 3), switches, size)


@pytest.mark.parametrize(
    ("shape", "weight", "options"),
    [
        ((1, 3, 5, 5), (4, 3, 3, 3), {}),
        ((4, 5, 5), (4, 3, 3, 3), {}),
        ((1, 4, 5, 5), (3, 4, 3, 3), {}),
        ((1, 4, 5, 5), (4, 3, 3), {}),
        ((1, 4, 5, 5), (4, 3, 3, 3), {"groups": 3}),
        ((1, 4, 5, 5), (4, 3, 3, 3), {"padding": 1}),
        ((1, 4, 5, 5), (4, 3, 3, 3), {"stride": 2}),
        ((1, 4, 5, 6), (4, 3, 3, 3), {}),
        ((1, 4, 5, 5), (4, 3, 9, 9), {}),
    ],
)
def test_a_signal_that_no_such_convolution_makes_is_refused(shape, weight, options):
    assert filter(torch.zeros(1, 4, 5, 5), torch.zeros(4, 3, 3, 3), (7, 7)).shape == (1, 3, 7, 7)
    with pytest.raises(
        PixelwardError, match=r"given: signal .* weight .* - allowed: signal \(N, .* - next step: pass the"
    ):
        filter(torch.zeros(shape), torch.zeros(weight), (7, 7), **options)
