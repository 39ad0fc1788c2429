"""A scan that was interrupted goes on with the same bytes, and another one does not go on with its parts."""

from __future__ import annotations

import copy
import hashlib
import tracemalloc

import pytest
import torch
from torch import nn

from exact_scans import SIDE, files, interrupted_when_saved, network, pictures, scanning, shards_cut_short  # noqa: F401
from pixelward.atlas import Atlas
from pixelward.core import memory
from pixelward.core.memory import taken
from pixelward.data.sources import Source
from pixelward.errors import PixelwardError
from pixelward.fingerprint import fingerprint
from pixelward.scan import scan


def interrupted(monkeypatch, after: int) -> None:
    """Let the network's `after + 1`-th batch fail, once."""
    real, calls = scanning.observe, []

    def observe(*arguments, quick):
        calls.append(None)
        if len(calls) == after + 1:
            raise KeyboardInterrupt
        real(*arguments, quick=quick)

    monkeypatch.setattr(scanning, "observe", observe)


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


MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    ("began", "goes_on", "in_use", "kept"),
    [
        ({"batch": 3}, {"memory": 64 * MEGABYTE}, 0, True),  # no power of two, and it fits
        ({"memory": 64 * MEGABYTE}, {"memory": 64 * MEGABYTE}, 63.9 * MEGABYTE, True),  # the same command
        ({"batch": 3}, {"batch": 3, "memory": 64 * MEGABYTE}, 63.9 * MEGABYTE, False),  # a bound of now
        ({"memory": 64 * MEGABYTE}, {"memory": 64 * MEGABYTE, "batch": 2}, 0, False),
    ],
)
def test_a_scan_goes_on_with_as_many_pictures_at_once(
    tmp_path, short_shards, monkeypatch, began, goes_on, in_use, kept
):
    """Else it would round otherwise, where numbers are not as whole as they are here."""
    net, folder, sizes, used = network(), pictures(tmp_path / "photos", 11), [], [0]
    monkeypatch.setattr(memory, "in_use", lambda device: int(used[0]))
    whole = scan(net, folder, tmp_path / "whole", **began)
    with monkeypatch.context() as patch:
        interrupted_when_saved(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            scan(net, folder, tmp_path / "parts", **began)
    used[0] = in_use
    net.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    scan(net, folder, tmp_path / "parts", **goes_on)
    assert (sizes[-1] == began.get("batch", 16)) is kept
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


# Which scan it is


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


def test_a_network_is_known_by_names_shapes_and_bytes():
    net = network()
    assert fingerprint(net) == fingerprint(copy.deepcopy(net)) == fingerprint(nn.DataParallel(net))
    renamed = nn.Sequential(*net)
    moved = copy.deepcopy(net)
    moved.conv1.weight.data = moved.conv1.weight.data.reshape(4, 3, 9, 1)
    changed = copy.deepcopy(net)
    changed.fc.bias.data[3] += 1
    assert len({fingerprint(each) for each in (net, renamed, moved, changed, network("L"))}) == 5


def test_knowing_a_network_takes_no_copy_of_its_weights():
    """The largest weight of VGG-16 takes 400 MB, which no bound on memory would hold if its bytes were made anew."""
    net = nn.Linear(500, 1000)
    net.register_buffer("none", torch.zeros(0, 3))
    net.register_buffer("number", torch.tensor(3, dtype=torch.int64))
    net.register_buffer("brief", torch.ones(2, 3, dtype=torch.bfloat16))
    tracemalloc.start()
    try:
        found = fingerprint(net)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak + taken(lambda: fingerprint(net), torch.device("cpu")) < net.weight.nbytes / 8  # numpy's, and torch's
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(bytes(tensor.flatten().view(torch.uint8).tolist()))
    assert found == digest.hexdigest()
