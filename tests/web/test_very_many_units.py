"""A layer of very many units in a browser: sorted, printed and flung, with only those near the window in the page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from many_units import written
from pixelward.web import content
from pixelward.words import number, share
from scrolling import scroll_by
from watched import Watched

pytestmark = pytest.mark.browser

UNITS = 2500
# Eight labels of two pictures each, and two pictures that a search for "tabby" finds.
NAMES = [f"label {at % 8}/{'tabby' if at in (3, 9) else 'siamese'} {at}.png" for at in range(16)]
COUNT = "document.querySelectorAll('#units li').length"
# The items of all lists, in the page or not.
NUMBERS = "[...document.querySelectorAll('#units ol')].flatMap((each) => each.members.map((item) => +item.id.slice(1)))"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, content.LayerPage]:
    """The page of a layer, written, and what it says."""
    return written(tmp_path_factory.mktemp("many"), UNITS, NAMES)


@pytest.fixture
def opened(browser: Any, many: tuple[Path, content.LayerPage]) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    watched = Watched(page, many[0].parents[2].as_uri())
    page.goto(many[0].as_uri())
    page.wait_for_function(f"{COUNT} < 500")
    yield page
    context.close()
    assert watched.wrong == []


def near(page: Any) -> int:
    """How many units are in the page."""
    return page.evaluate(COUNT)


@pytest.mark.parametrize("reversed_", [False, True])
@pytest.mark.parametrize("sort", ["strength", "sparsity", "selectivity", "index"])
def test_they_are_sorted_and_equal_ones_by_their_numbers(
    opened: Any, many: tuple[Path, content.LayerPage], sort: str, reversed_: bool
):
    keys = {
        "index": lambda unit: (unit.channel,),
        "strength": lambda unit: (-unit.maximum, unit.channel),
        "sparsity": lambda unit: (unit.positive, unit.channel),
        "selectivity": lambda unit: (unit.entropy, -len(unit.hits), unit.channel),
    }
    texts = {
        "index": lambda unit: number(unit.maximum),
        "strength": lambda unit: number(unit.maximum),
        "sparsity": lambda unit: share(unit.positive, many[1].seen),
        "selectivity": lambda unit: f"{unit.entropy:.2f} bits",
    }
    order = sorted(many[1].units, key=keys[sort], reverse=reversed_)
    assert len({keys[sort](unit)[:-1] for unit in order}) < UNITS / 2 or sort == "strength"  # there are equal ones
    opened.select_option("select[name=sort]", sort)
    opened.set_checked("input[name=reversed]", reversed_)
    assert opened.evaluate(NUMBERS) == [unit.channel for unit in order]
    said = [texts[sort](unit) for unit in order]
    assert opened.locator("#units ol:first-child h2 span").all_inner_texts() == said[:24]
    scroll_by(opened, "End")
    opened.wait_for_selector(f"#u{order[-1].channel} h2")
    opened.wait_for_function("scrollY + innerHeight >= document.documentElement.scrollHeight - 1")
    assert opened.locator("#units ol:last-child h2 span").last.inner_text() == said[-1]
    assert near(opened) < 500


def test_all_are_on_paper_and_only_there(opened: Any, many: tuple[Path, content.LayerPage]):
    living = len(many[1].units)
    before, height = near(opened), opened.evaluate("document.documentElement.scrollHeight")
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert near(opened) == living
    opened.evaluate("scrollTo(0, 5000)")
    opened.evaluate("new Promise(requestAnimationFrame)")
    assert near(opened) == living
    opened.evaluate("scrollTo(0, 0)")
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    assert near(opened) == before
    assert opened.evaluate("document.documentElement.scrollHeight") == pytest.approx(height, abs=2)


def test_pictures_on_paper_are_asked_for_though_no_window_comes_near_them(
    opened: Any, many: tuple[Path, content.LayerPage]
):
    far = many[1].units[300].channel  # seventy rows away; the last of five thousand files may come late
    waits = [opened.expect_request(f"**/{far}.{kind}.webp", timeout=120_000) for kind in ("projections", "patches")]
    with waits[0], waits[1]:
        opened.evaluate("dispatchEvent(new Event('beforeprint'))")


def test_a_label_a_search_and_an_order_are_combined(opened: Any, many: tuple[Path, content.LayerPage]):
    label, word = many[1].labels[0].label, "tabby"

    def wanted(unit: content.UnitEntry) -> bool:
        return label in {hit.label for hit in unit.hits} and any(word in hit.name for hit in unit.hits)

    fitting = [unit for unit in many[1].units if wanted(unit)]
    expected = [unit.channel for unit in sorted(fitting, key=lambda unit: (unit.positive, unit.channel), reverse=True)]
    assert 1000 < len(expected) < len(many[1].units) - 500
    opened.select_option("select[name=label]", label)
    opened.fill("input[name=unit]", word)
    opened.select_option("select[name=sort]", "sparsity")
    opened.set_checked("input[name=reversed]", True)
    assert opened.evaluate(NUMBERS) == expected
    opened.reload()
    assert opened.evaluate(NUMBERS) == expected
    opened.fill("input[name=unit]", f"{expected[3]}, {expected[1]}")  # in the order of the others
    assert opened.evaluate(NUMBERS) == [expected[1], expected[3]]
    opened.fill("input[name=unit]", "")
    opened.select_option("select[name=label]", "")
    order = sorted(many[1].units, key=lambda unit: (unit.positive, unit.channel), reverse=True)
    assert opened.evaluate(NUMBERS) == [unit.channel for unit in order]
    assert near(opened) < 500


def test_an_address_that_names_a_unit_far_away_shows_it(opened: Any):
    address = opened.url
    for unit in (1800, 5, 2400):
        assert opened.locator(f"#u{unit}").count() == (unit == 5)
        opened.evaluate("(id) => (location.hash = id)", f"u{unit}")
        opened.wait_for_function(
            "(id) => { const box = document.getElementById(id)?.getBoundingClientRect();"
            " return box && box.top >= 0 && box.bottom <= innerHeight"
            " && document.querySelector(':target')?.id === id; }",
            arg=f"u{unit}",
        )
        assert opened.url == f"{address}#u{unit}"
        opened.evaluate("scrollTo(0, 60000)")
        opened.wait_for_function("scrollY === 60000")
        if unit != 5:  # the first list stays
            opened.wait_for_function("(id) => !document.getElementById(id)", arg=f"u{unit}")


def test_what_has_the_focus_is_not_under_the_bar(opened: Any):
    opened.evaluate("scrollTo(0, 30000)")
    opened.wait_for_function("document.querySelector('#controls').getBoundingClientRect().top === 0")
    opened.wait_for_function(
        """() => {
          const link = [...document.querySelectorAll("#units h2 a")].find((each) => {
            const box = each.getBoundingClientRect();
            return box.top > 100 && box.top < innerHeight;
          });
          if (!link) return false;  // its list is still to come
          scrollBy(0, link.getBoundingClientRect().top - 15);
          link.dataset.under = "";
          return true;
        }"""
    )
    bar, link = opened.locator("#controls"), opened.locator("[data-under]")
    assert link.bounding_box()["y"] < bar.bounding_box()["height"]
    link.focus()
    assert link.bounding_box()["y"] >= bar.bounding_box()["height"]


def test_a_browser_that_prints_says_so(opened: Any, many: tuple[Path, content.LayerPage]):
    opened.evaluate(f"addEventListener('beforeprint', () => (window.printed = {COUNT}))")
    opened.pdf()
    assert opened.evaluate("window.printed") == len(many[1].units)


# How many units had no pictures at most, and the heights of all lists when they had none. A frame takes 16 ms by the
# page's clock, however busy the machine is, and it is looked when the page itself has just heard of the scrolling.
FLING = """([steps, pixels]) => new Promise((done) => {
  let blank = 0, heights = null, clock = performance.now();
  performance.now = () => clock;
  const look = () => {
    const now = document.querySelectorAll(".flung .pair").length;
    blank = Math.max(blank, now);
    if (now) heights = [...document.querySelectorAll("#units ol")].map((each) => each.getBoundingClientRect().height);
  };
  addEventListener("scroll", look);
  const step = (left) => {
    clock += 16;
    if (left) scrollBy(0, pixels);
    requestAnimationFrame(left ? () => step(left - 1) : end);
  };
  const end = () => {
    removeEventListener("scroll", look);
    delete performance.now;
    done([blank, heights]);
  };
  step(steps);
})"""
SHOWN = """() => [...document.querySelectorAll("#units .of.projections")].filter((each) => {
  const box = each.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
}).every((each) => each.checkVisibility({ contentVisibilityAuto: true }) && each.firstChild.complete)"""


def test_pictures_wait_while_the_page_is_flung_and_come_when_it_rests(opened: Any):
    assert opened.evaluate(FLING, [60, 600])[0] > 0
    opened.wait_for_function("!document.querySelector('.flung')")
    opened.wait_for_function(SHOWN)
    assert opened.locator("#units .pair").count() > 20


@pytest.mark.parametrize(("steps", "pixels"), [(60, 60), (1, 40_000), (2, 400)])
def test_pictures_do_not_wait_where_a_page_is_moved_by_a_wheel_or_a_jump(opened: Any, steps: int, pixels: int):
    assert opened.evaluate(FLING, [steps, pixels]) == [0, None]
    opened.wait_for_function(SHOWN)


def test_a_fling_moves_nothing(opened: Any):
    """What waits for its pictures has the height that it has with them."""
    heights = opened.evaluate(
        "[...document.querySelectorAll('#units ol')].map((each) => each.getBoundingClientRect().height)"
    )
    assert opened.evaluate(FLING, [30, 600])[1] == pytest.approx(heights, abs=0.5)
