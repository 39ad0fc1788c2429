"""Details of units: what they say is so; written whole and gone on with; stale and damaged ones are refused."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import pixelward as pw
from pixelward import controls
from pixelward.core.fields import Box
from pixelward.core.kernels import kernels
from pixelward.core.trace import trace
from pixelward.details import read_details
from pixelward.examine import MOST, _Panels, draw_details, units_asked
from pixelward.folder import details_file, kernel_file
from pixelward.hatch import RULED, lines
from pixelward.pictures import correlation, crop, inks, signal_to_picture, view_box
from pixelward.strips import Step
from test_draw import PREPROCESS, SIZE, network, pictures  # noqa: F401


@pytest.fixture
def drawn(tmp_path, pictures):  # noqa: F811
    net = network()
    atlas = pw.scan(net, pictures, tmp_path / "atlas", layers=["0:relu", "3:relu", "6"], k=3)
    return net, pw.draw(atlas, net)


def alive(atlas, name):
    """A unit of a layer with a second hit."""
    record = atlas.layer(name)
    return record, int(np.flatnonzero(np.asarray(atlas.units(record).picture)[:, 1] >= 0)[0])


def tile_of(atlas, record, channel, hit, tile):
    image = Image.open(atlas.path / details_file(record.slug, channel, hit, "webp")).convert("RGBA")
    left, top, width, height = tile
    return np.asarray(image.crop((left, top, left + width, top + height))).astype(int)


def files(atlas):
    return {path: path.stat().st_mtime_ns for path in (atlas.path / "drawings").rglob("*.details-*")}


def test_details_show_the_projection_and_its_likenesses(drawn, pictures):  # noqa: F811
    net, atlas = drawn
    for name in ("0:relu", "3:relu", "6"):
        record, channel = alive(atlas, name)
        draw_details(atlas, net, [f"{name}:{channel}"], hits=[1, 2])
        for number, hit in enumerate(atlas[name][channel].hits[:2], start=1):
            found = read_details(atlas, record, channel, number)
            one = pw.project(net, pictures / hit.name, layer=name, channel=channel, position=hit.position)
            assert (found.hit, found.picture, found.position) == (number, hit.picture, hit.position)
            assert found.value == hit.value
            last = found.way[-1]
            assert (last.title, last.where, last.shape) == ("filter", "0", tuple(one.signal.shape))
            assert last.share == np.count_nonzero(one.signal.numpy()) / one.signal.numel()
            view = view_box(one.field, SIZE, SIZE)
            expected = crop(signal_to_picture(one.signal.numpy(), "RGB", one.field).picture, view).astype(int)
            assert max(view.height, view.width) <= MOST
            tile = tile_of(atlas, record, channel, number, last.tile)
            inside = crop(np.ones((SIZE, SIZE), np.uint8), view, fill=0)
            assert (tile[..., 3] == 255 * inside).all()  # clear outside the picture
            off = np.abs(tile[..., :3] - expected)[inside == 1]
            assert off.max() <= 4 + 1  # stored levels are eight apart
            (shown,) = (each for each in found.methods if each.shown)
            assert shown.title == "deconvnet, sum"
            assert (shown.plain, shown.fine) == pytest.approx((1, 1))
            rows = {each.title: each for each in (*found.methods, *found.sanity)}
            for rules in ("guided", "gradient"):
                other = pw.project(
                    net, pictures / hit.name, layer=name, channel=channel, position=hit.position, rules=rules
                )
                title = "guided, sum" if rules == "guided" else rules
                likeness = correlation(other.signal.numpy(), one.signal.numpy(), one.shown)
                assert (rows[title].plain, rows[title].fine) == (pytest.approx(likeness) if likeness else (None, None))
            assert ("weights below shuffled" in rows) == (name != "0:relu")


def test_every_panel_has_a_tile_inside_the_file_and_none_overlap(drawn):
    net, atlas = drawn
    record, channel = alive(atlas, "3:relu")
    draw_details(atlas, net, [f"3:relu:{channel}"])
    found = read_details(atlas, record, channel, 1)
    tiles = [each.tile for each in (*found.way, *found.methods, *found.sanity)]
    image = Image.open(atlas.path / details_file(record.slug, channel, 1, "webp"))
    assert image.size == found.size
    taken = np.zeros(found.size[::-1], int)
    for left, top, width, height in tiles:
        assert left + width <= image.width
        assert top + height <= image.height
        taken[top : top + height, left : left + width] += 1
    assert taken.max() == 1
    titles = [stage.title for stage in found.way]
    assert titles == ["seed", "rectify", "filter", "unpool", "rectify", "filter"]


def test_panels_are_close_up_where_the_signal_fills_a_small_part_of_a_large_field():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(64)).eval()
    net.preprocess = PREPROCESS | {"resize": 64, "size": 64}
    one = pw.project(net, torch.randn(3, 64, 64), layer="2", channel=1)
    assert one.field == Box(-1, -1, 66, 66)
    panels = _Panels(one)
    maps = np.zeros((4, 64, 64), np.float32)
    row, column = np.argwhere(one.signal.numpy().any(axis=0)).mean(axis=0).round().astype(int)
    maps[1, row, column] = 1
    assert panels.closer
    for each in (maps, np.roll(maps, 31, axis=(1, 2))):  # the second one lies beside the part that is shown
        panels.stage(Step("rectify", "1", each), False)
        assert (panels.tiles[-1][..., 3] > 0).sum() == 1
    assert max(panels.tiles[0].shape) <= 5
    assert max(panels.tiles[1].shape) > 20
    panels.stage(Step("filter", "0", one.signal.numpy()), True)
    assert panels.tiles[2].shape[:2] == panels.tiles[0].shape[:2]


@pytest.mark.parametrize("place", [(0, 0), (0, 20), (31, 31), (15, 16)])
def test_panels_are_hatched_where_maps_have_no_cells_and_nowhere_else(place):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 5, padding=2))
    net.eval().preprocess = PREPROCESS | {"resize": 64, "size": 64}
    one = pw.project(net, torch.randn(3, 64, 64), layer="3", channel=1, position=place)
    assert one.field[2:] == (12, 12)
    panels = _Panels(one)
    for side in (32, 64):
        near = panels._over(np.zeros((4, side, side), np.float32))
        maps = np.zeros((4, side, side), np.float32)
        part = maps[:, max(near.top, 0) : near.top + near.height, max(near.left, 0) : near.left + near.width]
        part[:] = torch.randn(part.shape).relu().numpy()
        panels.stage(Step("rectify", "1", maps), False)
        view, tile = panels._over(maps), panels.tiles[-1]
        rows, columns = np.ogrid[: tile.shape[0], : tile.shape[1]]
        times = tile.shape[0] // view.height
        assert tile.shape[:2] == (times * view.height, times * view.width)
        across, down = view.left + columns // times, view.top + rows // times
        there = (down >= 0) & (down < side) & (across >= 0) & (across < side)
        assert there.all() == (place == (15, 16))
        assert times == 1 if there.all() else 50 < max(tile.shape) <= RULED
        cells = inks(maps)[np.clip(down, 0, side - 1), np.clip(across, 0, side - 1)]
        expected = np.where(there[..., None], cells, np.asarray(lines(tile.shape[1], tile.shape[0])))
        assert np.array_equal(tile, expected)


def test_the_network_is_left_as_it_was(drawn):
    net, atlas = drawn
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    flags = [(each.requires_grad, each.grad) for each in net.parameters()]
    _, channel = alive(atlas, "3:relu")
    draw_details(atlas, net, [f"3:relu:{channel}"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert [(each.requires_grad, each.grad) for each in net.parameters()] == flags
    assert not net.training


def test_details_are_covered_by_hashes_and_the_same_call_again_goes_on(drawn, monkeypatch):
    net, atlas = drawn
    draw_details(atlas, net, ["3:relu", "0:relu:1"])
    assert atlas.verify() == []
    first = files(atlas)
    assert first
    again = draw_details(pw.open(atlas.path), net, ["3:relu", "0:relu:1"])
    assert files(again) == first
    last = max(path for path in first if path.suffix == ".json")
    last.unlink()  # as after an interruption between the two files, or the hits
    told = []
    draw_details(pw.open(atlas.path), net, ["3:relu"], report=lambda *how: told.append(how[:2]))
    assert told == [(1, 1)]
    assert {path for path, when in files(atlas).items() if when == first.get(path)} == {
        path for path in first if path.stem != last.stem
    }
    assert pw.open(atlas.path).verify() == []
    for path in first:
        whole = path.read_bytes()
        path.write_bytes(whole + b" ")
        assert pw.open(atlas.path).verify() == [f"{path.relative_to(atlas.path).as_posix()} is not as it was written"]
        path.write_bytes(whole)


def test_nothing_half_written_is_read(drawn, monkeypatch):
    net, atlas = drawn
    record, channel = alive(atlas, "3:relu")

    def fail(path, plain):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("pixelward.details.write_json", fail)
        with pytest.raises(OSError, match="the disk is full"):
            draw_details(atlas, net, [f"3:relu:{channel}"])
    assert read_details(atlas, record, channel, 1) is None
    assert atlas.verify() == []
    draw_details(atlas, net, [f"3:relu:{channel}"])
    assert read_details(atlas, record, channel, 1) is not None


@pytest.mark.parametrize("harm", [b"", b"{}", b'{"version": 1}', b"[]", b"\xff\xfe"])
def test_damaged_details_are_refused_by_name(drawn, harm):
    net, atlas = drawn
    record, channel = alive(atlas, "3:relu")
    draw_details(atlas, net, [f"3:relu:{channel}"])
    place = details_file(record.slug, channel, 1, "json")
    (atlas.path / place).write_bytes(harm)
    again = f"draw these details again: pixelward draw {atlas.path} MODEL --detail 3:relu:{channel} --hit 1"
    with pytest.raises(pw.PixelwardError, match=rf"{place} cannot be read.*{re.escape(again)}"):
        read_details(atlas, record, channel, 1)


@pytest.mark.parametrize("ending", ["json", "webp"])
def test_drawing_again_mends_what_is_damaged(drawn, ending):
    net, atlas = drawn
    record, channel = alive(atlas, "3:relu")
    draw_details(atlas, net, [f"3:relu:{channel}"])
    file = atlas.path / details_file(record.slug, channel, 1, ending)
    whole = file.read_bytes()
    file.write_bytes(whole[:40]) if ending == "json" else file.unlink()
    draw_details(pw.open(atlas.path), net, [f"3:relu:{channel}"])
    assert file.read_bytes() == whole
    assert pw.open(atlas.path).verify() == []


def test_details_of_another_way_of_drawing_or_hit_are_not_shown_and_go_with_the_next_drawing(drawn):
    net, atlas = drawn
    record, channel = alive(atlas, "3:relu")
    draw_details(atlas, net, [f"3:relu:{channel}"])
    place = atlas.path / details_file(record.slug, channel, 1, "json")
    whole = json.loads(place.read_text())
    for key, value in {"rules": "guided", "network": "0" * 64, "picture": 99, "value": 1.5, "version": 2}.items():
        place.write_text(json.dumps(whole | {key: value}))
        assert read_details(atlas, record, channel, 1) is None
    place.write_text(json.dumps(whole))
    assert read_details(atlas, record, channel, 1) is not None
    (atlas.path / "drawings.json").unlink()
    assert read_details(atlas, record, channel, 1) is None
    pw.draw(atlas, net, rules="guided")
    assert files(atlas) == {}
    assert atlas.verify() == []


def test_details_by_the_gradient_leave_out_what_does_not_go_along(tmp_path, pictures):  # noqa: F811
    net = network()
    atlas = pw.draw(pw.scan(net, pictures, tmp_path / "atlas", layers=["3:relu"], k=2), net, rules="gradient")
    record, channel = alive(atlas, "3:relu")
    draw_details(atlas, net, [f"3:relu:{channel}"])
    found = read_details(atlas, record, channel, 1)
    assert [each.title for each in found.methods if each.shown] == ["gradient"]
    (centre,) = (each for each in found.sanity if each.title == "centre unpooling")
    assert centre.tile is None
    assert centre.sentence.startswith("Refused: ")


def test_units_are_named_by_layer_and_channel(drawn):
    _, atlas = drawn
    record = atlas.layer("3:relu")
    assert units_asked(atlas, ["3:relu:2", "3:relu:02", "0:relu:1"]) == [(atlas.layer("0:relu"), 1), (record, 2)]
    assert [each.channel for each in units_asked(atlas, ["3:relu"])] == list(range(6))
    assert units_asked(atlas, ["6:1"]) == [(atlas.layer("6"), 1)]
    with pytest.raises(pw.PixelwardError, match=r"unit 6 of layer 3:relu - allowed: 0 to 5 .*3:relu for all"):
        units_asked(atlas, ["3:relu:6"])
    with pytest.raises(pw.PixelwardError, match="layer '9:relu'"):
        units_asked(atlas, ["9:relu:1"])


def test_what_cannot_be_told_is_refused_or_left_out(drawn, pictures, tmp_path):  # noqa: F811
    net, atlas = drawn
    _, channel = alive(atlas, "3:relu")
    told = []
    draw_details(atlas, net, [f"3:relu:{channel}"], hits=[9], note=told.append)
    assert told == ["1 of 1 hits left out: the units do not have so many, or are dead in this collection"]
    with pytest.raises(pw.PixelwardError, match="hit 0 - allowed: 1 to 3"):
        draw_details(atlas, net, [f"3:relu:{channel}"], hits=[0])
    other = network()
    with torch.no_grad():
        other[0].weight[0, 0, 0, 0] += 1
    with pytest.raises(pw.PixelwardError, match="a network that is not the one of"):
        draw_details(atlas, other, [f"3:relu:{channel}"])
    moved = pictures.rename(tmp_path / "elsewhere")
    with pytest.raises(pw.PixelwardError, match="pictures"):
        draw_details(atlas, net, [f"3:relu:{channel}"])
    draw_details(atlas, net, [f"3:relu:{channel}"], pictures=moved)
    for path in moved.glob("*.png"):
        Image.new("RGB", (40, 40), (9, 9, 9)).save(path)
    with pytest.raises(pw.PixelwardError, match=r"not the file that was scanned"):
        draw_details(atlas, net, [f"3:relu:{channel}"], hits=[2], pictures=moved)


def test_a_layer_has_to_be_drawn_first(tmp_path, pictures):  # noqa: F811
    net = network()
    atlas = pw.scan(net, pictures, tmp_path / "atlas", layers=["0:relu", "3:relu"], k=2)
    with pytest.raises(pw.PixelwardError, match=r"details of 3:relu, not drawn .*draw them first"):
        draw_details(atlas, net, ["3:relu:0"])
    pw.draw(atlas, net, layers=["0:relu"])
    with pytest.raises(pw.PixelwardError, match=r"details of 3:relu, not drawn"):
        draw_details(atlas, net, ["3:relu:0"])
    shutil.rmtree(atlas.path / "drawings")


# ---------------------------------------------------------------- first-layer filters


def weights(net, layer, channels=3):
    traced = trace(net.eval(), torch.randn(1, channels, 24, 24), [layer])
    return kernels(traced.plan, traced.targets[layer].value)


def test_units_that_read_the_pixels_have_kernels():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.ZeroPad2d(2), nn.Conv2d(3, 4, 5, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3)
    )
    with torch.no_grad():
        net[2].weight.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
    assert torch.equal(weights(net, "1"), net[1].weight)
    for layer in ("1:relu", "2"):
        found = weights(net, layer)
        scale = (net[2].weight / (net[2].running_var + net[2].eps).sqrt()).detach()
        torch.testing.assert_close(found, net[1].weight.detach() * scale[:, None, None, None])
    assert weights(net, "4") is None
    assert weights(net, "5") is None


def test_a_kernel_is_the_projection_of_its_unit():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.BatchNorm2d(4), nn.ReLU()).eval()
    one = pw.project(net, torch.randn(3, 24, 24), layer="0:relu", channel=2, position=(10, 11), seed="one")
    torch.testing.assert_close(one.signal[:, 8:13, 9:14], weights(net, "0:relu")[2])


@pytest.mark.parametrize(("channels", "size"), [(3, (112, 112)), (1, (112, 112))])
def test_kernels_are_drawn_for_every_unit_of_the_first_layer(tmp_path, pictures, channels, size):  # noqa: F811
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(channels, 4, 7, 2), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    grey = {"channels": "L", "mean": [0.5], "std": [0.25]} if channels == 1 else {}
    net.preprocess = PREPROCESS | grey
    atlas = pw.draw(pw.scan(net, pictures, tmp_path / "atlas", k=1), net)
    record, above = atlas.layers
    for channel in range(4):
        image = np.asarray(Image.open(atlas.path / kernel_file(record.slug, channel)).convert("RGB")).astype(int)
        assert image.shape[:2] == size
        kernel = net[0].weight[channel].detach().numpy()
        drawn = signal_to_picture(kernel, "RGB").picture.repeat(16, 0).repeat(16, 1).astype(int)
        assert np.abs(image - drawn).max() <= 5
    assert not (atlas.path / kernel_file(above.slug, 0)).exists()
    assert atlas.verify() == []


def test_the_controls_have_one_source(drawn):
    """What the pages say of a hit is what `project --controls` draws."""
    net, atlas = drawn
    record, channel = alive(atlas, "3:relu")
    draw_details(atlas, net, [f"3:relu:{channel}"])
    found = read_details(atlas, record, channel, 1)
    hit = atlas["3:relu"][channel].hits[0]
    source = atlas.sources[0]["path"]
    one = pw.project(net, f"{source}/{hit.name}", layer="3:relu", channel=channel, position=hit.position)
    rows = [*controls.by_rules(net, one), *controls.sanity(net, one)]
    told = [*found.methods, *found.sanity]
    assert [(each.title, each.sentence) for each in told] == [(each.title, each.sentence) for each in rows]
    for each, row in zip(told, rows, strict=True):
        assert (each.plain, each.fine) == (pytest.approx(row.likeness) if row.likeness else (None, None))
    assert found.caution == controls.CAUTION
