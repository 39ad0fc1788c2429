"""Pages: pure, escaped, free of outside content, usable with a keyboard and a screen reader, and each has a twin."""

import json
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from fake_atlas import NAMES, SPECS, fake_atlas
from pixelward.atlas import Atlas
from pixelward.folder import boxes_file, write_file
from pixelward.web import content, links, pages
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
    return {page.path: page for page in found}


@pytest.fixture(scope="module")
def parsed(every: dict[str, content.Page]) -> dict[str, Tags]:
    return {path: Tags(pages.html(page)) for path, page in every.items()}


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
        assert json.loads(pages.twin(page)) == json.loads(json.dumps(asdict(page)))
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


def test_hovering_a_tile_tells_value_picture_and_position(atlas: Atlas, parsed: dict[str, Tags]):
    record = atlas.layers[0]
    titles = [a["title"] for a in parsed[links.layer(record.slug)].of("a") if "title" in a]
    hits = [hit for channel in range(record.channels) for hit in atlas[record.address][channel].hits]
    assert len(titles) == len(hits)
    for title, hit in zip(titles, hits, strict=True):
        assert title.startswith(f"{pages.number(hit.value)} · {hit.name}")
        assert title.endswith(f"y {hit.position[0]}, x {hit.position[1]}")


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


@pytest.mark.parametrize(("k", "columns"), [(1, 1), (4, 2), (10, 4)])
def test_sheets_of_other_sizes_are_cut_and_covered_alike(tmp_path: Path, k: int, columns: int):
    atlas = fake_atlas(tmp_path / "atlas", SPECS[:1], k=k)
    page = content.layer_page(atlas, atlas.layers[0])
    sheet = page.units[-1].projections
    assert sheet is not None
    assert (sheet.columns, sheet.cell) == (columns, 112)
    assert f'class="pair c{columns}"' in pages.html(page)


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
            assert sum(page.histogram.counts) == page.positive
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
