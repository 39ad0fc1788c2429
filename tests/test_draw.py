"""Drawings: every hit is drawn once as `project` shows it; other networks and pictures are refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save
from torch import nn

import pixelward as pw
from pixelward.atlas import Atlas
from pixelward.core.fields import Box
from pixelward.errors import PixelwardError
from pixelward.folder import boxes_file, sheet_file, thumb_file, units_file
from pixelward.pictures import GAP, cell_size, crop, fit, signal_to_picture, view_box
from pixelward.projection import project
from pixelward.web import content

SIZE = 32
PREPROCESS = {"channels": "RGB", "range": 1.0, "mean": [0.5] * 3, "std": [0.25] * 3, "resize": SIZE, "size": SIZE}


def network():
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(4, 6, 3, 1, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 64, 3),
    )  # fmt: skip
    net.preprocess = PREPROCESS
    return net.eval()


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(7):
        pixels = random.integers(0, 256, (SIZE + number, SIZE + 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


@pytest.fixture
def drawn(tmp_path, pictures):
    net = network()
    atlas = pw.scan(net, pictures, tmp_path / "atlas", layers=["0:relu", "3:relu", "6"], k=3)
    return net, pw.draw(atlas, net)


def cells(atlas, record, channel, kind):
    """The tiles of a sheet, rank by rank."""
    return tiles_of(Image.open(atlas.path / sheet_file(record.slug, channel, kind)).convert("RGB"), atlas.k)


def tiles_of(image, k):
    columns = 2  # ceil(sqrt(3))
    cell = (image.width + GAP) // columns - GAP
    at = [(rank % columns * (cell + GAP), rank // columns * (cell + GAP)) for rank in range(k)]
    return [np.asarray(image.crop((left, top, left + cell, top + cell))).astype(int) for left, top in at]


def test_every_tile_is_what_project_shows(drawn, pictures):
    net, atlas = drawn
    compared = 0
    for record in atlas.layers:
        for channel in range(record.channels):
            hits = atlas[record.address][channel].hits
            for hit, cell in zip(hits, cells(atlas, record, channel, "projections") if hits else [], strict=False):
                one = project(
                    net, pictures / hit.name, layer=record.address, channel=channel, position=hit.position or None
                )
                assert one.value == pytest.approx(hit.value, rel=1e-4)
                assert one.position == hit.position
                view = view_box(one.field, SIZE, SIZE)
                expected = fit(
                    crop(signal_to_picture(one.signal.numpy(), "RGB", one.field).picture, view),
                    cell_size(view.height, view.width),
                )
                off = np.abs(np.asarray(expected).astype(int) - cell)
                assert np.percentile(off, 99) <= 8  # stored levels are eight apart
                compared += 1
    assert compared > 20


def test_what_lies_outside_the_picture_is_half_clear_in_both_sheets_and_nothing_else_is(drawn):
    _, atlas = drawn
    record = atlas.layer("3:relu")
    outside = 0
    for channel in range(record.channels):
        for rank, hit in enumerate(atlas[record.address][channel].hits):
            view = view_box(record.field.box(hit.position, atlas.size), SIZE, SIZE)
            inside = [[0 <= y < SIZE and 0 <= x < SIZE for x in across(view)] for y in down(view)]
            times = cell_size(view.height, view.width) // max(view.height, view.width)
            for kind in ("projections", "patches"):
                alpha = alphas(atlas, record, channel, kind)[rank]
                assert (alpha == 255).tolist() == np.kron(inside, np.ones((times, times), bool)).tolist()
                assert (alpha[alpha < 255] < 128).all()
            outside += not np.all(inside)
    assert outside > 3


def down(box):
    return range(box.top, box.top + box.height)


def across(box):
    return range(box.left, box.left + box.width)


def alphas(atlas, record, channel, kind):
    """How opaque the tiles of a sheet are, rank by rank."""
    return tiles_of(Image.open(atlas.path / sheet_file(record.slug, channel, kind)).getchannel("A"), atlas.k)


def test_the_atlas_keeps_how_each_operation_is_crossed(drawn):
    net, atlas = drawn
    assert pw.open(atlas.path).drawings.operations == pw.check(net, size=atlas.size).operations


def test_boxes_scales_and_thumbs_are_written_for_every_hit(drawn):
    _, atlas = drawn
    for record in atlas.layers:
        boxes = load_file(atlas.path / boxes_file(record.slug))
        there = np.asarray(atlas.units(record).picture) >= 0
        assert (boxes["scale"][there] > 0).mean() > 0.9
        assert (boxes["scale"][~there] == 0).all()
        for channel, rank in np.argwhere(there).tolist():
            hit = atlas[record.address][channel].hits[rank]
            assert Box(*boxes["field"][channel, rank].tolist()) == record.field.box(hit.position, (SIZE, SIZE))
    for id in atlas.hit_pictures():
        assert Image.open(atlas.path / thumb_file(id)).size == (SIZE, SIZE)
    assert atlas.verify() == []


def test_hits_that_the_scan_did_not_write_are_not_drawn(tmp_path, pictures):
    """Also of pictures whose values the network does not tell again."""
    net = network()
    atlas = pw.scan(net, pictures, tmp_path / "atlas", k=2)
    record = atlas.layers[-1]
    file = atlas.path / units_file(record.slug)
    arrays = load_file(file)
    arrays["value"][:, 1] *= 1.5
    file.write_bytes(save(arrays))
    with pytest.raises(pw.PixelwardError, match=f"whose {units_file(record.slug)} cannot be read"):
        pw.draw(pw.open(atlas.path), net)
    assert not (atlas.path / "drawings").exists()


def test_the_same_command_again_has_nothing_to_do_and_more_layers_are_added(tmp_path, pictures):
    net = network()
    atlas = pw.scan(net, pictures, tmp_path / "atlas", k=2)
    pw.draw(atlas, net, layers=["0:relu"])
    first = {path: path.stat().st_mtime_ns for path in (atlas.path / "drawings").rglob("*.webp")}
    pw.draw(atlas, net)
    assert all(path.stat().st_mtime_ns == when for path, when in first.items())
    assert pw.open(atlas.path).drawings.layers == ("0:relu", "3:relu")


def test_drawn_again_from_nothing_gives_the_same_bytes(tmp_path, pictures):
    net = network()
    found = []
    for name in "ab":
        atlas = pw.draw(pw.scan(net, pictures, tmp_path / name, k=2), net)
        files = sorted((atlas.path / "drawings").rglob("*.*"))
        found.append({file.relative_to(atlas.path): file.read_bytes() for file in files})
    assert found[0] == found[1]


def test_what_an_interrupted_drawing_of_another_way_left_goes(tmp_path, pictures):
    """A unit has focus sheets in one way of drawing and perhaps none in another, which writes nothing over them."""
    net, found = network(), []
    for name in "ab":
        atlas = pw.scan(net, pictures, tmp_path / name, layers=["3:relu"], k=2)
        if name == "a":
            pw.draw(atlas, net)
            (atlas.path / "drawings.json").unlink()  # written last, so not there where a drawing was killed
            for kind in ("focus", "focus-patches"):
                (atlas.path / sheet_file(atlas.layers[0].slug, 0, kind)).write_bytes(b"of the other way")
        pw.draw(atlas, net, rules="guided")
        files = sorted((atlas.path / "drawings").rglob("*.*"))
        found.append({file.relative_to(atlas.path): file.read_bytes() for file in files})
    assert found[0] == found[1]


def test_tiles_of_a_photograph_are_drawn_from_the_photograph(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    y, x = np.mgrid[:70, :90]
    pixels = np.stack([3 * y, 2 * x, 255 - y - x], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "one.png")
    net = network()
    atlas = pw.draw(pw.scan(net, folder, tmp_path / "atlas", k=2, tiles=(SIZE, 16)), net)
    whole = [row for row in atlas.pictures(atlas.hit_pictures()).values() if row.scale == 1]
    assert whole
    for row in whole:
        thumb = np.asarray(Image.open(atlas.path / thumb_file(row.id)).convert("RGB")).astype(int)
        top, left = row.tile[:2]
        assert np.abs(thumb - pixels[top : top + SIZE, left : left + SIZE]).mean() < 4


def test_another_network_is_refused(drawn):
    _, atlas = drawn
    other = network()
    with torch.no_grad():
        other[0].weight[0, 0, 0, 0] += 1
    with pytest.raises(pw.PixelwardError, match=r"a network that is not the one of .* - allowed: the network that was"):
        pw.draw(atlas, other)


def test_changed_pictures_are_refused_and_moved_ones_found(tmp_path, pictures):
    net = network()
    atlas = pw.scan(net, pictures, tmp_path / "atlas", k=2)
    moved = pictures.rename(tmp_path / "elsewhere")
    with pytest.raises(pw.PixelwardError, match="pictures"):
        pw.draw(atlas, net)
    pw.draw(atlas, net, pictures=moved, layers=["0:relu"])
    for path in moved.glob("*.png"):
        Image.new("RGB", (40, 40), (9, 9, 9)).save(path)
    with pytest.raises(pw.PixelwardError, match=r"not the file that was scanned.*--pictures"):
        pw.draw(atlas, net, pictures=moved)
    assert json.loads((atlas.path / "drawings.json").read_text())["layers"].keys() == {"0:relu"}


def test_two_ways_of_drawing_do_not_mix(drawn):
    net, atlas = drawn
    with pytest.raises(pw.PixelwardError, match=r"rules guided.*drawn with rules deconvnet.*one way of drawing"):
        pw.draw(atlas, net, rules="guided")


def test_guided_drawings_work_where_every_step_calls_its_node(tmp_path, pictures):
    net = network()
    atlas = pw.draw(pw.scan(net, pictures, tmp_path / "atlas", k=2), net, rules="guided")
    hit = atlas["3:relu"][0].hits[0]
    one = project(net, pictures / hit.name, layer="3:relu", channel=0, rules="guided")
    assert one.value == pytest.approx(hit.value)
    assert atlas.drawings.rules == "guided"


class Exponential(nn.Module):
    def forward(self, x):
        return torch.exp(x)


def with_an_obstacle():
    torch.manual_seed(4)
    net = nn.Sequential(nn.Conv2d(3, 4, 5, 2), nn.ReLU(), Exponential(), nn.Conv2d(4, 2, 3), nn.Conv2d(2, 2, 1))
    net.preprocess = PREPROCESS
    return net.eval()


def test_layers_that_cannot_be_projected_are_left_out_in_one_line(tmp_path, pictures):
    net, told = with_an_obstacle(), []
    atlas = pw.scan(net, pictures, tmp_path / "atlas", layers=["0:relu", "3", "4"], k=2)
    for _ in range(2):  # the second time all is drawn that can be
        pw.draw(atlas, net, note=told.append)
        assert atlas.drawings.layers == ("0:relu",)
    line = "2 of 3 layers left out, 3 and 4, the first because of exp in '2', which the signal has to cross"
    assert told == [line, line]
    pw.export(atlas, tmp_path / "site")


def test_a_named_layer_that_cannot_be_projected_is_refused_before_any_work(tmp_path, pictures):
    net = with_an_obstacle()
    atlas = pw.scan(net, pictures, tmp_path / "atlas", layers=["0:relu", "3"], k=2)
    done = []
    for layers in (["3"], ["0:relu", "3"]):
        with pytest.raises(
            pw.PixelwardError, match=r"layer 3 to draw, but exp in '2', which the signal .*add a rule: "
        ):
            pw.draw(atlas, net, layers=layers, report=lambda *told: done.append(told))
    assert (done, atlas.drawings) == ([], None)
    pw.draw(atlas, net, layers=["3"], rules="gradient")
    assert atlas.drawings.layers == ("3",)


def test_an_atlas_of_which_nothing_can_be_drawn_is_refused(tmp_path, pictures):
    net = with_an_obstacle()
    atlas = pw.scan(net, pictures, tmp_path / "atlas", layers=["3"], k=2)
    with pytest.raises(pw.PixelwardError, match="layer 3 to draw, but exp in '2'"):
        pw.draw(atlas, net)
    assert atlas.drawings is None


class Gated(nn.Module):
    """A squeeze-and-excite block, then a layer with its channels last: the field is the picture, the reach is not."""

    def __init__(self):
        super().__init__()
        self.conv, self.squeeze, self.last = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 5, 3)
        self.mix = nn.Linear(5, 6)

    def forward(self, x):
        y = torch.relu(self.conv(x))
        y = torch.relu(self.last(y * torch.sigmoid(self.squeeze(y.mean((2, 3), keepdim=True)))))
        return self.mix(y.permute(0, 2, 3, 1))


def test_tiles_show_what_the_signal_reaches_where_a_gate_sees_the_whole_picture(tmp_path, pictures):
    torch.manual_seed(5)
    net = Gated().eval()
    net.preprocess = PREPROCESS
    atlas = pw.draw(pw.scan(net, pictures, tmp_path / "atlas", layers=["last:relu", "mix"], k=3), net)
    for record in atlas.layers:
        assert record.field.is_global
        assert (record.reach.rows.size, record.shown) == (7, record.reach)
        boxes = load_file(atlas.path / boxes_file(record.slug))
        compared = 0
        for channel in range(record.channels):
            for rank, hit in enumerate(atlas[record.address][channel].hits):
                one = project(net, pictures / hit.name, layer=record.address, channel=channel, position=hit.position)
                assert one.value == pytest.approx(hit.value, rel=1e-4)
                assert (one.shown, one.field) == (one.reach, Box(0, 0, SIZE, SIZE))
                assert tuple(boxes["reach"][channel, rank]) == one.reach
                tile = cells(atlas, record, channel, "projections")[rank]
                expected = fit(
                    crop(signal_to_picture(one.signal.numpy(), "RGB", one.reach).picture, one.reach),
                    cell_size(one.reach.height, one.reach.width),
                )
                off = np.abs(tile - np.asarray(expected).astype(int))
                assert np.percentile(off, 99) <= 8  # stored levels are eight apart
                compared += 1
        assert compared > 3


def test_damaged_drawings_are_whole_again_when_what_is_told_is_done(tmp_path, pictures):
    net = network()
    atlas = pw.draw(pw.scan(net, pictures, tmp_path / "an atlas", layers=["0:relu"], k=3), net)
    sheet = next(atlas.path.glob("drawings/*/*.projections.webp"))
    whole = sheet.read_bytes()
    sheet.write_bytes(b"RIFF")
    with pytest.raises(PixelwardError) as told:
        content.unit_page(atlas, atlas.layers[0], int(sheet.name.partition(".")[0]))
    folder = atlas.path
    assert told.value.next_step == f"delete {folder}/drawings.json, and draw again: pixelward draw '{folder}' MODEL"
    (folder / "drawings.json").unlink()
    pw.draw(folder, net)
    assert sheet.read_bytes() == whole
    assert Atlas.open(folder).verify() == []
