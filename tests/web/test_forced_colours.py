"""Where the system's own colours replace those of the pages, what is chosen is still seen: in a real browser."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from live_atlas import live_atlas, network
from pixelward.web import links
from pixelward.web.serve import app
from serving import serving
from site_pages import LAYER

pytestmark = pytest.mark.browser

# All of how an element looks, and its ::before, that could tell it from another one beside it.
LOOK = """(each) => ["", "::before"].map((part) => {
  const style = getComputedStyle(each, part || null);
  return [
    style.color, style.backgroundColor, style.textDecorationLine, style.fontWeight,
    ...["Style", "Width", "Color"].flatMap((of) => [style[`border${of}`], style[`outline${of}`]]),
  ].join(" ");
}).join(" / ")"""


def shade(each: Any) -> float:
    """The mean of its pixels, 0 to 255."""
    return float(np.asarray(Image.open(io.BytesIO(each.screenshot())).convert("L")).mean())


@pytest.fixture
def forced(browser: Any) -> Any:
    context = browser.new_context(viewport={"width": 390, "height": 900}, forced_colors="active", has_touch=True)
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


def test_which_sheets_are_shown_is_seen(forced: Any, site: Path):
    forced.goto(f"{site.as_uri()}/{LAYER}")
    for value in ("both", "overlay"):
        forced.check(f"input[name=show][value={value}]", force=True)
        looks = {
            each.locator("input").get_attribute("value"): each.evaluate(LOOK)
            for each in forced.locator(".switch label").all()
        }
        chosen = looks.pop(value)
        assert chosen not in looks.values()
        assert len(set(looks.values())) == 1


def test_both_tiles_of_the_hit_that_is_pointed_at_are_seen(forced: Any, site: Path):
    forced.goto(f"{site.as_uri()}/{LAYER}")
    forced.locator("#u5 .of.patches").hover(force=True)
    forced.locator("#u5 .cells.patches a").nth(2).hover()
    for kind in ("projections", "patches"):
        looks = [each.evaluate(LOOK) for each in forced.locator(f"#u5 .cells.{kind} a").all()]
        assert looks[2] not in looks[:2] + looks[3:]


def test_whose_field_is_marked_is_seen(forced: Any, site: Path):
    forced.goto(f"{site.as_uri()}/pictures/0.html")
    buttons = forced.locator(".among button")
    buttons.nth(1).tap()
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"
    forced.locator("h1").tap()  # the focus is elsewhere
    shades = [shade(each) for each in buttons.all()[:3]]
    assert shades[0] == shades[2]
    assert abs(shades[1] - shades[0]) > 10


def test_what_is_focused_is_seen(forced: Any, site: Path):
    forced.goto(f"{site.as_uri()}/{LAYER}")
    link = forced.locator("#u5 h2 a")
    before = link.evaluate(LOOK)
    forced.locator("#u4 h2 a").focus()
    forced.keyboard.press("Tab")
    assert link.evaluate("each => each === document.activeElement")
    assert link.evaluate(LOOK) != before


def test_which_map_is_chosen_and_which_scale_is_seen(forced: Any, tmp_path: Path):
    atlas = live_atlas(tmp_path)
    with serving(app(atlas.path, model=network())) as address:
        forced.goto(f"{address}/{links.LIVE}")
        forced.locator(".samples button").first.click()
        forced.locator(".of-unit").wait_for()
        looks = {each.get_attribute("aria-pressed"): [] for each in forced.locator(".maps button").all()}
        for each in forced.locator(".maps button").all():
            looks[each.get_attribute("aria-pressed")].append(each.evaluate(LOOK))
        assert {key: len(found) for key, found in looks.items()} == {"true": 1, "false": 3}
        assert looks["true"][0] not in looks["false"]
        scales = [each.evaluate(LOOK) for each in forced.locator(".tried .switch label").all()]
        assert len(scales) == len(set(scales)) == 2
        forced.goto("about:blank")
