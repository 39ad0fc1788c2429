"""The pages by keyboard alone, in a real browser: Tab reaches whatever can be used, one sees where, Enter follows."""

from pathlib import Path
from typing import Any

import pytest

from pixelward.atlas import Atlas
from pixelward.web import links
from site_pages import LAYER, UNIT

pytestmark = pytest.mark.browser

# What Tab should reach, in the order of the page: of radio buttons that belong together the chosen one. (Links
# that only repeat the one beside them are left out by the page itself, by a tabindex below 0.)
REACHABLE = """() => [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex]")].filter(
  (each) => each.tabIndex >= 0 && !each.disabled && each.checkVisibility() && (each.type !== "radio" || each.checked)
).map((each, at) => (each.dataset.reached = at))"""

# The element with the focus, and whether one sees that: an outline, or that of the label round a control laid over it.
FOCUS = """() => {
  const each = document.activeElement;
  const ringed = [each, each.closest("label")].filter(Boolean).map((one) => getComputedStyle(one));
  const seen = ringed.some((style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1);
  const box = each.getBoundingClientRect();
  const inside = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  const number = each.dataset.reached === undefined ? null : Number(each.dataset.reached);
  return [number, seen && inside, each.outerHTML.slice(0, 90)];
}"""


def tab_to(page: Any, selector: str, most: int = 400) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab does not reach {selector}")


@pytest.mark.parametrize("path", ["index.html", LAYER, UNIT.format(2), UNIT.format(0), "pictures/0.html"])
def test_tab_reaches_all_that_can_be_used_and_shows_where_it_is(page: Any, path: str):
    page.goto(page.at(path))
    expected = page.evaluate(REACHABLE)
    assert len(expected) > 5
    reached, unseen = [], []
    while len(reached) < 2 * len(expected) + 5:
        page.keyboard.press("Tab")
        number, seen, html = page.evaluate(FOCUS)
        if html.startswith("<body") or (reached and number == reached[0]):
            break  # all round
        if not seen:
            unseen.append(html)
        if number is not None:
            reached.append(number)
    assert reached == expected
    assert unseen == []


def test_the_first_key_leads_past_the_head_of_the_page(page: Any):
    page.goto(page.at(UNIT.format(2)))
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    assert skip.evaluate("each => each === document.activeElement")
    box = skip.bounding_box()
    assert box["x"] >= 0
    assert box["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('main').contains(document.activeElement)")


def test_tab_and_enter_lead_from_the_network_to_a_picture(page: Any, atlas: Atlas):
    page.goto(page.at("index.html"))
    tab_to(page, f'.layers h3 a[href="{LAYER}"]')
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{LAYER}")
    tab_to(page, "#u5 h2 a")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{UNIT.format(5)}")
    tab_to(page, "#h1 .told p a")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{links.picture(atlas['conv1:relu'][5].hits[0].picture)}")
    page.keyboard.press("Shift+Tab")  # before the first stands the end of the page
    assert page.evaluate("document.activeElement.id") == "show-keys"
    page.keyboard.press("Enter")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "show-keys"


def test_controls_of_a_layer_work_by_the_keyboard(page: Any, site: Path):
    page.goto(page.at(LAYER))
    tab_to(page, "input[name=show]")
    page.keyboard.press("ArrowRight")
    assert page.locator("#units").get_attribute("data-show") == "projections"
    tab_to(page, "input[name=reversed]")
    page.keyboard.press("Space")
    assert page.locator("#units li").first.get_attribute("id") == "u38"  # 39 is dead
    tab_to(page, "#dead summary")
    page.keyboard.press("Enter")
    tab_to(page, "#dead a")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{UNIT.format(0)}")
