"""The exported site in a real browser, opened from disk: sorting, filtering, keys, links, and nothing that breaks."""

import functools
import json
import shutil
import threading
import unicodedata
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from axe import findings
from fake_atlas import SPECS, fake_atlas
from pixelward.atlas import Atlas
from pixelward.web import content, links, pages
from pixelward.web.export import export
from pixelward.web.guard import HEADERS
from pixelward.words import share
from watched import FILLED, Watched

pytestmark = pytest.mark.browser

LAYER = "layers/000-conv1-relu/index.html"
UNIT = "layers/000-conv1-relu/{}.html"


def shown(page: Any) -> list[int]:
    """The numbers of the units on a layer's page, in their order."""
    return page.eval_on_selector_all("#units li", "items => items.map((item) => Number(item.id.slice(1)))")


def told(page: Any) -> str:
    return page.locator("#told").inner_text()


@pytest.fixture
def layer(atlas: Atlas) -> content.LayerPage:
    return content.layer_page(atlas, atlas.layers[0])


def test_links_lead_from_the_network_to_a_picture_and_back(page: Any, atlas: Atlas):
    page.goto(page.at("index.html"))
    page.locator("nav a", has_text="conv1:relu").click()
    assert page.url.endswith("#layer-0")
    page.locator(".layers h3 a", has_text="conv1:relu").click()
    page.locator("#u5 h2 a").click()
    page.locator("#h1 .tiles a").click()
    hit = atlas["conv1:relu"][5].hits[0]
    assert page.url.endswith(links.picture(hit.picture))
    assert page.locator("h1").inner_text() == atlas.picture(hit.picture).title
    page.locator('.among a[href$="000-conv1-relu/5.html#h1"]').click()
    assert page.url.endswith(UNIT.format(5) + "#h1")


@pytest.mark.parametrize("reversed_", [False, True])
@pytest.mark.parametrize("sort", ["index", "strength", "sparsity", "selectivity"])
def test_units_are_sorted_by(page: Any, layer: content.LayerPage, sort: str, reversed_: bool):
    keys = {
        "index": lambda unit: (unit.channel,),
        "strength": lambda unit: (-unit.maximum, unit.channel),
        "sparsity": lambda unit: (unit.positive, unit.channel),
        "selectivity": lambda unit: (unit.entropy, -len(unit.hits), unit.channel),
    }
    page.goto(page.at(LAYER))
    page.select_option("select[name=sort]", sort)
    page.set_checked("input[name=reversed]", reversed_)
    expected = [unit.channel for unit in sorted(layer.units, key=keys[sort], reverse=reversed_)]
    assert shown(page) == expected
    page.reload()
    assert shown(page) == expected
    assert page.locator("select[name=sort]").input_value() == sort


def test_units_are_filtered_by_label(page: Any, layer: content.LayerPage):
    page.goto(page.at(LAYER))
    assert told(page) == "40 units"
    for label in layer.labels:
        page.select_option("select[name=label]", label.label)
        expected = [unit.channel for unit in layer.units if label.label in {each.label for each in unit.labels}]
        assert shown(page) == expected
        assert told(page) == f"{len(expected)} of 40 units"
        assert not page.locator("#dead").is_visible()


def test_dead_and_living_units_are_told_apart(page: Any, layer: content.LayerPage):
    page.goto(page.at(LAYER))
    page.select_option("select[name=state]", "dead")
    assert shown(page) == []
    assert page.locator("#dead li:visible").all_inner_texts() == [str(unit.channel) for unit in layer.dead]
    assert told(page) == "3 of 40 units"
    page.select_option("select[name=state]", "alive")
    assert shown(page) == [unit.channel for unit in layer.units]
    assert not page.locator("#dead").is_visible()
    assert told(page) == "37 of 40 units"


def test_units_are_found_by_their_numbers(page: Any, layer: content.LayerPage):
    page.goto(page.at(LAYER))
    page.keyboard.press("/")
    page.keyboard.type("7, 30-32")
    assert shown(page) == [7, 30, 31, 32]
    page.fill("input[name=unit]", str(layer.dead[0].channel))
    assert shown(page) == []
    assert page.locator("#dead li:visible").count() == 1
    page.fill("input[name=unit]", "7")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{UNIT.format(7)}")


def test_units_are_found_by_names_and_labels_of_their_pictures(page: Any, layer: content.LayerPage):
    page.goto(page.at(LAYER))
    names = {hit.name for unit in layer.units for hit in unit.hits}
    labels = {hit.label for unit in layer.units for hit in unit.hits if hit.label}
    asked = [
        *sorted(names)[:4],
        *sorted(labels)[:2],
        next(f"{h.label}  {h.name}" for h in layer.units[0].hits if h.label),
    ]
    for text in asked:
        page.fill("input[name=unit]", text.upper())
        words = text.lower().split()
        expected = [
            unit.channel
            for unit in layer.units
            if any(all(word in f"{hit.name} {hit.label or ''}".lower() for word in words) for hit in unit.hits)
        ]
        assert shown(page) == expected, text
        assert len(expected) > 0
        assert not page.locator("#dead").is_visible()  # a dead unit has no picture
        assert told(page) == f"{len(expected)} of 40 units"
    page.fill("input[name=unit]", "no such picture")
    assert shown(page) == []
    page.reload()  # what is asked for stands in the address
    assert (page.input_value("input[name=unit]"), shown(page)) == ("no such picture", [])


@pytest.mark.parametrize("text", ["unit 7", "Unit 7", "units 7", "#7", "u7", "7", "7,", " 7 ; #7 "])
def test_a_number_can_be_written_in_many_ways(page: Any, text: str):
    page.goto(page.at(LAYER))
    page.fill("input[name=unit]", text)
    assert shown(page) == [7]
    page.fill("input[name=unit]", f"{text}-u8".replace(",-", "-").replace(" -", "-"))
    assert shown(page) == [7, 8]


def test_names_of_digits_and_names_with_marks_are_found(browser: Any, tmp_path: Path):
    names = ("2020/1234", "2020-12-31.jpg", unicodedata.normalize("NFD", "Müller 3.png"), "MÜLLER.png", "plain.png")
    atlas = fake_atlas(tmp_path / "atlas", [SPECS[0]._replace(channels=40, dead=3)], names=names, k=2)
    export(atlas, tmp_path / "site")
    page_of_layer = content.layer_page(atlas, atlas.layers[0])
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    watched = Watched(page, tmp_path.as_uri())
    page.goto(f"{tmp_path.as_uri()}/site/{LAYER}")
    bare = page.url

    def having(*some: str) -> list[int]:
        wanted = tuple(unicodedata.normalize("NFC", name) for name in some)
        held = {u.channel: [unicodedata.normalize("NFC", hit.name) for hit in u.hits] for u in page_of_layer.units}
        found = [channel for channel, names in held.items() if any(name.startswith(wanted) for name in names)]
        assert 0 < len(found) < 37
        return found

    for text, some in (
        ("1234", names[:1]),
        ("2020", names[:2]),
        ("2020-12-31", names[1:2]),
        ("müller", names[2:4]),
        ("Muller", names[2:4]),
        (unicodedata.normalize("NFD", "mÜller"), names[2:4]),
    ):
        page.fill("input[name=unit]", text)
        assert shown(page) == having(*some), text
    page.fill("input[name=unit]", "12, 2020")  # a unit has one of these numbers
    assert shown(page) == [12]
    page.fill("input[name=unit]", "")
    assert (len(shown(page)), page.url) == (37, bare)  # without a bare question mark
    assert watched.wrong == []
    context.close()


def test_where_nothing_is_found_one_line_says_what_to_do(page: Any):
    page.goto(page.at(LAYER))
    line = page.locator("#nothing")
    assert not line.is_visible()
    page.fill("input[name=unit]", "no such picture")
    assert "Clear the field" in line.inner_text()
    assert line.inner_text().endswith("words in their pictures’ names and labels.")
    page.fill("input[name=unit]", "")
    assert not line.is_visible()
    page.select_option("select[name=state]", "dead")
    assert not line.is_visible()
    page.select_option("select[name=label]", index=1)
    assert line.is_visible()


def test_an_address_that_asks_for_what_is_not_there_shows_all(page: Any, layer: content.LayerPage):
    page.goto(page.at(LAYER) + "?sort=beauty&label=unicorn&show=nothing&unit=%E2%80%93&odd=1")
    assert shown(page) == [unit.channel for unit in layer.units]
    assert page.locator("#units").get_attribute("data-show") == "both"


@pytest.mark.parametrize("name", ["length", "item", "namedItem", "controls", "__proto__", "told"])
def test_names_of_an_address_that_mean_nothing_change_nothing(page: Any, layer: content.LayerPage, name: str):
    page.goto(f"{page.at(LAYER)}?sort=strength&{name}=1")
    strongest = sorted(layer.units, key=lambda unit: (-unit.maximum, unit.channel))
    assert shown(page) == [unit.channel for unit in strongest]
    assert told(page) == "40 units"


@pytest.mark.parametrize("seen", [10_000, 4096, 800])
def test_shares_are_written_as_on_the_page_of_a_unit(page: Any, layer: content.LayerPage, seen: int):
    most = [0, 1, 5, seen // 8, seen // 3, seen // 2, seen - seen // 100, seen - 5, seen - 1, seen]
    parts = [*most, *(part for part in range(11, seen, seen // 25))][: len(layer.units)]
    page.add_init_script(
        "document.addEventListener('readystatechange', () => { if (document.readyState !== 'interactive') return;"
        f"document.getElementById('units').dataset.seen = {seen}; const parts = {parts};"
        "document.querySelectorAll('#units li').forEach((each, at) => each.dataset.positive = parts[at] ?? 0); });"
    )
    page.goto(f"{page.at(LAYER)}?sort=sparsity")
    texts = page.locator("#units h2 span").all_inner_texts()
    assert texts[-len(parts) :] == [share(part, seen) for part in sorted(parts)]


def test_sheets_can_be_seen_alone_or_one_on_the_other(page: Any):
    page.goto(page.at(LAYER))
    projections, patches = page.locator("#u5 .of.projections"), page.locator("#u5 .of.patches")
    boxes = []
    for _ in range(4):
        visible = projections.is_visible(), patches.is_visible()
        boxes.append((page.locator("#units").get_attribute("data-show"), *visible))
        if boxes[-1][0] == "overlay":
            assert projections.bounding_box() == patches.bounding_box()
            assert projections.evaluate("each => getComputedStyle(each).mixBlendMode") == "hard-light"
        page.keyboard.press("v")
    assert boxes == [("both", 1, 1), ("projections", 1, 0), ("patches", 0, 1), ("overlay", 1, 1)]
    assert page.locator("#units").get_attribute("data-show") == "both"


def test_every_tile_tells_its_hit_and_every_patch_leads_to_its_picture(page: Any, atlas: Atlas):
    page.goto(page.at(LAYER))
    hits = atlas["conv1:relu"][5].hits
    page.locator("#u5 .of.patches").hover(position={"x": 5, "y": 5}, force=True)
    cells = page.locator("#u5 .cells.patches a")
    assert cells.count() == len(hits)
    for cell, hit in zip(cells.all(), hits, strict=True):
        assert hit.name in cell.get_attribute("title")
        assert cell.evaluate("cell => cell.href").endswith(links.picture(hit.picture))
    first = page.locator("#u5 .cells.projections a").first
    first.hover()
    assert page.locator("#u5 .cells .on").count() == 2
    assert first.evaluate("cell => cell.href").endswith(UNIT.format(5) + "#h1")
    cells.nth(1).click()
    assert page.url.endswith(links.picture(hits[1].picture))


@pytest.mark.parametrize("k", [103, 121])
def test_tiles_of_sheets_of_more_than_ten_columns_lead_to_their_own_hits(browser: Any, tmp_path: Path, k: int):
    names = [f"{number}.png" for number in range(31)]
    atlas = fake_atlas(tmp_path / "atlas", [SPECS[0]._replace(channels=4, dead=0)], names=names, k=k)
    export(atlas, tmp_path / "site")
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"{tmp_path.as_uri()}/site/{LAYER}")
    hits = atlas["conv1:relu"][3].hits
    sheet = page.locator("#u3 .of.patches")
    box, natural = sheet.bounding_box(), sheet.locator("img").evaluate("(i) => [i.naturalWidth, i.naturalHeight]")
    assert box["height"] / box["width"] == pytest.approx(natural[1] / natural[0], rel=0.03)  # of two with a gap between
    sheet.hover(force=True)
    under = (
        "([x, y]) => document.elementsFromPoint(x, y).find((each) => each.matches('.cells a'))?.getAttribute('href')"
    )
    pitch = box["width"] * 116 / (natural[0] + 4)
    for rank in (0, 10, 11, 45, k - 1):
        x, y = box["x"] + (rank % 11 + 0.48) * pitch, box["y"] + (rank // 11 + 0.48) * pitch
        assert page.evaluate(under, [x, y]).endswith(links.picture(hits[rank].picture))
    context.close()


def test_tiles_of_the_first_page_lead_to_hits_and_pictures(page: Any, atlas: Atlas):
    page.goto(page.at("index.html"))
    unit = page.locator("#layer-0 .strip li").nth(2)
    channel = int(unit.locator("> a").inner_text())
    hits = atlas["conv1:relu"][channel].hits
    unit.locator(".of.projections").hover(force=True)
    unit.locator(".cells.patches a").nth(3).click()
    assert page.url.endswith(links.picture(hits[3].picture))
    page.go_back()
    unit.locator(".of.projections").hover(force=True)
    unit.locator(".cells.projections a").nth(4).click()
    assert page.url.endswith(f"{UNIT.format(channel)}#h5")


def test_a_finger_is_followed_to_its_tile(browser: Any, site: Path, atlas: Atlas):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/{LAYER}")
    box = page.locator("#u5 .of.patches").bounding_box()
    page.locator("#u5 .of.patches").tap(position={"x": box["width"] / 2, "y": box["height"] / 2})
    page.wait_for_url(f"**/{links.picture(atlas['conv1:relu'][5].hits[4].picture)}")
    context.close()


def test_what_is_cut_at_the_side_fades_there_and_nothing_else_does(page: Any):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(page.at("index.html"))
    edges = "each => ['--before', '--after'].map((name) => parseFloat(getComputedStyle(each).getPropertyValue(name)))"
    scheme = page.locator(".scheme")
    assert scheme.evaluate("each => each.scrollWidth > each.clientWidth")
    page.wait_for_function(f"({edges})(document.querySelector('.scheme'))[1] > 20")
    assert scheme.evaluate(edges)[0] == 0
    scheme.evaluate("each => { each.scrollLeft = each.scrollWidth; }")
    page.wait_for_function(f"({edges})(document.querySelector('.scheme'))[0] > 20")
    assert scheme.evaluate(edges)[1] == 0
    page.set_viewport_size({"width": 1440, "height": 844})
    page.reload()
    assert scheme.evaluate(edges) == [0, 0]


def test_arrow_keys_lead_through_units_and_layers(page: Any):
    page.goto(page.at(UNIT.format(2)))
    for key, path in [
        ("ArrowRight", UNIT.format(3)),
        ("ArrowLeft", UNIT.format(2)),
        ("ArrowUp", "layers/001-block-relu-2/2.html"),
        ("ArrowDown", UNIT.format(2)),
        ("ArrowDown", UNIT.format(2)),  # nothing below
    ]:
        page.keyboard.press(key)
        page.wait_for_url(f"**/{path}")
    page.keyboard.press("Control+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert page.url.endswith(UNIT.format(2))


def test_the_question_mark_shows_the_keys_which_rest_meanwhile(page: Any):
    page.goto(page.at(UNIT.format(2)))
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    assert dialog.is_visible()
    assert "previous, next unit" in dialog.inner_text()
    page.keyboard.press("ArrowRight")
    assert page.url.endswith(UNIT.format(2))
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    page.get_by_role("button", name="Keys").click()
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()


def test_keys_do_nothing_while_somebody_writes_or_chooses(page: Any):
    page.goto(page.at("layers/001-block-relu-2/index.html"))
    page.focus("input[name=unit]")
    page.keyboard.type("v?")
    page.keyboard.press("ArrowRight")
    page.focus("input[name=show][value=both]")
    page.keyboard.press("ArrowRight")
    assert page.locator("#units").get_attribute("data-show") == "projections"
    assert page.url.split("?")[0].endswith("layers/001-block-relu-2/index.html")
    assert not page.locator("#keys").is_visible()


def test_the_page_of_a_picture_marks_the_field_of_the_unit_pointed_at(page: Any, atlas: Atlas):
    id = next(atlas.hit_pictures())
    page.goto(page.at(links.picture(id)))
    entry = page.locator("[data-field]").first
    field = page.locator(f"#{entry.get_attribute('data-field')}")
    entry.focus()
    assert field.get_attribute("class") == "on"
    entry.blur()
    assert field.get_attribute("class") == ""


@pytest.mark.parametrize("width", [390, 1440])
def test_what_is_told_of_a_hit_at_length_is_whole_at_any_width(page: Any, site: Path, width: int):
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(page.at(UNIT.format(2)))
    page.locator("#h3 a[href='#way-3']").click()
    assert page.url.endswith("#way-3")
    heading = page.get_by_role("heading", name="The way back from hit 3")
    assert 0 <= heading.bounding_box()["y"] < 844
    cut = page.eval_on_selector_all(
        ".way p, .way h2, .way h3, .way li",
        "found => found.filter((each) => each.scrollWidth > each.clientWidth + 1).map((each) => each.innerText)",
    )
    assert cut == []
    tiles = [tile.bounding_box() for tile in page.locator("#way-3 svg.tile").all()]
    assert len(tiles) == 14
    assert all(100 < tile["width"] < 300 and abs(tile["width"] - tile["height"]) < 2 for tile in tiles)
    assert all(tile["x"] >= 0 and tile["x"] + tile["width"] <= width for tile in tiles)
    shown = set(page.eval_on_selector_all("#way-3 image", "found => found.map((each) => each.href.baseVal)"))
    assert shown == {"2.details-3.webp"}
    assert (site / "layers/000-conv1-relu/2.details-3.webp").is_file()
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/{UNIT.format(3)}")
    assert page.locator(".way").count() == 0


def test_lists_far_away_wait_and_keep_their_heights(browser: Any, tmp_path: Path):
    many = fake_atlas(tmp_path / "atlas", [SPECS[0]._replace(channels=600, dead=0)], k=1)
    export(many, tmp_path / "site")
    asked = []
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    watched = Watched(opened, tmp_path.as_uri())
    opened.on("request", lambda sent: asked.append(sent.url))
    opened.goto(f"{tmp_path.as_uri()}/site/layers/000-conv1-relu/index.html")
    assert opened.locator("#units ol").count() == 5
    height = opened.evaluate("document.documentElement.scrollHeight")
    last = "/599.projections.webp"
    assert not [url for url in asked if url.endswith(last)]
    with opened.expect_request(f"**{last}"):
        opened.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    for top in range(0, height, 700):
        opened.evaluate(f"new Promise((done) => (scrollTo(0, {top}), requestAnimationFrame(done)))")
    assert abs(opened.evaluate("document.documentElement.scrollHeight") - height) <= 2
    opened.set_viewport_size({"width": 1000, "height": 900})
    opened.wait_for_function(
        "() => { const [one, ...rest] = document.getElementById('units').children; "
        "const columns = getComputedStyle(one).gridTemplateColumns.split(' ').length; "
        "return rest.length && one.childElementCount % columns === 0; }"
    )
    assert watched.wrong == []
    context.close()


def test_of_very_many_units_only_those_near_the_window_are_in_the_page(browser: Any, tmp_path: Path):
    many = fake_atlas(tmp_path / "atlas", [SPECS[0]._replace(channels=3000, dead=0)], k=1, drawn=False)
    path = tmp_path / LAYER
    path.parent.mkdir(parents=True)
    path.write_text(pages.html(content.layer_page(many, many.layers[0])), "utf-8")
    shutil.copytree(Path(pages.__file__).with_name("static"), tmp_path / "static")
    context = browser.new_context(viewport={"width": 390, "height": 844})
    opened = context.new_page()
    watched = Watched(opened, tmp_path.as_uri())
    opened.goto(path.as_uri())
    opened.wait_for_function("document.querySelectorAll('#units li').length < 1500")
    height = opened.evaluate("document.documentElement.scrollHeight")
    for top in range(0, height, 2000):
        opened.evaluate(f"new Promise((done) => (scrollTo(0, {top}), requestAnimationFrame(done)))")
        assert opened.evaluate(FILLED)
    assert abs(opened.evaluate("document.documentElement.scrollHeight") - height) <= 2
    opened.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    opened.wait_for_selector("#u2999 h2")
    opened.goto(f"{path.as_uri()}?sort=strength#u1500")
    opened.wait_for_selector("#u1500 h2")
    box = opened.locator("#u1500").bounding_box()
    assert 0 <= box["y"] <= 844
    opened.fill("input[name=unit]", "2000-2004")
    assert shown(opened) == sorted(range(2000, 2005), key=lambda each: -many.stats(many.layers[0]).maximum[each])
    assert watched.wrong == []
    context.close()


PAGES = [
    "index.html",
    LAYER,
    f"{LAYER}?show=overlay&sort=selectivity",
    UNIT.format(2),
    UNIT.format(0),
    "pictures/0.html",
]


@pytest.mark.parametrize("path", PAGES)
def test_nothing_jumps_and_nothing_leaves_a_phone(page: Any, path: str):
    page.set_viewport_size({"width": 390, "height": 844})
    page.add_init_script(
        "window.moved = 0;"
        "new PerformanceObserver((list) => list.getEntries().forEach((each) => (moved += each.value)))"
        ".observe({ type: 'layout-shift', buffered: true });"
    )
    page.goto(page.at(path), wait_until="load")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    if "?" not in path:
        assert page.evaluate("moved") < 0.01


LONG = "American Staffordshire terrier, Staffordshire terrier, American pit bull terrier, pit bull terrier"


@pytest.fixture(scope="module")
def long_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site whose labels are a long list, one word of 180 letters, and short."""
    home = tmp_path_factory.mktemp("long")
    names = [f"{LONG}/a.png", f"{'x' * 180}/b.png", "cat/c.png"]
    export(fake_atlas(home / "atlas", [SPECS[0]._replace(channels=12)], names=names), home / "site")
    return home / "site"


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("path", [LAYER, UNIT.format(2), UNIT.format(3), "pictures/0.html", "pictures/4.html"])
def test_long_labels_stay_in_the_page_and_in_their_columns(browser: Any, long_labels: Path, path: str, width: int):
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"{long_labels.as_uri()}/{path}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    out = page.eval_on_selector_all(
        ".label, .controls select, .controls label, .shares span",
        "all => all.filter((each) => { const box = each.getBoundingClientRect(),"
        " room = each.closest('.hits li, .panels li, .lead, .controls, .shares').getBoundingClientRect();"
        " return box.left < room.left - 1 || box.right > room.right + 1; }).map((each) => each.outerHTML)",
    )
    assert out == []
    if path == LAYER and width == 1440:
        assert page.locator("#controls").bounding_box()["height"] < 60  # one row, for it stays in the window
    context.close()


def test_the_lead_of_a_unit_is_not_broken_where_there_is_room(page: Any):
    page.goto(page.at(UNIT.format(2)))
    assert page.locator(".lead").bounding_box()["height"] < 30


def test_the_last_panel_of_a_hit_told_at_length_does_not_stand_alone_on_a_phone(page: Any):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(page.at(UNIT.format(2)))
    for panels, columns in ((".way-back", 3), (".compared", 2)):
        some = page.locator(f"#way-1 {panels}").first
        assert some.locator("> li").last.bounding_box()["width"] < 200
        some.evaluate(
            "(each, columns) => { while (each.children.length % columns !== 1) each.append(each.firstElementChild"
            ".cloneNode(true)); }",
            columns,
        )
        last = some.locator("> li").last
        assert last.bounding_box()["width"] == pytest.approx(some.bounding_box()["width"], abs=1)
        tile, words = last.locator(".tile").bounding_box(), last.locator("p").first.bounding_box()
        assert words["x"] > tile["x"] + tile["width"]
        assert abs(words["y"] - tile["y"]) < 8
        assert tile["width"] < 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing(page: Any, path: str, width: int, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(page.at(path))
    assert findings(page) == []


def test_without_scripts_all_units_are_there_and_nothing_that_does_nothing(browser: Any, site: Path, atlas: Atlas):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/{LAYER}")
    assert page.locator("#units li").count() == 37
    assert not page.locator("#controls").is_visible()
    assert not page.locator("#show-keys").is_visible()
    page.locator("#u5 .of.patches").click()
    assert page.url.endswith(UNIT.format(5))
    context.close()


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    """The site behind the policy of the server."""

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Content-Security-Policy", HEADERS["content-security-policy"])
            super().end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_strict_policy_refuses_nothing(browser: Any, served: str):
    context = browser.new_context()
    page = context.new_page()
    watched = Watched(page, served)
    for path in PAGES:
        page.goto(f"{served}/{path}")
        page.wait_for_load_state("networkidle")
    page.goto(f"{served}/{LAYER}?sort=strength")
    page.locator("#u5 .of.patches").hover(force=True)
    page.fill("input[name=unit]", "5")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{UNIT.format(5)}")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    assert page.evaluate("document.styleSheets.length") == 1
    assert watched.wrong == []
    context.close()


def test_markup_in_names_stays_text(page: Any, atlas: Atlas, site: Path):
    page.goto(page.at(LAYER))
    for unit in page.locator("#units li").all()[:6]:
        unit.locator(".of.patches").hover(force=True)
    titles = page.eval_on_selector_all("#units .cells a", "cells => cells.map((cell) => cell.title)")
    assert any("<img src=x onerror=alert(1)>" in title for title in titles)
    assert page.locator("#units b, #units i, img[src=x]").count() == 0
    page.select_option("select[name=label]", '"><b>birds<')
    assert json.loads((site / links.twin(LAYER)).read_text("utf-8"))["labels"][0]["label"] == '"><b>birds<'
