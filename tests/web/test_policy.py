"""Pages behind the server's own content-security policy, in a real browser: nothing is refused."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from conftest import LAYERS, NAMES
from fake_atlas import fake_atlas
from pixelward.atlas import Atlas
from pixelward.web import links
from pixelward.web.guard import HEADERS
from pixelward.web.serve import app
from serving import serving
from site_pages import LAYER, PAGES, UNIT
from watched import Watched

pytestmark = pytest.mark.browser


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    """The site behind the policy of the server."""

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Content-Security-Policy", HEADERS["content-security-policy"])
            super().end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_strict_policy_refuses_nothing(browser: Any, served: str):
    context = browser.new_context()
    page = context.new_page()
    watched = Watched(page, served)
    for path in PAGES:
        page.goto(f"{served}/{path}")
        page.wait_for_load_state("networkidle")
    page.goto(f"{served}/{LAYER}?sort=strength")
    page.locator("#u5 .of.patches").hover(force=True)
    page.fill("input[name=unit]", "5")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{UNIT.format(5)}")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    assert page.evaluate("document.styleSheets.length") == 1
    assert watched.wrong == []
    context.close()


@pytest.fixture(scope="module")
def compared(atlas: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server itself, with another atlas beside."""
    specs = (LAYERS[0]._replace(dead=1), LAYERS[1], LAYERS[3]._replace(address="<b>last</b>"))
    other = fake_atlas(tmp_path_factory.mktemp("other") / "atlas", specs, names=NAMES)
    with serving(app(atlas.path, beside=other.path)) as address:
        yield address


def test_the_policy_refuses_nothing_on_pages_of_two_atlases(browser: Any, compared: str):
    context = browser.new_context()
    page = context.new_page()
    watched = Watched(page, f"{compared}/")
    of_one = ["index.html", LAYER, UNIT.format(5), UNIT.format(0), "pictures/0.html"]
    for path in (
        *of_one,
        *(links.beside(each) for each in of_one),
        links.compare(),
        links.compare_layer("000-conv1-relu"),
        links.compare_layer("003-late-relu"),
    ):
        reply = page.goto(f"{compared}/{path}")
        assert (path, reply.status) == (path, 200)
        assert reply.headers["content-security-policy"] == HEADERS["content-security-policy"]
        page.wait_for_load_state("networkidle")
        assert page.evaluate("[...document.images].filter((each) => each.complete && !each.naturalWidth).length") == 0
    page.goto(f"{compared}/{links.compare_unit('000-conv1-relu', 5)}")
    page.locator("#u5 > div:nth-child(2) .of.patches").hover(force=True)
    page.locator("#u5 > div:nth-child(2) .cells.patches a").first.click()
    page.wait_for_url("**/beside/pictures/*.html")
    page.goto(f"{compared}/{links.beside(LAYER)}?sort=strength")
    page.fill("input[name=unit]", "5")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/beside/{UNIT.format(5)}")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    assert watched.wrong == []
    context.close()


@pytest.mark.parametrize(
    "breach",
    [
        "document.body.append(Object.assign(document.createElement('style'), { textContent: 'p { color: red }' }))",
        "document.body.setAttribute('style', 'color: red')",
        "document.body.append(Object.assign(document.createElement('script'), { textContent: '1' }))",
        "new Image().src = 'http://192.0.2.1/a.png'",
        "fetch('http://192.0.2.1/').catch(() => null)",
    ],
)
def test_what_the_policy_refuses_would_be_noticed(browser: Any, compared: str, breach: str):
    context = browser.new_context()
    page = context.new_page()
    watched = Watched(page, f"{compared}/")
    page.goto(f"{compared}/{links.compare()}")
    assert watched.wrong == []
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        page.evaluate(f"() => {{ {breach}; }}")
    assert any("Content Security Policy" in line for line in watched.wrong)
    context.close()
