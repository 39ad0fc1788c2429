"""Memory does not grow with the number of pictures: peaks of whole processes, as the operating system tells them."""

import json
import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import pixelward as pw
from fake_atlas import fake_atlas
from oracles import difference
from pixelward import waiting
from pixelward.core import memory, sparse
from pixelward.core.projector import PICTURES, Chosen, Projector
from pixelward.words import amount, bytes_of, enough

FEW, MANY = 1_000, 10_000
# KiB that a picture more may take: its name in a list; drawing, also what is known of one that holds hits.
A_PICTURE = {"scan": 0.5, "draw": 1.4}
# Else the C library keeps holes between large blocks, other ones in every run.
GIVEN_BACK = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
PROGRAM = """
import json, sys
from pathlib import Path
import torch
from torch import nn
import pixelward as pw

def peak():
    # Of this program alone: ru_maxrss is handed on from the process that started it.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

torch.manual_seed(0)
torch.set_num_threads(1)
net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU()).eval()
net.preprocess = dict(channels="RGB", range=1.0, mean=[0.5] * 3, std=[0.5] * 3, resize=16, size=16)
before = peak()
atlas = pw.scan(net, sys.argv[1], sys.argv[2], k=300)
scanned = peak()
pw.draw(atlas, net)
print(json.dumps([len(list(atlas.hit_pictures())), before, scanned, peak()]))
"""


def pictures(path, number, side=16):
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for at in range(number):
            data = BytesIO()
            Image.fromarray(generator.integers(0, 256, (side, side, 3), np.uint8)).save(data, "PNG")
            archive.writestr(f"{at:05d}.png", data.getvalue())
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the operating system tells no peak there")
def test_ten_times_the_pictures_take_no_more_memory(tmp_path):
    found = {}
    for number in (FEW, MANY):
        source = tmp_path / str(number)
        with zipfile.ZipFile(pictures(tmp_path / f"{number}.zip", number)) as archive:
            archive.extractall(source)  # a zip's own table of names takes more than a folder's
        command = [sys.executable, "-c", PROGRAM, str(source), str(tmp_path / f"atlas-{number}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=GIVEN_BACK)
        found[number] = json.loads(done.stdout.splitlines()[-1])
    (held, before, *few), (many_held, many_before, *many) = found[FEW], found[MANY]
    assert abs(many_before - before) < 1024  # what stood before: Python, torch and a network
    assert many_held > 3 * held > 2 * FEW  # so many more pictures go through the network for their hits
    for what, one, other in zip(("scan", "draw"), few, many, strict=True):
        assert other < 1.05 * one, f"{what}: {other} against {one}, in KiB"
        more = (other - many_before) - (one - before)
        assert more < A_PICTURE[what] * (MANY - FEW), f"{what}: {more} KiB more, of {one - before}"


WIDE = """
import json, sys
import torch
from torch import nn
import pixelward as pw

torch.manual_seed(0)
torch.set_num_threads(1)
net = nn.Sequential(nn.Conv2d(3, 8, 16, stride=8), nn.ReLU(), nn.Conv2d(8, int(sys.argv[3]), 13), nn.ReLU()).eval()
net.preprocess = dict(channels="RGB", range=1.0, mean=[0.5] * 3, std=[0.5] * 3, resize=112, size=112)
pw.draw(pw.scan(net, sys.argv[1], sys.argv[2], layers=["2:relu"]), net)
print(int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the operating system tells no peak there")
def test_eight_times_the_units_take_no_more_memory(tmp_path):
    """Their tiles, each of a whole picture, would be 170 MB. A batch of hits is full in both."""
    source, found = pictures(tmp_path / "pictures.zip", 16, side=112), {}
    for units in (16, 128):
        command = [sys.executable, "-c", WIDE, str(source), str(tmp_path / f"atlas-{units}"), str(units)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=GIVEN_BACK)
        found[units] = int(done.stdout.splitlines()[-1])
    assert found[128] < 1.15 * found[16], f"{found[128]} against {found[16]}, in KiB"


LARGE = """
import sys
import numpy as np
from pathlib import Path
from PIL import Image
from pixelward.data.images import decode

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

data = Path(sys.argv[1]).read_bytes()
small = Image.new("RGBA", (8, 8))
small.save(sys.argv[1] + ".small.png")
decode(Path(sys.argv[1] + ".small.png").read_bytes(), "small")
before = peak()
decode(data, "large")
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the operating system tells no peak there")
@pytest.mark.parametrize("orientation", [1, 6])
def test_alpha_takes_the_picture_and_one_more_of_its_size(tmp_path, orientation):
    """Laid over white as a whole it would be four of them."""
    width, height = 4000, 3000
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGBA", (width, height), (200, 100, 50, 128)).save(tmp_path / "large.png", exif=exif, compress_level=1)
    command = [sys.executable, "-c", LARGE, str(tmp_path / "large.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 1 << 10 < int(done.stdout) < 2.6 * 4 * width * height / 1024, f"{done.stdout} KiB"


def test_a_full_disk_is_told_in_one_line_and_leaves_what_was_drawn(tmp_path, monkeypatch):
    net, source = small(), pictures(tmp_path / "3.zip", 3)
    atlas = pw.scan(net, source, tmp_path / "atlas")
    before = pw.draw(atlas, net, layers=["0:relu"]).drawings
    with Path("/dev/full").open("r+b", buffering=0) as full:
        monkeypatch.setattr(waiting.tempfile, "TemporaryFile", lambda **given: full)
        with pytest.raises(pw.PixelwardError, match=r"atlas, where no more can be written \(No space left on device\)"):
            pw.draw(atlas, net)
    assert pw.open(atlas.path).drawings == before
    monkeypatch.undo()
    assert pw.draw(atlas, net).drawings.layers == ("0:relu", "3:relu")


# A bound on memory.

CPU = torch.device("cpu")
MEGABYTE = 1 << 20


def small():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 8, 3), nn.ReLU())
    net.preprocess = {"channels": "RGB", "range": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3, "resize": 32, "size": 32}
    return net.eval()


def test_what_is_taken_is_the_most_that_lived_at_once():
    def run():
        one = torch.zeros(MEGABYTE, dtype=torch.uint8)
        del one
        return torch.zeros(2 * MEGABYTE, dtype=torch.uint8), torch.zeros(MEGABYTE, dtype=torch.uint8)

    assert 3 * MEGABYTE <= memory.taken(run, CPU) < 3.1 * MEGABYTE


@pytest.mark.parametrize(("left", "one", "most", "found"), [(100, 10, 32, 8), (5, 10, 32, 1), (1e9, 1, 24, 16)])
def test_as_many_go_at_once_as_fit_and_always_a_power_of_two(left, one, most, found):
    assert memory.at_once(left, one, most) == found


def test_a_bound_makes_the_batches_of_a_scan_smaller_and_changes_no_hit(tmp_path, monkeypatch):
    source, net, sizes = pictures(tmp_path / "40.zip", 40), small(), []
    free = pw.scan(net, source, tmp_path / "free")
    monkeypatch.setattr(memory, "in_use", lambda device: 0)
    net.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    bound = pw.scan(net, source, tmp_path / "bound", memory=MEGABYTE)
    assert sizes[-1] < 32
    assert set(sizes) <= {1, sizes[-1]}  # single ones were tried on the way
    for record in free.layers:
        one, other = free.units(record), bound.units(record)
        assert np.array_equal(one.picture, other.picture)
        assert np.array_equal(one.position, other.position)
        assert np.allclose(one.value, other.value, rtol=1e-5)


BOUND = """
import json, sys
from pathlib import Path
import torch
from torch import nn
import pixelward as pw

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

torch.manual_seed(0)
torch.set_num_threads(1)
net = nn.Sequential(nn.Conv2d(3, 48, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(48, 8, 3), nn.ReLU()).eval()
net.preprocess = dict(channels="RGB", range=1.0, mean=[0.5] * 3, std=[0.5] * 3, resize=192, size=192)
what, source, folder, allowed = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
bound = peak() + allowed
memory = 1024 * bound if allowed else None
pw.draw(folder, net, memory=memory) if what == "draw" else pw.scan(net, source, folder, k=40, memory=memory)
print(json.dumps([bound, peak()]))
"""


def bounded(what: str, source: Path, atlas: Path, allowed: int) -> list[int]:
    """KiB that a process may take and takes at most; 0 allowed: without a bound."""
    command = [sys.executable, "-c", BOUND, what, str(source), str(atlas), str(allowed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=GIVEN_BACK)
    found: list[int] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the operating system tells no peak there")
def test_a_scan_stays_below_its_bound_as_the_operating_system_tells_it(tmp_path):
    """What torch and the measure itself take is in the bound; what the C library would keep is given back here."""
    source, more = pictures(tmp_path / "32.zip", 32, side=192), 200 * 1024
    before, free = bounded("scan", source, tmp_path / "free", 0)
    bound, peak = bounded("scan", source, tmp_path / "bound", more)
    assert free > before + more  # so that there is something to hold back
    assert peak < bound, f"{peak} KiB, of {bound}; without a bound {free}"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the operating system tells no peak there")
def test_a_drawing_stays_below_its_bound_as_the_operating_system_tells_it(tmp_path):
    source, more = pictures(tmp_path / "64.zip", 64, side=192), 215 * 1024
    for name in ("free", "bound"):
        bounded("scan", source, tmp_path / name, 0)
    before, free = bounded("draw", source, tmp_path / "free", 0)
    bound, peak = bounded("draw", source, tmp_path / "bound", more)
    assert free > before + more  # so that there is something to hold back
    assert peak < bound, f"{peak} KiB, of {bound}; without a bound {free}"


def test_a_bound_that_is_too_small_is_told_in_one_line_and_leaves_nothing(tmp_path):
    source, net = pictures(tmp_path / "3.zip", 3), small()
    with pytest.raises(pw.PixelwardError, match=r"given: memory 1M, of which .* are in use.*allowed: .* or more, for"):
        pw.scan(net, source, tmp_path / "atlas", memory=MEGABYTE)
    assert not (tmp_path / "atlas").exists()
    atlas = pw.scan(net, source, tmp_path / "atlas")
    with pytest.raises(pw.PixelwardError, match="given: memory 1M"):
        pw.draw(atlas, net, memory=MEGABYTE)
    assert atlas.drawings is None


class OfLengthOne(nn.Module):
    """Divides a picture by its norm, which a picture of zeros has none of."""

    def forward(self, picture):
        return picture / picture.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def test_a_bound_is_tried_on_a_picture_of_zeros_whatever_a_network_makes_of_it(tmp_path, monkeypatch):
    source = pictures(tmp_path / "5.zip", 5)
    torch.manual_seed(0)
    net = nn.Sequential(OfLengthOne(), nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.ReLU()).eval()
    net.preprocess = small().preprocess
    assert net(torch.zeros(1, 3, 32, 32)).isnan().all()
    free = pw.scan(net, source, tmp_path / "free")
    monkeypatch.setattr(memory, "in_use", lambda device: 0)
    bound = pw.scan(net, source, tmp_path / "bound", memory=16 * MEGABYTE)
    for record in free.layers:
        assert np.array_equal(free.units(record).picture, bound.units(record).picture)


def test_signals_under_a_bound_are_the_same():
    net, batch = small().double(), torch.rand(6, 3, 32, 32, dtype=torch.float64)
    chosen = Chosen(torch.arange(12) % 8, torch.arange(24).view(12, 2) % 14, torch.arange(12) // 2, torch.ones(12))
    found = []
    for bound in (None, MEGABYTE):
        projector, signals = Projector(net, ["3:relu"], memory=bound), {}
        for sent in projector.project(batch, {"3:relu": chosen}):
            assert bound is None or len(sent.rows) < 12
            signals |= dict(zip(sent.rows.tolist(), sent.signals, strict=True))
        found.append(torch.stack([signals[row] for row in range(12)]))
    assert found[0].any()
    assert difference(*found) < 1e-6


def test_a_bound_that_no_hit_fits_into_is_told():
    chosen = Chosen(torch.zeros(1).long(), torch.zeros(1, 2).long(), torch.zeros(1).long(), torch.ones(1))
    projector = Projector(small(), ["3:relu"], memory=300_000)
    with pytest.raises(pw.PixelwardError, match=r"that leaves 146K for the pass of a picture - allowed: .* or more"):
        list(projector.project(torch.rand(1, 3, 32, 32), {"3:relu": chosen}))


def test_a_drawing_counts_the_pass_that_it_reads_its_plan_off(tmp_path, monkeypatch):
    """All activations up to the last layer live at once there: of this network 24 maps of 256 KiB."""
    pairs = [module for _ in range(12) for module in (nn.Conv2d(4, 4, 1), nn.ReLU())]
    net = nn.Sequential(nn.Conv2d(3, 4, 1), *pairs).eval()
    net.preprocess = {"channels": "RGB", "range": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3, "resize": 128, "size": 128}
    atlas = pw.scan(net, pictures(tmp_path / "2.zip", 2), tmp_path / "atlas", layers=["23:relu"], k=1)
    monkeypatch.setattr(memory, "in_use", lambda device: 0)
    with pytest.raises(pw.PixelwardError, match="the pass of one picture, with all that it needs, takes"):
        pw.draw(atlas, net, memory=8 * MEGABYTE)
    assert atlas.drawings is None
    assert pw.draw(atlas, net, memory=64 * MEGABYTE).drawings is not None


def test_a_bound_makes_fewer_pictures_of_a_drawing_wait(tmp_path, monkeypatch):
    source, net, sizes = pictures(tmp_path / "40.zip", 40), small(), []
    atlas = pw.scan(net, source, tmp_path / "atlas")
    monkeypatch.setattr(memory, "in_use", lambda device: 0)
    drawing = sys.modules[pw.draw.__module__]
    ahead = drawing.ahead
    monkeypatch.setattr(drawing, "ahead", lambda items, depth: sizes.append(depth) or ahead(items, depth))
    pw.draw(atlas, net, memory=4 * MEGABYTE)
    assert max(sizes) < 2 * PICTURES


def test_amounts_of_memory_are_read_as_they_are_written():
    assert [bytes_of(text) for text in ("4G", "500M", "2.5g", "1024")] == [4 << 30, 500 << 20, 5 << 29, 1024]
    assert [amount(number) for number in (512, 5 << 29, 500 << 20)] == ["512B", "2.5G", "500M"]
    assert [enough(number) for number in (7, 512, 5 << 29, (500 << 20) + 1)] == ["7B", "520B", "2.5G", "510M"]
    for text in ("", "G", "0", "-1G", "much"):
        with pytest.raises(ValueError, match="is no amount of memory; write it as 4G or 500M"):
            bytes_of(text)


def test_the_command_line_says_one_line_and_nothing_of_how_it_measures(tmp_path):
    source = pictures(tmp_path / "3.zip", 3)
    command = [
        sys.executable,
        "-c",
        "from pixelward.cli import app; app()",
        "scan",
        "zfnet64",
        str(source),
        "-o",
        str(tmp_path / "atlas"),
    ]
    done = subprocess.run([*command, "--memory", "1M"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("given: memory 1M, of which ")


@given(st.integers(1, 1 << 50))
def test_an_amount_that_is_named_as_enough_is_enough(number: int):
    assert number <= bytes_of(enough(number)) <= 1.11 * number + 1


@pytest.mark.parametrize("memory", [0, -5, True, 2.5e9, "500M"])
def test_a_bound_that_is_no_number_of_bytes_is_refused_before_any_work(tmp_path: Path, memory: Any):
    with pytest.raises(pw.PixelwardError, match=r"memory .* allowed: a whole number of bytes, 1 or more"):
        pw.scan(nn.Conv2d(3, 2, 3), tmp_path, tmp_path / "atlas", memory=memory)
    assert not (tmp_path / "atlas").exists()
    with pytest.raises(pw.PixelwardError, match=r"memory .* allowed: a whole number of bytes, 1 or more"):
        pw.draw(fake_atlas(tmp_path / "drawn", drawn=False), nn.Conv2d(3, 2, 3), memory=memory)


@pytest.mark.parametrize("megabytes", [40, 80])
def test_hits_of_few_numbers_stay_within_the_bound_that_a_dense_one_was_measured_under(monkeypatch, megabytes):
    """The first hit's signal has no zeros, so that it goes down another way than those that follow."""
    monkeypatch.setattr(sparse, "QUICK", True)
    torch.manual_seed(0)
    side, hits = 24, 33
    net = nn.Sequential(
        nn.Conv2d(3, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(), nn.Flatten()
    )
    net.append(nn.Linear(128 * side**2, hits)).eval()
    with torch.no_grad():
        weight = net[5].weight.abs_()
        weight[1:][torch.rand(weight[1:].shape) > 0.03] *= -1
    chosen = Chosen(torch.arange(hits), torch.zeros(hits, 2).long(), torch.zeros(hits).long(), torch.ones(hits))
    pictures = torch.rand(1, 3, side, side)
    projector = Projector(net, ["5"], memory=megabytes * 1_000_000)
    list(projector.project(pictures, {"5": chosen.part(slice(0, 1))}))
    asked = {"5": chosen.part(slice(1, hits))}
    with torch.no_grad():
        most = memory.taken(lambda: [None for _ in projector.project(pictures, asked)], pictures.device)
    assert most < megabytes * 1_000_000 / 2
