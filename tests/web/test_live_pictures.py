"""How pictures come to the live page and come back there, in a real browser."""

import base64
from pathlib import Path
from typing import Any

import pytest

from live_page import (  # noqa: F401
    REFUSED,
    Held,
    all_answered,
    asked,
    atlas_once,
    mine_once,
    net_once,
    page_opened,
    picture,
    rested,
    served_once,
    settled,
    unit_shown,
)
from pixelward.atlas import Atlas
from pixelward.web import links

pytestmark = pytest.mark.browser


def test_the_same_unit_is_shown_of_the_next_picture(page: Any, served: str, mine: Path, atlas: Atlas):
    page.goto(f"{served}/{links.live(atlas.layers[1].slug, 4)}")
    page.set_input_files("#file", mine)
    unit_shown(page, 4)
    page.locator(".samples button").first.click()
    settled(page, "0 <b>.png")
    unit_shown(page, 4)
    assert page.locator("select[name=layer]").input_value() == atlas.layers[1].slug
    assert page.locator(".samples b, .taken b, .taken i").count() == 0


def test_a_newer_picture_wins(page: Any, net: Held, mine: Path):
    page.locator(".drop").wait_for()
    sent = asked(page, "/live/pictures")
    net.open.clear()
    try:
        page.set_input_files("#file", mine)
        page.locator(".samples button").nth(1).click()
        page.locator(".samples button").nth(2).click()
    finally:
        net.open.set()
    settled(page, "2 <b>.png")
    all_answered(sent)
    assert page.locator(".taken h2").first.inner_text() == "2 <b>.png"


def test_a_picture_can_be_dropped_and_a_frame_of_the_camera_taken(page: Any):
    dropped = base64.b64encode(picture(9)).decode()
    page.evaluate(
        "(text) => { const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));"
        " const data = new DataTransfer(); data.items.add(new File([bytes], 'dropped.png', { type: 'image/png' }));"
        " document.getElementById('drop').dispatchEvent("
        "new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })); }",
        dropped,
    )
    settled(page, "dropped.png")
    page.locator("#camera").click()
    page.locator("#shoot").click()
    settled(page, "camera")
    page.locator("#stop").click()
    assert not page.locator("#viewfinder").is_visible()
    assert page.locator("#camera").is_visible()


STREAMS = """() => {
  window.streams = [];
  const { mediaDevices } = navigator, ask = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = (...given) => {
    const stream = ask(...given);
    streams.push(stream);
    return stream;
  };
}"""
ON = """async () => (await Promise.all(streams)).flatMap((each) => each.getTracks())
  .filter((each) => each.readyState === "live").length"""


def test_a_camera_that_is_asked_for_twice_is_turned_off_whole(page: Any):
    page.evaluate(STREAMS)
    page.evaluate("() => { for (let n = 0; n < 2; n++) document.getElementById('camera').click(); }")
    page.locator("#shoot:enabled").wait_for()
    assert page.evaluate(ON) == 1
    page.locator("#stop").click()
    assert page.evaluate(ON) == 0


def test_a_camera_that_was_never_answered_can_be_asked_for_again(page: Any):
    page.evaluate(
        "() => { const { mediaDevices } = navigator, ask = mediaDevices.getUserMedia.bind(mediaDevices);"
        " let first = true;"
        " mediaDevices.getUserMedia = (...given) => {"
        "   if (!first) return ask(...given);"
        "   first = false; return new Promise(() => {}); }; }"
    )
    page.locator("#camera").click()
    assert page.locator("#viewfinder").is_hidden()
    page.locator("#camera").click()
    page.locator("#shoot:enabled").wait_for()
    page.locator("#stop").click()


def test_what_is_told_of_a_camera_goes_when_it_is_asked_for_again(page: Any):
    page.evaluate(
        "() => { const { mediaDevices } = navigator; window.ask = mediaDevices.getUserMedia.bind(mediaDevices);"
        " mediaDevices.getUserMedia = () => Promise.reject(new Error('no')); }"
    )
    page.locator("#camera").click()
    page.locator("#status", has_text="cannot be used").wait_for()
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = window.ask; }")
    page.locator("#camera").click()
    page.locator("#shoot:enabled").wait_for()
    assert page.locator("#status").inner_text() == ""


def test_a_bad_picture_is_told_and_a_good_one_is_taken_after_it(page: Any, tmp_path: Path, mine: Path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(picture()[:500])
    page.set_input_files("#file", mine)
    settled(page)
    assert "picture=" in page.url
    assert "Unit" in page.locator("#spoken").text_content()
    page.set_input_files("#file", bad)
    page.locator(".refused", has_text="bad.png").wait_for()
    assert "picture=" not in page.url  # who comes back does not find the picture before it
    assert page.locator("#spoken").text_content() == ""
    page.set_input_files("#file", mine)
    settled(page)
    assert page.locator(".refused").count() == 0
    page.evaluate("document.getElementById('answer').dataset.bytes = '100'")
    page.set_input_files("#file", mine)
    page.locator("#status", has_text="more than are taken").wait_for()
    assert [line for line in page.watched.wrong if not REFUSED.match(line)] == []
    page.watched.wrong.clear()


def test_what_is_told_of_a_picture_stays_while_the_one_before_is_answered(page: Any, net: Held, mine: Path):
    status = page.locator("#status")
    net.open.clear()
    try:
        with page.expect_request("**/live/pictures*"):
            page.set_input_files("#file", mine)
        page.evaluate("document.getElementById('answer').dataset.bytes = '100'")
        page.set_input_files("#file", mine)
        status.filter(has_text="more than are taken").wait_for()
        page.keyboard.press("Shift")
    finally:
        net.open.set()
    settled(page)
    rested(page)
    assert "more than are taken" in status.inner_text()
    page.locator('.maps button[data-channel="3"]').click()
    unit_shown(page, 3)
    assert status.inner_text() == ""


def test_a_picture_that_is_not_kept_any_more_is_told(page: Any, mine: Path):
    page.set_input_files("#file", mine)
    settled(page)
    send = "async () => { for (let n = 0; n < 16; n++) await fetch('live/pictures/0', { method: 'POST' }); }"
    page.evaluate(send)
    page.select_option("select[name=order]", "value")
    page.locator("#maps .refused", has_text="choose the picture once more").wait_for()
    assert [line for line in page.watched.wrong if not REFUSED.match(line)] == []
    page.watched.wrong.clear()


def test_back_restores_the_picture_and_its_unit(page: Any, mine: Path, served: str, atlas: Atlas):
    page.set_input_files("#file", mine)
    settled(page)
    page.select_option("select[name=layer]", atlas.layers[1].slug)
    page.locator(".of-unit h2", has_text=atlas.layers[1].address).wait_for()
    page.locator('.maps button[data-channel="3"]').click()  # not the first, which is shown without being chosen
    unit_shown(page, 3)
    page.locator(".of-unit h2 a").click()
    page.wait_for_url(f"{served}/{links.unit(atlas.layers[1].slug, 3)}")
    page.go_back()
    settled(page, mine.name)
    unit_shown(page, 3)
    assert page.locator("select[name=layer]").input_value() == atlas.layers[1].slug


def test_a_piece_opened_by_itself_is_the_live_page_with_that_picture(page: Any, mine: Path, served: str, atlas: Atlas):
    page.set_input_files("#file", mine)
    settled(page)
    token = page.locator(".tried").get_attribute("data-token")
    page.goto(f"{served}/{links.tried_unit(token, atlas.layers[1].slug, 5)}")
    settled(page, mine.name)
    unit_shown(page, 5)
    assert page.title().startswith("Try a picture on")


def test_a_picture_in_the_address_that_is_not_kept_is_told(page: Any, served: str):
    page.goto(f"{served}/{links.live(token='A' * 22)}")
    page.locator("#answer .refused", has_text="choose the picture once more").wait_for()
    page.locator(".samples button").first.click()
    settled(page, "0 <b>.png")
    assert "A" * 22 not in page.url
    assert [line for line in page.watched.wrong if not REFUSED.match(line)] == []
    page.watched.wrong.clear()


PASTE = """([text, type]) => {
  const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0)), data = new DataTransfer();
  if (type) data.items.add(new File([bytes], "pasted.png", { type }));
  else data.setData("text/plain", "no picture");
  const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
  document.activeElement.dispatchEvent(event);
}"""


def test_a_picture_can_be_pasted_and_words_are_not_sent(page: Any, served: str):
    sent: list[str] = []
    page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    page.evaluate(PASTE, ["", ""])
    page.evaluate(PASTE, [base64.b64encode(picture(11)).decode(), "image/png"])
    settled(page, "pasted.png")
    assert sent == [f"{served}/{links.try_upload()}?name=pasted.png"]
    assert page.locator(".guesses li").count() == 3
