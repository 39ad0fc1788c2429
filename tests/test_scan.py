"""A scan equals brute force over all pictures, goes on with the same bytes, and tells what is wrong."""

from __future__ import annotations

import copy
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pixelward.atlas import Atlas
from pixelward.core.fields import Box
from pixelward.data.images import Preprocess, to_tensor
from pixelward.data.sources import Source
from pixelward.data.tiles import cut, tile_boxes
from pixelward.draft import Draft
from pixelward.errors import PixelwardError
from pixelward.scan import ahead, fingerprint, scan
from test_strongest import slow_apart, sorted_hits

scanning = sys.modules[scan.__module__]  # `pixelward.scan` is the function
SIDE = 12
LAYERS = {"conv1:relu": 2, "conv2:relu": 5, "fc": 7}  # and after how many modules of the network each stands


def network(channels: str = "RGB", first: nn.Module | None = None) -> nn.Sequential:
    """A small network of small whole numbers: its results are exact, whatever the batch."""
    depth = 1 if channels == "L" else 3
    net = nn.Sequential()
    if first is not None:
        net.first = first
    net.conv1, net.relu1, net.pool1 = nn.Conv2d(depth, 4, 3), nn.ReLU(), nn.MaxPool2d(2)
    net.conv2, net.relu2 = nn.Conv2d(4, 5, 3, padding=1), nn.ReLU()
    net.flat, net.fc = nn.Flatten(), nn.Linear(125, 6)
    generator = torch.Generator().manual_seed(3)
    for parameter in net.parameters():
        parameter.data = torch.randint(-1, 2, parameter.shape, generator=generator).float()
    zeros, ones = (0.0,) * depth, (1.0,) * depth
    net.preprocess = Preprocess(channels, 255.0, zeros, ones, SIDE, SIDE).to_dict()
    return net.eval()


def pictures(folder: Path, number: int, *, side: int = SIDE, seed: int = 0) -> Path:
    """Pictures of few colours, among them equal ones, so that there are ties."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for name in range(number):
        pixels = rng.integers(0, 3, (side, side + 4 * (side > SIDE), 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name:03d}.png")
        if name % 4 == 3:
            (folder / f"{name:03d}.png").write_bytes((folder / f"{name - 1:03d}.png").read_bytes())
    return folder


def maps_of(net: nn.Sequential, image: Image.Image) -> dict[str, np.ndarray]:
    """The layers' activations on one picture by itself, without anything of the scan."""
    with torch.no_grad():
        pixels = to_tensor(image, Preprocess.from_dict(net.preprocess)).unsqueeze(0)
        found = {name: net[:depth](pixels)[0].numpy() for name, depth in LAYERS.items()}
    found["fc"] = found["fc"][:, None, None]
    return found


def hits(atlas: Atlas, layer: str) -> list[list[tuple[float, int, int, int]]]:
    view = atlas[layer]
    return [[(hit.value, hit.picture, *(hit.position or (0, 0))) for hit in view[c].hits] for c in range(len(view))]


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture
def short_shards(monkeypatch):
    monkeypatch.setattr(scanning, "SHARD", 4)
    monkeypatch.setattr(scanning, "SHARD_OF_PHOTOGRAPHS", 2)


def interrupted(monkeypatch, after: int) -> None:
    """Let the network's `after + 1`-th batch fail, once."""
    real, calls = scanning.observe, []

    def observe(*arguments):
        calls.append(None)
        if len(calls) == after + 1:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(scanning, "observe", observe)


def interrupted_when_saved(monkeypatch, shards: int) -> list[set[str]]:
    """Let a scan end with its `shards`-th shard. Returns what fills with the names of each shard's pictures."""
    save, saved = Draft.save, []

    def save_and_stop(draft, arrays, rows):
        save(draft, arrays, rows)
        saved.append({row.name for row in rows})
        if len(saved) == shards:
            raise KeyboardInterrupt

    monkeypatch.setattr(Draft, "save", save_and_stop)
    return saved


# The result


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


# Going on


@pytest.mark.parametrize(("tiles", "batches"), [(None, (3, 0)), ((SIDE, 6), (20, 12))])
def test_an_interrupted_scan_goes_on_and_gives_the_same_bytes(tmp_path, short_shards, monkeypatch, tiles, batches):
    net = network()
    folder = pictures(tmp_path / "photos", 11, side=20)
    (folder / "005.png").write_bytes(b"broken")
    whole = scan(net, folder, tmp_path / "whole", tiles=tiles, batch=3)
    for after in batches:
        with monkeypatch.context() as patch:
            interrupted(patch, after)
            with pytest.raises(KeyboardInterrupt):
                scan(net, folder, tmp_path / "parts", tiles=tiles, batch=3)
    with pytest.raises(PixelwardError, match=r"not finished .* same scan command again"):
        Atlas.open(tmp_path / "parts")
    done = []
    scan(net, folder, tmp_path / "parts", tiles=tiles, batch=3, report=lambda *told: done.append(told[0]))
    assert done[0] > 3  # what was finished was not done again
    assert files(tmp_path / "parts") == files(whole.path)


@pytest.mark.parametrize(("tiles", "number"), [(None, 300), ((SIDE, 6), 4)])
def test_an_interruption_after_the_second_shard_loses_nothing_that_was_finished(tmp_path, monkeypatch, tiles, number):
    """With shards as long as they are: 128 pictures, or one photograph."""
    net = network()
    folder = pictures(tmp_path / "photos", number, side=20 if tiles else SIDE)
    whole = scan(net, folder, tmp_path / "whole", tiles=tiles)
    with monkeypatch.context() as patch:
        saved = interrupted_when_saved(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            scan(net, folder, tmp_path / "parts", tiles=tiles)
    assert [len(names) for names in saved] == ([1, 1] if tiles else [128, 128])
    # One state, and the rows of the finished shards: nothing else is kept.
    assert sorted(file.name for file in (tmp_path / "parts" / "parts").iterdir()) == [
        "000000.pictures.jsonl",
        "000001.pictures.jsonl",
        "000001.safetensors",
        "plan.json",
    ]
    read = []
    patched = Source.read
    monkeypatch.setattr(Source, "read", lambda source, name: read.append(name) or patched(source, name))
    scan(net, folder, tmp_path / "parts", tiles=tiles)
    assert read == sorted(file.name for file in folder.iterdir() if file.name not in saved[0] | saved[1])
    assert files(tmp_path / "parts") == files(whole.path)


@pytest.mark.parametrize("tiles", [None, (SIDE, 6)])
def test_a_scan_goes_on_after_what_is_finished_though_shards_have_another_length_now(tmp_path, monkeypatch, tiles):
    folder = pictures(tmp_path / "photos", 6, side=20)
    whole = scan(network(), folder, tmp_path / "whole", tiles=tiles)
    with monkeypatch.context() as patch:
        patch.setattr(scanning, "SHARD", 4)
        patch.setattr(scanning, "SHARD_OF_PHOTOGRAPHS", 4)
        interrupted_when_saved(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            scan(network(), folder, tmp_path / "parts", tiles=tiles)
    scan(network(), folder, tmp_path / "parts", tiles=tiles)
    found, expected = files(tmp_path / "parts"), files(whole.path)
    assert {**found, "atlas.json": b""} == {**expected, "atlas.json": b""}


def test_the_same_command_on_a_finished_atlas_says_that_all_is_done(tmp_path, monkeypatch):
    folder = pictures(tmp_path / "photos", 3)
    before = files(scan(network(), folder, tmp_path / "atlas").path)
    monkeypatch.setattr(scanning, "observe", None)
    told = []
    again = scan(network(), folder, tmp_path / "atlas", report=lambda *each: told.append(each))
    assert told == [(3, 3, 0.0)]
    assert files(again.path) == before


def test_the_same_command_twice_gives_the_same_bytes(tmp_path):
    folder = pictures(tmp_path / "photos", 5)
    one, other = (scan(network(), folder, tmp_path / name).path for name in ("one", "other"))
    assert files(one) == files(other)


def test_an_interruption_before_the_first_shard_leaves_nothing(tmp_path, monkeypatch):
    folder = pictures(tmp_path / "photos", 3)
    interrupted(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        scan(network(), folder, tmp_path / "atlas")
    assert not (tmp_path / "atlas").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": 3}, "k differ"),
        ({"layers": ["fc"]}, "layers differ"),
        ({"tiles": (SIDE, 6)}, "tiles differ"),
        ({"labels": "folders"}, "pictures differ"),
        ({"name": "other"}, "pictures differ"),
    ],
)
def test_another_scan_into_the_same_folder_is_refused(tmp_path, change, words):
    folder = pictures(tmp_path / "photos", 2)
    before = files(scan(network(), folder, tmp_path / "atlas").path)
    with pytest.raises(PixelwardError, match=rf"finished atlas of another scan \({words}\) .* another folder with -o"):
        scan(network(), folder, tmp_path / "atlas", **change)
    assert files(tmp_path / "atlas") == before


def test_changed_pictures_and_another_network_are_another_scan(tmp_path):
    folder = pictures(tmp_path / "photos", 2)
    scan(network(), folder, tmp_path / "atlas")
    net = network()
    net.conv1.bias.data[0] += 1
    with pytest.raises(PixelwardError, match="network differ"):
        scan(net, folder, tmp_path / "atlas")
    (folder / "000.png").rename(folder / "new.png")
    with pytest.raises(PixelwardError, match="pictures differ"):
        scan(network(), folder, tmp_path / "atlas")


# What cannot be used


def test_a_broken_picture_is_recorded_with_its_reason_and_the_scan_goes_on(tmp_path):
    folder = pictures(tmp_path / "photos", 6)
    broken = (folder / "002.png").read_bytes()[:60]
    (folder / "002.png").write_bytes(broken)
    (folder / "004.png").write_bytes(b"no picture")
    atlas = scan(network(), folder, tmp_path / "atlas", batch=2)
    assert (atlas.pictures_seen, atlas.pictures_skipped) == (4, 2)
    rows = list(atlas.skipped())
    assert [(row.id, row.name, row.state, row.width) for row in rows] == [
        (2, "002.png", "skipped", None),
        (4, "004.png", "skipped", None),
    ]
    assert all(row.name in row.reason and "cannot be read" in row.reason for row in rows)
    assert not {2, 4} & {hit[1] for unit in hits(atlas, "conv1:relu") for hit in unit}
    assert {hit[1] for unit in hits(atlas, "conv1:relu") for hit in unit} == {0, 1, 3, 5}


@pytest.mark.parametrize("existed", [False, True])
def test_a_scan_in_which_every_picture_is_skipped_is_an_error_and_leaves_nothing(tmp_path, existed):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"no picture")
    if existed:
        (tmp_path / "atlas").mkdir()
    with pytest.raises(PixelwardError, match=r"2 pictures, of which none can be used \(picture a\.png, which cannot"):
        scan(network(), folder, tmp_path / "atlas")
    assert files(tmp_path / "atlas") == {}
    assert (tmp_path / "atlas").exists() == existed


class Normalise(nn.Module):
    """Divides by the picture's own maximum, which fails on a black one."""

    def forward(self, x):
        return x / x.amax((1, 2, 3), keepdim=True)


@pytest.mark.parametrize(
    ("tiles", "words"),
    [
        (None, r"layer conv1:relu on picture 6, photos/006\.png - allowed: .* finished shards are kept"),
        ((SIDE, SIDE), r"layer conv1:relu on picture 6, photos/006\.png, tile \(0, 0, 12, 12\) - allowed"),
    ],
)
def test_nan_is_an_error_that_names_layer_and_picture_and_keeps_what_is_done(tmp_path, short_shards, tiles, words):
    net = network(first=Normalise())
    folder = pictures(tmp_path / "photos", 9)
    good = (folder / "006.png").read_bytes()
    Image.new("RGB", (SIDE, SIDE)).save(folder / "006.png")
    with pytest.raises(PixelwardError, match=f"NaN or infinity in {words}"):
        scan(net, folder, tmp_path / "atlas", batch=3, tiles=tiles)
    (folder / "006.png").write_bytes(good)
    done = []
    atlas = scan(net, folder, tmp_path / "atlas", batch=3, tiles=tiles, report=lambda *told: done.append(told[0]))
    assert done[0] > 4
    assert atlas.pictures_seen == 9


# Refusals


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": 0}, "k 0 - allowed: 1 or more"),
        ({"batch": 0}, "batch 0 - allowed: 1 or more"),
        ({"tiles": (0, 6)}, "tiles of 0 pixels"),
        ({"tiles": (SIDE, 99)}, "tiles of 12 pixels"),
        ({"layers": ["conv7"]}, "layer 'conv7' .* next step: list the layers"),
        ({"layers": []}, "without a layer .* next step: name the layers with --layers"),
        ({"name": ""}, "--name"),
    ],
)
def test_bad_input_is_refused_and_nothing_written(tmp_path, change, words):
    folder = pictures(tmp_path / "photos", 1)
    with pytest.raises(PixelwardError, match=words):
        scan(network(), folder, tmp_path / "atlas", **change)
    assert not (tmp_path / "atlas").exists()


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (nn.Dropout(0.5), "Dropout"),
        (nn.Dropout2d(0.1), "Dropout2d"),
        (nn.AlphaDropout(0.1), "AlphaDropout"),
        (nn.RReLU(), "RReLU"),
        (nn.BatchNorm2d(3), "BatchNorm2d"),
        (nn.InstanceNorm2d(3, track_running_stats=True), "InstanceNorm2d"),
    ],
)
def test_a_network_in_training_mode_is_refused_and_nothing_written(tmp_path, module, kind):
    net = network(first=module)
    folder = pictures(tmp_path / "photos", 2)
    net.first.train()
    net.last = nn.Dropout().train()  # the first one is named
    words = (
        rf"given: a network whose module first \({kind}\) is in training mode - "
        r"allowed: networks in evaluation mode, .* - next step: call net\.eval\(\)$"
    )
    for given in (net, nn.DataParallel(net)):
        with pytest.raises(PixelwardError, match=words):
            scan(given, folder, tmp_path / "atlas")
    assert not (tmp_path / "atlas").exists()
    assert module.training
    assert scan(net.eval(), folder, tmp_path / "atlas").pictures_seen == 2


@pytest.mark.parametrize("module", [nn.Dropout(0.0), nn.InstanceNorm2d(3), nn.RReLU(0.1, 0.1), nn.ReLU()])
def test_training_mode_that_changes_nothing_is_no_matter(tmp_path, module):
    folder = pictures(tmp_path / "photos", 3)
    found = [
        scan(network(first=module).train(mode), folder, tmp_path / str(mode), layers=["conv1:relu"])
        for mode in (False, True)
    ]
    assert hits(found[0], "conv1:relu") == hits(found[1], "conv1:relu")


class Exponential(nn.Module):
    def forward(self, x):
        return torch.exp(x)


def with_an_obstacle(first=None):
    net = nn.Sequential(
        first or nn.Identity(), nn.Conv2d(3, 4, 3), Exponential(), nn.Conv2d(4, 2, 3), nn.Conv2d(2, 2, 1)
    )
    net.preprocess = network().preprocess
    return net.eval()


def test_layers_that_cannot_be_projected_are_left_out_in_one_line_unless_they_are_named(tmp_path):
    folder, told = pictures(tmp_path / "photos", 3), []
    net = with_an_obstacle()
    left = scan(net, folder, tmp_path / "left", note=told.append)
    assert [record.address for record in left.layers] == ["1"]
    assert told == [
        "2 of 3 layers left out, 3 and 4, the first because of exp in '2', which the signal has to cross; "
        "name layers with --layers to scan them although they cannot be projected"
    ]
    told.clear()
    named = scan(net, folder, tmp_path / "named", layers=["1", "3"], note=told.append)
    assert [record.address for record in named.layers] == ["1", "3"]
    assert hits(named, "1") == hits(left, "1")
    assert named["3"][0].hits
    assert told == []


def test_a_scan_of_which_no_layer_can_be_projected_is_refused_before_any_work(tmp_path):
    folder = pictures(tmp_path / "photos", 1)
    words = (
        r"given: a network none of whose 3 layers can be projected: exp in '0', which the signal has to cross - .*"
        r"`pixelward check MODEL`, or name layers with --layers"
    )
    with pytest.raises(PixelwardError, match=words):
        scan(with_an_obstacle(Exponential()), folder, tmp_path / "atlas")
    assert not (tmp_path / "atlas").exists()


def test_a_network_without_convolutions_needs_its_layers_named(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4))
    net.preprocess = network().preprocess
    folder = pictures(tmp_path / "photos", 1)
    with pytest.raises(PixelwardError, match=r"without a layer .* next step: name the layers with --layers"):
        scan(net, folder, tmp_path / "atlas")
    assert scan(net, folder, tmp_path / "atlas", layers=["1"])["1"].record.map == ()


def test_a_folder_with_other_files_and_no_pictures_are_refused(tmp_path):
    folder = pictures(tmp_path / "photos", 1)
    with pytest.raises(PixelwardError, match=r"holds other files \(000\.png\)"):
        scan(network(), folder, folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PixelwardError, match="empty"):
        scan(network(), tmp_path / "empty", tmp_path / "atlas")
    assert not (tmp_path / "atlas").exists()


# Progress, reading ahead, identity


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


def test_a_network_is_known_by_names_shapes_and_bytes():
    net = network()
    assert fingerprint(net) == fingerprint(copy.deepcopy(net)) == fingerprint(nn.DataParallel(net))
    renamed = nn.Sequential(*net)
    moved = copy.deepcopy(net)
    moved.conv1.weight.data = moved.conv1.weight.data.reshape(4, 3, 9, 1)
    changed = copy.deepcopy(net)
    changed.fc.bias.data[3] += 1
    assert len({fingerprint(each) for each in (net, renamed, moved, changed, network("L"))}) == 5
