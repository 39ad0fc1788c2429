"""Sheets of tiles on layers' pages and the first page, in a real browser: how they are shown, where each tile leads."""

from pathlib import Path
from typing import Any

import pytest

from fake_atlas import SPECS, fake_atlas
from pixelward.atlas import Atlas
from pixelward.web import links
from pixelward.web.export import export
from site_pages import LAYER, UNIT

pytestmark = pytest.mark.browser


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
    size = "(image) => image.decode().then(() => [image.naturalWidth, image.naturalHeight])"  # it may come late
    natural, box = sheet.locator("img").evaluate(size), sheet.bounding_box()
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
