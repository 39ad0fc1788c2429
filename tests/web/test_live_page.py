"""The live page in a real browser: a picture is sent, a map and a place in it chosen, and the newest click wins."""

import base64
import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from axe import findings
from live_atlas import LAYERS, live_atlas, network
from pixelward.atlas import Atlas
from pixelward.web import links
from pixelward.web.live import panels
from pixelward.web.serve import app
from serving import serving
from watched import Watched

pytestmark = pytest.mark.browser

REFUSED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")


class Held(nn.Sequential):
    """The network, which can be held in the middle of a picture."""

    def __init__(self) -> None:
        inner = network()
        super().__init__()
        for name, module in inner.named_children():
            self.add_module(name, module)
        self.preprocess, self.open = inner.preprocess, threading.Event()
        self.open.set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.open.wait(30)
        return super().forward(x)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return live_atlas(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def net() -> Held:
    return Held().eval()


@pytest.fixture(scope="module")
def served(atlas: Atlas, net: Held) -> Iterator[str]:
    """The address of a server with a network."""
    with serving(app(atlas.path, model=net)) as address:
        yield address


@pytest.fixture
def page(browser: Any, served: str) -> Iterator[Any]:
    """The live page, which must end without any fault; `page.watched.wrong` holds them."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(20_000)
    opened = context.new_page()
    opened.watched = Watched(opened, served)
    opened.goto(f"{served}/{links.LIVE}")
    yield opened
    context.close()
    assert opened.watched.wrong == []


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture file with markup in its name."""
    file = tmp_path_factory.mktemp("mine") / "<i>mine<i>.png"
    file.write_bytes(picture())
    return file


def picture(seed: int = 7) -> bytes:
    target = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def settled(page: Any, name: str = "") -> None:
    """Wait until an answer is there, whole."""
    if name:
        page.locator(".taken h2", has_text=name).first.wait_for()
    page.locator(".of-layer[data-painted]").wait_for()
    page.locator(".of-unit").wait_for()


def unit_shown(page: Any, channel: int) -> Any:
    found = page.locator(f'.of-unit[data-channel="{channel}"]')
    found.wait_for()
    return found


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
    page.locator(".of-unit h2", has_text=address).wait_for()
    assert page.locator(".maps button").count() == atlas.layer(address).channels
    assert page.locator("#place").count() == bool(atlas.layer(address).map)


def test_the_same_unit_is_shown_of_the_next_picture(page: Any, served: str, mine: Path, atlas: Atlas):
    page.goto(f"{served}/{links.live(atlas.layers[1].slug, 4)}")
    page.set_input_files("#file", mine)
    unit_shown(page, 4)
    page.locator(".samples button").first.click()
    settled(page, "0 <b>.png")
    unit_shown(page, 4)
    assert page.locator("select[name=layer]").input_value() == atlas.layers[1].slug
    assert page.locator(".samples b, .taken b, .taken i").count() == 0


def test_a_newer_click_wins(page: Any, net: Held, mine: Path):
    page.set_input_files("#file", mine)
    settled(page)
    net.open.clear()
    try:
        for channel in (3, 1, 2):
            page.locator(f'.maps button[data-channel="{channel}"]').click()
        assert page.locator("#unit").get_attribute("aria-busy") == "true"
    finally:
        net.open.set()
    unit_shown(page, 2)
    page.wait_for_load_state("networkidle")
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
    net.open.clear()
    try:
        for record in (atlas.layers[1], atlas.layers[2]):
            page.select_option("select[name=layer]", record.slug)
    finally:
        net.open.set()
    page.locator(".of-unit h2", has_text=atlas.layers[2].address).wait_for()
    page.wait_for_load_state("networkidle")
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
    page.locator(".of-layer[data-painted]").wait_for()
    page.wait_for_timeout(500)
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


def test_a_newer_picture_wins(page: Any, net: Held, mine: Path):
    page.locator(".drop").wait_for()
    net.open.clear()
    try:
        page.set_input_files("#file", mine)
        page.locator(".samples button").nth(1).click()
        page.locator(".samples button").nth(2).click()
    finally:
        net.open.set()
    settled(page, "2 <b>.png")
    page.wait_for_load_state("networkidle")
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


def test_a_bad_picture_is_told_and_a_good_one_is_taken_after_it(page: Any, tmp_path: Path, mine: Path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(picture()[:500])
    page.set_input_files("#file", bad)
    page.locator(".refused", has_text="bad.png").wait_for()
    page.set_input_files("#file", mine)
    settled(page)
    assert page.locator(".refused").count() == 0
    page.evaluate("document.getElementById('answer').dataset.bytes = '100'")
    page.set_input_files("#file", mine)
    page.locator("#status", has_text="more than are taken").wait_for()
    assert [line for line in page.watched.wrong if not REFUSED.match(line)] == []
    page.watched.wrong.clear()


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
    page.locator('.maps button[data-channel="4"]').click()
    unit_shown(page, 4)
    page.locator(".of-unit h2 a").click()
    page.wait_for_url(f"{served}/{links.unit(atlas.layers[1].slug, 4)}")
    page.go_back()
    settled(page, mine.name)
    unit_shown(page, 4)
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


def test_maps_whose_sheet_does_not_come_break_nothing(page: Any, mine: Path):
    page.route("**/*.map.webp", lambda route: route.abort())
    page.set_input_files("#file", mine)
    page.locator(".of-unit").wait_for()
    page.wait_for_load_state("networkidle")
    assert [line for line in page.watched.wrong if "webp" not in line and "net::" not in line] == []  # none uncaught
    page.watched.wrong.clear()


@pytest.mark.parametrize("size", [(1366, 700), (1024, 700), (1440, 900)])
def test_the_best_hits_are_in_the_window_beside_the_maps(page: Any, mine: Path, size: tuple[int, int]):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.set_input_files("#file", mine)
    settled(page)
    page.locator(".bench").evaluate("each => scrollTo(0, each.getBoundingClientRect().top + scrollY)")
    unit, best = page.locator("#unit"), page.locator(".of-unit .pair").bounding_box()
    assert best["y"] >= 0
    assert best["y"] + best["height"] <= size[1]
    assert unit.evaluate("each => each.scrollTop") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_and_nothing_leaves_a_phone(page: Any, mine: Path, tmp_path: Path, width: int, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    bad = tmp_path / "bad.png"
    bad.write_bytes(picture()[:500])
    for step in ("empty", "refused", "tried"):
        if step == "refused":
            page.set_input_files("#file", bad)
            page.locator(".refused", has_text="bad.png").wait_for()
        if step == "tried":
            page.set_input_files("#file", mine)
            settled(page)
        assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [line for line in page.watched.wrong if not REFUSED.match(line)] == []
    page.watched.wrong.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("layer", [0, 1])
def test_axe_finds_nothing_in_what_is_told_of_a_hit(
    page: Any, served: str, atlas: Atlas, layer: int, width: int, scheme: str
):
    record = atlas.layers[layer]
    channel = next(channel for channel in range(record.channels) if atlas[record.address][channel].hits)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{served}/{links.details(record.slug, channel, 1, 'html')}")
    assert page.locator(".way-back li").count() > 1
    assert findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_tiles_of_the_best_hits_lead_to_the_hit_and_to_the_picture(page: Any, mine: Path, served: str, atlas: Atlas):
    page.set_input_files("#file", mine)
    settled(page)
    page.locator('.maps button[data-channel="2"]').click()
    unit_shown(page, 2)
    hits, unit = atlas["conv1:relu"][2].hits, links.unit(atlas.layers[0].slug, 2)
    page.locator(".of-unit .of.patches").hover(force=True)
    for kind, targets in (
        ("projections", [f"{unit}#h{rank + 1}" for rank in range(len(hits))]),
        ("patches", [links.picture(hit.picture) for hit in hits]),
    ):
        cells = page.locator(f".of-unit .cells.{kind} a")
        assert cells.evaluate_all("all => all.map((each) => each.href)") == [f"{served}/{each}" for each in targets]
        for cell, hit in zip(cells.all(), hits, strict=True):
            assert hit.name in cell.get_attribute("title")
    page.locator(".of-unit .cells.patches a").first.click()
    page.wait_for_url(f"{served}/{links.picture(hits[0].picture)}")


def test_no_styles_or_scripts_are_put_into_the_page(page: Any, mine: Path):
    page.set_input_files("#file", mine)
    settled(page)
    assert page.locator("style, [style], script:not([src])").count() == 0
    assert page.evaluate("document.styleSheets.length") == 2
