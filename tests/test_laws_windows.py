"""Laws 5 and 10 on the networks whose boxes are tried by brute force: windows equal whole pictures, batches equal
single pictures, and `gradient` is autograd's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brute_fields import one_thread, picture_of, places, signed
from field_graphs import GRAPHS
from oracles import difference
from pixelward.core import groups
from pixelward.core.descent import project_hits
from pixelward.core.path import calls_nodes, path
from pixelward.core.project import Unit, project_units
from pixelward.core.rules import resolve
from pixelward.core.trace import trace
from random_graphs import random_graphs

EXACT = 1e-10
AROUND = 500  # no window leaves its picture by more
small = settings(deadline=None, max_examples=25)
every_graph = pytest.mark.parametrize("name", list(GRAPHS))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def on_the_picture(window, box, picture):
    """A window's signal where it lies on the picture, (C, H, W); beside the picture there is none."""
    _, channels, height, width = picture.shape
    wide = torch.zeros(channels, height + 2 * AROUND, width + 2 * AROUND, dtype=picture.dtype)
    wide[:, AROUND + box.top :, AROUND + box.left :][:, : box.height, : box.width] = window
    inside = wide[:, AROUND:-AROUND, AROUND:-AROUND].clone()
    wide[:, AROUND:-AROUND, AROUND:-AROUND] = 0
    assert not wide.any(), "signal outside the picture"
    return inside


def check_windows(net, picture, unpool):
    """Units of all channels at places of a grid: in windows, and in windows of a batch, as on whole pictures."""
    chosen = places(net, picture)
    channels, rows = torch.arange(len(chosen)) % 3, torch.zeros(len(chosen), dtype=torch.int64)
    positions = torch.tensor(chosen, dtype=torch.int64).reshape(len(chosen), -1)
    table = resolve("deconvnet", unpool)
    units = [Unit(0, int(channel), place) for channel, place in zip(channels, chosen, strict=True)]
    whole = project_units(net, picture, "last", units, unpool=unpool)
    for pictures, picked in ((picture, rows), (torch.cat([-picture, picture]), rows + 1)):
        traced = trace(net, pictures, ["last"])
        target = traced.targets["last"]
        if len(pictures) > 1 and calls_nodes(path(traced.plan, target.value, table)):
            continue  # nodes know all pictures of a batch together only
        windows, boxes = project_hits(traced.plan, target, channels, positions, picked, table)
        for window, box, unit in zip(windows, boxes, whole, strict=True):
            assert difference(on_the_picture(window, box, picture), unit.signal) < EXACT


def check_mixed(net, picture):
    """Units in two pictures, in no order: each goes down in its own."""
    pictures, chosen = torch.cat([picture, 2 - picture]), places(net, picture)
    traced = trace(net, pictures, ["last"])
    target = traced.targets["last"]
    if calls_nodes(path(traced.plan, target.value, resolve("deconvnet", "sum"))):
        return
    channels, picked = torch.arange(len(chosen)) % 3, torch.arange(len(chosen)) * 5 // 3 % 2
    positions = torch.tensor(chosen, dtype=torch.int64).reshape(len(chosen), -1)
    windows, boxes = project_hits(traced.plan, target, channels, positions, picked)
    for window, box, place, channel, of in zip(windows, boxes, chosen, channels.tolist(), picked.tolist(), strict=True):
        (whole,) = project_units(net, pictures[of : of + 1], "last", [Unit(0, channel, place)])
        assert difference(on_the_picture(window, box, picture), whole.signal) < EXACT


def check_gradient(net, picture):
    chosen = places(net, picture)
    for unit in project_units(net, picture, "last", [Unit(0, 1, place) for place in chosen], rules="gradient"):
        leaf = picture.clone().requires_grad_()
        (down,) = torch.autograd.grad(net(leaf)[(0, 1, *unit.position)], leaf)
        assert difference(unit.signal, unit.value * down[0]) < EXACT


@every_graph
def test_windows_equal_whole_pictures(name):
    graph = GRAPHS[name]
    for unpool in ("sum", "place"):
        check_windows(signed(graph.build(), 1), picture_of(graph.size, seed=2), unpool)


@every_graph
@pytest.mark.parametrize("numbers", [1, 40, 600])
def test_hits_that_go_on_in_smaller_groups_give_the_same(name, numbers, monkeypatch):
    """Which part of them goes on together is up to the size of their signals."""
    monkeypatch.setattr(groups, "TOGETHER", numbers)
    monkeypatch.setattr(groups, "FEWEST", 1)
    graph = GRAPHS[name]
    check_windows(signed(graph.build(), 1), picture_of(graph.size, seed=2), "sum")
    check_mixed(signed(graph.build(), 1), picture_of(graph.size, seed=2))


@every_graph
def test_gradient_is_autograds(name):
    graph = GRAPHS[name]
    check_gradient(signed(graph.build(), 2), picture_of(graph.size, seed=3))


@small
@given(random_graphs(), st.integers(0, 9))
def test_windows_equal_whole_pictures_in_random_networks(graph, seed):
    check_windows(signed(graph.build(), seed), picture_of(graph.size, seed=seed), "sum")


@small
@given(random_graphs(), st.integers(0, 9), st.integers(1, 600))
def test_hits_go_on_in_smaller_groups_in_random_networks(graph, seed, numbers):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "TOGETHER", numbers)
        patch.setattr(groups, "FEWEST", 1)
        check_windows(signed(graph.build(), seed), picture_of(graph.size, seed=seed), "sum")


@small
@given(random_graphs(), st.integers(0, 9))
def test_gradient_is_autograds_in_random_networks(graph, seed):
    check_gradient(signed(graph.build(), seed), picture_of(graph.size, seed=seed))
