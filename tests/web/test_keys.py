"""Keys on the exported pages, in a real browser."""

from typing import Any

import pytest

from site_pages import UNIT

pytestmark = pytest.mark.browser


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
