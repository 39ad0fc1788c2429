"""What each page says is what is in the atlas: the first one, those of layers, units and pictures."""

import json
import re
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pytest
from safetensors.numpy import save

from fake_atlas import SPECS, fake_atlas, told
from fake_pages import atlas_once, every_once, parsed_once  # noqa: F401
from pixelward.atlas import Atlas
from pixelward.core.findings import PAPER, REFUSED, Operation
from pixelward.folder import boxes_file, write_file
from pixelward.web import content, links, pages
from tags import Tags

# The first page


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
    assert "ReLU paper’s rule 5 features.<1>" in words
    assert "softmax refused: it mixes; write a rule 1 the network itself" in words
    assert json.loads(pages.twin(page))["operations"][1]["reason"] == "it mixes"


# Layers


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


@pytest.mark.parametrize(("k", "columns"), [(1, 1), (4, 2), (10, 4)])
def test_sheets_of_other_sizes_are_cut_and_covered_alike(tmp_path: Path, k: int, columns: int):
    atlas = fake_atlas(tmp_path / "atlas", SPECS[:1], k=k)
    page = content.layer_page(atlas, atlas.layers[0])
    sheet = page.units[-1].projections
    assert sheet is not None
    assert (sheet.columns, sheet.cell) == (columns, 112)
    assert f'class="units c{columns} r{-(-k // columns)}"' in pages.html(page)


def test_a_layer_that_is_not_drawn_still_has_pages_and_says_so(atlas: Atlas, parsed: dict[str, Tags]):
    tags = parsed[links.layer(atlas.layers[3].slug)]
    assert "not drawn" in tags.words
    assert not tags.of("img")
    assert "Not drawn." in parsed["index.html"].words


@pytest.mark.parametrize("drawn", [False, True])
def test_a_layer_of_which_no_unit_fired_is_told_as_that(tmp_path: Path, drawn: bool):
    atlas = fake_atlas(tmp_path / "atlas", [SPECS[0]._replace(channels=3, dead=3), SPECS[1]], drawn=drawn)
    text = pages.html(content.layer_page(atlas, atlas.layers[0]))
    assert "No picture made any of these units fire." in text
    assert "not drawn" not in text


def test_only_other_names_of_a_layer_are_told_that_are_none(atlas: Atlas):
    page = content.index_page(atlas)
    first, second, *rest = page.layers
    layers = (replace(first, aliases=("a.b", "")), replace(second, aliases=("",)), *rest)
    text = pages.html(replace(page, layers=layers))
    assert text.count("also ") == 1
    assert '<p class="quiet">also a.<wbr>b</p>' in text


def test_layers_whose_tiles_never_leave_the_picture_do_not_speak_of_hatching(atlas: Atlas):
    hatching = "Hatching lies outside the picture"
    for record, outside in zip(atlas.layers, (True, True, False, True), strict=True):
        page = content.layer_page(atlas, record)
        assert page.layer.outside == outside
        assert (hatching in pages.html(page)) == (outside and page.layer.drawn)


def test_extensions_of_the_paper_are_called_so(atlas: Atlas, parsed: dict[str, Tags]):
    assert "stated extension" in parsed["index.html"].words
    assert "beyond the paper" in parsed[links.layer(atlas.layers[2].slug)].words
    assert "beyond the paper" in parsed[links.unit(atlas.layers[2].slug, 0)].words
    assert "beyond the paper" not in parsed[links.layer(atlas.layers[0].slug)].words


def test_an_atlas_that_is_not_drawn_has_pages_without_pictures(tmp_path: Path):
    atlas = fake_atlas(tmp_path / "atlas", drawn=False)
    found = [content.index_page(atlas), *(content.layer_page(atlas, record) for record in atlas.layers)]
    found += [content.unit_page(atlas, atlas.layers[0], 2), content.picture_page(atlas, next(atlas.hit_pictures()))]
    for page in found:
        tags = Tags(pages.html(page))
        assert not tags.of("img")
        assert not tags.of("image")


# Units


def test_a_missing_hit_has_no_cell_and_no_large_tile(atlas: Atlas, every: dict[str, content.Page]):
    page = every[links.unit(atlas.layers[0].slug, 1)]
    assert isinstance(page, content.UnitPage)
    assert len(page.unit.hits) == 2
    assert pages.html(page).count('<li id="h') == 2


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


def test_every_hit_on_a_unit_page_shows_its_whole_picture_with_the_field_marked(every: dict[str, content.Page]):
    page = every["layers/000-conv1-relu/2.html"]
    assert isinstance(page, content.UnitPage)
    text = pages.html(page)
    for hit in page.unit.hits:
        assert text.count(f'href="../../{hit.page}"') == 3  # at the patch, the picture, the name
        assert f'<image href="../../{hit.thumb}"' in text
        assert f'<rect x="{hit.box.left}" y="{hit.box.top}" width="7" height="7"/>' in text


def test_the_histogram_holds_every_picture_that_fired(every: dict[str, content.Page]):
    for page in every.values():
        if isinstance(page, content.UnitPage):
            assert sum(page.histogram.counts) == page.unit.positive
            bars = pages.bars(page.histogram)
            assert len(bars) == len(page.histogram.counts)
            assert all(bar.x >= 0 and bar.x + bar.width <= pages.WIDTH and bar.y >= 0 for bar in bars)


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


def test_weights_are_shown_where_a_unit_reads_the_pixels_also_of_dead_ones(every: dict[str, content.Page]):
    for page in every.values():
        if isinstance(page, content.UnitPage):
            first = page.layer.number == 0
            assert (page.kernel is not None) == first
            shown = [image for image in Tags(pages.html(page)).of("img") if image["alt"] == "Weights of the unit"]
            assert len(shown) == first
            assert not shown or shown[0]["src"] == f"{page.unit.channel}.kernel.webp"


# Pictures


def test_a_picture_page_is_the_atlas_read_backwards(atlas: Atlas, every: dict[str, content.Page]):
    for id in atlas.hit_pictures():
        page = every[links.picture(id)]
        assert isinstance(page, content.PicturePage)
        told = [(layer.number, each.channel, each.hit.rank) for layer, hits in page.layers for each in hits]
        assert sorted(told) == atlas.hits_of_picture(id)
        assert pages.html(page).count('<rect id="f') == len(told)


def test_every_tile_of_a_photograph_has_a_title_and_a_heading_of_its_own(atlas: Atlas, every: dict[str, content.Page]):
    found = [every[links.picture(id)] for id in atlas.hit_pictures()]
    texts = [pages.html(page) for page in found]
    for mark in ("title", "h1"):
        named = [re.search(f"<{mark}>(.*?)</{mark}>", text) for text in texts]
        assert len({each and each[1] for each in named}) == len(found) > len({page.name for page in found})


def test_on_the_page_of_a_picture_every_unit_has_its_number_and_link_and_a_sheet_that_waits(
    atlas: Atlas, every: dict[str, content.Page], parsed: dict[str, Tags]
):
    for id in atlas.hit_pictures():
        page, tags = every[links.picture(id)], parsed[links.picture(id)]
        hits = [hit for _, hits in page.layers for hit in hits]
        waiting = [each["src"] for each in tags.of("img") if each["loading"] == "lazy"]
        assert waiting == [links.relative(page.path, hit.projections.path) for hit in hits if hit.projections]
        assert [each["href"] for each in tags.of("image")] == [f"{id}.webp"]
        words = " ".join(tags.words.split())
        for hit in hits:
            assert f"unit {hit.channel}no. {hit.hit.rank + 1}{pages.number(hit.hit.value)}" in words
            assert f"{links.relative(page.path, hit.page)}#h{hit.hit.rank + 1}" in {a.get("href") for a in tags.of("a")}
