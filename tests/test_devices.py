"""Passes over pictures and ways down give a GPU their work without looking at a number of it.

No GPU is at hand where these run. Tensors on torch's `meta` device have no numbers: what looks at one fails, and so
does what would have to know one to go on, and copies that wait (`waits.py`).
"""

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import nn

from pixelward.core import passage
from pixelward.core.descent import Descent
from pixelward.core.devices import is_near, moved, returning
from pixelward.core.layers import layers, observe
from pixelward.core.projector import Chosen, Projector
from pixelward.core.recorder import Recorder
from pixelward.core.rules import DECONVNET
from pixelward.core.strongest import Strongest
from random_graphs import random_graphs
from waits import refused

PICTURES = 4


def on_meta(net):
    return copy.deepcopy(net).to("meta")


def pictures_of(shape):
    return torch.empty(PICTURES, *shape, device="meta")


def scanned(net, shape):
    """One batch of a scan, and the addresses of its layers."""
    found = layers(net, size=tuple(shape[1:]), channels=shape[0])
    strongest = [Strongest(layer.channels, 3, "meta") for layer in found]
    ids = torch.arange(PICTURES, device="meta")

    def visit(number, maps):
        strongest[number].update(maps, ids)

    pictures, net = pictures_of(shape), on_meta(net)
    with refused():
        observe(net, pictures, found, visit, quick=True)
    assert all(each.seen == PICTURES for each in strongest)
    return [layer.address for layer in found if layer.refusal is None]


def drawn(net, shape, addresses):
    """One batch of a drawing: signals of two hits of each layer."""
    meta = on_meta(net)
    recorder = Recorder(meta, addresses, DECONVNET, pictures_of(shape)[:1])
    if recorder.needs_all:
        return {}
    with refused():
        plan = recorder.plan(pictures_of(shape))
        zeros, found = torch.zeros(2, dtype=torch.int64), {}
        for address in addresses:
            descent = Descent(plan, recorder.targets[address])
            places = torch.zeros(2, 2, dtype=torch.int64)
            found[address], boxes = descent.project(plan, zeros, places, zeros, torch.ones(2))
            assert len(boxes) == 2
    return found


def network():
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.LocalResponseNorm(3), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
    ).eval()


def test_a_scan_and_a_drawing_look_at_nothing():
    addresses = scanned(network(), (3, 16, 16))
    assert addresses == ["0:relu", "5:relu"]
    found = drawn(network(), (3, 16, 16), addresses)
    assert [tuple(signals.shape) for signals in found.values()] == [(2, 3, 3, 3), (2, 3, 9, 9)]


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(random_graphs(exact=True))
def test_nor_do_those_of_random_networks(case):
    shape = (2, *case.size)
    net = case.build().eval()
    drawn(net, shape, scanned(net, shape))


def test_what_looks_at_a_number_would_fail_there():
    class Looks(nn.Module):
        def forward(self, maps):
            return maps if float(maps.detach().sum()) > 0 else maps + 0

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    found = layers(net, size=(8, 8))
    with pytest.raises(Exception, match=r"[Mm]eta"):
        observe(on_meta(nn.Sequential(*net, Looks())), pictures_of((3, 8, 8)), found[:0], lambda number, maps: None)


# What is done otherwise where looking takes time gives the same.


@pytest.mark.parametrize("expanded", [False, True])
def test_buffers_are_put_back_unlooked_at(monkeypatch, expanded):
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("number", torch.zeros(1).expand(3) if expanded else torch.zeros(3))
            self.register_buffer("still", torch.tensor([float("nan"), 2.0]))

        def forward(self, maps):
            if not expanded:
                self.number += 1
            return maps

    monkeypatch.setattr(passage, "is_near", lambda device: False)
    net = nn.Sequential(Counts(), nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    number, still, versions = net[0].number, net[0].still, net[0].still._version
    observe(net, torch.randn(1, 3, 8, 8), layers(net, size=(8, 8)), lambda number, maps: None)
    assert net[0].number is number
    assert number.tolist() == [0, 0, 0]
    assert str(still.tolist()) == "[nan, 2.0]"
    assert still._version == versions  # for autograd nothing has changed


@pytest.mark.parametrize("near", [True, False])
def test_buffers_that_were_made_under_inference_mode_are_put_back(monkeypatch, near):
    """torch refuses to write them in place; by their `data` a network can, and so what was there has to come back."""

    class Counts(nn.Module):
        def forward(self, maps):
            self.number.data += 1
            return maps

    monkeypatch.setattr(passage, "is_near", lambda device: near)
    net = nn.Sequential(Counts(), nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    with torch.inference_mode():
        net[0].register_buffer("number", torch.zeros(2))
        net[0].register_buffer("still", torch.tensor([float("nan"), 2.0]))
    number, still = net[0].number, net[0].still
    assert number.is_inference()
    observe(net, torch.randn(1, 3, 8, 8), layers(net, size=(8, 8)), lambda number, maps: None)
    assert (net[0].number is number, net[0].still is still) == (True, True)
    assert number.tolist() == [0, 0]
    assert str(still.tolist()) == "[nan, 2.0]"


def test_signals_that_come_one_batch_later_are_the_same(monkeypatch):
    torch.manual_seed(0)
    net, pictures = network().double(), torch.randn(3, 3, 16, 16, dtype=torch.float64)
    number = 300  # several batches
    chosen = Chosen(
        torch.randint(6, (number,)), torch.randint(4, (number, 2)), torch.randint(3, (number,)), torch.rand(number)
    )
    hits = {"0:relu": chosen, "5:relu": chosen.part(slice(0, 40))}
    near = list(Projector(net, list(hits), DECONVNET).project(pictures, hits))
    monkeypatch.setattr("pixelward.core.projector.is_near", lambda device: False)
    monkeypatch.setattr("pixelward.core.windows.is_near", lambda device: False)
    far = list(Projector(net, list(hits), DECONVNET).project(pictures, hits))
    assert len(near) == len(far) > 3
    for one, other in zip(near, far, strict=True):
        assert one.address == other.address
        assert torch.equal(one.rows, other.rows)
        assert torch.equal(one.signals, other.signals)
        assert one.boxes == other.boxes


def test_tensors_on_their_way_arrive_as_they_were():
    given = torch.arange(6).view(2, 3)
    assert is_near(given.device)
    assert not is_near(torch.device("cuda"))
    assert torch.equal(returning(given)(), given)
    assert moved(given, torch.device("cpu"), torch.float64).dtype == torch.float64
    assert moved(given, torch.device("meta")).dtype == torch.int64
