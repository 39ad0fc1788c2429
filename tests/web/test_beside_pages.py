"""Two atlases side by side in a real browser, opened from disk."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from axe import findings
from conftest import LAYERS, NAMES
from fake_atlas import fake_atlas
from pixelward.atlas import Atlas
from pixelward.likeness import Pairing
from pixelward.web import links, pages
from pixelward.web.beside import compare_layer_page
from pixelward.web.export import export
from watched import FILLED, Watched

pytestmark = pytest.mark.browser

PAGES = ("compare/index.html", "compare/000-conv1-relu/index.html", "compare/003-late-relu/index.html")
JUMP = """share => new Promise((done) => {
  scrollTo(0, share * document.documentElement.scrollHeight);
  requestAnimationFrame(done);
})"""


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
    two = Atlas.open(pair.parent / "two")
    page.goto(f"{pair.as_uri()}/index.html")
    page.get_by_role("link", name="two, layer by layer").click()
    page.get_by_role("link", name="conv1:relu").first.click()
    assert page.url.endswith(PAGES[1])
    images = page.locator("#u5 img")
    assert images.count() >= 4
    for image in images.all():
        image.scroll_into_view_if_needed()
        image.evaluate("image => image.decode()")
    page.locator("#u5 > div:nth-child(2) h3 a").click()
    assert page.url.endswith(f"beside/{links.unit('000-conv1-relu', 5)}")
    assert page.title() == "Unit 5 of conv1:relu, zfnet64, two"
    page.get_by_role("link", name="two atlases").click()
    assert page.url.endswith(links.compare())
    page.go_back()
    page.get_by_role("link", name="beside one").click()
    assert page.url.endswith(PAGES[1] + "#u5")
    page.goto(f"{pair.as_uri()}/beside/{links.unit(two.layers[2].slug, 2)}")
    page.get_by_role("link", name="two beside one, all layers").click()
    assert page.url.endswith(links.compare())
    page.goto(f"{pair.as_uri()}/{links.unit('000-conv1-relu', 5)}")
    page.get_by_role("link", name="beside two").click()
    assert page.url.endswith(PAGES[1] + "#u5")
    assert page.locator("#u5 h2").first.is_visible()
    shown = [two.picture(hit.picture) for hit in two["conv1:relu"][5].hits]
    page.locator("#u5 > div:nth-child(2) .of.patches").hover(force=True)
    patches = page.locator("#u5 > div:nth-child(2) .cells.patches a")
    assert [each.get_attribute("title") for each in patches.all()] == [f"{row.title} → to the picture" for row in shown]
    patches.nth(1).click()
    assert page.url.endswith(f"beside/{links.picture(shown[1].id)}")
    assert page.locator("h1").inner_text() == shown[1].title
    page.go_back()
    page.locator("#u5 > div:nth-child(1) .of.projections").hover(force=True)
    page.locator("#u5 > div:nth-child(1) .cells.projections a").nth(2).click()
    assert page.url.endswith(f"/site/{links.unit('000-conv1-relu', 5)}#h3")
    page.go_back()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/compare/001-block-relu-2/index.html")
    assert watched.wrong == []
    context.close()


def test_on_a_phone_every_pair_says_whose_it_is(browser: Any, pair: Path):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{pair.as_uri()}/{PAGES[1]}")
    assert page.locator("#u5 .whose").all_inner_texts() == ["one", "two", "most alike"]
    assert all(each.is_visible() for each in page.locator("#u5 .whose").all())
    page.set_viewport_size({"width": 1440, "height": 900})
    boxes = [each.bounding_box() for each in page.locator("#u5 .whose").all()]
    assert all(
        box["x"] + box["width"] < 0 for box in boxes
    )  # heads say it there; a reader of the screen hears it still
    context.close()


def test_a_dead_unit_leads_to_where_the_comparison_names_it(browser: Any, pair: Path):
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    two = Atlas.open(pair.parent / "two")["conv1:relu"]
    one = Atlas.open(pair.parent / "one")["conv1:relu"]
    dead = [channel for channel in range(40) if not one[channel].hits]
    assert {bool(two[channel].hits) for channel in dead} == {False, True}
    for channel in dead:
        page.goto(f"{pair.as_uri()}/{links.unit('000-conv1-relu', channel)}")
        page.get_by_role("link", name="beside two").click()
        assert page.url.endswith(f"{PAGES[1]}#u{channel}")
        page.locator(f"#u{channel}").wait_for()
        assert page.locator(f"li#u{channel}").count() == bool(two[channel].hits)
    context.close()


def test_of_very_many_units_only_those_near_the_window_are_in_the_page(browser: Any, tmp_path: Path):
    spec = LAYERS[0]._replace(channels=1500, dead=0)
    pairing = Pairing(*(fake_atlas(tmp_path / name, [spec], k=1, drawn=False) for name in ("one", "two")))
    path = tmp_path / PAGES[1]
    path.parent.mkdir(parents=True)
    path.write_text(pages.html(compare_layer_page(pairing, pairing.this.layers[0])), "utf-8")
    shutil.copytree(Path(pages.__file__).with_name("static"), tmp_path / "static")
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    watched = Watched(page, tmp_path.as_uri())
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelectorAll('#units li').length < 500")
    for share in (0.3, 0.8, 0.1, 1):
        page.evaluate(JUMP, share)
        assert page.evaluate(FILLED)
        assert page.locator("#units li").count() < 500
    assert page.locator("#u1499 h2").is_visible()
    page.goto("about:blank")
    page.goto(f"{path.as_uri()}#u700")
    page.wait_for_selector("#u700 h2")
    assert 0 <= page.locator("#u700").bounding_box()["y"] <= 844
    assert watched.wrong == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize(
    "path", ["index.html", "beside/index.html", "beside/layers/000-conv1-relu/5.html", "beside/pictures/0.html"]
)
def test_pages_that_say_of_which_atlas_they_are_fit_and_axe_finds_nothing(
    browser: Any, pair: Path, path: str, width: int, scheme: str
):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{pair.as_uri()}/{path}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert findings(page) == []
    context.close()
