"""Lines that tell what a choice came to: there before they say something, and without room while they are empty."""

from pathlib import Path
from typing import Any

import pytest

from conftest import LAYERS
from pixelward.web import links

pytestmark = pytest.mark.browser

LAYER = links.layer("000-conv1-relu")
LINES = ("told", "nothing", "measure")


def known(page: Any) -> set[str]:
    """The status lines that the browser tells a screen reader of."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    shown = [node for node in nodes if not node["ignored"] and node["role"]["value"] == "status"]
    ids = [node["backendDOMNodeId"] for node in shown]
    told = [session.send("DOM.describeNode", {"backendNodeId": id})["node"]["attributes"] for id in ids]
    return {attributes[attributes.index("id") + 1] for attributes in told}


@pytest.mark.parametrize("width", [1440, 390])
def test_status_lines_are_known_while_they_are_empty_and_take_no_room(page: Any, width: int):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(page.at(LAYER))
    assert known(page) == set(LINES)
    tops = "() => ['controls', 'units'].map((id) => document.getElementById(id).getBoundingClientRect().bottom)"
    before = page.evaluate(tops)
    page.evaluate("() => ['nothing', 'measure'].forEach((id) => document.getElementById(id).remove())")
    assert page.evaluate(tops) == before
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_status_lines_speak_and_fall_silent(page: Any):
    page.goto(page.at(LAYER))
    page.select_option("select[name=sort]", "sparsity")
    page.fill("input[name=unit]", "no such picture")
    assert page.locator("#measure").inner_text().startswith("Rarest first")
    assert page.locator("#nothing").inner_text().startswith("No unit fits")
    assert known(page) == set(LINES)
    page.select_option("select[name=sort]", "index")
    page.fill("input[name=unit]", "")
    assert page.locator("#measure").inner_text() == page.locator("#nothing").inner_text() == ""
    assert page.locator("#told").inner_text() == f"{LAYERS[0].channels} units"
    assert known(page) == set(LINES)


def test_without_scripts_there_are_none(browser: Any, site: Path):
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(f"{site.as_uri()}/{LAYER}")
    assert known(opened) == set()
    context.close()
