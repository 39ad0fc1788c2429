"""The page of a picture that is among the strongest of very many units, in a real browser."""

from collections.abc import Iterator
from typing import Any

import pytest

from axe import findings
from fake_atlas import SPECS, fake_atlas
from pixelward.atlas import Atlas
from pixelward.web import links
from pixelward.web.serve import app
from serving import serving
from watched import Watched

pytestmark = pytest.mark.browser

UNITS = 400


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    specs = [SPECS[0]._replace(channels=UNITS, dead=0), SPECS[2]]
    return fake_atlas(tmp_path_factory.mktemp("crowd") / "atlas", specs, names=["a.png"], k=2, size=32)


@pytest.fixture(scope="module")
def served(crowd: Atlas) -> Iterator[str]:
    """A server, whose policy forbids styles and scripts in pages."""
    with serving(app(crowd.path)) as address:
        yield address


@pytest.fixture(scope="module")
def address(crowd: Atlas, served: str) -> str:
    counts = {id: len(crowd.hits_of_picture(id)) for id in crowd.hit_pictures()}
    id = max(counts, key=counts.__getitem__)
    assert counts[id] > 150
    return f"{served}/{links.picture(id)}"


def asked(page: Any) -> list[str]:
    """What sheets the page asks for from now on."""
    found: list[str] = []
    page.on("request", lambda sent: "projections" in sent.url and found.append(sent.url))
    return found


@pytest.mark.parametrize("width", [1440, 390])
def test_sheets_are_asked_for_when_their_tiles_come_near_the_window(
    browser: Any, address: str, served: str, width: int
):
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    watched, sheets = Watched(page, served), asked(page)
    page.goto(address)
    page.wait_for_load_state("networkidle")
    units = page.locator(".among li").count()
    first, last = page.locator(".among img").first, page.locator(".among img").last
    assert 0 < len(sheets) < units
    assert first.evaluate("image => image.complete && image.naturalWidth > 0")
    assert last.get_attribute("src").split("/")[-1] not in {each.split("/")[-1] for each in sheets}
    last.scroll_into_view_if_needed()
    last.evaluate("image => image.decode()")
    assert len(sheets) == len(set(sheets))
    assert watched.wrong == []
    context.close()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_tile_is_cut_out_of_its_sheet(browser: Any, crowd: Atlas, address: str, rank: int):
    """Two tiles stand side by side on each sheet."""
    context = browser.new_context(viewport={"width": 1440, "height": 800})
    page = context.new_page()
    page.goto(address)
    id = int(address.split("/")[-1].removesuffix(".html"))
    number, channel, _ = next(each for each in crowd.hits_of_picture(id) if each[0] == 0 and each[2] == rank)
    entry = page.locator(f'[data-field="f{number}-{channel}"]')
    entry.scroll_into_view_if_needed()
    entry.locator("img").evaluate("image => image.decode()")
    tile, sheet = entry.locator("svg").bounding_box(), entry.locator("img").bounding_box()
    assert sheet["height"] == pytest.approx(tile["height"], abs=0.5)
    assert tile["width"] < sheet["width"] / 2 < 1.1 * tile["width"]
    edge = "x" if rank == 0 else "width"
    assert tile["x"] + (tile[edge] if rank else 0) == pytest.approx(sheet["x"] + (sheet[edge] if rank else 0), abs=0.5)
    context.close()


def marked(page: Any) -> list[str]:
    """The fields whose frames are clear."""
    return page.eval_on_selector_all(
        ".photo rect",
        "all => all.filter((each) => getComputedStyle(each).strokeOpacity === '1').map((each) => each.id)",
    )


def test_frames_are_faint_among_many_and_that_of_the_unit_pointed_at_is_clear(browser: Any, address: str, served: str):
    context = browser.new_context(viewport={"width": 1440, "height": 800})
    page = context.new_page()
    watched = Watched(page, served)
    page.goto(address)
    opacity = "each => Number(getComputedStyle(each).strokeOpacity)"
    frame, entry = page.locator(".photo rect").nth(3), page.locator("[data-field]").nth(3)
    assert 0 < frame.evaluate(opacity) < 0.05
    for begin, end in ((entry.hover, page.locator("h1").hover), (entry.focus, entry.blur)):
        begin()
        assert marked(page) == [entry.get_attribute("data-field")]
        assert page.locator(".photo rect").nth(4).evaluate(opacity) == 0
        end()
        assert marked(page) == []
    assert not page.locator(".among button").first.is_visible()
    assert page.get_by_text("point at a unit").is_visible()
    assert watched.wrong == []
    context.close()


def test_a_finger_sees_the_field_of_one_unit(browser: Any, address: str, served: str):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    watched = Watched(page, served)
    page.goto(address)
    entries, buttons = page.locator("[data-field]"), page.locator(".among button")
    assert page.get_by_text("tap the square beside a unit").is_visible()
    for at in (100, 101):
        buttons.nth(at).tap()
        assert marked(page) == [entries.nth(at).get_attribute("data-field")]
        assert page.locator(".among [aria-pressed=true]").count() == 1
        photo = page.locator(".photo > svg").bounding_box()
        assert 0 <= photo["y"] <= photo["y"] + photo["height"] < buttons.nth(at).bounding_box()["y"]
    buttons.nth(101).tap()
    assert marked(page) == []
    assert page.locator(".among [aria-pressed=true]").count() == 0
    entries.nth(101).tap()
    page.wait_for_url("**/layers/000-conv1-relu/*.html#h*")
    assert watched.wrong == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_it_fits_its_values_are_whole_and_axe_finds_nothing(browser: Any, address: str, width: int, scheme: str):
    touch = width == 390
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, has_touch=touch, is_mobile=touch
    )
    page = context.new_page()
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    heights = page.eval_on_selector_all(".among a > span", "all => all.map((each) => Math.round(each.clientHeight))")
    lines = page.eval_on_selector_all(".among a > span", "all => all.map((each) => each.innerText.split('\\n').length)")
    assert set(lines) == {3}
    assert len(set(heights)) == 1
    assert findings(page) == []
    context.close()


def test_without_scripts_every_unit_has_its_number_and_link(browser: Any, address: str):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(address)
    entries = page.locator("[data-field]")
    assert entries.count() > 150
    assert all(text.startswith("unit ") for text in entries.all_inner_texts())
    assert page.locator(".among button").count() == 0
    assert not page.get_by_text("tap the square").is_visible()
    entries.last.click()
    page.wait_for_url("**/layers/*/*.html#h*")
    context.close()
