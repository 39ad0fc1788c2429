"""The page scrolled by a key, in a browser that may be busy."""

from typing import Any

PRESSES = 3
SEEN = """() => {
  if (!window.refused) addEventListener("keydown", (event) => refused.push(event.defaultPrevented));
  window.refused = [];
}"""


def scroll_by(page: Any, key: str) -> None:
    """Press a key, and wait until the page has moved.

    On a very busy machine Chromium drops one such scroll in a hundred: the page gets the key and lets it be, and
    nothing moves, however long one waits, nor is there an event; the next press scrolls. So a key may be pressed again,
    but none that the page has taken for itself.
    """
    from playwright.sync_api import TimeoutError as Late  # here, for what runs no browser has no Playwright

    top = page.evaluate("scrollY")
    page.evaluate(SEEN)
    for _ in range(PRESSES):
        page.keyboard.press(key)
        page.wait_for_function("refused.length > 0")
        assert page.evaluate("refused") == [False]
        try:
            page.wait_for_function("top => scrollY !== top", arg=top, timeout=8000)
        except Late:
            page.evaluate("() => { refused.length = 0; }")
        else:
            return
    raise AssertionError(f"{key} does not scroll")
