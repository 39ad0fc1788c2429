"""The loops of `scan` and `draw`, from the files to the sheets, give a GPU its work and wait at few named places.

Networks whose numbers cannot be read run in them (see `waits.py`). Where the loops do wait, which is for what they
save, draw, or look at in the first picture, stands a door that gives zeros and counts how often it was gone through.
"""

from __future__ import annotations

import copy
import sys
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pixelward as pw
from exact_scans import SIDE, network, pictures, scanning
from oracles import difference
from pixelward.core import activations, devices, edges, projector, readers
from pixelward.core.devices import Readings, look
from pixelward.core.layers import layers
from pixelward.core.projector import Chosen, Projector
from pixelward.core.recorder import Recorder
from pixelward.core.rules import DECONVNET
from pixelward.core.strongest import Strongest
from pixelward.data.images import Preprocess
from pixelward.data.sources import open_sources
from pixelward.draft import Draft
from pixelward.gallery import Gallery
from waits import WaitError, refused

drawing = sys.modules[pw.draw.__module__]
FILES, BATCH = 22, 2


@pytest.fixture
def atlas(tmp_path):
    return pw.scan(network(), pictures(tmp_path / "photos", FILES), tmp_path / "atlas")


@pytest.fixture
def doors(monkeypatch):
    """How often each was gone through."""
    count = Counter()

    def door(name, give):
        def gone_through(*given):
            count[name] += 1
            return give(*given)

        return gone_through

    def state(strongest):
        return {"value": torch.zeros(strongest.hits.value.shape)}

    def returning(tensor):
        return lambda: torch.zeros(tensor.shape, dtype=tensor.dtype)

    monkeypatch.setattr(scanning, "shows_the_same", door("the first picture", lambda *given: True))
    monkeypatch.setattr(Strongest, "state", door("saved", state))
    monkeypatch.setattr(Strongest, "refuse_broken", door("not finite", lambda strongest: None))
    monkeypatch.setattr(projector, "returning", door("came back", returning))
    monkeypatch.setattr(drawing, "refuse_other_value", lambda *given: None)  # on the processor, of what came back
    return count


def test_a_scan_waits_once_a_shard_for_what_it_saves(tmp_path, monkeypatch, doors):
    monkeypatch.setattr(scanning, "SHARD", 8)
    net, told = network(), []
    found = layers(net, size=(SIDE, SIDE))
    draft = Draft.begin(tmp_path / "atlas", {})
    run = scanning._Run(
        copy.deepcopy(net).to("meta"),
        found,
        draft,
        k=3,
        batch=BATCH,
        bound=0,
        tiles=None,
        tell=lambda *each: told.append(each),
    )
    files = scanning.files_of(open_sources(pictures(tmp_path / "photos", FILES)))
    with refused():
        run.over(files, Preprocess.from_dict(net.preprocess))
    assert told[-1][0] == run.strongest[0].seen == FILES
    assert doors == {"the first picture": 1, "saved": 3 * len(found), "not finite": 3 * len(found)}


def test_a_drawing_waits_for_signals_and_for_values_of_the_first_picture(atlas, doors, monkeypatch):
    net, by_picture = network().to("meta"), drawing._hits_by_picture(atlas, atlas.layers)
    gallery, done, sent = Gallery(atlas, None), [], []
    monkeypatch.setattr(projector, "_sent", lambda *given, real=projector._sent: sent.append(given) or real(*given))
    with refused():
        drawing._draw_group(
            atlas,
            net,
            atlas.layers,
            by_picture,
            set(),
            gallery,
            DECONVNET,
            drawing._Room(None, BATCH),
            done.append,
        )
    assert sum(done) == len(by_picture) > 4 * BATCH
    assert len(sent) > 8
    assert doors == {"came back": len(sent) + len(atlas.layers)}


# Numbers that a network learnt, and that tell what its operations are.


class Learnt(nn.Module):
    """Leaky rectifiers and a swish, spelled with numbers of its own."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.slope, self.times = (nn.Parameter(torch.tensor(number)) for number in (0.1, 1.7))
        self.scales = nn.Parameter(torch.rand(4))

    def forward(self, maps):
        maps = self.conv(maps)
        maps = F.max_pool2d(torch.maximum(maps, self.slope * maps), 2)
        maps = F.max_pool2d(torch.maximum(maps, self.scales.view(-1, 1, 1) * maps), 2)
        maps = (self.times * maps) * torch.sigmoid(maps)
        return F.max_pool2d(maps, 2)


def test_learnt_numbers_are_read_once_and_not_of_every_batch(monkeypatch):
    read = []
    monkeypatch.setattr(activations, "_is_nowhere_negative", lambda share: read.append(share.shape) or True)
    monkeypatch.setattr(edges, "float", lambda number: read.append(number.shape) or 2.0, raising=False)
    net = Learnt().eval().to("meta")
    recorder = Recorder(net, [""], DECONVNET, torch.empty(1, 3, 32, 32, device="meta"))
    first = sorted(read)
    assert first == [(), (), (4, 1, 1)]
    for _ in range(2):
        plan = recorder.plan(torch.empty(4, 3, 32, 32, device="meta"))
        assert plan.pictures == 4
    assert sorted(read) == first
    with torch.no_grad():
        net.slope += 1
    recorder.plan(torch.empty(4, 3, 32, 32, device="meta"))
    assert len(read) == len(first) + 1


def test_learnt_numbers_give_the_same_where_they_are_not_read(monkeypatch):
    torch.manual_seed(0)
    net, batch = Learnt().eval(), torch.randn(3, 3, 32, 32)
    numbers = torch.arange(6)
    chosen = Chosen(numbers % 4, torch.stack([numbers % 2, numbers % 3], 1), numbers // 2, torch.ones(6))
    found = []
    for near in (True, False):
        monkeypatch.setattr(readers, "is_near", lambda device, near=near: near)
        found.append(torch.cat([sent.signals for sent in Projector(net, [""]).project(batch, {"": chosen})]))
    assert found[0].any()
    assert difference(*found) < 1e-6


def test_only_what_stays_is_kept_of_what_was_read(monkeypatch):
    monkeypatch.setattr(devices, "is_near", lambda device: False)
    net = nn.Linear(2, 2)
    readings = Readings(net)
    with readings.used(), torch.no_grad():
        assert look(torch.numel, net.weight) == 4
        assert look(float, net.bias[0]) == float(net.bias[0])
        net.bias.fill_(5)
        assert look(float, net.bias[0]) == 5
        for number in (1.0, 2.0):  # neither is the network's, and the second may lie where the first lay
            assert look(float, torch.tensor(number)) == number
        net.bias.data = torch.tensor([7.0, 7.0])
        assert look(float, net.bias[0]) == 7


# What the check itself notices


def test_copies_that_wait_are_noticed():
    far, near = torch.empty(3, device="meta"), torch.arange(3)
    with refused():
        assert devices.moved(near, far.device).is_meta
        assert (far * torch.tensor(2.0)).is_meta  # goes with the command
        for waits in (
            lambda: near.to("meta"),
            lambda: far.copy_(near),
            lambda: far[near],
            lambda: torch.tensor(1.0, device="meta"),
            lambda: far.new_tensor([1.0]),
        ):
            with pytest.raises(WaitError):
                waits()
        for reads in (lambda: float(far.sum()), lambda: far.nonzero(), lambda: far[far > 0], far.cpu, far.tolist):
            with pytest.raises((NotImplementedError, RuntimeError)):
                reads()
