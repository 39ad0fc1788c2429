"""Two atlases side by side in a real browser, opened from disk."""

from pathlib import Path
from typing import Any

import pytest

from axe import findings
from conftest import LAYERS, NAMES
from fake_atlas import fake_atlas
from pixelward.atlas import Atlas
from pixelward.web import links
from pixelward.web.export import export
from watched import Watched

pytestmark = pytest.mark.browser

PAGES = ("compare/index.html", "compare/000-conv1-relu/index.html", "compare/003-late-relu/index.html")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    specs = (LAYERS[0]._replace(dead=1), LAYERS[1], LAYERS[3]._replace(address="<b>last</b>"))
    one, two = (fake_atlas(folder / name, each, names=NAMES) for name, each in (("one", LAYERS), ("two", specs)))
    return export(one, folder / "site", beside=two).parent


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("path", PAGES)
def test_pages_fit_and_axe_finds_nothing(browser: Any, pair: Path, path: str, width: int, scheme: str):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    watched = Watched(page, pair.as_uri())
    page.goto(f"{pair.as_uri()}/{path}")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert findings(page) == []
    assert watched.wrong == []
    context.close()


def test_links_and_keys_lead_through_the_comparison_to_the_units_of_both(browser: Any, pair: Path):
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    watched = Watched(page, pair.as_uri())
    page.goto(f"{pair.as_uri()}/index.html")
    page.get_by_role("link", name="another atlas, layer by layer").click()
    page.get_by_role("link", name="conv1:relu").first.click()
    assert page.url.endswith(PAGES[1])
    images = page.locator("#u5 img")
    assert images.count() >= 4
    for image in images.all():
        image.scroll_into_view_if_needed()
        image.evaluate("image => image.decode()")
    page.locator("#u5 > div:nth-child(2) h3 a").click()
    assert page.url.endswith(f"beside/{links.unit('000-conv1-relu', 5)}")
    page.go_back()
    two = Atlas.open(pair.parent / "two")
    shown = [two.picture(hit.picture) for hit in two["conv1:relu"][5].hits]
    page.locator("#u5 > div:nth-child(2) .of.patches").hover(force=True)
    patches = page.locator("#u5 > div:nth-child(2) .cells.patches a")
    assert [each.get_attribute("title") for each in patches.all()] == [f"{row.title} → to the picture" for row in shown]
    patches.nth(1).click()
    assert page.url.endswith(f"beside/{links.picture(shown[1].id)}")
    assert page.locator("h1").inner_text() == shown[1].name
    page.go_back()
    page.locator("#u5 > div:nth-child(1) .of.projections").hover(force=True)
    page.locator("#u5 > div:nth-child(1) .cells.projections a").nth(2).click()
    assert page.url.endswith(f"/site/{links.unit('000-conv1-relu', 5)}#h3")
    page.go_back()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/compare/001-block-relu-2/index.html")
    assert watched.wrong == []
    context.close()
