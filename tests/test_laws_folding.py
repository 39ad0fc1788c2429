"""Scales taken into the convolutions below them: signals come down the same, and where something else meets them they
are left alone."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pixelward as pw
from oracles import difference
from pixelward.core import folding, rules
from pixelward.core.descent import Descent
from pixelward.core.folding import Folding
from pixelward.core.path import path
from pixelward.core.projector import Chosen, Projector
from pixelward.core.trace import trace

CHANNELS = 4


class Net(nn.Module):
    """Convolutions and norms with statistics far from 0 and 1, called by a function."""

    def __init__(self, forward, groups=1, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(0)
        self.way, self.stem = forward, nn.Conv2d(3, CHANNELS, 3, 2)
        self.one = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=groups)
        self.two = nn.Conv2d(CHANNELS, CHANNELS, 1, groups=groups)
        self.norm, self.other = nn.BatchNorm2d(CHANNELS), nn.BatchNorm2d(CHANNELS)
        self.scale, self.end = nn.Parameter(torch.randn(1, CHANNELS, 1, 1)), nn.Identity()
        for each in (self.norm, self.other):
            nn.init.normal_(each.weight)
            nn.init.normal_(each.bias)
            each.running_mean.normal_()
            each.running_var.uniform_(0.1, 3)
        self.to(dtype).eval()

    def forward(self, x):
        return self.end(self.way(self, x))


def residual(net, x):
    y = F.relu(net.norm(net.stem(x)))
    y = F.max_pool2d(y, 3, 2, 1)
    return F.relu(y + net.other(net.two(F.relu(net.norm(net.one(y))))))


FOLDED = {  # and how many scales are
    "a stem": (lambda net, x: F.relu(net.norm(net.stem(x))), 1),
    "a residual block": (residual, 3),
    "one convolution under two norms": (lambda net, x: net.norm(net.one(net.other(net.one(net.stem(x))))), 2),
    "a number of each channel": (lambda net, x: F.relu(net.one(net.stem(x)) * net.scale), 1),
    "one number": (lambda net, x: F.relu(net.one(net.stem(x)) * 3.0), 1),
    "two paths that join": (lambda net, x: net.norm(net.one(net.stem(x))) + net.other(net.two(net.stem(x))), 2),
}
LEFT = {
    "what the convolution gave is read elsewhere": lambda net, x: (lambda y: net.norm(y) + y)(net.stem(x)),
    "two norms of one convolution": lambda net, x: (lambda y: net.norm(y) + net.other(y))(net.stem(x)),
    "a norm of a sum": lambda net, x: (lambda y: net.norm(net.one(y) + y))(net.stem(x)),
    "a norm of what is rectified": lambda net, x: net.norm(F.relu(net.stem(x))),
    "a number of each place": lambda net, x: net.stem(x) * torch.linspace(-1, 1, 15, dtype=x.dtype),
    "a factor of the picture": lambda net, x: (lambda y: y * y.mean((2, 3), keepdim=True).sigmoid())(net.stem(x)),
    "a transposed convolution": lambda net, x: net.norm(
        F.conv_transpose2d(net.stem(x), net.one.weight, groups=net.one.groups)
    ),
}


def crossed(net, x, table=rules.DECONVNET):
    traced = trace(net, x, ["end"], table)
    return path(traced.plan, traced.targets["end"].value, table)


def picture(seed=1, dtype=torch.float64, count=1):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FOLDED)
def test_a_scale_above_a_convolution_is_folded(name, dtype):
    forward, number = FOLDED[name]
    way = crossed(Net(forward, dtype=dtype), picture(dtype=dtype))
    once = Folding()
    short = once.along(way)
    assert len(way) - len(short) == number
    assert [each.step for each in once.along(way)] == [each.step for each in short]  # made once
    weights = [each.step.weight for each in short if each.step.weight is not None and each not in way]
    assert len(weights) == number
    assert all(weight.dtype == dtype and not weight.requires_grad for weight in weights)


@pytest.mark.parametrize("name", LEFT)
def test_what_else_meets_the_signal_keeps_a_scale_a_step_of_its_own(name):
    way = crossed(Net(LEFT[name]), picture())
    assert Folding().along(way) == way


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_few_digits_are_left_alone(dtype):
    way = crossed(Net(residual, dtype=dtype), picture(dtype=dtype))
    assert Folding().along(way) == way


@pytest.mark.parametrize(("weight", "scale"), [(1e20, 1e20), (1e-20, 1e-20), (1e-30, 1e-30)])
def test_numbers_whose_product_has_no_room_in_a_weight_are_multiplied_one_by_one(weight, scale):
    """What is above or below them may bring a signal back into range."""
    net = Net(FOLDED["a stem"][0], dtype=torch.float32)
    with torch.no_grad():
        net.stem.weight.fill_(weight)
        net.norm.weight.fill_(scale)
    way = crossed(net, picture(dtype=torch.float32))
    assert Folding().along(way) == way
    with torch.no_grad():
        net.norm.weight.zero_()  # a zero is one
    assert len(Folding().along(crossed(net, picture(dtype=torch.float32)))) == len(way) - 1


def test_a_rule_of_ones_own_is_called():
    met = []

    def own(signal, step):
        met.append(step.operation)
        return rules.scale(signal, step)

    way = crossed(Net(residual), picture(), {**rules.DECONVNET, rules.BATCH_NORM: own})
    assert Folding().along(way) == way
    filtered = crossed(Net(residual), picture(), {**rules.DECONVNET, nn.functional.conv2d: lambda s, step: [s]})
    assert Folding().along(filtered) == filtered


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(sorted(FOLDED) + sorted(LEFT)),
    st.sampled_from([1, 2, CHANNELS]),
    st.integers(0, 99),
)
def test_hits_come_down_as_by_project_which_folds_nothing(name, groups, seed):
    forward = FOLDED[name][0] if name in FOLDED else LEFT[name]
    net, x = Net(forward, groups), picture(seed, count=3)
    with torch.no_grad():
        _, channels, rows, columns = net(x).shape
    places = torch.tensor(list(itertools.product(range(0, rows, 6), range(0, columns, 5))))
    number = torch.arange(len(places))
    chosen = Chosen(number % channels, places, number % 3, torch.linspace(1, 2, len(places), dtype=torch.float64))
    met = 0
    for sent in Projector(net, ["end"]).project(x, {"end": chosen}):
        for row, signal, box in zip(sent.rows.tolist(), sent.signals, sent.boxes, strict=True):
            at = chosen.part(slice(row, row + 1))
            (one,) = pw.project(
                net,
                x[int(at.pictures) : int(at.pictures) + 1],
                layer="end",
                channel=int(at.channels),
                position=tuple(at.positions[0].tolist()),
                seed=float(at.values),
            )
            whole = torch.zeros(3, 232, 232)
            whole[:, 100 + box.top :, 100 + box.left :][:, : box.height, : box.width] = signal
            assert difference(whole[:, 100:-100, 100:-100], one.signal.float()) < 1e-6
            met += 1
    assert met == len(places)


def test_signals_are_those_of_a_way_that_is_not_folded():
    """Before they become float32: to the last digits of float64."""
    traced = trace(Net(residual), picture(), ["end"])
    ways = [Descent(traced.plan, traced.targets["end"], folding=each) for each in (None, Folding())]
    zeros = torch.zeros(CHANNELS, dtype=torch.int64)
    places = torch.tensor([[0, 0], [3, 4], [5, 2], [7, 7]])
    one, other = (way.project(traced.plan, torch.arange(CHANNELS), places, zeros)[0] for way in ways)
    assert one.any()
    assert difference(other, one) < 1e-14


@pytest.mark.parametrize(
    ("memory", "table", "number"), [(None, rules.DECONVNET, 3), (1e9, rules.DECONVNET, 0), (None, rules.GUIDED, 0)]
)
def test_weights_are_kept_once_under_a_bound_on_memory_and_where_each_picture_has_its_plan(
    monkeypatch, memory, table, number
):
    met, one = [], folding._folded
    monkeypatch.setattr(folding, "_folded", lambda *steps: met.append(steps) or one(*steps))
    zeros = torch.zeros(1, dtype=torch.int64)
    chosen = Chosen(zeros, zeros.new_zeros(1, 2), zeros, torch.ones(1, dtype=torch.float64))
    list(Projector(Net(residual), ["end"], table, memory).project(picture(), {"end": chosen}))
    assert len(met) == number
