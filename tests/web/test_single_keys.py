"""Single keys can be turned off, which the browser remembers; then they are the browser's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from axe import findings
from pixelward.web import links
from scrolling import scroll_by
from watched import Watched

pytestmark = pytest.mark.browser

SLUG = "000-conv1-relu"
LAYER, UNIT, NEXT = links.layer(SLUG), links.unit(SLUG, 2), links.unit(SLUG, 3)


@pytest.fixture
def low(page: Any) -> Any:
    """A page in a low window, so that it scrolls."""
    page.set_viewport_size({"width": 1000, "height": 400})
    return page


def turn(page: Any) -> None:
    page.get_by_role("button", name="Keys").click()
    page.get_by_role("checkbox", name="Single keys").click()
    page.keyboard.press("Escape")
    page.evaluate("scrollTo(0, 0)")  # the button is at the end


def test_turned_off_no_key_leads_anywhere_and_arrows_scroll(low: Any):
    low.goto(low.at(UNIT))
    turn(low)
    for again in (False, True):  # on the page, and on the next one
        scroll_by(low, "ArrowDown")
        scroll_by(low, "ArrowUp")
        for key in ("ArrowRight", "ArrowLeft", "?"):
            low.keyboard.press(key)
        assert not low.get_by_role("dialog").is_visible()
        assert low.locator("[aria-keyshortcuts]").count() == 0
        assert low.url.endswith(UNIT)
        if not again:
            low.goto(low.at(LAYER))
            low.keyboard.press("v")
            low.keyboard.press("/")
            assert low.locator("#units").get_attribute("data-show") == "both"
            assert low.evaluate("document.activeElement === document.body")
            low.goto(low.at(UNIT))
    turn(low)
    low.keyboard.press("ArrowRight")
    low.wait_for_url(f"**/{NEXT}")
    assert low.locator("[aria-keyshortcuts=ArrowRight]").count() == 1
    low.keyboard.press("?")
    assert low.get_by_role("checkbox", name="Single keys").is_checked()


def test_a_page_that_is_gone_back_to_knows_what_was_turned_meanwhile(low: Any):
    low.goto(low.at(UNIT))
    low.goto(low.at(NEXT))
    turn(low)
    low.go_back()
    low.wait_for_url(f"**/{UNIT}")
    low.keyboard.press("ArrowRight")
    scroll_by(low, "ArrowDown")
    assert low.url.endswith(UNIT)


@pytest.mark.parametrize("key", ["PageDown", "Space", "End"])
def test_keys_for_scrolling_scroll_whether_single_keys_are_on_or_not(low: Any, key: str):
    for _ in range(2):
        low.goto(low.at(UNIT))
        scroll_by(low, key)
        assert low.url.endswith(UNIT)
        turn(low)


@pytest.fixture
def forgetful(browser: Any, site: Path) -> Iterator[Any]:
    """A page in a browser that stores nothing."""
    context = browser.new_context(viewport={"width": 1000, "height": 400})
    opened = context.new_page()
    watched = Watched(opened, site.as_uri())
    opened.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    yield opened
    context.close()
    assert watched.wrong == []


def test_where_nothing_is_stored_they_are_turned_off_for_the_page(forgetful: Any, site: Path):
    forgetful.goto(f"{site.as_uri()}/{UNIT}")
    turn(forgetful)
    forgetful.keyboard.press("ArrowRight")
    scroll_by(forgetful, "ArrowDown")
    assert forgetful.url.endswith(UNIT)
    forgetful.goto(f"{site.as_uri()}/{UNIT}?")
    forgetful.keyboard.press("ArrowRight")
    forgetful.wait_for_url(f"**/{NEXT}")


def test_a_device_that_seems_to_have_no_keys_offers_them_again_once_they_are_off(browser: Any, site: Path):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    opened = context.new_page()
    opened.goto(f"{site.as_uri()}/{UNIT}")
    button = opened.locator("#show-keys")
    assert not button.is_visible()
    opened.keyboard.press("?")
    opened.get_by_role("checkbox", name="Single keys").click()
    opened.keyboard.press("Escape")
    assert button.is_visible()
    assert button.inner_text() == "Keys"
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_dialog(low: Any, scheme: str):
    low.emulate_media(color_scheme=scheme)
    low.goto(low.at(UNIT))
    low.keyboard.press("?")
    assert low.evaluate("document.activeElement.textContent") == "Close"  # a space there turns nothing off
    assert findings(low) == []
