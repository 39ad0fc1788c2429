"""What a scan cannot use is left out with its reason, or refused in words and nothing written."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import nn

from exact_scans import SIDE, files, hits, network, pictures, shards_cut_short  # noqa: F401
from pixelward.errors import PixelwardError
from pixelward.projection import project
from pixelward.scan import scan

# Pictures


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


def test_a_picture_that_would_grow_too_large_is_skipped_with_its_reason(tmp_path):
    where, net = pictures(tmp_path / "photos", 3), network()
    width = 50_000_000 // SIDE**2 + 1
    long = where / "long.png"
    Image.new("RGB", (width, 1)).save(long)
    atlas = scan(net, where, tmp_path / "atlas", batch=2)
    (skipped,) = atlas.skipped()
    sides = f"whose shorter side becomes {SIDE} and whose longer {SIDE * width}"
    words = f"picture long.png of {width} x 1 pixels, {sides}"
    assert (atlas.pictures_seen, skipped.name, skipped.reason) == (3, "long.png", words)
    with pytest.raises(PixelwardError, match=f"{words} - allowed: up to 50,000,000 pixels after that"):
        project(net, long, layer="conv1:relu", channel=0)


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


# Arguments and networks


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
    torch.manual_seed(4)
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
