"""The place that is chosen in a unit's map on the live page: kept in the address, and found again by who comes back."""

import io
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from live_atlas import live_atlas, network
from live_page import rested
from pixelward.atlas import Atlas
from pixelward.errors import PixelwardError
from pixelward.web import links
from pixelward.web.live import panels
from pixelward.web.serve import app
from serving import serving
from watched import Watched

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return live_atlas(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def served(atlas: Atlas) -> Iterator[str]:
    with serving(app(atlas.path, model=network())) as address:
        yield address


@pytest.fixture
def page(browser: Any, served: str) -> Iterator[Any]:
    """The live page, with unit 2 of the first layer at y 9, x 0 of a picture."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(20_000)
    opened = context.new_page()
    watched = opened.watched = Watched(opened, served)
    opened.goto(f"{served}/{links.live('000-conv1-relu', 2)}")
    opened.set_input_files("#file", {"name": "mine.png", "mimeType": "image/png", "buffer": picture()})
    opened.locator('.of-unit[data-channel="2"]').wait_for()
    box = opened.locator("#place").bounding_box()
    opened.locator("#place").click(position={"x": box["width"] * 0.5 / 16, "y": box["height"] * 9.5 / 16})
    at(opened, 9, 0)
    yield opened
    context.close()
    assert watched.wrong == []


def picture() -> bytes:
    target = io.BytesIO()
    pixels = np.random.default_rng(7).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def at(page: Any, y: int, x: int) -> None:
    """Wait until the place is shown, by the words, the mark and the address."""
    page.locator(".of-unit p", has_text=f"at y {y}, x {x}").first.wait_for()
    page.locator(f'#place[data-y="{y}"][data-x="{x}"]').wait_for()
    page.wait_for_function("([y, x]) => location.search.endsWith(`&y=${y}&x=${x}`)", arg=[y, x])


def strongest(page: Any, channel: int) -> None:
    """Wait until a unit is shown at its strongest place, which the address does not name."""
    page.locator(f'.of-unit[data-channel="{channel}"] p', has_text="its strongest place here").wait_for()
    assert "y=" not in page.url


def test_who_comes_back_finds_the_place(page: Any, atlas: Atlas):
    page.locator("#place").focus()
    page.keyboard.press("ArrowRight")
    at(page, 9, 1)
    page.locator(".of-unit h2 a").click()
    page.wait_for_url(f"**/{links.unit(atlas.layers[0].slug, 2)}")
    page.go_back()
    at(page, 9, 1)
    page.reload()
    at(page, 9, 1)


@pytest.mark.parametrize("order", ["value", "number"])
def test_the_place_stays_while_maps_are_sorted_otherwise(page: Any, order: str):
    page.select_option("select[name=order]", order)
    rested(page)
    at(page, 9, 0)


def test_another_unit_layer_or_picture_is_shown_at_its_strongest_place(page: Any, atlas: Atlas, served: str):
    page.locator('.maps button[data-channel="1"]').click()
    strongest(page, 1)
    page.go_back()
    page.go_forward()
    strongest(page, 1)
    place = page.locator("#place")
    place.focus()
    page.keyboard.press("ArrowUp" if place.get_attribute("data-y") != "0" else "ArrowDown")
    page.wait_for_function("() => location.search.includes('y=')")
    page.locator(".samples button").first.click()
    page.locator(".taken h2", has_text="0 <b>.png").wait_for()
    strongest(page, 1)
    place.focus()
    page.keyboard.press("ArrowUp" if place.get_attribute("data-y") != "0" else "ArrowDown")
    page.wait_for_function("() => location.search.includes('y=')")
    page.select_option("select[name=layer]", atlas.layers[1].slug)
    page.locator(".of-unit h2", has_text=atlas.layers[1].address).wait_for()
    page.wait_for_function("() => !location.search.includes('y=')")
    page.select_option("select[name=layer]", atlas.layers[2].slug)  # a vector has no places
    page.locator(".of-unit h2", has_text=atlas.layers[2].address).wait_for()
    assert page.locator("#place").count() == 0


@pytest.mark.parametrize(("y", "x"), [("16", "0"), ("0", "99"), ("-1", "0"), ("top", "0"), ("1e1", "0")])
def test_a_place_outside_the_map_is_told_and_not_kept(page: Any, y: str, x: str):
    page.goto(page.url.replace("&y=9&x=0", f"&y={y}&x={x}"))
    strongest(page, 2)
    told = f"There is no place y {y}, x {x}: the maps of conv1:relu have 16 × 16 places; here is the strongest."
    assert page.locator("#no-unit").inner_text() == told
    page.locator('.maps button[data-channel="1"]').click()
    strongest(page, 1)
    assert page.locator("#no-unit").inner_text() == ""


def test_a_layer_without_maps_has_no_places(page: Any, atlas: Atlas):
    slug = atlas.layers[2].slug
    page.goto(page.url.replace("000-conv1-relu", slug))
    page.locator('.of-unit[data-channel="2"] h2', has_text="fc").wait_for()
    assert page.locator("#no-unit").inner_text() == "There is no place y 9, x 0: fc has no maps."
    page.wait_for_function("() => !location.search.includes('y=')")


def test_a_unit_that_cannot_be_projected_is_named_by_the_address(page: Any, monkeypatch: pytest.MonkeyPatch):
    def refuses(*given: object, **named: object) -> NoReturn:
        raise PixelwardError(given="an operation of no rule", allowed="those with one", next_step="take another layer")

    with monkeypatch.context() as patched:
        patched.setattr(panels, "unit_panel", refuses)
        page.locator('.maps button[data-channel="1"]').click()
        page.locator("#unit .refused", has_text="an operation of no rule").wait_for()
        assert page.url.split("?")[1].startswith("layer=000-conv1-relu&unit=1&picture=")
        assert "y=" not in page.url
        page.reload()
        page.locator("#unit .refused", has_text="an operation of no rule").wait_for()
        assert page.locator('.maps [aria-pressed="true"]').get_attribute("data-channel") == "1"
    assert all("status of 422" in line for line in page.watched.wrong)
    page.watched.wrong.clear()
    page.reload()
    strongest(page, 1)
