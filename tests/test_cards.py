"""What a notebook shows: whole by itself, well-formed, escaped, bounded, and with the facts of the pages."""

import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import pixelward as pw
from fake_atlas import NAMES, SPECS, fake_atlas
from pixelward.atlas import Atlas
from pixelward.errors import PixelwardError
from pixelward.views import EXAMPLES, FEW, PICTURED
from pixelward.web.content import index_page, layer_page, unit_page
from pixelward.words import number, share
from tags import Tags

UNIT, EVIL = 2, "<img src=x onerror=alert(1)>&\"'"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return fake_atlas(tmp_path_factory.mktemp("fake") / "atlas")


def card(shown: object) -> Tags:
    """The parsed card of an object, found whole and with pictures that can be read."""
    text = shown._repr_html_()  # type: ignore[attr-defined]
    tags = Tags(text)
    assert tags.unbalanced == tags.open == []
    assert not any(tags.of(name) for name in ("script", "style", "link", "a", "iframe"))
    assert not any(name.startswith("on") or name == "id" for _, attributes in tags.tags for name in attributes)
    assert not re.search(r"(?<![-\w])(color|background):(?!inherit|none)", text), "colours are the notebook's"
    for image in tags.of("img"):
        kind, data = image["src"].split(";base64,")
        assert kind in ("data:image/webp", "data:image/png")
        assert image["alt"]
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as picture:
            picture.load()
            assert picture.size == (int(image["width"]), int(image["height"]))
    return tags


def words(tags: Tags) -> str:
    return " ".join(tags.words.split())


def test_a_unit_says_what_its_page_says(atlas: Atlas):
    for record in atlas.layers:
        for channel in range(record.channels):
            tags, page = card(atlas[record.address][channel]), unit_page(atlas, record, channel)
            told = words(tags)
            assert f"{record.address}, unit {channel}" in told
            if not page.unit.hits:
                assert f"Dead in this collection: none of {page.seen} pictures" in told
                continue
            part = share(page.unit.positive, page.seen)
            assert f"in {page.unit.positive} of {page.seen} pictures ({part})" in told
            assert f"strongest {number(page.unit.maximum)}" in told
            assert ", ".join(f"{each.label} {each.count}" for each in page.unit.labels) in told
            assert len(tags.of("li")) == len(page.unit.hits)
            for hit in page.unit.hits:
                place = f", at y {hit.position[0]}, x {hit.position[1]}" if hit.position else ""
                assert f"{number(hit.value)}: {hit.name} ({hit.label}){place}" in told
            assert len(tags.of("img")) == (2 if page.unit.projections else 0)


def test_a_unit_knows_the_sheets_that_its_page_shows(atlas: Atlas):
    for record in atlas.layers:
        for channel in range(record.channels):
            unit, entry = atlas[record.address][channel], unit_page(atlas, record, channel).unit
            for file, sheet in ((unit.projections, entry.projections), (unit.patches, entry.patches)):
                assert (file is None) == (sheet is None)
                if file is not None and sheet is not None:
                    assert sheet.path.endswith(f"{record.slug}/{file.name}")
                    assert file.is_file()


def test_a_layer_says_what_its_page_says_and_shows_a_few_of_its_units(atlas: Atlas):
    for record in atlas.layers:
        tags, page = card(atlas[record.address]), layer_page(atlas, record)
        told = words(tags)
        field = f"field {page.layer.field[0]} × {page.layer.field[1]} px" if page.layer.field else "the whole picture"
        dead = f"{page.layer.dead} dead" if page.layer.dead else "none dead"
        maps = f"{record.map[0]} × {record.map[1]} map" if record.map else "vector"
        for fact in (record.address, f"{record.channels} units", maps, field, dead):
            assert fact in told
        assert len(tags.of("img")) <= 2 * EXAMPLES
        assert bool(tags.of("img")) == page.layer.drawn
        assert ("Not drawn." in told) == (not page.layer.drawn)


def test_an_atlas_names_all_layers_with_a_few_units_of_each(atlas: Atlas):
    tags, page = card(atlas), index_page(atlas)
    told = words(tags)
    assert page.network in told
    assert page.how.capitalize() in told
    assert f"{page.seen} pictures from {', '.join(page.sources)}" in told
    for layer in page.layers:
        assert f"{layer.address}: {layer.channels} units" in told
    assert (
        len(tags.of("img")) == sum(2 * min(FEW, spec.channels - spec.dead) for spec in SPECS[:1] + SPECS[2:3]) + 2 * 2
    )


def test_a_large_atlas_stays_small_on_the_page(tmp_path: Path):
    many = fake_atlas(tmp_path / "atlas", [SPECS[0]._replace(address=f"layer{n}:relu") for n in range(40)])
    tags = card(many)
    assert len(tags.of("img")) == PICTURED * FEW * 2
    assert len(many._repr_html_()) < 1_000_000
    assert all(f"layer{n}:relu" in tags.words for n in range(40))


def test_names_are_escaped(tmp_path: Path):
    names = [f"a{EVIL}/x.png", f"b{EVIL}/{EVIL}.png", "c.png"]
    atlas = fake_atlas(tmp_path / "atlas", [SPECS[0]._replace(address=f"net/{EVIL}:relu")], names=names)
    layer = atlas[f"net/{EVIL}:relu"]
    for shown in (atlas, layer, layer.record, layer[UNIT]):
        tags = card(shown)
        assert f"net/{EVIL}:relu" in tags.words
        assert all("onerror" not in attributes for _, attributes in tags.tags)
    assert any(name in card(layer[UNIT]).words for name in names[:2])


def test_names_of_the_usual_atlas_are_shown_as_they_are(atlas: Atlas):
    told = "".join(card(atlas["conv1:relu"][channel]).words for channel in range(6))
    assert NAMES[0] in told


def test_a_record_shows_itself_in_words(atlas: Atlas):
    for record in atlas.layers:
        tags = card(record)
        assert not tags.of("img")
        assert f"{record.channels} units" in words(tags)


def test_an_atlas_that_is_not_drawn_says_so(tmp_path: Path):
    bare = fake_atlas(tmp_path / "atlas", drawn=False)
    for shown in (bare, bare["conv1:relu"], bare["conv1:relu"][UNIT]):
        assert not card(shown).of("img")
    assert "Not drawn" in card(bare).words
    assert bare["conv1:relu"][UNIT].projections is None


def test_a_damaged_sheet_is_one_line(tmp_path: Path):
    atlas = fake_atlas(tmp_path / "atlas", SPECS[:1])
    unit = atlas["conv1:relu"][UNIT]
    assert unit.projections is not None
    unit.projections.write_bytes(b"RIFF")
    with pytest.raises(PixelwardError, match=r"whose drawings/.* cannot be read - allowed: .* - next step: "):
        unit._repr_html_()


@pytest.mark.parametrize("channel", [0, 1])
def test_a_projection_shows_its_picture_and_what_was_chosen(channel: int):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()).eval()
    found = pw.project(net, torch.rand(3, 16, 16), layer="0:relu", channel=channel)
    tags = card(found)
    (image,) = tags.of("img")
    assert int(image["width"]), int(image["height"]) == found.to_image().size
    told = words(tags)
    assert f"0:relu, unit {channel}" in told
    for fact in (f"{found.value:.4g}", "rules deconvnet", "unpooling sum", "seed value", "field 3 × 3 px"):
        assert fact in told


def test_an_atlas_shows_itself_without_torch(atlas: Atlas):
    code = (
        f"import sys, pixelward as pw\natlas = pw.open({str(atlas.path)!r})\n"
        "for shown in (atlas, atlas['conv1:relu'], atlas['conv1:relu'][2]):\n"
        "    assert shown._repr_html_()\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
