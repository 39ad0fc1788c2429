"""Screenshots of the pages for README and docs: an atlas of GoogLeNet over photographs that anyone may show.

    python tools/screenshots.py googlenet.py:googlenet googlenet.safetensors --work build

The photographs are the demo's and four more of scikit-image, all CC0 or in the public domain (CREDITS.md); nothing else
is read. The atlas is kept in the folder after --work (about ten minutes on one core), so that a second run only takes
pictures. Needs playwright and a Chromium, as `make test-web` does.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import skimage.data
from demo import PHOTOGRAPHS as DEMO
from PIL import Image

import pixelward as pw
from pixelward.atlas import Atlas
from pixelward.meter import Meter
from pixelward.web import links
from pixelward.web.export import export

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
TILES = (224, 96)
LAYERS = (
    "conv1:relu",
    "conv2:relu",
    "inception_3a.conv_3x3:relu",
    "inception_3b.conv_3x3:relu",
    "inception_4a.conv_3x3:relu",
    "inception_4c.conv_5x5:relu",
    "inception_4e.conv_5x5:relu",
    "inception_5a.conv_5x5:relu",
)
PHOTOGRAPHS = DEMO | {
    "camera.png": "Cameraman, Lav Varshney, CC0",
    "brick.png": "Bricks, CC0Textures, CC0",
    "grass.png": "Grass, linolafett, CC0",
    "gravel.png": "Gravel, CC0Textures, CC0",
}
LABELS = {  # file: what it shows; the name of its folder, hence its label
    "astronaut.png": "person",
    "camera.png": "person",
    "chelsea.png": "cat",
    "coffee.png": "coffee",
    "hubble_deep_field.jpg": "galaxies",
    "retina.jpg": "retina",
    "rocket.jpg": "rocket",
    "brick.png": "ground",
    "grass.png": "ground",
    "gravel.png": "ground",
}


SEEN, CHANNEL = "inception_3b.conv_3x3:relu", 157  # the layer and the unit whose pages are shown


class Shot(NamedTuple):
    """A picture to take. page: its address. Then the size of the window, and whether it is dark."""

    name: str
    page: str
    width: int
    height: int
    scheme: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="GoogLeNet, as FILE.py:FACTORY")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for the atlas")
    parser.add_argument("--channel", type=int, default=CHANNEL, help=f"unit of {SEEN} to show")
    parser.add_argument("--images", type=Path, default=IMAGES, help="folder for the pictures")
    given = parser.parse_args()
    atlas = drawn(given.model, given.weights, given.work)
    credits = [f"{name}: {credit}; from scikit-image" for name, credit in PHOTOGRAPHS.items()]
    index = export(atlas, given.work / "site", credits=credits)
    given.images.mkdir(parents=True, exist_ok=True)
    with chromium() as opened:
        for shot in shots(atlas, given.channel):
            size = take(opened, index.parent, shot, given.images)
            print(f"{shot.name}.webp: {size / 1000:.0f} kB")


def shots(atlas: Atlas, channel: int) -> list[Shot]:
    """Network, layer and unit: at the desk in the light, on a phone in the dark."""
    slug = atlas.layer(SEEN).slug
    addresses = {
        "network": links.INDEX,
        "layer": f"{links.layer(slug)}?sort=strength",
        "unit": links.unit(slug, channel),
    }
    return [
        Shot(f"page-{name}{ending}", address, *size, scheme)
        for ending, size, scheme in (("", (1440, 1000), "light"), ("-phone", (390, 844), "dark"))
        for name, address in addresses.items()
    ]


def take(browser: Any, site: Path, shot: Shot, images: Path) -> int:
    """Write a screenshot as WebP; its size in bytes."""
    context = browser.new_context(viewport={"width": shot.width, "height": shot.height}, color_scheme=shot.scheme)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/{shot.page}")
    page.wait_for_load_state("networkidle")
    page.evaluate("Promise.all([...document.images].filter((each) => each.complete).map((each) => each.decode()))")
    png = page.screenshot()
    context.close()
    file = images / f"{shot.name}.webp"
    Image.open(io.BytesIO(png)).convert("RGB").save(file, quality=82, method=6)
    return file.stat().st_size


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


def drawn(model: str, weights: Path, work: Path) -> Atlas:
    """The atlas in `work`, made or gone on with."""
    for name, label in LABELS.items():
        (work / "pictures" / label).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(skimage.data.__file__).parent / name, work / "pictures" / label / name)
    net = pw.load(model, weights=weights)
    named = f"{Path(model.rpartition(':')[0]).name}:{model.rpartition(':')[2]}"
    with Meter("scan", "tiles") as meter:
        atlas = pw.scan(
            net,
            work / "pictures",
            work / "atlas",
            layers=LAYERS,
            tiles=TILES,
            labels="folders",
            model=named,
            report=meter,
        )
    with Meter("draw", "tiles") as meter:
        pw.draw(atlas, net, report=meter)
    return atlas


if __name__ == "__main__":
    try:
        main()
    except pw.PixelwardError as error:
        sys.exit(str(error))
