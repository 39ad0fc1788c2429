"""Laws of the way down on random networks drawn from every operation of the table of twins, in float64."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oracles import difference
from pixelward.core.descent import project_hits
from pixelward.core.path import calls_nodes, path
from pixelward.core.project import Unit, project_units, walk
from pixelward.core.rules import DECONVNET, GUIDED
from pixelward.core.trace import trace
from random_networks import LINEAR_KINDS, networks

EXACT = 1e-10
RULES = {"deconvnet": DECONVNET, "guided": GUIDED}
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
laws = settings(deadline=None, max_examples=25)


def traced(drawn, x=None):
    found = trace(drawn.net, drawn.x if x is None else x, ["last"])
    return found.plan, found.targets["last"]


def random_signal(plan, target, seed=0):
    shape = plan.values[target.value].shape
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def sent(plan, target, signal, rules):
    with torch.no_grad():
        return walk(plan, target.value, signal, rules)


@laws
@given(networks())
def test_the_way_down_equals_the_slow_one(drawn):
    plan, target = traced(drawn)
    signal = random_signal(plan, target)
    for name, rules in RULES.items():
        expected = drawn.down(signal.numpy(), name)
        assume(np.isfinite(expected).all())  # a root of 0 has no slope
        assert difference(sent(plan, target, signal, rules), expected) < EXACT, name


@laws
@given(networks(kinds=LINEAR_KINDS))
def test_linear_networks_are_transposed(drawn):
    """<Ax, y> = <x, A'y>, for what is linear up to a constant."""
    assume(not drawn.meets("pooled"))  # which places a pool chose depends on the picture
    plan, target = traced(drawn)
    y = random_signal(plan, target)
    with torch.no_grad():
        ax = drawn.net(drawn.x.clone()) - drawn.net(torch.zeros_like(drawn.x))
    for rules in RULES.values():
        down = sent(plan, target, y, rules)
        size = ((ax.norm() + drawn.x.norm()) * y.norm()).item()
        assert abs((ax * y).sum() - (drawn.x * down).sum()).item() <= EXACT * size


@laws
@given(networks(), st.floats(0.01, 100))
def test_the_way_down_is_positively_homogeneous(drawn, factor):
    plan, target = traced(drawn)
    signal = random_signal(plan, target)
    for rules in RULES.values():
        one = sent(plan, target, signal, rules)
        assume(one.isfinite().all())
        assert torch.equal(sent(plan, target, 8 * signal, rules), 8 * one)
        assert difference(sent(plan, target, factor * signal, rules), factor * one) < EXACT
        assert not sent(plan, target, 0 * signal, rules).any()


@laws
@given(networks())
def test_the_same_call_twice_gives_the_same_bits(drawn):
    first, second = (
        [sent(plan, target, random_signal(plan, target), rules) for rules in RULES.values()]
        for plan, target in (traced(drawn), traced(drawn))
    )
    assert all(torch.equal(one.nan_to_num(), two.nan_to_num()) for one, two in zip(first, second, strict=True))


@settings(deadline=None, max_examples=10)
@given(networks(sides=(40, 48), largest=100_000, depth=3))
def test_the_number_of_threads_changes_rounding_only(drawn):
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            plan, target = traced(drawn)
            found.append([sent(plan, target, random_signal(plan, target), rules) for rules in RULES.values()])
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        assume(one.isfinite().all())
        assert difference(one, two) < 1e-12


@laws
@given(networks(), st.data())
def test_windows_equal_whole_pictures_and_batches_single_ones(drawn, data):
    """project_hits on a plan of two pictures, in windows where it can, against project_units on each."""
    plan, target = traced(drawn)
    assume(target.unclear is None)  # rows and columns that changed places are refused
    channels, *size = target.activations.shape[1:]
    places = list(itertools.product(range(channels), *(range(s) for s in size)))
    chosen = data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=4))
    number = torch.tensor(chosen)
    pictures = torch.arange(len(chosen)) % 2
    alone = []
    for (channel, *place), picture in zip(chosen, pictures.tolist(), strict=True):
        (unit,) = project_units(drawn.net, drawn.x[picture : picture + 1], "last", [Unit(0, channel, tuple(place))])
        alone.append(unit)
    pair = [Unit(n, *_first_of(chosen, pictures, n)) for n in (0, 1)] if len(chosen) > 1 else []
    for n, unit in enumerate(project_units(drawn.net, drawn.x, "last", pair) if pair else []):
        assert difference(unit.signal, alone[n].signal) < EXACT
    if calls_nodes(path(plan, target.value, DECONVNET)):
        return
    windows, boxes = project_hits(plan, target, number[:, 0], number[:, 1:], pictures)
    single = [
        project_hits(plan, target, row[:1], row[None, 1:], of[None]) for row, of in zip(number, pictures, strict=True)
    ]
    # By itself, a hit's window is cut where all of its region's leave the picture.
    cut = [(signal[0], boxes[0], unit) for (signal, boxes), unit in zip(single, alone, strict=True)]
    for window, box, unit in [*zip(windows, boxes, alone, strict=True), *cut]:
        assert difference(_pasted(window, box, unit.signal.shape), unit.signal) < EXACT


def _first_of(chosen, pictures, n):
    channel, *place = chosen[pictures.tolist().index(n)]
    return channel, tuple(place)


def _pasted(window, box, shape):
    """The window's signal in the picture; outside the picture it must be zero."""
    margin = 400
    pasted = torch.zeros(shape[0], *(side + 2 * margin for side in shape[1:]), dtype=window.dtype)
    pasted[:, margin + box.top :, margin + box.left :][:, : box.height, : box.width] = window
    inside = pasted[:, margin:-margin, margin:-margin].clone()
    pasted[:, margin:-margin, margin:-margin] = 0
    assert not pasted.any(), "signal outside the picture"
    return inside
