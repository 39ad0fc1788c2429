"""What axe-core finds on the exported pages, in a real browser."""

from typing import Any

import pytest

from axe import findings
from site_pages import LAYER, PAGES

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing(page: Any, path: str, width: int, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(page.at(path))
    assert findings(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_in_what_opens_and_where_nothing_is_found(page: Any, width: int, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(page.at(LAYER))
    page.locator("#dead summary").click()
    assert page.locator("#dead li").first.is_visible()
    page.fill("input[name=unit]", "no such picture")
    assert page.locator("#nothing").is_visible()
    assert findings(page) == []
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    assert findings(page) == []
