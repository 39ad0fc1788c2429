"""While the live page waits it says so, until an answer comes or none will; also where a newer question is asked."""

from pathlib import Path
from typing import Any

import pytest

from live_page import Held, atlas_once, mine_once, net_once, page_opened, rested, served_once, settled, unit_shown  # noqa: F401

pytestmark = pytest.mark.browser

WORKING = "The network is at work …"


def busy(page: Any) -> list[str]:
    """What is said to be waiting."""
    return page.eval_on_selector_all("[aria-busy]", "all => all.map((each) => each.id)")


def test_what_takes_long_is_said_until_it_is_there(page: Any, mine: Path):
    page.set_input_files("#file", mine)
    settled(page)
    status = page.locator("#status")
    assert status.inner_text() == ""
    held: list[Any] = []
    for channel in (3, 1):  # which waits on in the place of the first
        page.route(f"**/live/**/{channel}.html*", lambda route: held.append(route))
        with page.expect_request(f"**/live/**/{channel}.html*"):
            page.locator(f'.maps button[data-channel="{channel}"]').click()
        status.filter(has_text=WORKING).wait_for()
        assert busy(page) == ["unit"]
    held[-1].continue_()
    unit_shown(page, 1)
    assert busy(page) == []
    assert status.inner_text() == ""


def test_a_server_that_goes_away_leaves_nothing_waiting(page: Any, mine: Path):
    page.set_input_files("#file", mine)
    settled(page)
    page.route("**/live/**/3.html*", lambda route: route.abort())
    page.locator('.maps button[data-channel="3"]').click()
    page.locator("#status", has_text="The server does not answer.").wait_for()
    page.wait_for_timeout(1200)  # longer than until the status would say that it works
    assert busy(page) == []
    assert page.locator("#status").inner_text().startswith("The server does not answer.")
    assert page.watched.wrong
    page.watched.wrong.clear()


def test_a_layer_whose_maps_do_not_come_is_not_said_to_be_shown(page: Any, mine: Path):
    page.set_input_files("#file", mine)
    settled(page)
    choice = page.locator("#choice [name=layer]")
    shown = choice.input_value()
    page.route("**/live/**/maps.html*", lambda route: route.abort())
    choice.select_option(index=1)
    page.locator("#status", has_text="The server does not answer.").wait_for()
    assert choice.input_value() == shown == page.locator(".of-layer").get_attribute("data-layer")
    page.unroute("**/live/**/maps.html*")
    choice.select_option(index=1)  # the very same again
    page.wait_for_function("layer => document.querySelector('.of-layer').dataset.layer !== layer", arg=shown)
    assert page.locator(".of-layer").get_attribute("data-layer") == choice.input_value()
    assert page.watched.wrong
    page.watched.wrong.clear()


@pytest.mark.parametrize("number", ["5", "99999"])
def test_a_number_that_is_given_before_the_maps_came_is_of_a_unit_among_them(page: Any, mine: Path, number: str):
    page.set_input_files("#file", mine)
    settled(page)
    held: list[Any] = []
    page.route("**/live/**/maps.html*", lambda route: held.append(route))
    with page.expect_request("**/live/**/maps.html*"):
        page.locator("#choice [name=layer]").select_option(label="conv2")
    page.locator("input[name=unit]").fill(number)
    page.keyboard.press("Enter")
    assert page.locator("#no-unit").inner_text() == ""
    assert page.locator(".of-layer").get_attribute("data-address") == "conv1:relu"
    held[-1].continue_()
    page.locator(".of-unit h2", has_text="conv2").wait_for()
    told = page.locator("#no-unit").inner_text()
    if number == "5":
        unit_shown(page, 5)
        assert told == ""
        assert page.locator(".maps [aria-pressed=true]").get_attribute("data-channel") == "5"
    else:
        assert told == "There is no unit 99999: conv2 has units 0 to 5."
        first = page.locator(".maps button").first.get_attribute("data-channel")
        assert page.locator(".of-unit").get_attribute("data-channel") == first


def test_a_number_of_no_unit_that_is_given_early_leaves_the_chosen_unit(page: Any, mine: Path):
    page.set_input_files("#file", mine)
    settled(page)
    last = page.locator(".maps button").last
    channel = last.get_attribute("data-channel")
    last.click()
    unit_shown(page, int(channel))
    held: list[Any] = []
    page.route("**/live/**/maps.html*", lambda route: held.append(route))
    with page.expect_request("**/live/**/maps.html*"):
        page.locator("#choice [name=order]").select_option("number")
    page.locator("input[name=unit]").fill("99999")
    page.keyboard.press("Enter")
    held[-1].continue_()
    page.locator("#no-unit", has_text="There is no unit 99999").wait_for()
    rested(page)
    assert page.locator(".of-unit").get_attribute("data-channel") == channel
    assert page.locator(".maps [aria-pressed=true]").get_attribute("data-channel") == channel


@pytest.mark.parametrize("first", ["upload", "sample"])
def test_a_picture_that_replaces_another_is_still_waited_for(page: Any, net: Held, mine: Path, first: str):
    choices = {
        "upload": lambda: page.set_input_files("#file", mine),
        "sample": lambda: page.locator(".samples button").first.click(),
    }
    (second,) = choices.keys() - {first}
    net.open.clear()
    try:
        for choice in (first, second):
            with page.expect_request("**/live/pictures*" if choice == "upload" else "**/live/pictures/*"):
                choices[choice]()
        page.wait_for_timeout(300)  # the first is given up meanwhile
        assert busy(page) == ["answer"]
        assert page.locator("#status").inner_text() == "The network looks at it …"
    finally:
        net.open.set()
    settled(page, mine.name if second == "upload" else "0 <b>.png")
    assert busy(page) == []
    assert page.locator("#status").inner_text() == ""
