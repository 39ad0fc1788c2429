"""The deconvnet that steps.py makes of its operations: the worked example, and what holds of every plain stack."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pixelward import PixelwardError
from pixelward.core.project import Unit, project_units
from pixelward.core.steps import ascend, descend, filter, only
from written_maps import EXACT, grid, randn, small

# ---------------------------------------------------------------- the worked example, in whole numbers


@pytest.fixture
def worked():
    """One convolution, ReLU, 2x2 pool; the picture; every number is whole."""
    conv = nn.Conv2d(1, 1, 3, padding=1).double()
    conv.weight.data, conv.bias.data = grid([[0, 1, 2], [-1, 1, 0], [1, 0, -1]]), torch.tensor([-2.0]).double()
    return nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2)), grid(
        [[1, 2, 0, 1], [3, 1, 2, 0], [0, 1, 3, 2], [2, 0, 1, 1]]
    )


def test_worked_example_on_the_way_up(worked):
    net, x = worked
    assert net[0](x).tolist() == [[[[-2, 0, -3, 1], [5, -5, 0, 0], [3, 5, 1, -2], [2, 3, 6, 0]]]]
    maps, way = ascend(net, x)
    assert maps.tolist() == [[[[5, 1], [5, 6]]]]
    assert way[2].keywords["switches"].tolist() == [[[[4, 3], [9, 14]]]]
    assert torch.equal(maps, net(x))


def test_worked_example_1_the_strongest_activation_alone(worked):
    maps, way = ascend(*worked)
    # 6 * W, upright, around row 3, column 2: its last row is cut off by the border
    assert only(maps, 0, (1, 1)).tolist() == [[[[0, 0], [0, 6]]]]
    picture = descend(way, only(maps, 0, (1, 1)))
    assert picture.tolist() == [[[[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 6, 12], [0, -6, 6, 0]]]]


def test_worked_example_2_all_four_activations(worked):
    maps, way = ascend(*worked)
    assert descend(way, maps).tolist() == [[[[5, 10, -1, 1], [5, 5, 11, 0], [-5, 0, 6, 12], [5, -6, 1, 0]]]]


def test_worked_example_3_a_signed_signal_from_above(worked):
    net, _ = worked
    _, way = ascend(*worked)
    unpooled = way[2](grid([[4, -3], [2, 1]]))
    assert unpooled.tolist() == [[[[0, 0, 0, -3], [4, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0]]]]
    rectified = way[1](unpooled)
    assert rectified.tolist() == [[[[0, 0, 0, 0], [4, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0]]]]
    picture = [[[[4, 8, 0, 0], [4, 2, 4, 0], [-2, -2, 1, 2], [2, -1, -1, 0]]]]
    assert way[0](rectified).tolist() == picture
    assert descend(way, grid([[4, -3], [2, 1]])).tolist() == picture
    forgotten = filter(unpooled, net[0].weight, (4, 4), padding=1)
    assert forgotten.tolist() == [[[[4, 8, 3, -3], [4, 2, 1, 0], [-2, -2, 1, 2], [2, -1, -1, 0]]]]


def test_worked_example_4_a_stride_is_no_unpooling(worked):
    net, _ = worked
    mistake = F.conv_transpose2d(grid([[0, 0], [0, 6]]), net[0].weight, stride=2, padding=1, output_padding=1)
    assert mistake.tolist() == [[[[0, 0, 0, 0], [0, 0, 6, 12], [0, -6, 6, 0], [0, 6, 0, -6]]]]


def test_in_the_worked_example_both_answers_of_the_forum_agree_exactly(worked):
    net, _ = worked
    for rows in ([[0, 0], [0, 6]], [[5, 1], [5, 6]], [[4, -3], [2, 1]]):
        _, way = ascend(*worked)
        rectified = way[1](way[2](grid(rows)))
        ordinary = F.conv2d(rectified, net[0].weight.transpose(0, 1).flip(2, 3), padding=1)
        assert torch.equal(way[0](rectified), ordinary)
        assert torch.equal(F.conv_transpose2d(rectified, net[0].weight, padding=1), ordinary)


# ---------------------------------------------------------------- plain stacks


def plain(*, relu=True, pool=True, norm=True, seed=0):
    """Two layers with everything in them: stride, groups, dilation, overlapping pools that round up, biases."""
    torch.manual_seed(seed)
    layers = [
        nn.Conv2d(3, 8, 5, stride=2, padding=1),
        nn.ReLU(inplace=True) if relu else None,
        nn.MaxPool2d(3, 2, ceil_mode=True) if pool else None,
        nn.LocalResponseNorm(5, alpha=1.0) if norm else None,
        nn.Conv2d(8, 6, 3, padding=2, dilation=2, groups=2),
        nn.ReLU() if relu else None,
        nn.MaxPool2d(2, 1, padding=1) if pool else None,
    ]
    return nn.Sequential(*(layer for layer in layers if layer is not None)).double()


def test_the_way_down_is_unpool_then_rectify_then_filter_layer_by_layer():
    _, way = ascend(plain(), randn(1, 3, 24, 24))
    names = [getattr(step, "func", step).__name__ for step in reversed(way)]
    assert names == ["unpool", "rectify", "filter", "leave", "unpool", "rectify", "filter"]


def test_what_meets_in_one_place_is_rectified_after_it_was_added():
    picture = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    picture[0, 0, 2, 2] = 1  # wins all four windows
    _, way = ascend(nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2)), picture)
    assert descend(way, grid([[1, 2], [3, -4]]))[0, 0, 2, 2] == 2
    assert descend(way[::-1], grid([[1, 2], [3, -4]]))[0, 0, 2, 2] == 6  # the other order, and another result


def test_the_maps_are_the_networks_own_and_nothing_is_changed():
    net, picture = plain(), randn(1, 3, 24, 24)
    before, weights = picture.clone(), {name: value.clone() for name, value in net.state_dict().items()}
    maps, way = ascend(net, picture)
    descend(way, maps)
    assert torch.equal(maps, net(picture))
    assert torch.equal(picture, before)
    assert all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())
    assert not maps.requires_grad
    ascend(nn.Sequential(nn.ReLU(inplace=True)), picture)
    assert torch.equal(picture, before)


def test_without_rectifiers_and_norms_it_is_the_gradient_times_the_seed():
    net, picture = plain(relu=False, norm=False), randn(2, 3, 23, 26).requires_grad_(True)
    maps, way = ascend(net, picture)
    seed = only(maps, 3, (2, 4))
    (gradient,) = torch.autograd.grad(net(picture), picture, seed)
    torch.testing.assert_close(descend(way, seed), gradient, **EXACT)


@small
@given(st.integers(-8, 8), st.floats(0.01, 100), st.integers(0, 5), st.integers(0, 4))
def test_it_scales_with_its_seed_to_the_bit_for_powers_of_two(power, factor, channel, row):
    maps, way = ascend(plain(), randn(1, 3, 20, 20))
    seed = only(maps, channel, (row, 3))
    picture = descend(way, seed)
    assert torch.equal(descend(way, 2.0**power * seed), 2.0**power * picture)
    torch.testing.assert_close(descend(way, factor * seed), factor * picture, rtol=1e-12, atol=1e-12)
    assert not descend(way, 0 * seed).any()


def test_biases_do_not_enter():
    net, picture = plain(pool=False, norm=False), randn(1, 3, 24, 24)
    maps, way = ascend(net, picture)
    for layer in (net[0], net[2]):
        layer.bias.data += 5
    assert torch.equal(descend(ascend(net, picture)[1], maps), descend(way, maps))


def test_without_a_pool_the_picture_plays_no_part():
    net = plain(pool=False, norm=False)
    one, other = (ascend(net, randn(1, 3, 24, 24, seed=seed)) for seed in (1, 2))
    seed = torch.zeros_like(one[0])
    seed[0, 2, 4, 5] = 1
    assert descend(one[1], seed).any()
    assert torch.equal(descend(one[1], seed), descend(other[1], seed))


def test_one_layer_without_a_pool_shows_the_filter_upright_where_it_stood():
    net = plain()[:2]
    maps, way = ascend(net, randn(1, 3, 24, 24))
    seed = torch.zeros_like(maps)
    seed[0, 4, 3, 6] = 1
    picture = descend(way, seed)
    assert torch.equal(picture[0, :, 5:10, 11:16], net[0].weight[4])  # 2 * 3 - 1 and 2 * 6 - 1
    assert picture.abs().sum() == net[0].weight[4].abs().sum()


def test_the_normalisation_is_left_out_on_the_way_down():
    net, picture = plain(pool=False), randn(1, 3, 24, 24)
    maps, way = ascend(net, picture)
    bare = ascend(plain(pool=False, norm=False), picture)[1]
    assert torch.equal(descend(way, maps), descend(bare, maps))


@pytest.mark.parametrize(("row", "column"), list(itertools.product((0, 4, 8), repeat=2)))
def test_the_signal_stays_inside_the_receptive_field(row, column):
    net, picture = plain(), randn(1, 3, 34, 34, seed=row * 9 + column)
    maps, way = ascend(net, picture)
    seed = torch.zeros_like(maps)
    seed[0, 1, row, column] = 1
    inside = torch.zeros(34, 34, dtype=torch.bool)
    ranges = []
    for first in (row, column):
        last = first
        for kernel, stride, padding in ((2, 1, 1), (5, 1, 2), (3, 2, 0), (5, 2, 1)):  # from the top; 5: 3 dilated by 2
            first, last = first * stride - padding, last * stride - padding + kernel - 1
        ranges.append(slice(max(0, first), last + 1))
    inside[ranges[0], ranges[1]] = True
    assert not inside.all()
    assert not descend(way, seed)[:, :, ~inside].any()


def test_a_batch_gives_what_each_picture_gives_alone():
    net, pictures = plain(), randn(3, 3, 24, 24)
    maps, way = ascend(net, pictures)
    together = descend(way, only(maps, 2, (3, 3)))
    for picture, down in zip(pictures, together, strict=True):
        maps, way = ascend(net, picture[None])
        torch.testing.assert_close(descend(way, only(maps, 2, (3, 3))), down[None], **EXACT)


@small
@given(st.integers(0, 99), st.integers(1, 7), st.data())
def test_project_gives_the_same_on_plain_stacks(seed, depth, data):
    net, picture = plain(seed=seed), randn(1, 3, 22, 25, seed=seed)
    maps, way = ascend(net[:depth], picture)
    channel, *place = (data.draw(st.integers(0, n - 1)) for n in maps.shape[1:])
    (projected,) = project_units(net, picture, str(depth - 1), [Unit(0, channel, tuple(place))])
    down = descend(way, only(maps, channel, tuple(place)))
    torch.testing.assert_close(projected.signal[None], down, rtol=0, atol=1e-10 * max(1e-30, down.abs().max().item()))


# ---------------------------------------------------------------- what does not fit is refused in words


class Standardised(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm2d(3),
        nn.LeakyReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(3, 3, 3, padding="same"),
        Standardised(3, 3, 3),
        nn.Sequential(nn.ReLU()),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_that_is_not_plain_is_refused_by_name(layer):
    with pytest.raises(
        PixelwardError, match=rf"given: {type(layer).__name__}.* - allowed: .*Conv2d padded.* - next step: use"
    ):
        ascend(nn.Sequential(nn.ReLU(), layer), torch.zeros(1, 3, 8, 8))


def test_a_picture_that_does_not_fit_is_refused_with_the_layer_and_its_reason():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 5))
    with pytest.raises(
        PixelwardError, match=r"given: maps \(1, 1, 8, 8\) for layer 0, Conv2d.* - allowed: .*3 channels"
    ):
        ascend(net, torch.zeros(1, 1, 8, 8))
    with pytest.raises(
        PixelwardError, match=r"given: maps \(1, 4, 2, 2\) for layer 2, Conv2d.* next step: give a picture"
    ):
        ascend(net, torch.zeros(1, 3, 4, 4))
    with pytest.raises(PixelwardError, match=r"given: .*\(3, 8, 8\) - allowed: maps \(N, C, H, W\)"):
        ascend(net, torch.zeros(3, 8, 8))


@pytest.mark.parametrize(("channel", "place"), [(4, (0, 0)), (-1, (0, 0)), (0, (5, 0)), (0, (0, -1))])
def test_an_activation_outside_the_maps_is_refused(channel, place):
    with pytest.raises(
        PixelwardError, match=r"given: channel .* at \(.*\) of maps \(1, 4, 5, 5\) - allowed: places inside"
    ):
        only(torch.zeros(1, 4, 5, 5), channel, place)
