"""Pages of what went wrong, in a real browser: readable, and they lead on."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from axe import findings
from fake_atlas import fake_atlas
from live_atlas import live_atlas, network
from pixelward.atlas import Atlas
from pixelward.web import links
from pixelward.web.guard import HEADERS
from pixelward.web.serve import app
from serving import serving
from watched import Watched

pytestmark = pytest.mark.browser

LONE = "A" * 22  # a token as good as any, of a picture that was never sent
STATUS = re.compile(r"Failed to load resource: the server responded with a status of (\d+) ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_where_nothing_is_and_where_the_atlas_is_gone(
    browser: Any, tmp_path: Path, width: int, scheme: str
):
    atlas = fake_atlas(tmp_path / "atlas")
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    with serving(app(atlas.path)) as address:
        for path, status in ((f"{'far/' * 40}nothing.html", 404), ("index.html", 503)):
            if status == 503:
                shutil.rmtree(atlas.path)
            reply = page.goto(f"{address}/{path}")
            assert reply.status == status
            assert findings(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.get_by_text("Next step").is_visible()
            if status == 404:
                assert page.get_by_role("link").first.get_attribute("href") == "/index.html"
            else:  # which is not there either
                assert page.get_by_role("link").count() == 0
        context.close()


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return live_atlas(tmp_path_factory.mktemp("live"))


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_refused_is_told_by_a_page_that_loads_all_it_needs(
    browser: Any, atlas: Atlas, tmp_path: Path, width: int, scheme: str
):
    """Chromium itself writes the status of a page on the console; that is all that stands there."""
    folder = shutil.copytree(atlas.path, tmp_path / "atlas")
    slug = atlas.layers[0].slug
    asked = (
        ("nothing/at/all.html", 404),
        (links.unit(slug, 10**6), 404),
        (links.tried(LONE), 410),
        (f"{links.maps(LONE)}?layer={slug}&order=odd", 422),
        (f"{links.tried_unit(LONE, slug, 1)}?y=high", 422),
        (links.INDEX, 503),
    )
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    with serving(app(folder, model=network())) as address:
        watched = Watched(page, f"{address}/")
        for path, status in asked:
            if status == 503:
                shutil.rmtree(folder)
            reply = page.goto(f"{address}/{path}")
            page.wait_for_load_state("networkidle")
            assert (path, reply.status) == (path, status)
            assert reply.headers["content-security-policy"] == HEADERS["content-security-policy"]
            told = [(line, STATUS.match(line)) for line in watched.wrong]
            assert [line for line, match in told if match is None] == []
            assert [int(match[1]) for _, match in told if match] == [status]
            watched.wrong.clear()
            assert page.get_by_text("Next step").is_visible()
            assert page.evaluate("document.styleSheets.length") == 1
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert findings(page) == []
    context.close()
