"""Pages behind the server's own content-security policy, in a real browser: nothing is refused."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pixelward.web.guard import HEADERS
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
