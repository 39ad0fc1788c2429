"""Laws of the way down (4 to 11 of the design), on small random networks in float64."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from oracles import RECTIFIERS, Small, difference, hooked, slow_down, slow_up, small_networks
from pixelward.core.descent import project_hits
from pixelward.core.layers import Survey
from pixelward.core.path import calls_nodes, path
from pixelward.core.project import Unit, project_units, walk
from pixelward.core.rules import DECONVNET, GRADIENT, GUIDED, MAX_POOL, RULE_SETS, resolve
from pixelward.core.trace import trace
from pixelward.errors import PixelwardError

EXACT = 1e-10
small = settings(deadline=None, max_examples=25)


class Wrapped(nn.Module):
    """Gives the last tensor of a network a name: `last`."""

    def __init__(self, net):
        super().__init__()
        self.net, self.last = net, nn.Identity()

    def forward(self, x):
        return self.last(self.net(x) * 1)


def unit_of(net, picture, channel=0, **options):
    (projected,) = project_units(net, picture, "last", [Unit(0, channel)], **options)
    return projected


@small
@given(small_networks(), st.sampled_from(["deconvnet"]), st.sampled_from(["sum", "place"]))
def test_equal_to_slow_loops(case, rules, unpool):
    rows, picture = case
    expected_out, trail = slow_up(rows, picture[0])
    net = Wrapped(Small(rows)).eval()
    x = torch.from_numpy(picture)
    assert difference(net(x)[0], expected_out) < EXACT
    for channel in range(min(2, len(expected_out))):
        got = unit_of(net, x, channel, rules=rules, unpool=unpool)
        signal = torch.zeros(expected_out.shape, dtype=torch.float64).numpy()
        signal[(channel, *got.position)] = got.value
        assert difference(got.signal, slow_down(trail, signal, rules, unpool)) < EXACT


@small
@given(small_networks(norms=("bn",), in_place=False), st.sampled_from(["guided", "gradient"]))
def test_guided_and_gradient_equal_slow_loops(case, rules):
    rows, picture = case
    out, trail = slow_up(rows, picture[0])
    got = unit_of(Wrapped(Small(rows)).eval(), torch.from_numpy(picture), rules=rules)
    signal = torch.zeros(out.shape, dtype=torch.float64).numpy()
    signal[(0, *got.position)] = got.value
    assert difference(got.signal, slow_down(trail, signal, rules)) < EXACT


@small
@given(small_networks(in_place=False), st.sampled_from(sorted(RULE_SETS)))
def test_equal_to_hooks_on_autograds_nodes(case, rules):
    rows, picture = case
    if rules == "deconvnet" and any(row[0] == "lrn" for row in rows):
        rows = [row for row in rows if row[0] != "lrn"]
    net = Wrapped(Small(rows)).eval()
    x = torch.from_numpy(picture)
    if not rows:
        return
    got = unit_of(net, x, rules=rules)
    assert difference(got.signal, hooked(net, x, net.last, 0, got.position, rules, got.value)) < EXACT


@small
@given(small_networks(in_place=False))
def test_gradient_is_autograd_times_the_seed(case):
    rows, picture = case
    net = Wrapped(Small(rows)).eval()
    x = torch.from_numpy(picture)
    got = unit_of(net, x, rules="gradient")
    leaf = x.clone().requires_grad_(True)
    (down,) = torch.autograd.grad(net(leaf.clone())[(0, 0, *got.position)], leaf)
    assert difference(got.signal, down[0] * got.value) < EXACT


@small
@given(small_networks(), st.floats(0.01, 100))
def test_the_projection_scales_with_its_seed(case, factor):
    rows, picture = case
    net, x = Wrapped(Small(rows)).eval(), torch.from_numpy(picture)
    one = unit_of(net, x, seed=1.0)
    assert torch.equal(unit_of(net, x, seed=8.0).signal, 8 * one.signal)
    assert difference(unit_of(net, x, seed=factor).signal, factor * one.signal) < EXACT
    assert not unit_of(net, x, seed=0.0).signal.any()


@small
@given(small_networks(), st.sampled_from(["sum", "place", "centre"]), st.data())
def test_windows_equal_whole_pictures(case, unpool, data):
    rows, picture = case
    net, x = Wrapped(Small(rows)).eval(), torch.from_numpy(picture)
    table = resolve("deconvnet", unpool)
    traced = trace(net, x, ["last"])
    target = traced.targets["last"]
    channels, height, width = target.activations.shape[1:]
    places = list(itertools.product(range(channels), range(height), range(width)))
    chosen = data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=5))
    number = torch.tensor(chosen)
    zeros = torch.zeros(len(chosen), dtype=torch.int64)
    assert not calls_nodes(path(traced.plan, target.value, table))
    windows, boxes = project_hits(traced.plan, target, number[:, 0], number[:, 1:], zeros, table)
    both = trace(net, torch.cat([-x, x]), ["last"])
    again, _ = project_hits(both.plan, both.targets["last"], number[:, 0], number[:, 1:], zeros + 1, table)
    assert difference(again, windows) < EXACT
    whole = project_units(net, x, "last", [Unit(0, c, (y, z)) for c, y, z in chosen], unpool=unpool)
    # Alone, a hit's window is cut where all of its region's leave the picture.
    alone = [project_hits(traced.plan, target, row[:1], row[None, 1:], zeros[:1], table) for row in number]
    cut = [(signal[0], boxes[0], unit) for (signal, boxes), unit in zip(alone, whole, strict=True)]
    for window, box, unit in [*zip(windows, boxes, whole, strict=True), *cut]:
        pasted = torch.zeros(x.shape[1], *(n + 200 for n in x.shape[2:]), dtype=x.dtype)
        pasted[:, 100 + box.top :, 100 + box.left :][:, : box.height, : box.width] = window
        inside = pasted[:, 100:-100, 100:-100].clone()
        pasted[:, 100:-100, 100:-100] = 0
        assert not pasted.any(), "signal outside the picture"
        assert difference(inside, unit.signal) < EXACT


@small
@given(small_networks(), st.data())
def test_the_field_holds_the_signal_and_all_that_changes_the_value(case, data):
    rows, picture = case
    net, x = Wrapped(Small(rows)).eval(), torch.from_numpy(picture)
    out = net(x)
    place = tuple(data.draw(st.integers(0, size - 1)) for size in out.shape[2:])
    (unit,) = project_units(net, x, "last", [Unit(0, 0, place)])
    outside = torch.ones(x.shape[2:], dtype=torch.bool)
    top, left = max(0, unit.field.top), max(0, unit.field.left)
    outside[top : max(0, unit.field.top + unit.field.height), left : max(0, unit.field.left + unit.field.width)] = False
    assert not unit.signal[:, outside].any()
    changed = x.clone()
    changed[:, :, outside] += torch.randn_like(changed[:, :, outside])
    (after,) = project_units(net, changed, "last", [Unit(0, 0, place)])
    assert after.value == pytest.approx(unit.value, rel=EXACT, abs=1e-12)
    assert difference(after.signal, unit.signal) < EXACT


@small
@given(small_networks())
def test_a_batch_gives_what_each_picture_gives_alone(case):
    rows, picture = case
    net, x = Wrapped(Small(rows)).eval(), torch.from_numpy(picture)
    pictures = torch.cat([x, x.flip(-1), -x])
    together = project_units(net, pictures, "last", [Unit(n, 0) for n in range(3)])
    for number, unit in enumerate(together):
        alone = unit_of(net, pictures[number : number + 1])
        assert alone.position == unit.position
        assert difference(unit.signal, alone.signal) < EXACT


@small
@given(small_networks())
def test_the_same_call_twice_gives_the_same_bits(case):
    rows, picture = case
    net, x = Wrapped(Small(rows)).eval(), torch.from_numpy(picture)
    assert torch.equal(unit_of(net, x).signal, unit_of(net, x).signal)


@small
@given(small_networks(pools=(), norms=()), st.integers(0, 99))
def test_without_pools_and_norms_the_picture_does_not_matter(case, seed):
    rows, picture = case
    net, x = Wrapped(Small(rows)).eval(), torch.from_numpy(picture)
    other = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(seed))
    pair = [project_units(net, p, "last", [Unit(0, 0, (0, 0))], seed="one")[0].signal for p in (x, other)]
    assert torch.equal(*pair)


def stack():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)
    ).double()


def test_layers_above_do_not_matter_and_layers_below_do():
    net, x = stack(), torch.randn(1, 3, 24, 24, dtype=torch.float64)
    before = project_units(net, x, "3:relu", [Unit(0, 2, (1, 1))])[0].signal
    with torch.no_grad():
        net[5].weight.normal_()
    assert torch.equal(project_units(net, x, "3:relu", [Unit(0, 2, (1, 1))])[0].signal, before)
    with torch.no_grad():
        net[0].weight.normal_()
    assert not torch.equal(project_units(net, x, "3:relu", [Unit(0, 2, (1, 1))])[0].signal, before)


def test_nothing_above_the_layer_runs():
    net = stack()
    calls = []
    net[5].register_forward_hook(lambda *_: calls.append(1))
    project_units(net, torch.randn(1, 3, 24, 24, dtype=torch.float64), "3:relu", [Unit(0, 2)])
    assert not calls


def test_sum_keeps_the_signal_and_place_keeps_the_largest_of_those_that_meet():
    x = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    x[0, 0, 2, 2] = 1
    traced = trace(nn.Sequential(nn.MaxPool2d(3, 2)), x, ["0"])
    value = traced.targets["0"].value
    signal = torch.tensor([[[[1.0, 2.0], [3.0, -4.0]]]], dtype=torch.float64)
    for unpool, centre in (("sum", 2.0), ("place", -4.0)):
        down = walk(traced.plan, value, signal, resolve("deconvnet", unpool))
        assert down[0, 0, 2, 2] == centre
        assert down.abs().sum() == abs(centre)
    down = walk(traced.plan, value, signal, resolve("deconvnet", "centre"))
    assert down[0, 0, [1, 1, 3, 3], [1, 3, 1, 3]].tolist() == [1, 2, 3, -4]


def test_place_takes_the_positive_one_of_equal_magnitudes():
    x = torch.zeros(1, 1, 3, 5, dtype=torch.float64)
    x[0, 0, 1, 2] = 1
    traced = trace(nn.Sequential(nn.MaxPool2d(3, 2)), x, ["0"])
    for signs in ((3.0, -3.0), (-3.0, 3.0)):
        down = walk(
            traced.plan,
            traced.targets["0"].value,
            torch.tensor([[[signs]]], dtype=torch.float64),
            resolve("deconvnet", "place"),
        )
        assert down[0, 0, 1, 2] == 3


@pytest.mark.parametrize("spelling", sorted(RECTIFIERS))
def test_every_spelling_of_relu_gives_one_projection(spelling):
    torch.manual_seed(0)
    one, two = nn.Conv2d(2, 3, 3).double(), nn.Conv2d(3, 2, 3).double()

    class Net(nn.Module):
        def __init__(self, rectify):
            super().__init__()
            self.one, self.two, self.rectify = one, two, rectify

        def forward(self, x):
            return self.rectify(self.two(self.rectify(self.one(x))))

    x = torch.randn(1, 2, 9, 9, dtype=torch.float64)
    reference = project_units(Net(nn.ReLU()), x, "two", [Unit(0, 1, (2, 2))])[0].signal
    assert reference.any()
    (got,) = project_units(Net(RECTIFIERS[spelling]), x, "two:relu", [Unit(0, 1, (2, 2))], seed=1.0)
    (same,) = project_units(Net(nn.ReLU()), x, "two:relu", [Unit(0, 1, (2, 2))], seed=1.0)
    assert torch.equal(got.signal, same.signal)


def test_a_result_that_was_overwritten_is_named_where_a_rule_needs_it():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            return self.last(torch.relu(self.conv(x)).mul_(2.0))

    x = torch.randn(1, 3, 8, 8)
    assert project_units(Net(), x, "last", [Unit(0, 0)])[0].signal.any()
    for rules in ("guided", "gradient"):
        with pytest.raises(PixelwardError, match=r"relu in 'the network'.*overwritten in place"):
            project_units(Net(), x, "last", [Unit(0, 0)], rules=rules)


def test_local_response_norm_is_left_out_on_the_way_down_and_differentiated_by_the_others():
    torch.manual_seed(1)
    conv, norm = nn.Conv2d(3, 6, 3).double(), nn.LocalResponseNorm(5, alpha=1.0)
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    net = nn.Sequential(conv, nn.ReLU(), norm, nn.Conv2d(6, 2, 1).double())
    net[3].weight.data.abs_()
    bare = nn.Sequential(conv, nn.ReLU(), net[3])
    unit = [Unit(0, 1, (2, 4))]
    with_norm = project_units(net, x, "3", unit, seed="one")[0].signal
    assert torch.equal(with_norm, project_units(bare, x, "2", unit, seed="one")[0].signal)
    for rules in ("guided", "gradient"):
        got = project_units(net, x, "3", unit, rules=rules, seed="one")[0].signal
        assert difference(got, hooked(net, x, net[3], 1, (2, 4), rules, 1.0)) < EXACT
        assert difference(got, project_units(bare, x, "2", unit, rules=rules, seed="one")[0].signal) > 0.01


def test_many_units_of_one_picture_equal_one_at_a_time_where_steps_call_their_nodes():
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Linear(36, 10),
        nn.ReLU(),
        nn.Linear(10, 5),
    ).double()
    x = torch.randn(1, 3, 9, 9, dtype=torch.float64)
    for rules in RULE_SETS:
        together = project_units(net, x, "6", [Unit(0, c) for c in range(5)], rules=rules)
        for channel, unit in enumerate(together):
            (alone,) = project_units(net, x, "6", [Unit(0, channel)], rules=rules)
            assert alone.signal.any()
            assert difference(unit.signal, alone.signal) < EXACT


def test_the_tables_hold_no_kind_that_no_node_has():
    from pixelward.core.nodes import NODES
    from pixelward.core.rules import ACTIVATION, ANY, GATE, PRODUCT
    from pixelward.core.sentinel import COMPOSITES

    spelled = {ACTIVATION, GATE, PRODUCT}  # by several nodes together
    known = {kind for kind, _ in NODES.values()} | {kind for kind, *_ in COMPOSITES.values()} | spelled | {ANY}
    for rules in (DECONVNET, GUIDED, GRADIENT):
        assert set(rules) <= known
    assert MAX_POOL in DECONVNET


def test_addresses_name_tensors_in_order_of_execution():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.conv2, self.act = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()

        def forward(self, x):
            return self.act(self.conv2(F.relu(self.bn1(self.conv1(x)))) + x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.block, self.head = nn.Conv2d(3, 4, 3), Block(), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            x = self.block(self.block(self.stem(x)))
            return {"out": self.head(x), "same": x}

    survey = Survey(Net().eval(), (12, 12), 3)
    found = survey.described(survey.convolutions())
    assert [layer.address for layer in found] == [
        "stem:relu",  # the rectifier at the end of the block, which the addition leads to
        "block.conv1:relu",
        "block.conv1#2:relu",
        "block.conv2#2:relu",
        "head",
    ]
    assert found[0].aliases[0] == "block.conv2:relu"  # the residual addition joins them
    (named,) = survey.described([survey.edge("block/relu#1")])
    assert named.address == "block.conv1:relu"
    assert survey.described([survey.edge("[out]")])[0].address == "head"
