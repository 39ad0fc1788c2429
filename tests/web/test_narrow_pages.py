"""Pages at the width of a small phone, and of one whose letters are enlarged."""

from typing import Any

import pytest

from pixelward.web import links
from site_pages import OVER

pytestmark = pytest.mark.browser

SLUG = "000-conv1-relu"
PAGES = (links.INDEX, links.layer(SLUG), links.unit(SLUG, 2), links.unit(SLUG, 0), links.picture(0))


@pytest.mark.parametrize("width", [320, 360, 390])
@pytest.mark.parametrize("path", PAGES)
def test_words_stay_in_their_columns_and_nothing_leaves_the_page(page: Any, path: str, width: int):
    page.set_viewport_size({"width": width, "height": 700})
    page.goto(page.at(path))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVER) == []


@pytest.mark.parametrize(("width", "beside"), [(320, False), (390, True)])
def test_a_layers_picture_stands_beside_its_words_where_there_is_room(page: Any, width: int, beside: bool):
    page.set_viewport_size({"width": width, "height": 700})
    page.goto(page.at(links.INDEX))
    words, picture = (page.locator(f"#layer-0 .about {each}").first.bounding_box() for each in ("p", ".marked"))
    assert (picture["x"] >= words["x"] + words["width"]) == beside
    assert (words["y"] >= picture["y"] + picture["height"]) == (not beside)
    assert picture["width"] > 150
