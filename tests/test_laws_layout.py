"""How pictures lie in memory changes nothing that is found: a scan turns them where the network shows the same then."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import pixelward as pw
from exact_scans import LAYERS, hits, interrupted_when_saved, maps_of, network, pictures
from pixelward.core import memory
from pixelward.core.layers import layers
from pixelward.core.layout import laid_out
from pixelward.core.plan import Geometry
from pixelward.core.unpooling import _place_by_place, added
from pixelward.data.images import Preprocess
from pixelward.scan import scan
from test_strongest import sorted_hits

scanning = sys.modules[scan.__module__]


class ReadsAsItLies(nn.Module):
    """Numbers in the order of memory: the same maps, where they lie one channel after the other; else others."""

    def forward(self, maps):
        return maps.as_strided(maps.shape, torch.empty(maps.shape).stride())


class Views(nn.Module):
    """Fails, where maps do not lie one channel after the other."""

    def forward(self, maps):
        return maps.view(len(maps), -1).view(maps.shape)


def lying(net):
    """Fills with how the pictures of each batch lie that the network gets: True with their channels last."""
    last = []

    def see(module, given):
        maps = given[0]
        last.append(maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous())

    net.register_forward_pre_hook(see)
    return last


@pytest.mark.parametrize("odd", [None, Views, ReadsAsItLies])
def test_a_scan_turns_pictures_where_it_may_and_finds_the_same(tmp_path, odd):
    """Whole numbers in float32, of few colours: equal values tie, and hits are exact whichever way maps lie."""
    net, folder = network(first=odd() if odd else None), pictures(tmp_path / "photos", 11)
    every = [maps_of(network(), Image.open(file)) for file in sorted(folder.iterdir())]
    last = lying(net)
    atlas = scan(net, folder, tmp_path / "atlas", layers=list(LAYERS), batch=4)
    assert last[-3:] == [odd is None] * 3
    for layer in LAYERS:
        maps = {id: found[layer] for id, found in enumerate(every)}
        assert hits(atlas, layer) == sorted_hits(maps, 9)


@pytest.mark.parametrize(("asked", "taken"), [(8, 4), (2, 2), (None, 4)])
def test_a_scan_that_goes_on_takes_batches_and_turns_pictures_as_it_began(tmp_path, monkeypatch, asked, taken):
    """Both round in their own way. A smaller batch is taken all the same: memory may have been too small."""
    net, folder = network(), pictures(tmp_path / "photos", 9)
    monkeypatch.setattr(scanning, "SHARD", 4)
    with monkeypatch.context() as patch:
        interrupted_when_saved(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            scan(net, folder, tmp_path / "atlas", batch=4)
    monkeypatch.setattr(scanning, "shows_the_same", None)  # it would be an error to ask
    last, sizes = lying(net), []
    net.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    scan(net, folder, tmp_path / "atlas", batch=asked)
    assert set(last[-2:]) == {True}
    assert set(sizes[-2:]) == {taken}


def test_where_nobody_asks_for_a_batch_it_suits_the_device(tmp_path):
    net, folder = network(), pictures(tmp_path / "photos", 17)
    sizes = []
    net.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    scan(net, folder, tmp_path / "atlas")
    assert sizes[-2:] == [16, 16]
    assert scanning.quickest_batch(net.to("meta")) == 32


def test_as_many_pictures_run_up_at_once_as_keep_a_map_in_a_block():
    cpu = torch.device("cpu")
    assert [memory.in_a_block(one, 64, cpu) for one in (1, memory.BLOCK // 7, memory.BLOCK, 2 * memory.BLOCK)] == [
        64,
        7,
        1,
        1,
    ]
    assert memory.in_a_block(memory.BLOCK, 64, torch.device("cuda")) == 64


def test_a_bound_on_memory_counts_the_maps_of_all_layers_that_are_compared(tmp_path, monkeypatch):
    """Comparing two ways of a picture holds all layers at once; a pass holds two."""
    many = [module for _ in range(12) for module in (nn.Conv2d(4, 4, 1), nn.Identity())]
    net, side = nn.Sequential(nn.Conv2d(3, 4, 1), *many).eval(), 128
    net.preprocess = Preprocess("RGB", 255.0, (0.0,) * 3, (1.0,) * 3, side, side).to_dict()
    picture = torch.zeros(1, 3, side, side)
    found = layers(net, size=(side, side))
    passed = memory.taken(lambda: scanning.observe(net, picture, found, lambda number, maps: None), picture.device)
    held = memory.taken(lambda: scanning.shows_the_same(net, picture, laid_out(picture), found), picture.device)
    assert held > 2 * passed
    monkeypatch.setattr(memory, "in_use", lambda device: 0)
    folder = pictures(tmp_path / "photos", 1, side=side)
    with pytest.raises(pw.PixelwardError, match="for a picture takes"):
        scan(net, folder, tmp_path / "atlas", memory=int((held + passed) / 2 / memory.SHARE))


def test_a_rule_that_changes_its_signal_in_place_changes_no_other_branch():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            y = self.first(x)
            return self.last(torch.exp(y) + y + torch.exp(2 * y))

    def doubled(signal, step):
        return [2 * signal]

    def doubled_in_place(signal, step):
        return [signal.mul_(2)]

    net, picture = Branches().double().eval(), torch.rand(1, 3, 6, 6, dtype=torch.float64)
    found = [
        pw.project(net, picture[0], layer="last", channel=0, rules={**pw.DECONVNET, torch.exp: rule}).signal
        for rule in (doubled, doubled_in_place)
    ]
    assert found[0].any()
    assert torch.equal(*found)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_the_way_of_a_gpu_to_unpool_adds_the_same(stride, dilation):
    """Whole numbers, so that no order of additions rounds."""
    generator = torch.Generator().manual_seed(0)
    geometry = Geometry((3, 2), (stride, stride), (0, 0), (dilation, dilation))
    signal = torch.randint(-9, 10, (3, 5, 4, 6), generator=generator).double()
    places = torch.randint(0, 6, signal.shape, generator=generator)
    assert torch.equal(_place_by_place(signal, places, geometry, keep_larger=False), added(signal, places, geometry))


class Unpooling(nn.Module):
    def forward(self, maps):
        pooled, places = F.max_pool2d(maps, 2, return_indices=True)
        return F.max_unpool2d(pooled, places, 2)


@pytest.mark.parametrize(
    ("middle", "rules"),
    [
        *((Unpooling(), rules) for rules in ("deconvnet", "guided", "gradient")),
        *((nn.GroupNorm(2, 4), rules) for rules in ("guided", "gradient")),
    ],
)
def test_many_hits_go_through_nodes_that_look_how_their_tensors_lie(middle, rules):
    """Of a network whose weights have their channels last; torch does not tell that inside of vmap."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), middle, nn.Conv2d(4, 5, 3)).double().eval()
    net.to(memory_format=torch.channels_last)
    picture, places = torch.randn(3, 10, 10, dtype=torch.float64), [(0, 0), (2, 3), (5, 5)]
    many = pw.project(net, picture, layer="2", channel=[4, 0, 2], position=places, rules=rules)
    for found, channel, place in zip(many, (4, 0, 2), places, strict=True):
        one = pw.project(net, picture, layer="2", channel=channel, position=place, rules=rules)
        assert one.signal.any()
        assert (found.signal - one.signal).abs().max() <= 1e-12 * one.signal.abs().max()
