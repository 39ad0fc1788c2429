"""The exported pages at the widths of a desk and of a phone: whole, in the window, and nothing jumps."""

from pathlib import Path
from typing import Any

import pytest

from fake_atlas import SPECS, fake_atlas
from pixelward.web.export import export
from site_pages import LAYER, PAGES, UNIT

pytestmark = pytest.mark.browser


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
    for way in page.locator(".way").all():
        sanity = way.locator("h3", has_text="Is it the unit’s own?").locator("+ p")
        assert "Weights of layers above cannot matter: nothing above the unit runs." in sanity.inner_text()
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/{UNIT.format(3)}")
    assert page.locator(".way").count() == 0


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
