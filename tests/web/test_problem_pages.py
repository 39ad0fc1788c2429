"""Pages of what went wrong, in a real browser: readable, and they lead on."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from axe import findings
from fake_atlas import fake_atlas
from pixelward.web.serve import app
from serving import serving

pytestmark = pytest.mark.browser


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
