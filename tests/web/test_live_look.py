"""The live page in a real browser: in the window, readable, and its tiles lead on."""

from pathlib import Path
from typing import Any

import pytest

from axe import findings
from live_page import (  # noqa: F401
    REFUSED,
    atlas_once,
    mine_once,
    net_once,
    page_opened,
    picture,
    served_once,
    settled,
    unit_shown,
)
from pixelward.atlas import Atlas
from pixelward.web import links
from site_pages import OVER

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("size", [(1366, 700), (1024, 700), (1440, 900)])
def test_the_best_hits_are_in_the_window_beside_the_maps(page: Any, mine: Path, size: tuple[int, int]):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.set_input_files("#file", mine)
    settled(page)
    page.locator(".bench").evaluate("each => scrollTo(0, each.getBoundingClientRect().top + scrollY)")
    unit, best = page.locator("#unit"), page.locator(".of-unit .pair").bounding_box()
    assert best["y"] >= 0
    assert best["y"] + best["height"] <= size[1]
    assert unit.evaluate("each => each.scrollTop") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_and_nothing_leaves_a_phone(page: Any, mine: Path, tmp_path: Path, width: int, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    bad = tmp_path / "bad.png"
    bad.write_bytes(picture()[:500])
    for step in ("empty", "refused", "tried"):
        if step == "refused":
            page.set_input_files("#file", bad)
            page.locator(".refused", has_text="bad.png").wait_for()
        if step == "tried":
            page.set_input_files("#file", mine)
            settled(page)
        assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [line for line in page.watched.wrong if not REFUSED.match(line)] == []
    page.watched.wrong.clear()


@pytest.mark.parametrize("width", [320, 360, 390])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_words_stay_in_their_columns_on_a_small_phone(page: Any, mine: Path, atlas: Atlas, layer: int, width: int):
    page.set_viewport_size({"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVER) == []
    page.set_input_files("#file", mine)
    settled(page)
    page.select_option("select[name=layer]", atlas.layers[layer].slug)
    page.locator(".of-unit h2", has_text=atlas.layers[layer].address).wait_for()
    page.locator("input[name=unit]").fill("99999")
    page.keyboard.press("Enter")
    page.locator("#no-unit", has_text="There is no unit 99999").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVER) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("layer", [0, 1])
def test_axe_finds_nothing_in_what_is_told_of_a_hit(
    page: Any, served: str, atlas: Atlas, layer: int, width: int, scheme: str
):
    record = atlas.layers[layer]
    channel = next(channel for channel in range(record.channels) if atlas[record.address][channel].hits)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{served}/{links.details(record.slug, channel, 1, 'html')}")
    assert page.locator(".way-back li").count() > 1
    assert findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_tiles_of_the_best_hits_lead_to_the_hit_and_to_the_picture(page: Any, mine: Path, served: str, atlas: Atlas):
    page.set_input_files("#file", mine)
    settled(page)
    page.locator('.maps button[data-channel="2"]').click()
    unit_shown(page, 2)
    hits, unit = atlas["conv1:relu"][2].hits, links.unit(atlas.layers[0].slug, 2)
    page.locator(".of-unit .of.patches").hover(force=True)
    for kind, targets in (
        ("projections", [f"{unit}#h{rank + 1}" for rank in range(len(hits))]),
        ("patches", [links.picture(hit.picture) for hit in hits]),
    ):
        cells = page.locator(f".of-unit .cells.{kind} a")
        assert cells.evaluate_all("all => all.map((each) => each.href)") == [f"{served}/{each}" for each in targets]
        for cell, hit in zip(cells.all(), hits, strict=True):
            assert hit.name in cell.get_attribute("title")
    page.locator(".of-unit .cells.patches a").first.click()
    page.wait_for_url(f"{served}/{links.picture(hits[0].picture)}")


def test_no_styles_or_scripts_are_put_into_the_page(page: Any, mine: Path):
    page.set_input_files("#file", mine)
    settled(page)
    assert page.locator("style, [style], script:not([src])").count() == 0
    assert page.evaluate("document.styleSheets.length") == 2
