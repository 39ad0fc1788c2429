"""A scan equals brute force over all pictures, whatever the batches; how it reads ahead and tells how far it is."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from exact_scans import LAYERS, SIDE, files, hits, maps_of, network, pictures, scanning, shards_cut_short  # noqa: F401
from pixelward.core.fields import Box
from pixelward.data.tiles import cut, tile_boxes
from pixelward.fingerprint import fingerprint
from pixelward.incoming import ahead
from pixelward.scan import scan
from test_strongest import slow_apart, sorted_hits


@pytest.mark.parametrize(("number", "batch", "k"), [(23, 5, 9), (23, 32, 2), (3, 1, 9)])
def test_a_scan_equals_brute_force_over_all_pictures(tmp_path, short_shards, number, batch, k):
    net = network()
    folder = pictures(tmp_path / "photos", number)
    atlas = scan(net, folder, tmp_path / "atlas", layers=list(LAYERS), batch=batch, k=k)
    every = [maps_of(net, Image.open(file)) for file in sorted(folder.iterdir())]
    for layer in LAYERS:
        maps = {id: found[layer] for id, found in enumerate(every)}
        assert hits(atlas, layer) == sorted_hits(maps, k)
        peaks = np.stack([found[layer].max((1, 2)) for found in every])
        stats = atlas.stats(atlas.layer(layer))
        assert stats.seen == number
        np.testing.assert_array_equal(stats.positive, (peaks > 0).sum(0))
        np.testing.assert_array_equal(stats.maximum, peaks.max(0))
        np.testing.assert_array_equal(stats.histogram.sum(1), (peaks > 0).sum(0))


def test_default_layers_are_the_rectified_convolutions(tmp_path):
    atlas = scan(network(), pictures(tmp_path / "photos", 2), tmp_path / "atlas", model="tiny")
    assert [(each.number, each.address, each.map) for each in atlas.layers] == [
        (0, "conv1:relu", (10, 10)),
        (1, "conv2:relu", (5, 5)),
    ]
    assert (atlas.k, atlas.size, atlas.tiles) == (9, (SIDE, SIDE), None)
    assert atlas.network == {"model": "tiny", "sha256": fingerprint(network())}
    assert atlas.preprocess.to_dict() == network().preprocess


def test_batches_and_shards_change_no_byte_of_the_results(tmp_path, monkeypatch):
    folder = pictures(tmp_path / "photos", 11)
    found = []
    for batch, shard in ((32, 1024), (3, 1024), (4, 5), (1, 1)):
        monkeypatch.setattr(scanning, "SHARD", shard)
        atlas = scan(network(), folder, tmp_path / f"{batch}-{shard}", batch=batch)
        found.append({name: data for name, data in files(atlas.path).items() if name != "atlas.json"})
    assert found == [found[0]] * 4


def test_pictures_are_recorded_in_the_order_of_their_ids(tmp_path):
    pictures(tmp_path / "a", 2)
    pictures(tmp_path / "B", 1, side=40, seed=1)
    atlas = scan(network(), [tmp_path / "a", tmp_path / "B"], tmp_path / "atlas", labels="folders")
    rows = [atlas.picture(id) for id in range(3)]
    assert [(row.source, row.name, row.width, row.height, row.label) for row in rows] == [
        ("B", "000.png", 44, 40, "B"),
        ("a", "000.png", SIDE, SIDE, "a"),
        ("a", "001.png", SIDE, SIDE, "a"),
    ]
    assert atlas.sources == [{"name": name, "path": str(tmp_path / name)} for name in ("B", "a")]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_of_another_precision_gets_pictures_of_its_own(tmp_path, dtype):
    folder = pictures(tmp_path / "photos", 3)
    plain = scan(network(), folder, tmp_path / "plain")
    other = scan(network().to(dtype), folder, tmp_path / "other")
    assert hits(other, "conv1:relu") == hits(plain, "conv1:relu")


def test_a_network_of_one_channel_gets_grey(tmp_path):
    net = network("L")
    folder = pictures(tmp_path / "photos", 3)
    atlas = scan(net, folder, tmp_path / "atlas", layers=["conv1:relu"])
    every = [maps_of(net, Image.open(file)) for file in sorted(folder.iterdir())]
    assert hits(atlas, "conv1:relu") == sorted_hits({id: maps["conv1:relu"] for id, maps in enumerate(every)}, 9)


def test_the_network_is_left_as_it_was(tmp_path):
    net = network().requires_grad_(True)
    before = copy.deepcopy(net.state_dict())
    scan(net, pictures(tmp_path / "photos", 2), tmp_path / "atlas", device="cpu")
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])


# Tiles


@pytest.mark.parametrize("batch", [7, 64])
def test_tiles_of_a_photograph_are_chosen_together_as_a_slow_walk_does(tmp_path, short_shards, batch):
    net = network()
    folder = pictures(tmp_path / "photos", 4, side=26)
    Image.new("RGB", (SIDE - 1, 99)).save(folder / "000-thin.png")
    atlas = scan(net, folder, tmp_path / "atlas", layers=list(LAYERS), k=4, tiles=(SIDE, 6), batch=batch)
    names = sorted(file.name for file in folder.iterdir())
    photographs: list[list[tuple[int, Box, dict[str, np.ndarray]]]] = []
    id = 0
    for name in names:
        image, photographs = Image.open(folder / name), [*photographs, []]
        for tile in tile_boxes(*image.size, SIDE, 6):
            row = atlas.picture(id)
            assert (row.name, row.tile, row.scale) == (name, tile.box, tile.scale)
            photographs[-1].append((id, tile.box, maps_of(net, cut(image, tile, SIDE))))
            id += 1
        id += name == "000-thin.png"
    assert {tile.scale for tile in tile_boxes(30, 26, SIDE, 6)} > {1.0}
    assert atlas.tiles == (SIDE, 6)
    assert atlas.pictures_seen == id - 1
    for layer in LAYERS:
        only = [[(id, box, maps[layer]) for id, box, maps in tiles] for tiles in photographs if tiles]
        assert hits(atlas, layer) == slow_apart(only, atlas.layer(layer).field, SIDE, 4)


def test_a_photograph_smaller_than_a_tile_is_skipped(tmp_path):
    folder = pictures(tmp_path / "photos", 1)
    Image.new("RGB", (SIDE - 1, 99)).save(folder / "thin.png")
    atlas = scan(network(), folder, tmp_path / "atlas", tiles=(SIDE, 6))
    (row,) = atlas.skipped()
    assert (row.id, row.width, row.height) == (1, SIDE - 1, 99)
    assert row.reason == f"picture thin.png of {SIDE - 1} x 99 pixels, smaller than a tile of {SIDE}"


# Progress and reading ahead


def test_progress_counts_files_done_of_all(tmp_path, short_shards):
    told = []
    folder = pictures(tmp_path / "photos", 9)
    (folder / "008.png").write_bytes(b"broken")
    scan(network(), folder, tmp_path / "atlas", batch=3, report=lambda *each: told.append(each))
    assert [(done, total) for done, total, _ in told] == [(3, 9), (4, 9), (7, 9), (8, 9), (9, 9)]
    assert all(rate > 0 for *_, rate in told)


def test_reading_ahead_keeps_order_is_bounded_and_passes_errors_on():
    made = []

    def numbers():
        for number in range(50):
            made.append(number)
            yield number
        raise OSError("the end")

    threads, stream = threading.active_count(), ahead(numbers(), 4)
    seen = []
    for _ in range(50):
        seen.append(next(stream))
        assert len(made) <= len(seen) + 4
    assert seen == list(range(50))
    with pytest.raises(OSError, match="the end"):
        next(stream)
    stream = ahead(iter(range(9)), 3)
    assert next(stream) == 0
    stream.close()
    assert threading.active_count() == threads
