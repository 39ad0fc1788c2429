"""The live page in a real browser: a picture is sent, a map and a place in it chosen, and the newest click wins."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from live_atlas import LAYERS
from live_page import (  # noqa: F401
    Held,
    all_answered,
    asked,
    atlas_once,
    mine_once,
    net_once,
    page_opened,
    rested,
    served_once,
    settled,
    unit_shown,
)
from pixelward.atlas import Atlas
from pixelward.web import links
from pixelward.web.live import panels

pytestmark = pytest.mark.browser


def test_a_picture_is_sent_and_a_map_and_a_place_chosen(page: Any, mine: Path, served: str, atlas: Atlas):
    page.set_input_files("#file", mine)
    settled(page)
    assert page.locator(".taken h2").first.inner_text() == mine.name
    assert page.locator(".guesses li").count() == 3
    assert page.locator(".maps button").count() == 4
    page.locator('.maps button[data-channel="2"]').click()
    found = unit_shown(page, 2)
    assert page.locator('.maps [aria-pressed="true"]').get_attribute("data-channel") == "2"
    assert "its strongest place here" in found.inner_text()
    box = page.locator("#place").bounding_box()
    page.locator("#place").click(position={"x": box["width"] * 3.5 / 16, "y": box["height"] * 9.5 / 16})
    page.locator('#place[data-y="9"][data-x="3"]').wait_for()
    page.locator(".of-unit p", has_text="at y 9, x 3").wait_for()
    page.locator("#place").focus()
    page.keyboard.press("ArrowRight")
    page.locator(".of-unit p", has_text="at y 9, x 4").wait_for()
    page.locator(".of-unit h2 a").click()
    assert page.url == f"{served}/{links.unit(atlas.layers[0].slug, 2)}"


def test_painted_maps_are_those_of_the_sheet(page: Any, mine: Path):
    page.set_input_files("#file", mine)
    settled(page)
    page.select_option("select[name=order]", "number")
    page.locator('.maps li:first-child [data-channel="0"]').wait_for()
    page.locator(".of-layer[data-painted]").wait_for()
    painted = page.eval_on_selector_all(
        ".maps canvas",
        "all => all.map((each) => [...each.getContext('2d').getImageData(0, 0, each.width, each.height).data])",
    )
    sheet, columns = page.eval_on_selector(".of-layer", "each => [each.dataset.sheet, Number(each.dataset.columns)]")
    body = page.evaluate(
        "async (at) => { const bytes = new Uint8Array(await (await fetch(at)).arrayBuffer());"
        " return btoa(String.fromCharCode(...bytes)); }",
        sheet,
    )
    whole = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("L"))
    for channel, data in enumerate(painted):
        side = round((len(data) / 4) ** 0.5)
        row, column = divmod(channel, columns)
        expected = whole[row * (side + 1) :, column * (side + 1) :][:side, :side]
        assert np.array_equal(np.reshape(data, (side, side, 4))[..., 0], expected)
        assert expected.max() == 255


@pytest.mark.parametrize("address", LAYERS)
def test_every_layer_can_be_looked_at(page: Any, mine: Path, address: str, atlas: Atlas):
    page.set_input_files("#file", mine)
    settled(page)
    page.select_option("select[name=layer]", label=address)
    rested(page)
    page.locator(".of-unit h2", has_text=address).wait_for()
    assert page.locator(".maps button").count() == atlas.layer(address).channels
    assert page.locator("#place").count() == bool(atlas.layer(address).map)


def test_a_newer_click_wins(page: Any, mine: Path):
    page.set_input_files("#file", mine)
    settled(page)
    held: list[Any] = []
    sent = asked(page, "/000-conv1-relu/")
    page.route("**/live/**/000-conv1-relu/*.html*", lambda route: held.append(route))
    for channel in (3, 1, 2):
        with page.expect_request(f"**/live/**/{channel}.html*"):
            page.locator(f'.maps button[data-channel="{channel}"]').click()
    assert page.locator("#unit").get_attribute("aria-busy") == "true"
    for route in reversed(held):  # the page has given up all but the last
        route.continue_()
    unit_shown(page, 2)
    all_answered(sent)
    assert page.locator(".of-unit").get_attribute("data-channel") == "2"
    assert page.locator("#unit").get_attribute("aria-busy") is None


def test_of_two_quick_changes_of_the_layer_only_the_newer_is_shown(page: Any, net: Held, mine: Path, atlas: Atlas):
    page.set_input_files("#file", mine)
    settled(page)
    page.evaluate(
        "() => { window.seen = []; new MutationObserver(() => {"
        " const sheet = document.querySelector('.of-layer').dataset.sheet;"
        " if (window.seen.at(-1) !== sheet) window.seen.push(sheet); })"
        ".observe(document.getElementById('maps'), { childList: true }); }"
    )
    sent = asked(page, "/maps.html")
    net.open.clear()
    try:
        for record in (atlas.layers[1], atlas.layers[2]):
            page.select_option("select[name=layer]", record.slug)
    finally:
        net.open.set()
    page.locator(".of-unit h2", has_text=atlas.layers[2].address).wait_for()
    all_answered(sent)
    (only,) = page.evaluate("window.seen")
    assert atlas.layers[2].slug in only
    first = page.locator(".maps button").first.get_attribute("data-channel")
    assert page.locator(".of-unit").get_attribute("data-channel") == first
    assert page.locator("#maps").get_attribute("aria-busy") is None


def test_the_layer_that_came_is_told_by_its_panel_not_by_what_is_chosen(page: Any, mine: Path, atlas: Atlas):
    """A panel of one layer arrives when another is chosen already: this one does not take over its unit."""
    page.set_input_files("#file", mine)
    settled(page)
    last = page.locator(".maps button").last
    channel = int(last.get_attribute("data-channel"))
    last.click()
    unit_shown(page, channel)
    page.evaluate(
        "(slug) => { const choice = document.getElementById('choice'), old = document.querySelector('.of-layer');"
        " choice.layer.value = slug;"
        " htmx.swap(document.getElementById('maps'), old.outerHTML, { swapStyle: 'innerHTML' }); }",
        atlas.layers[1].slug,
    )
    rested(page)
    assert page.locator(".of-unit").get_attribute("data-channel") == str(channel)
    assert page.locator(".maps [aria-pressed=true]").get_attribute("data-channel") == str(channel)
    page.select_option("select[name=layer]", atlas.layers[2].slug)
    page.locator(".of-unit h2", has_text=atlas.layers[2].address).wait_for()
    assert page.locator('.maps li:first-child [aria-pressed="true"]').count() == 1


@pytest.mark.parametrize("channel", [0, 1, 2, 3, 4, 5])
def test_every_unit_of_a_layer_of_very_many_is_reached(
    page: Any, served: str, mine: Path, atlas: Atlas, channel: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(panels, "MOST", 2)
    page.goto(f"{served}/{links.live(atlas.layers[1].slug, channel)}")
    page.set_input_files("#file", mine)
    unit_shown(page, channel)
    page.locator(".of-layer[data-painted]").wait_for()
    shown = page.locator('.maps [aria-pressed="true"]')
    assert shown.get_attribute("data-channel") == str(channel)
    assert page.locator("#no-unit").inner_text() == ""
    page.locator("input[name=unit]").fill(str(5 - channel))
    page.keyboard.press("Enter")
    unit_shown(page, 5 - channel)
    assert shown.get_attribute("data-channel") == str(5 - channel)
    count = "(each) => each.getContext('2d').getImageData(0, 0, each.width, each.height).data.some((value) => value)"
    page.wait_for_function(f"() => [...document.querySelectorAll('.maps canvas')].every({count})")


@pytest.mark.parametrize("unit", ["6", "1499", "-1", "1e1", "x"])
def test_a_unit_that_there_is_not_is_refused_in_words(page: Any, served: str, mine: Path, atlas: Atlas, unit: str):
    words = "conv2 has units 0 to 5."
    page.goto(f"{served}/{links.LIVE}?layer={atlas.layers[1].slug}&unit={unit}")
    page.set_input_files("#file", mine)
    settled(page)
    assert page.locator("#no-unit").inner_text() == f"There is no unit {unit}: {words}"
    assert page.locator('.maps li:first-child [aria-pressed="true"]').count() == 1
    page.locator('.maps button[data-channel="2"]').click()
    unit_shown(page, 2)
    assert page.locator("#no-unit").inner_text() == ""
    page.locator("input[name=unit]").fill("" if unit == "x" else unit)
    page.keyboard.press("Enter")
    page.locator("#no-unit", has_text=words).wait_for()
    assert page.locator(".of-unit").get_attribute("data-channel") == "2"


def test_maps_whose_sheet_does_not_come_break_nothing_and_that_is_told(page: Any, mine: Path):
    told = page.locator("#status", has_text="The server does not answer.")
    held: list[Any] = []
    page.route("**/*.map.webp", lambda route: route.abort())
    page.route("**/live/**/000-conv1-relu/*.html*", lambda route: held.append(route))
    with page.expect_request("**/live/**/000-conv1-relu/*.html*"):
        page.set_input_files("#file", mine)
    told.wait_for()
    held[-1].continue_()  # the unit was asked for before: its answer takes back nothing
    page.locator(".of-unit").wait_for()
    assert told.count() == 1
    page.unroute("**/live/**/000-conv1-relu/*.html*")
    page.locator('.maps button[data-channel="2"]').click()
    unit_shown(page, 2)
    assert told.count() == 0
    assert [line for line in page.watched.wrong if "webp" not in line and "net::" not in line] == []  # none uncaught
    page.watched.wrong.clear()
