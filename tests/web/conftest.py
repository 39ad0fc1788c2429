"""A real Chromium for tests of pages: `make test-web`. `make test` runs none of these."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_atlas import SPECS, fake_atlas
from pixelward.atlas import Atlas
from pixelward.web import content
from pixelward.web.export import export
from watched import Watched

# Labels that are the folders of the names; markup in a name, in a folder and in a layer.
NAMES = ("cats/tabby.png", "dogs/<img src=x onerror=alert(1)>.jpg", '"><b>birds</b>/tit.png', "cats/siamese.png")
LAYERS = (SPECS[0]._replace(channels=40, dead=3), SPECS[1], SPECS[2]._replace(address="fc<i>6</i>:relu"), SPECS[3])

# A camera that shows a test picture, and is allowed without asking.
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    names = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
    path = next(filter(None, map(shutil.which, filter(None, names))), None)
    assert path, "no Chromium here: install Debian's chromium, or name one in the variable CHROMIUM"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *CAMERA])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return fake_atlas(tmp_path_factory.mktemp("fake") / "atlas", LAYERS, names=NAMES)


@pytest.fixture(scope="session")
def site(atlas: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(atlas, tmp_path_factory.mktemp("out") / "site").parent


@pytest.fixture
def layer(atlas: Atlas) -> content.LayerPage:
    return content.layer_page(atlas, atlas.layers[0])


@pytest.fixture
def page(browser: Any, site: Path) -> Iterator[Any]:
    """A page that must end without any fault; `page.goto(page.at("index.html"))` opens the exported site from disk."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(20_000)
    opened = context.new_page()
    watched = Watched(opened, site.as_uri())
    opened.at = lambda path: f"{site.as_uri()}/{path}"
    yield opened
    context.close()
    assert watched.wrong == []
