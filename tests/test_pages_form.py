"""What every page keeps to: pure, escaped, free of outside content, links and keys that lead on, and a twin."""

import json
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urljoin

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_atlas import NAMES, SPECS, fake_atlas
from fake_pages import atlas_once, every_once, parsed_once  # noqa: F401
from pixelward.atlas import Atlas
from pixelward.web import content, links, pages
from tags import Tags


def whole_twin(page: content.Page) -> object:
    """A page's twin, read; in a layer's, what is said of a picture is put back to each hit in it."""
    plain = json.loads(pages.twin(page))
    if isinstance(page, content.LayerPage):
        pictures = plain.pop("pictures")
        for unit in plain["units"]:
            unit["hits"] = [hit | pictures[str(hit["picture"])] for hit in unit["hits"]]
    return plain


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


def test_once_prepared_no_page_waits_for_a_template(every: dict[str, content.Page], monkeypatch: pytest.MonkeyPatch):
    pages._environment.cache_clear()
    pages.prepare()
    monkeypatch.setattr(jinja2.Environment, "compile", lambda *_: pytest.fail("a template was compiled"))
    for page in every.values():
        pages.html(page)


def test_tags_are_closed_in_order(parsed: dict[str, Tags]):
    assert {path: (tags.unbalanced, tags.open) for path, tags in parsed.items() if tags.unbalanced or tags.open} == {}


def test_ids_are_unique_on_each_page(parsed: dict[str, Tags]):
    for path, tags in parsed.items():
        ids = Counter(attributes["id"] for _, attributes in tags.tags if "id" in attributes)
        assert [id for id, count in ids.items() if count > 1] == [], path


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


# Escaping


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


# Links and keys


PATHS = st.lists(st.sampled_from(["a", "b", "layers", "0-x"]), max_size=3).map(
    lambda folders: "/".join([*folders, "p.html"])
)


@given(page=PATHS, target=PATHS, fragment=st.sampled_from(["", "#h3"]))
def test_relative_links_lead_from_any_page_to_any_other(page: str, target: str, fragment: str):
    assert (
        urljoin(f"file:///site/{page}", links.relative(page, target + fragment)) == f"file:///site/{target}{fragment}"
    )


def test_every_link_has_words(every: dict[str, content.Page]):
    for path, page in every.items():
        for attributes, inside in re.findall(r"<a\s([^>]*)>(.*?)</a>", pages.html(page), re.S):
            words = re.sub(r"<[^>]*>", "", inside).strip()
            named = re.search(r'(title|aria-label|alt)="[^"]+"', attributes + inside)
            assert words or named, (path, attributes)


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


def test_a_unit_page_has_a_link_of_every_hit_to_its_picture_that_keys_reach(every: dict[str, content.Page]):
    for page in every.values():
        if isinstance(page, content.UnitPage):
            reached = [a["href"] for a in Tags(pages.html(page)).of("a") if a.get("tabindex") != "-1"]
            wanted = [links.relative(page.path, hit.page) for hit in page.unit.hits]
            assert [href for href in reached if "/pictures/" in href] == wanted


def test_hits_lead_to_pages_of_their_own_only_where_there_is_a_network(every: dict[str, content.Page]):
    page = every[links.unit("000-conv1-relu", 2)]
    ways = {
        live: [a["href"] for a in Tags(pages.html(page, live)).of("a") if ".details-" in a["href"]] for live in (0, 1)
    }
    assert ways == {0: [], 1: [f"2.details-{hit}.html" for hit in (2, 4, 5, 6, 7, 8, 9)]}
    dead = every[links.unit("000-conv1-relu", 0)]
    undrawn = every[links.unit("003-late-relu", 0)]
    assert all(".details-" not in pages.html(each, True) for each in (dead, undrawn))


# Twins


def test_every_page_has_a_twin_that_says_the_same(every: dict[str, content.Page], parsed: dict[str, Tags]):
    for path, page in every.items():
        assert whole_twin(page) == json.loads(json.dumps(asdict(page)))
        alternate = [link for link in parsed[path].of("link") if link["rel"] == "alternate"]
        assert urljoin(path, alternate[0]["href"]) == links.twin(path)
        assert links.twin(path).endswith(".json")


def test_the_twin_of_a_layer_says_once_what_is_known_of_a_picture(every: dict[str, content.Page]):
    page = every["layers/000-conv1-relu/index.html"]
    assert isinstance(page, content.LayerPage)
    text = pages.twin(page)
    ids = {hit.picture for unit in page.units for hit in unit.hits}
    assert text.count('"thumb":') == len(ids) < sum(len(unit.hits) for unit in page.units)
    assert ' "' not in text.replace(NAMES[0].replace('"', '\\"'), "")


def test_what_is_to_be_typed_is_set_apart_and_all_of_it_escaped():
    assert pages.spelled("see `info <b>`, `again` & go") == (
        "see <code>info &lt;b&gt;</code>, <code>again</code> &amp; go"
    )
    assert pages.spelled("one ` alone <i>") == "one ` alone &lt;i&gt;"
