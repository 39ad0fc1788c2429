"""A layer of very many units in a browser: sorted, printed and flung, with only those near the window in the page."""

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fake_atlas import SPECS, fake_atlas
from pixelward.atlas import Drawings
from pixelward.folder import sheet_file, write_file
from pixelward.pictures import photo_webp
from pixelward.web import content, pages
from pixelward.words import number, share
from watched import Watched

pytestmark = pytest.mark.browser

UNITS = 2500
COUNT = "document.querySelectorAll('#units li').length"
# The items of all lists, in the page or not.
NUMBERS = "[...document.querySelectorAll('#units ol')].flatMap((each) => each.members.map((item) => +item.id.slice(1)))"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, content.LayerPage]:
    """The page of a layer, written, and what it says."""
    home = tmp_path_factory.mktemp("many")
    atlas = fake_atlas(home / "atlas", [SPECS[0]._replace(channels=UNITS, dead=3)], drawn=False)
    (record,) = atlas.layers
    first = atlas.path / sheet_file(record.slug, 0, "projections")
    write_file(first, photo_webp(Image.new("RGB", (120, 120), "teal")))
    for channel, kind in itertools.product(range(UNITS), ("projections", "patches")):
        if (file := atlas.path / sheet_file(record.slug, channel, kind)) != first:
            file.hardlink_to(first)
    atlas.write_drawings(Drawings("deconvnet", "sum", "value", (record.address,)))
    page = content.layer_page(atlas, record)
    file = home / page.path
    shutil.copytree(atlas.path / "drawings" / record.slug, file.parent, copy_function=os.link)
    file.write_text(pages.html(page), "utf-8")
    shutil.copytree(Path(pages.__file__).with_name("static"), home / "static")
    return file, page


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
    opened.keyboard.press("End")
    opened.wait_for_selector(f"#u{order[-1].channel} h2")
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


def test_a_browser_that_prints_says_so(opened: Any, many: tuple[Path, content.LayerPage]):
    opened.evaluate(f"addEventListener('beforeprint', () => (window.printed = {COUNT}))")
    opened.pdf()
    assert opened.evaluate("window.printed") == len(many[1].units)


FLING = """([steps, pixels]) => new Promise((done) => {
  let blank = 0;
  const step = (left) => {
    blank = Math.max(blank, document.querySelectorAll(".flung .pair").length);
    if (!left) return done(blank);
    scrollBy(0, pixels);
    requestAnimationFrame(() => step(left - 1));
  };
  step(steps);
})"""
SHOWN = """() => [...document.querySelectorAll("#units .of.projections")].filter((each) => {
  const box = each.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
}).every((each) => each.checkVisibility({ contentVisibilityAuto: true }) && each.firstChild.complete)"""


def test_pictures_wait_while_the_page_is_flung_and_come_when_it_rests(opened: Any):
    assert opened.evaluate(FLING, [60, 600]) > 0
    opened.wait_for_function("!document.querySelector('.flung')")
    opened.wait_for_function(SHOWN)
    assert opened.locator("#units .pair").count() > 20


@pytest.mark.parametrize(("steps", "pixels"), [(60, 60), (1, 40_000), (2, 400)])
def test_pictures_do_not_wait_where_a_page_is_moved_by_a_wheel_or_a_jump(opened: Any, steps: int, pixels: int):
    assert opened.evaluate(FLING, [steps, pixels]) == 0
    opened.wait_for_function(SHOWN)


def test_a_fling_moves_nothing(opened: Any):
    """What waits for its pictures has the height that it has with them."""
    top = "[...document.querySelectorAll('#units ol')].map((each) => Math.round(each.getBoundingClientRect().height))"
    heights = opened.evaluate(top)
    opened.evaluate(FLING, [30, 600])
    assert opened.locator(".flung").count() > 0
    assert opened.evaluate(top) == heights
