"""What scrolls sideways fades where it is cut, as the window is now."""

from typing import Any

import pytest

from pixelward.web import links

pytestmark = pytest.mark.browser

FADES = """each => ["--before", "--after"].map((name) => parseFloat(getComputedStyle(each).getPropertyValue(name)))"""


def faded(page: Any, expected: list[int]) -> None:
    """Wait until the first layer's strip fades by so many pixels on each side."""
    page.wait_for_function(f"(e) => String(({FADES})(document.querySelector('.scheme'))) === String(e)", arg=expected)


def test_the_fade_follows_the_scrolling_and_the_window(page: Any):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(page.at(links.INDEX))
    scheme = page.locator(".scheme")
    most = scheme.evaluate("each => each.scrollWidth - each.clientWidth")
    assert most > 100
    for left, fades in ((0, [0, 48]), (20, [20, 48]), (most // 2, [48, 48]), (most - 10, [48, 10]), (most, [48, 0])):
        scheme.evaluate("(each, left) => { each.scrollLeft = left; }", left)
        faded(page, fades)
        assert scheme.evaluate("each => getComputedStyle(each).maskImage") != "none"
    page.set_viewport_size({"width": 1440, "height": 844})
    faded(page, [0, 0])
    assert scheme.evaluate("each => getComputedStyle(each).maskImage") == "none"
    page.set_viewport_size({"width": 390, "height": 844})
    faded(page, [0, 48])


def test_what_has_the_focus_is_not_in_the_fade(page: Any):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(page.at(links.INDEX))
    reached, scheme = page.locator(".scheme a"), page.locator(".scheme")
    reached.first.focus()
    steps = reached.count() - 1
    assert steps > 2
    for key in ["Tab"] * steps + ["Shift+Tab"] * steps:
        page.keyboard.press(key)
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        before, after = scheme.evaluate(FADES)
        room, box = scheme.bounding_box(), page.locator(".scheme a:focus").bounding_box()
        assert box["x"] >= room["x"] + before - 1
        assert box["x"] + box["width"] <= room["x"] + room["width"] - after + 1
