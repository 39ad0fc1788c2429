"""Pages: pure, escaped, free of outside content, usable with a keyboard and a screen reader, and each has a twin."""

import json
import re
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import urljoin

import jinja2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from fake_atlas import NAMES, SPECS, fake_atlas, told
from pixelward.atlas import Atlas
from pixelward.core.fields import Box
from pixelward.core.findings import PAPER, REFUSED, Operation
from pixelward.details import read_details
from pixelward.folder import boxes_file, write_file
from pixelward.likeness import Pairing
from pixelward.web import content, gather, links, pages
from pixelward.web.beside import compare_layer_page, compare_page
from tags import Tags


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return fake_atlas(tmp_path_factory.mktemp("fake") / "atlas")


@pytest.fixture(scope="module")
def every(atlas: Atlas) -> dict[str, content.Page]:
    """All pages of the site, by path."""
    found: list[content.Page] = [content.index_page(atlas, ["Somebody <b>kind</b>, CC0"])]
    for record in atlas.layers:
        found.append(content.layer_page(atlas, record))
        found += [content.unit_page(atlas, record, channel) for channel in range(record.channels)]
    found += [content.picture_page(atlas, id) for id in atlas.hit_pictures()]
    for record, channel, hit in told(atlas):
        details = read_details(atlas, record, channel, hit)
        assert details is not None
        found.append(content.details_page(atlas, record, channel, details))
    pairing = Pairing(atlas, atlas)
    found += [compare_page(pairing), *(compare_layer_page(pairing, record) for record in atlas.layers)]
    return {page.path: page for page in found}


@pytest.fixture(scope="module")
def parsed(every: dict[str, content.Page]) -> dict[str, Tags]:
    return {path: Tags(pages.html(page)) for path, page in every.items()}


def whole_twin(page: content.Page) -> object:
    """A page's twin, read; in a layer's, what is said of a picture is put back to each hit in it."""
    plain = json.loads(pages.twin(page))
    if isinstance(page, content.LayerPage):
        pictures = plain.pop("pictures")
        for unit in plain["units"]:
            unit["hits"] = [hit | pictures[str(hit["picture"])] for hit in unit["hits"]]
    return plain


def test_the_twin_of_a_layer_says_once_what_is_known_of_a_picture(every: dict[str, content.Page]):
    page = every["layers/000-conv1-relu/index.html"]
    assert isinstance(page, content.LayerPage)
    text = pages.twin(page)
    ids = {hit.picture for unit in page.units for hit in unit.hits}
    assert text.count('"thumb":') == len(ids) < sum(len(unit.hits) for unit in page.units)
    assert ' "' not in text.replace(NAMES[0].replace('"', '\\"'), "")


def test_every_kind_of_page_is_there(every: dict[str, content.Page]):
    units = sum(spec.channels for spec in SPECS)
    kinds = Counter(type(page).__name__ for page in every.values())
    assert (kinds["IndexPage"], kinds["LayerPage"], kinds["UnitPage"]) == (1, len(SPECS), units)
    assert kinds["PicturePage"] > 0
    assert set(pages.TEMPLATES) == {type(page) for page in every.values()}


def test_the_same_page_gives_the_same_text(atlas: Atlas, every: dict[str, content.Page]):
    again = content.unit_page(atlas, atlas.layers[0], 2)
    assert pages.html(again) == pages.html(every[again.path])
    assert pages.twin(again) == pages.twin(every[again.path])


def test_tags_are_closed_in_order(parsed: dict[str, Tags]):
    assert {path: (tags.unbalanced, tags.open) for path, tags in parsed.items() if tags.unbalanced or tags.open} == {}


def test_ids_are_unique_on_each_page(parsed: dict[str, Tags]):
    for path, tags in parsed.items():
        ids = Counter(attributes["id"] for _, attributes in tags.tags if "id" in attributes)
        assert [id for id, count in ids.items() if count > 1] == [], path


def test_names_of_pictures_are_escaped(atlas: Atlas, every: dict[str, content.Page], parsed: dict[str, Tags]):
    shown = [path for path, tags in parsed.items() if NAMES[0] in tags.words]
    assert any(path.startswith("pictures/") for path in shown)
    assert any(path.startswith("layers/") for path in shown)
    assert all(not tags.of("i") for tags in parsed.values())
    assert "Somebody <b>kind</b>, CC0" in parsed["index.html"].words


def test_names_of_layers_and_labels_are_escaped(tmp_path: Path):
    evil = "<img src=x onerror=alert(1)>&\"'"
    spec = SPECS[0]._replace(address=f"net/{evil}:relu")
    atlas = fake_atlas(tmp_path / "atlas", [spec], names=[f"a{evil}/x.png", f"b{evil}/{evil}.png", "c.png"])
    found: list[content.Page] = [content.index_page(atlas, [evil]), content.layer_page(atlas, atlas.layers[0])]
    found += [content.unit_page(atlas, atlas.layers[0], 2), content.picture_page(atlas, next(atlas.hit_pictures()))]
    for page in found:
        tags = Tags(pages.html(page))
        assert tags.unbalanced == tags.open == []
        assert all("onerror" not in attributes and attributes.get("src") != "x" for _, attributes in tags.tags)
        assert re.fullmatch(r"[\w./-]+", page.path)
        assert evil in tags.words
        assert whole_twin(page) == json.loads(json.dumps(asdict(page)))
    options = [option["value"] for option in Tags(pages.html(found[1])).of("option")]
    assert f"a{evil}" in options


def test_nothing_comes_from_another_host(every: dict[str, content.Page], parsed: dict[str, Tags]):
    for path, tags in parsed.items():
        for tag, attributes in tags.tags:
            for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
                assert "//" not in attributes.get(name, ""), (path, tag, attributes)
                assert not attributes.get(name, "").startswith(("/", "data:", "javascript:")), (path, tag, attributes)
    static = Path(pages.__file__).parent / "static"
    for file in static.iterdir():
        text = file.read_text("utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?:|//[a-z]|@import|url\(", text), file.name


def test_there_is_no_inline_script_and_no_inline_style(every: dict[str, content.Page], parsed: dict[str, Tags]):
    for path, tags in parsed.items():
        assert not tags.of("style"), path
        assert all(attributes.get("src") for attributes in tags.of("script")), path
        for tag, attributes in tags.tags:
            assert not [name for name in attributes if name == "style" or name.startswith("on")], (path, tag)


def test_pictures_have_words_and_sheets_have_sizes_and_wait(parsed: dict[str, Tags]):
    for path, tags in parsed.items():
        for image in tags.of("img"):
            assert image["alt"].strip(), path
            assert int(image["width"]) > 0, path
            assert int(image["height"]) > 0, path
            assert image["loading"] == "lazy", path
        for drawing in tags.of("svg"):
            if "aria-hidden" not in drawing:
                assert drawing["role"] == "img", path
                assert drawing["aria-label"].strip(), path


def test_every_page_has_a_language_a_title_one_heading_and_fits_a_phone(
    every: dict[str, content.Page], parsed: dict[str, Tags]
):
    for path, tags in parsed.items():
        assert tags.of("html")[0]["lang"] == "en"
        assert len(tags.of("h1")) == len(tags.of("main")) == 1, path
        assert re.search(r"<title>[^<]+, zfnet64</title>|<title>zfnet64: [^<]+</title>", pages.html(every[path])), path
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in tags.of("meta")


def test_every_link_has_words(every: dict[str, content.Page]):
    for path, page in every.items():
        for attributes, inside in re.findall(r"<a\s([^>]*)>(.*?)</a>", pages.html(page), re.S):
            words = re.sub(r"<[^>]*>", "", inside).strip()
            named = re.search(r'(title|aria-label|alt)="[^"]+"', attributes + inside)
            assert words or named, (path, attributes)


def test_every_page_has_a_twin_that_says_the_same(every: dict[str, content.Page], parsed: dict[str, Tags]):
    for path, page in every.items():
        assert whole_twin(page) == json.loads(json.dumps(asdict(page)))
        alternate = [link for link in parsed[path].of("link") if link["rel"] == "alternate"]
        assert urljoin(path, alternate[0]["href"]) == links.twin(path)
        assert links.twin(path).endswith(".json")


def test_a_layer_page_shows_every_unit_or_lists_it_as_dead(atlas: Atlas, every: dict[str, content.Page]):
    for record in atlas.layers:
        page = every[links.layer(record.slug)]
        assert isinstance(page, content.LayerPage)
        shown, dead = ([unit.channel for unit in units] for units in (page.units, page.dead))
        assert sorted(shown + dead) == list(range(record.channels))
        assert len(dead) == SPECS[record.number].dead == page.layer.dead
        text = pages.html(page)
        for channel in range(record.channels):
            assert f'id="u{channel}"' in text
            assert f'href="{channel}.html"' in text


def test_a_layer_page_holds_what_its_script_tells_of_each_tile(atlas: Atlas, parsed: dict[str, Tags]):
    record = atlas.layers[0]
    path = links.layer(record.slug)
    (grid,) = (tag for tag in parsed[path].of("div") if tag.get("id") == "units")
    pictures = json.loads(grid["data-pictures"])
    items = {int(tag["id"][1:]): tag for tag in parsed[path].of("li") if "data-hits" in tag}
    for channel in range(record.channels):
        hits = atlas[record.address][channel].hits
        if not hits:
            assert channel not in items
            continue
        for text, hit in zip(items[channel]["data-hits"].split(";"), hits, strict=True):
            value, number, y, x = text.split(" ")
            address, name, label = pictures[int(number)]
            assert (value, (int(y), int(x))) == (pages.number(hit.value), hit.position)
            assert name.startswith(hit.name)
            assert label == atlas.picture(hit.picture).label
            assert urljoin(path, address) == links.picture(hit.picture)


def test_a_missing_hit_has_no_cell_and_no_large_tile(atlas: Atlas, every: dict[str, content.Page]):
    page = every[links.unit(atlas.layers[0].slug, 1)]
    assert isinstance(page, content.UnitPage)
    assert len(page.unit.hits) == 2
    assert pages.html(page).count('<li id="h') == 2


def test_a_unit_page_has_a_link_of_every_hit_to_its_picture_that_keys_reach(every: dict[str, content.Page]):
    for page in every.values():
        if isinstance(page, content.UnitPage):
            reached = [a["href"] for a in Tags(pages.html(page)).of("a") if a.get("tabindex") != "-1"]
            wanted = [links.relative(page.path, hit.page) for hit in page.unit.hits]
            assert [href for href in reached if "/pictures/" in href] == wanted


def test_a_unit_page_cuts_each_hit_out_of_its_sheet(atlas: Atlas, every: dict[str, content.Page]):
    page = every[links.unit(atlas.layers[0].slug, 2)]
    assert isinstance(page, content.UnitPage)
    sheet = page.unit.projections
    assert sheet is not None
    assert (sheet.columns, sheet.cell, sheet.width) == (3, 112, 3 * 112 + 2 * 4)
    boxes = [sheet.tile(rank) for rank in range(9)]
    assert boxes[0] == (0, 0, 112, 112)
    assert boxes[5] == (232, 116, 112, 112)
    text = pages.html(page)
    assert all(f'viewBox="{" ".join(map(str, box))}"' in text for box in boxes)


@pytest.mark.parametrize(("k", "columns"), [(1, 1), (4, 2), (10, 4)])
def test_sheets_of_other_sizes_are_cut_and_covered_alike(tmp_path: Path, k: int, columns: int):
    atlas = fake_atlas(tmp_path / "atlas", SPECS[:1], k=k)
    page = content.layer_page(atlas, atlas.layers[0])
    sheet = page.units[-1].projections
    assert sheet is not None
    assert (sheet.columns, sheet.cell) == (columns, 112)
    assert f'class="units c{columns} r{-(-k // columns)}"' in pages.html(page)


def test_a_dead_unit_says_so_and_claims_nothing_else(
    atlas: Atlas, parsed: dict[str, Tags], every: dict[str, content.Page]
):
    path = links.unit(atlas.layers[0].slug, 0)
    assert "Dead in this collection" in parsed[path].words
    assert "strongest" not in parsed[path].words
    assert not parsed[path].of("image")
    page = every[path]
    assert isinstance(page, content.UnitPage)
    assert page.histogram.counts == ()


def test_a_unit_page_warns_that_sharpness_proves_nothing(atlas: Atlas, parsed: dict[str, Tags]):
    assert "A sharp picture is no proof" in parsed[links.unit(atlas.layers[0].slug, 2)].words
    assert "A sharp projection is no proof" in parsed["index.html"].words


def test_extensions_of_the_paper_are_called_so(atlas: Atlas, parsed: dict[str, Tags]):
    assert "stated extension" in parsed["index.html"].words
    assert "beyond the paper" in parsed[links.layer(atlas.layers[2].slug)].words
    assert "beyond the paper" in parsed[links.unit(atlas.layers[2].slug, 0)].words
    assert "beyond the paper" not in parsed[links.layer(atlas.layers[0].slug)].words


def test_a_layer_that_is_not_drawn_still_has_pages_and_says_so(atlas: Atlas, parsed: dict[str, Tags]):
    tags = parsed[links.layer(atlas.layers[3].slug)]
    assert "not drawn" in tags.words
    assert not tags.of("img")
    assert "Not drawn." in parsed["index.html"].words


def test_the_first_page_tells_what_was_seen(atlas: Atlas, parsed: dict[str, Tags]):
    words = " ".join(parsed["index.html"].words.split())
    assert f"in {atlas.pictures_seen} pictures" in words
    assert "1 skipped" in words
    assert "broken.jpg truncated" in words
    assert "rules deconvnet, unpooling sum, seed value" in words
    assert "2 dead (40 %)" in words
    assert "field 7 × 7 px" in words
    for record in atlas.layers:
        assert record.address in words


def test_the_first_page_draws_the_field_of_each_layer_to_scale(atlas: Atlas, every: dict[str, content.Page]):
    page = every["index.html"]
    assert isinstance(page, content.IndexPage)
    assert page.sample is not None
    hits = Counter(id for record in atlas.layers for id in atlas.units(record).picture.ravel().tolist() if id >= 0)
    assert hits[page.sample.picture] == max(hits.values())
    text = pages.html(page)
    for record, spec in zip(atlas.layers, SPECS, strict=True):
        box = record.field.box(tuple(side // 2 for side in record.map), atlas.size)
        assert (box.height, box.width) == (spec.field or 64, spec.field or 64)
        assert f'<rect x="{box.left}" y="{box.top}" width="{box.width}" height="{box.height}"/></svg>' in text
    assert text.count(f'<image href="{page.sample.thumb}"') == len(SPECS)


def test_surroundings_show_how_far_fields_leave_the_picture_up_to_a_quarter(every: dict[str, content.Page]):
    page = every["index.html"]
    assert isinstance(page, content.IndexPage)
    layer = page.layers[0]
    assert pages.surroundings([layer], (64, 64)) == (0, 0, 64, 64)
    for box, margin in (((-5, 0, 70, 64), 5), ((-1, 0, 75, 64), 10), ((-300, 0, 700, 64), 16)):
        wide = replace(layer, middle=Box(*box))
        assert pages.surroundings([layer, wide], (64, 64)) == (-margin, 0, 64 + 2 * margin, 64)


@pytest.mark.parametrize(
    ("box", "path"),
    [
        ((8, 4, 16, 20), "M0 0H64V48H0ZM4 8V24H24V8Z"),
        ((-8, -4, 16, 20), "M0 0H64V48H0ZM0 0V8H16V0Z"),
        ((40, 60, 16, 20), "M0 0H64V48H0ZM60 40V48H64V40Z"),
    ],
)
def test_what_lies_outside_a_field_is_shaded_inside_the_picture_only(box, path):
    assert pages.shade(Box(*box), (48, 64)) == path


def test_how_operations_are_crossed_is_told_where_it_is_known_and_left_out_elsewhere(
    atlas: Atlas, parsed: dict[str, Tags], monkeypatch: pytest.MonkeyPatch
):
    assert "crosses each operation" not in parsed["index.html"].words
    found = (
        Operation("relu", "rectify", PAPER, 5, "features.<1>"),
        Operation("softmax", "softmax", REFUSED, 1, "", "it mixes", "write a rule"),
    )
    drawings = atlas.drawings
    assert drawings is not None
    monkeypatch.setattr(Atlas, "drawings", replace(drawings, operations=found))
    page = content.index_page(atlas)
    tags = Tags(pages.html(page))
    words = " ".join(tags.words.split())
    assert "ReLU paper's rule 5 features.<1>" in words
    assert "softmax refused: it mixes; write a rule 1 the network itself" in words
    assert json.loads(pages.twin(page))["operations"][1]["reason"] == "it mixes"


def test_an_atlas_that_is_not_drawn_has_pages_without_pictures(tmp_path: Path):
    atlas = fake_atlas(tmp_path / "atlas", drawn=False)
    found = [content.index_page(atlas), *(content.layer_page(atlas, record) for record in atlas.layers)]
    found += [content.unit_page(atlas, atlas.layers[0], 2), content.picture_page(atlas, next(atlas.hit_pictures()))]
    for page in found:
        tags = Tags(pages.html(page))
        assert not tags.of("img")
        assert not tags.of("image")


def test_measures_of_a_unit_are_those_of_its_statistics_and_labels(atlas: Atlas, every: dict[str, content.Page]):
    for record in atlas.layers:
        stats, page = atlas.stats(record), every[links.layer(record.slug)]
        assert isinstance(page, content.LayerPage)
        for unit in page.units:
            assert (unit.maximum, unit.positive) == (stats.maximum[unit.channel], stats.positive[unit.channel])
            labels = Counter(hit.label for hit in unit.hits)
            assert {each.label: each.count for each in unit.labels} == labels
            shares = np.array(list(labels.values())) / len(unit.hits)
            assert unit.entropy == pytest.approx(-(shares * np.log2(shares)).sum())
        assert {each.label: each.count for each in page.labels} == Counter(
            label for unit in page.units for label in {hit.label for hit in unit.hits}
        )


def test_entropy_is_none_without_labels_and_nothing_where_all_are_alike():
    assert gather.entropy(gather.counted_labels([None, None])) is None
    assert gather.entropy(gather.counted_labels(["a", "a", None])) == 0
    assert gather.entropy(gather.counted_labels(["a", "b", "c", "d"])) == 2
    assert [each.label for each in gather.counted_labels(["b", "a", "c", "c"])] == ["c", "a", "b"]


def test_what_needs_labels_is_absent_without_them(tmp_path: Path):
    atlas = fake_atlas(tmp_path / "atlas", SPECS[:1], labels=False)
    layer, unit = content.layer_page(atlas, atlas.layers[0]), content.unit_page(atlas, atlas.layers[0], 2)
    assert layer.labels == unit.unit.labels == ()
    assert unit.unit.entropy is None
    text = pages.html(layer)
    assert 'value="strength"' in text
    assert 'value="selectivity"' not in text
    assert 'name="label"' not in text
    assert "Labels of these" not in pages.html(unit)


def test_a_unit_page_names_the_labels_of_its_hits_the_most_frequent_first(every: dict[str, content.Page]):
    page = every["layers/000-conv1-relu/2.html"]
    assert isinstance(page, content.UnitPage)
    counts = [each.count for each in page.unit.labels]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == 9
    assert f"Entropy {pages.number(page.unit.entropy)} bits" in pages.html(page)


def test_keys_lead_to_the_units_and_layers_beside(every: dict[str, content.Page], parsed: dict[str, Tags]):
    def keys(path: str) -> dict[str, str]:
        found = [tag for tag in parsed[path].of("a") if "aria-keyshortcuts" in tag]
        return {tag["aria-keyshortcuts"]: urljoin(path, tag["href"]) for tag in found}

    unit = "layers/001-block-relu-2/{}.html"
    above = "layers/002-fc6-relu/{}.html"
    assert keys(unit.format(2)) == {
        "ArrowLeft": unit.format(1),
        "ArrowRight": unit.format(3),
        "ArrowDown": "layers/000-conv1-relu/2.html",
        "ArrowUp": above.format(2),
    }
    assert keys(unit.format(4))["ArrowUp"] == above.format(3)  # the last one: that layer has fewer
    assert "ArrowRight" not in keys(unit.format(4))
    assert "ArrowDown" not in keys("layers/000-conv1-relu/0.html")
    assert keys("layers/001-block-relu-2/index.html") == {
        "ArrowLeft": "layers/000-conv1-relu/index.html",
        "ArrowRight": "layers/002-fc6-relu/index.html",
    }
    for path in every:
        (button,) = (tag for tag in parsed[path].of("button") if "id" in tag)
        assert button["aria-keyshortcuts"] == "?"


def test_every_hit_on_a_unit_page_shows_its_whole_picture_with_the_field_marked(every: dict[str, content.Page]):
    page = every["layers/000-conv1-relu/2.html"]
    assert isinstance(page, content.UnitPage)
    text = pages.html(page)
    for hit in page.unit.hits:
        assert text.count(f'href="../../{hit.page}"') == 3  # at the patch, the picture, the name
        assert f'<image href="../../{hit.thumb}"' in text
        assert f'<rect x="{hit.box.left}" y="{hit.box.top}" width="7" height="7"/>' in text


def test_next_and_previous_lead_through_all_units(atlas: Atlas, every: dict[str, content.Page]):
    record = atlas.layers[0]
    path: str | None = links.unit(record.slug, 0)
    seen = []
    while path:
        page = every[path]
        assert isinstance(page, content.UnitPage)
        assert page.previous == (seen[-1] if seen else None)
        seen.append(path)
        path = page.next
    assert seen == [links.unit(record.slug, channel) for channel in range(record.channels)]


def test_a_picture_page_is_the_atlas_read_backwards(atlas: Atlas, every: dict[str, content.Page]):
    for id in atlas.hit_pictures():
        page = every[links.picture(id)]
        assert isinstance(page, content.PicturePage)
        told = [(layer.number, each.channel, each.hit.rank) for layer, hits in page.layers for each in hits]
        assert sorted(told) == atlas.hits_of_picture(id)
        assert pages.html(page).count('<rect id="f') == len(told)


def test_the_histogram_holds_every_picture_that_fired(every: dict[str, content.Page]):
    for page in every.values():
        if isinstance(page, content.UnitPage):
            assert sum(page.histogram.counts) == page.unit.positive
            bars = pages.bars(page.histogram)
            assert len(bars) == len(page.histogram.counts)
            assert all(bar.x >= 0 and bar.x + bar.width <= pages.WIDTH and bar.y >= 0 for bar in bars)


def test_bars_without_an_edge_are_named_by_the_other():
    histogram = content.Histogram((None, 2.0**-20, 2.0**20), (2.0**-20, 0.5, None), (1, 0, 2))
    assert [bar.title for bar in pages.bars(histogram)] == [
        "below 9.54e-07: 1 picture",
        "from 9.54e-07 to 0.500: 0 pictures",
        "from 1,048,576: 2 pictures",
    ]


def test_ticks_stand_at_powers_of_two():
    edges = [2.0 ** (n / 2) for n in range(-2, 4)]
    histogram = content.Histogram(tuple(edges[:-1]), tuple(edges[1:]), (1, 1, 1, 1, 1))
    assert [(tick.x, tick.text) for tick in pages.ticks(histogram)] == [(0.0, "0.5"), (256.0, "1"), (512.0, "2")]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (9.2, "9.20"), (31.04, "31.0"), (123.4, "123"), (12345.6, "12,346"), (0.0004, "4.00e-04")],
)
def test_numbers_have_three_digits(value: float, text: str):
    assert pages.number(value) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "0 %"),
        (0, 9, "0 %"),
        (1, 9, "11 %"),
        (9, 9, "100 %"),
        (1, 10**6, "below 0.1 %"),
        (10**6 - 1, 10**6, "over 99.9 %"),
        (1, 16, "6.2 %"),
        (399, 400, "99.8 %"),
    ],
)
def test_shares_never_read_as_none_or_all_unless_they_are(part: int, whole: int, text: str):
    assert pages.share(part, whole) == text


PATHS = st.lists(st.sampled_from(["a", "b", "layers", "0-x"]), max_size=3).map(
    lambda folders: "/".join([*folders, "p.html"])
)


def test_the_sample_shows_a_photograph_as_a_whole_where_one_is(tmp_path: Path):
    atlas = fake_atlas(tmp_path / "atlas")
    counts = Counter(hit.picture for record in atlas.layers for unit in atlas[record.address] for hit in unit.hits)
    (busiest, _), (second, _), *_ = counts.most_common()
    for whole, expected in (((), busiest), ((second,), second), ((busiest, second), busiest)):
        with closing(sqlite3.connect(tmp_path / "atlas" / "pictures.sqlite", isolation_level=None)) as database:
            database.execute("UPDATE pictures SET tile_height = 60, tile_width = 60")
            for id in whole:  # more than half of 96 x 128 pixels
                database.execute("UPDATE pictures SET tile_height = 90, tile_width = 80 WHERE id = ?", [id])
        found = Atlas.open(tmp_path / "atlas").sample_picture()
        assert counts[found] == counts[expected]
        assert not whole or found in whole


@pytest.mark.parametrize("count", range(1, 60))
def test_panels_stand_in_rows_of_about_one_length(count: int):
    columns = pages.gallery_columns(count)
    rows = -(-count // columns)
    assert columns <= 9
    assert rows == -(-count // 9)
    assert columns == 1 or rows * (columns - 1) < count


def test_layers_whose_tiles_never_leave_the_picture_do_not_speak_of_hatching(atlas: Atlas):
    hatching = "Hatching lies outside the picture"
    for record, outside in zip(atlas.layers, (True, True, False, True), strict=True):
        page = content.layer_page(atlas, record)
        assert page.layer.outside == outside
        assert (hatching in pages.html(page)) == (outside and page.layer.drawn)


@given(page=PATHS, target=PATHS, fragment=st.sampled_from(["", "#h3"]))
def test_relative_links_lead_from_any_page_to_any_other(page: str, target: str, fragment: str):
    assert (
        urljoin(f"file:///site/{page}", links.relative(page, target + fragment)) == f"file:///site/{target}{fragment}"
    )


@pytest.mark.parametrize(("concentrated", "closer"), [(9, True), (5, True), (4, False), (1, False)])
def test_a_unit_is_shown_close_up_where_most_of_its_signals_are_concentrated(tmp_path, concentrated, closer):
    atlas = fake_atlas(tmp_path / "atlas")
    record = atlas.layer("block/relu#2")
    channel = next(c for c in range(record.channels) if (np.asarray(atlas.units(record).picture[c]) >= 0).all())
    focus = np.full((record.channels, atlas.k, 4), -1, np.int32)
    focus[channel, :concentrated] = 20
    write_file(atlas.path / boxes_file(record.slug), save({"focus": focus}))
    page = content.unit_page(atlas, record, channel)
    assert page.unit.closer == closer
    shown, other = ("focus", "projections") if closer else ("projections", "focus")
    assert page.unit.projections.path.endswith(f"{channel}.{shown}.webp")
    assert page.other[0].path.endswith(f"{channel}.{other}.webp")
    assert ("In the whole field" in pages.html(page)) == closer


def test_a_unit_page_tells_at_length_what_the_atlas_does(atlas: Atlas, every: dict[str, content.Page]):
    there = {(record.number, channel): [] for record, channel, _ in told(atlas)}
    for record, channel, hit in told(atlas):
        there[record.number, channel].append(hit)
    for page in every.values():
        if not isinstance(page, content.UnitPage):
            continue
        text, hits = pages.html(page), there.get((page.layer.number, page.unit.channel), [])
        tags = Tags(text)
        assert [each["id"] for each in tags.of("section") if "id" in each] == [f"way-{hit}" for hit in hits]
        assert [each.details.hit for each in page.told] == hits
        ways = [link["href"] for link in tags.of("a") if link["href"].startswith("#way")]
        assert ways == [f"#way-{hit}" for hit in hits]
        twin = json.loads(pages.twin(page))
        assert [each["details"]["way"][0]["title"] for each in twin["told"]] == ["seed"] * len(hits)
        for each in page.told:
            cuts = [svg["viewbox"] for svg in tags.of("svg") if "tile" in svg.get("class", "").split()]
            panels = [*each.details.way, *each.details.methods, *each.details.sanity]
            for panel in panels:
                if panel.tile is not None:
                    assert " ".join(map(str, panel.tile)) in cuts
            assert each.pictures == links.details(
                atlas.layers[page.layer.number].slug, page.unit.channel, each.details.hit
            )


def test_words_of_details_are_escaped_and_numbers_are_signed(every: dict[str, content.Page]):
    for page in every.values():
        if getattr(page, "told", ()):
            tags = Tags(pages.html(page))
            assert tags.unbalanced == tags.open == []
            assert all("onerror" not in attributes for _, attributes in tags.tags)
            assert '<img src=x onerror=alert(1)>&"' in tags.words
            assert "nothing above the unit runs" in tags.words
            assert "r 0.00, fine −0.50" in tags.words
            assert "no likeness: one of the two does not vary" in tags.words
            assert "No proof" in tags.words


def test_weights_are_shown_where_a_unit_reads_the_pixels_also_of_dead_ones(every: dict[str, content.Page]):
    for page in every.values():
        if isinstance(page, content.UnitPage):
            first = page.layer.number == 0
            assert (page.kernel is not None) == first
            shown = [image for image in Tags(pages.html(page)).of("img") if image["alt"] == "Weights of the unit"]
            assert len(shown) == first
            assert not shown or shown[0]["src"] == f"{page.unit.channel}.kernel.webp"


def test_hits_lead_to_pages_of_their_own_only_where_there_is_a_network(every: dict[str, content.Page]):
    page = every[links.unit("000-conv1-relu", 2)]
    ways = {
        live: [a["href"] for a in Tags(pages.html(page, live)).of("a") if ".details-" in a["href"]] for live in (0, 1)
    }
    assert ways == {0: [], 1: [f"2.details-{hit}.html" for hit in (2, 4, 5, 6, 7, 8, 9)]}
    dead = every[links.unit("000-conv1-relu", 0)]
    undrawn = every[links.unit("003-late-relu", 0)]
    assert all(".details-" not in pages.html(each, True) for each in (dead, undrawn))


@pytest.mark.parametrize(("value", "text"), [(-0.004, "0.00"), (-0.5, "−0.50"), (0.999, "1.00"), (0.0, "0.00")])
def test_correlations_have_a_sign_where_they_have_one(value: float, text: str):
    assert pages.signed(value) == text


def test_long_names_may_break_and_stay_escaped():
    assert str(pages.breakable("a.b_c/<i>.x & 0.5.")) == "a.<wbr>b_<wbr>c/&lt;i&gt;.<wbr>x &amp; 0.<wbr>5."
    assert Tags(str(pages.breakable("a.b_c/<i>.x & 0.5."))).words == "a.b_c/<i>.x & 0.5."


def test_once_prepared_no_page_waits_for_a_template(every: dict[str, content.Page], monkeypatch: pytest.MonkeyPatch):
    pages._environment.cache_clear()
    pages.prepare()
    monkeypatch.setattr(jinja2.Environment, "compile", lambda *_: pytest.fail("a template was compiled"))
    for page in every.values():
        pages.html(page)
