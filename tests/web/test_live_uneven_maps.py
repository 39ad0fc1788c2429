"""A click in a map that is not square chooses the place under it, in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import pixelward as pw
from live_atlas import PREPROCESS, SIZE, pictures
from pixelward.atlas import Atlas
from pixelward.data.images import Preprocess, prepare
from pixelward.web import links
from pixelward.web.serve import app
from pixelward.words import number
from serving import serving
from watched import Watched

pytestmark = pytest.mark.browser

CHANNEL = 1
# Layer: rows and columns of its maps. Twice as high as wide, then wider than high.
MAPS = {"tall": (16, 8), "wide": (16, 32)}


class Uneven(nn.Module):
    """Two layers beside each other whose kernels and strides differ along the axes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.tall = nn.Conv2d(3, 3, (3, 5), (2, 4), (1, 2))
        self.wide = nn.Conv2d(3, 3, (5, 1), (2, 1), (2, 0))
        self.last = nn.Linear(6, 2)
        self.preprocess = PREPROCESS

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        means = [part(x).mean((2, 3)) for part in (self.tall, self.wide)]
        return self.last(torch.cat(means, 1))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return Uneven().eval()


@pytest.fixture(scope="module")
def scanned(net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    folder = tmp_path_factory.mktemp("uneven")
    return pw.draw(pw.scan(net, pictures(folder / "pictures"), folder / "atlas", layers=list(MAPS), k=2), net)


@pytest.fixture(scope="module")
def served(net: nn.Module, scanned: Atlas) -> Iterator[str]:
    with serving(app(scanned.path, model=net)) as address:
        yield address


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("mine") / "mine.png"
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(file)
    return file


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("layer", MAPS)
def test_the_place_under_the_pointer_is_projected(
    browser: Any, served: str, net: Any, scanned: Atlas, mine: Path, layer: str, width: int
):
    """Which place that is, is also told by the value that the network has there."""
    rows, columns = MAPS[layer]
    record = scanned.layer(layer)
    assert record.map == (rows, columns)
    with torch.no_grad():
        values = getattr(net, layer)(prepare(mine.read_bytes(), Preprocess.from_dict(PREPROCESS), "mine")[None])[0]
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    watched = Watched(page, f"{served}/")
    page.goto(f"{served}/{links.live(record.slug, CHANNEL)}")
    page.set_input_files("#file", mine)
    page.locator(f'.of-unit[data-channel="{CHANNEL}"]').wait_for()
    # The corners, the middle, and two whose row and column could be taken for each other.
    corners = [(y, x) for y in (0, rows - 1) for x in (0, columns - 1)]
    for y, x in (*corners, (rows // 2, columns // 2), (6, 3), (3, 6)):
        map_ = page.locator("#place")
        map_.scroll_into_view_if_needed()
        box = map_.bounding_box()
        at = {"x": box["width"] * (x + 0.5) / columns, "y": box["height"] * (y + 0.5) / rows}
        map_.click(position=at)
        page.locator(".of-unit p", has_text=f"at y {y}, x {x}").first.wait_for()
        assert (map_.get_attribute("data-y"), map_.get_attribute("data-x")) == (str(y), str(x))
        shown = page.locator(".of-unit .value").inner_text()
        assert shown.replace("\N{MINUS SIGN}", "-") == number(float(values[CHANNEL, y, x]))
        mark, whole = map_.locator("rect").bounding_box(), map_.bounding_box()
        assert mark["x"] + mark["width"] / 2 - whole["x"] == pytest.approx(at["x"], abs=1.5)
        assert mark["y"] + mark["height"] / 2 - whole["y"] == pytest.approx(at["y"], abs=1.5)
    assert watched.wrong == []
    context.close()
