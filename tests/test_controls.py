"""The controls: each is the projection that its words say, and shuffling changes what it names and nothing else."""

import numpy as np
import pytest
import torch
from torch import nn

import pixelward as pw
from pixelward import controls, explain
from pixelward.pictures import correlation

PREPROCESS = {"channels": "RGB", "range": 1.0, "mean": [0.5] * 3, "std": [0.25] * 3, "resize": 24, "size": 24}


class Block(nn.Module):
    """Two ways to the same maps, with a norm: what is above `mix` must not matter."""

    def __init__(self):
        super().__init__()
        self.stem, self.pool = nn.Conv2d(3, 6, 5, 2, 2), nn.MaxPool2d(3, 2, 1)
        self.norm, self.left, self.right = nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(6, 4, 1)
        self.mix, self.above = nn.Conv2d(8, 5, 3, padding=1), nn.Conv2d(5, 7, 3)

    def forward(self, x):
        x = self.pool(torch.relu(self.norm(self.stem(x))))
        x = torch.relu(torch.cat([self.left(x), self.right(x)], 1))
        return torch.relu(self.above(torch.relu(self.mix(x))))


def plain():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Conv2d(6, 3, 3)
    )


NETWORKS = {"plain": (plain, "3:relu", 2), "block": (Block, "mix:relu", 1)}
WEIGHTS = {
    "plain": (("3.weight",), ("0.weight",), {"5.weight"}),
    "block": (("mix.weight",), ("right.weight", "left.weight", "stem.weight"), {"above.weight"}),
}


@pytest.fixture(params=NETWORKS)
def shown(request):
    make, layer, channel = NETWORKS[request.param]
    torch.manual_seed(1)
    net = make().eval()
    net.preprocess = PREPROCESS
    picture = torch.randn(3, 24, 24)
    return request.param, net, pw.project(net, picture, layer=layer, channel=channel)


def state(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def changed(net, before):
    return {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}


def test_the_weights_of_a_unit_are_those_of_its_layer_and_of_what_lies_below(shown):
    name, net, one = shown
    found = controls.weights_of(net, one.picture[None], one.layer)
    own, below, _ = WEIGHTS[name]
    assert found.own == own
    assert set(found.below) == set(below)
    assert found.own_modules == (own[0].removesuffix(".weight"),)
    assert set(found.below_modules) == {each.removesuffix(".weight") for each in below}


def test_the_first_layer_has_nothing_below_and_is_told_so(shown):
    _, net, one = shown
    first = pw.project(net, one.picture, layer="0" if one.layer == "3:relu" else "stem", channel=0)
    assert controls.weights_of(net, one.picture[None], first.layer).below == ()
    rows = list(controls.sanity(net, first))
    assert [each.title for each in rows][:2] == ["own weights shuffled", "centre unpooling"]
    assert "none below" in rows[0].sentence


def test_shuffling_changes_exactly_the_named_weights_and_keeps_their_numbers(shown):
    name, net, _ = shown
    before = state(net)
    own, below, above = WEIGHTS[name]
    for names in (own, below, own + below, tuple(above)):
        shuffled = controls.permuted(net, names)
        assert changed(shuffled, before) == set(names)
        for each in names:
            assert torch.equal(shuffled.state_dict()[each].flatten().sort()[0], before[each].flatten().sort()[0])
    assert changed(controls.permuted(net), before) == {*own, *below, *above}
    assert changed(net, before) == set()


def test_all_of_these_is_its_own_and_those_below_together(shown):
    name, net, _ = shown
    own, below, _ = WEIGHTS[name]
    one, other, both = (controls.permuted(net, names).state_dict() for names in (own, below, own + below))
    assert all(torch.equal(both[each], one[each]) for each in own)
    assert all(torch.equal(both[each], other[each]) for each in below)


def test_shuffling_layers_above_changes_no_bit(shown):
    name, net, one = shown
    other = controls.permuted(net, WEIGHTS[name][2])
    again = pw.project(other, one.picture, layer=one.layer, channel=one.channel)
    assert torch.equal(one.signal, again.signal)
    assert one.value == again.value
    below = pw.project(controls.permuted(net, WEIGHTS[name][1]), one.picture, layer=one.layer, channel=one.channel)
    assert not torch.equal(one.signal, below.signal)


def test_every_row_is_the_projection_that_it_says(shown):
    name, net, one = shown
    own, below, _ = WEIGHTS[name]
    before = state(net)
    rows = {each.title: each for each in (*controls.by_rules(net, one), *controls.sanity(net, one))}

    def project(model=net, **how):
        how = {"channel": one.channel, **how}
        return pw.project(model, one.picture, layer=one.layer, position=one.position, **how).signal.numpy()

    other, value = controls.strongest_other(net, one.picture[None], one)
    expected = {
        "deconvnet, sum": project(),
        "deconvnet, place": project(unpool="place"),
        "guided, sum": project(rules="guided"),
        "guided, place": project(rules="guided", unpool="place"),
        "gradient": project(rules="gradient"),
        "own weights shuffled": project(controls.permuted(net, own), seed="one"),
        "weights below shuffled": project(controls.permuted(net, below), seed="one"),
        "all of these shuffled": project(controls.permuted(net, own + below), seed="one"),
        "centre unpooling": project(unpool="centre"),
        f"unit {other}": project(channel=other),
    }
    assert list(rows) == list(expected)
    for title, signal in expected.items():
        assert np.array_equal(rows[title].signal, signal), title
        assert rows[title].likeness == correlation(signal, one.signal.numpy(), one.shown)
    assert other != one.channel
    maps = pw.project(net, one.picture, layer=one.layer, channel=other, position=one.position)
    assert value == maps.value
    assert [title for title, each in rows.items() if each.is_shown] == ["deconvnet, sum"]
    assert rows["deconvnet, sum"].likeness == pytest.approx((1, 1))
    assert changed(net, before) == set()
    assert explain.controls(net, one).width > 1000


def test_a_layer_of_one_unit_has_no_other_and_says_so():
    net = nn.Sequential(nn.Conv2d(3, 1, 3), nn.ReLU()).eval()
    one = pw.project(net, torch.rand(3, 8, 8), layer="0:relu", channel=0, position=(2, 2))
    *_, last = controls.sanity(net, one)
    assert last[:3] == ("another unit", "There is none: the layer has this unit alone.", None)


def test_placing_where_nothing_meets_is_said_to_be_the_same():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3)).eval()
    one = pw.project(net, torch.randn(3, 16, 16), layer="3", channel=0)
    rows = {each.title: each for each in controls.by_rules(net, one)}
    assert "same as with sum" in rows["deconvnet, place"].sentence
    assert rows["deconvnet, place"].likeness == rows["deconvnet, sum"].likeness


def test_a_rule_set_that_refuses_the_network_is_told_in_its_place():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.Conv2d(4, 2, 3)).eval()
    net.preprocess = PREPROCESS
    one = pw.project(net, torch.randn(3, 24, 24), layer="2", channel=0, rules="gradient")
    rows = {each.title: each for each in (*controls.by_rules(net, one), *controls.sanity(net, one))}
    assert rows["deconvnet, sum"].signal is None
    assert rows["deconvnet, sum"].sentence.startswith("Refused: sigmoid in '1'")
    assert rows["gradient"].is_shown
    assert rows["all of these shuffled"].likeness is not None
    assert explain.controls(net, one).width > 1000


def test_a_network_that_cannot_be_copied_is_refused():
    class Stubborn(nn.Conv2d):
        def __deepcopy__(self, memo):
            raise RuntimeError("only one of me")

    with pytest.raises(pw.PixelwardError, match=r"cannot be copied \(only one of me\)"):
        controls.permuted(nn.Sequential(Stubborn(3, 2, 3)))


def test_weights_of_a_parametrised_layer_and_of_one_that_is_called_from_outside_are_found():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
            self.second = nn.Conv2d(4, 2, 3)

        def forward(self, x):
            return torch.conv2d(torch.relu(self.first(x)), self.second.weight)

    net = Odd().eval()
    found = controls.weights_of(net, torch.randn(1, 3, 16, 16), "/conv2d#1")
    assert found.own == ("second.weight",)
    assert set(found.below) == {f"first.parametrizations.weight.original{n}" for n in (0, 1)}


class Parted(nn.Module):
    """Two convolutions read the picture, so that no single step ends the way."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x):
        return self.last(torch.relu(self.left(x)) + torch.relu(self.right(x)))


@pytest.mark.parametrize("make", [plain, Parted])
def test_the_way_back_ends_with_the_projection(make):
    torch.manual_seed(2)
    net = make().eval()
    one = pw.project(net, torch.randn(3, 24, 24), layer="5" if make is plain else "last", channel=1)
    steps = explain.way_back(net, one, lambda step, last: (step, last))
    assert [last for _, last in steps] == [False] * (len(steps) - 1) + [True]
    assert np.array_equal(steps[-1][0].signal, one.signal.numpy())
    seed = steps[0][0].signal
    assert (np.count_nonzero(seed), seed[(1, *one.position)]) == (1, np.float32(one.value))


def test_maps_with_their_channels_last_are_seen_as_maps():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.mix = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

        def forward(self, x):
            return self.mix(torch.relu(self.conv(x).permute(0, 2, 3, 1)))

    torch.manual_seed(0)
    net = Last().eval()
    one = pw.project(net, torch.randn(3, 16, 12), layer="mix", channel=1)
    shapes = explain.way_back(net, one, lambda step, _: (step.title, step.signal.shape))
    assert shapes[0] == ("seed", (5, 14, 10))
    assert ("rectify", (4, 14, 10)) in shapes
