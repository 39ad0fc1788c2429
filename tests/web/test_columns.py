"""Where the columns of a layer change, who looks at a unit or has the focus on one keeps it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from many_units import written
from watched import Watched

pytestmark = pytest.mark.browser

SHORT, LONG = 700, 2500
# The first unit that begins in the window, and where.
FIRST = """() => {
  const tops = [...document.querySelectorAll("#units li")].map((each) => [each.id, each.getBoundingClientRect().top]);
  return tops.find(([, top]) => top >= 0);
}"""
COLUMNS = "getComputedStyle(document.querySelector('#units ol')).gridTemplateColumns.split(' ').length"
FOCUSED = "document.activeElement.closest('li')?.id"
FOCUS = """() => [...document.querySelectorAll("#units li")].findLast((each) => {
  const box = each.getBoundingClientRect();
  return box.top > 0 && box.bottom < innerHeight;
}).querySelector("h2 a").focus({ preventScroll: true })"""
LOCATED = "(id) => document.getElementById(id)?.getBoundingClientRect().top"
FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return {units: written(tmp_path_factory.mktemp("columns"), units)[0] for units in (SHORT, LONG)}


@pytest.fixture(params=[SHORT, LONG])
def opened(browser: Any, files: dict[int, Path], request: pytest.FixtureRequest) -> Iterator[Any]:
    """A layer's page, in the middle of its units, with the focus on the last of those that begin in the window."""
    file = files[request.param]
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(20_000)
    page = context.new_page()
    watched = Watched(page, file.parents[2].as_uri())
    page.goto(file.as_uri())
    page.wait_for_function("document.querySelectorAll('#units ol').length > 1")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight / 2)")
    page.evaluate(FRAMES)
    page.evaluate(FOCUS)
    yield page
    context.close()
    assert watched.wrong == []


def kept(page: Any, *changes: Any) -> None:
    """Changes of the columns, after each of which the unit that was the first in the window stands where it stood, and
    the focus is where it was."""
    (first, top), focused = page.evaluate(FIRST), page.evaluate(FOCUSED)
    assert focused
    for change in changes:
        columns = page.evaluate(COLUMNS)
        change()
        page.wait_for_function(f"{COLUMNS} !== {columns}")
        page.evaluate(FRAMES)
        assert page.evaluate(LOCATED, first) == pytest.approx(top, abs=2)
        assert page.evaluate(FOCUSED) == focused


def wide(page: Any, *widths: int) -> list[Any]:
    return [lambda width=width: page.set_viewport_size({"width": width, "height": 900}) for width in widths]


def test_a_window_made_narrower_and_wide_again(opened: Any):
    before = opened.evaluate(FIRST)
    kept(opened, *wide(opened, 1100, 700, 390, 700, 1100, 1440))
    assert opened.evaluate(FIRST) == [before[0], pytest.approx(before[1], abs=2)]


def test_other_ways_to_show_units(opened: Any):
    before = opened.evaluate(FIRST)

    def another() -> None:
        shown = opened.get_attribute("#units", "data-show")
        opened.keyboard.press("v")
        opened.wait_for_function("(shown) => document.querySelector('#units').dataset.show !== shown", arg=shown)

    kept(opened, another, lambda: (another(), another()), another)  # projections and patches have the same columns
    assert opened.evaluate(FIRST) == [before[0], pytest.approx(before[1], abs=2)]


def test_units_that_were_sorted_just_now(opened: Any):
    opened.evaluate(
        """() => {
          const sort = document.querySelector("select[name=sort]");
          sort.value = "strength";
          sort.dispatchEvent(new Event("input", { bubbles: true }));
        }"""
    )
    opened.evaluate(FRAMES)
    opened.evaluate(FOCUS)
    kept(opened, *wide(opened, 700))


def test_a_focus_far_from_the_window_stays(opened: Any):
    opened.evaluate("scrollBy(0, -innerHeight * 6)")
    opened.evaluate(FRAMES)
    kept(opened, *wide(opened, 700))
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.closest('#units') !== null")


def test_the_top_of_the_page_stays(opened: Any):
    opened.evaluate("scrollTo(0, 0)")
    opened.evaluate(FRAMES)
    for width in (700, 390, 1440):
        opened.set_viewport_size({"width": width, "height": 900})
        opened.evaluate(FRAMES)
        assert opened.evaluate("scrollY") == 0
