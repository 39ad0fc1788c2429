"""What axe-core finds on the exported pages, in a real browser."""

from typing import Any

import pytest

from axe import findings
from site_pages import PAGES

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing(page: Any, path: str, width: int, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(page.at(path))
    assert findings(page) == []
