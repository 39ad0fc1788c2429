"""Long names of pictures, of their folders and of layers, in the window at any width."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_atlas import SPECS, fake_atlas
from pixelward.atlas import Atlas
from pixelward.web import links
from pixelward.web.export import export
from site_pages import OVER
from watched import Watched

pytestmark = pytest.mark.browser

ALIASES = ("features.denseblock4.denselayer16.relu2", "stages_3_blocks_1_conv_dw_act_without_a_dot_to_break_it_at")
NAMES = tuple(f"{'a_folder_of_one_class_' * 4}{number}/{'a_picture' * 9}.jpg" for number in range(3))
SLUG = "000-conv1-relu"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("long")
    atlas = fake_atlas(home / "atlas", SPECS, names=NAMES)
    record = json.loads((atlas.path / "atlas.json").read_text("utf-8"))
    for layer in record["layers"]:
        layer["aliases"] = [f"{name}{layer['number']}" for name in ALIASES]
    (atlas.path / "atlas.json").write_text(json.dumps(record), "utf-8")
    return export(Atlas.open(atlas.path), home / "site").parent


@pytest.fixture
def opened(browser: Any, written: Path) -> Iterator[Any]:
    context = browser.new_context()
    page = context.new_page()
    watched = Watched(page, written.as_uri())
    yield page
    context.close()
    assert watched.wrong == []


@pytest.mark.parametrize("width", [320, 390, 1440])
@pytest.mark.parametrize("path", [links.INDEX, links.layer(SLUG), links.unit(SLUG, 2), links.picture(0)])
def test_long_names_stay_in_their_columns(opened: Any, written: Path, path: str, width: int):
    opened.set_viewport_size({"width": width, "height": 900})
    opened.goto(f"{written.as_uri()}/{path}")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.evaluate(OVER) == []
