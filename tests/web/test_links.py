"""The exported site in a real browser, opened from disk: links from page to page, markup in names, no scripts."""

import json
from pathlib import Path
from typing import Any

import pytest

from pixelward.atlas import Atlas
from pixelward.web import links
from site_pages import LAYER, UNIT

pytestmark = pytest.mark.browser


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


def test_the_page_of_a_picture_marks_the_field_of_the_unit_pointed_at(page: Any, atlas: Atlas):
    id = next(atlas.hit_pictures())
    page.goto(page.at(links.picture(id)))
    entry = page.locator("[data-field]").first
    field = page.locator(f"#{entry.get_attribute('data-field')}")
    entry.focus()
    assert field.get_attribute("class") == "on"
    entry.blur()
    assert field.get_attribute("class") == ""


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


def test_markup_in_names_stays_text(page: Any, atlas: Atlas, site: Path):
    page.goto(page.at(LAYER))
    for unit in page.locator("#units li").all()[:6]:
        unit.locator(".of.patches").hover(force=True)
    titles = page.eval_on_selector_all("#units .cells a", "cells => cells.map((cell) => cell.title)")
    assert any("<img src=x onerror=alert(1)>" in title for title in titles)
    assert page.locator("#units b, #units i, img[src=x]").count() == 0
    page.select_option("select[name=label]", '"><b>birds<')
    assert json.loads((site / links.twin(LAYER)).read_text("utf-8"))["labels"][0]["label"] == '"><b>birds<'
