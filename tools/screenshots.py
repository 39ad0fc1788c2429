"""Screenshots of the pages for README and docs: an atlas of GoogLeNet over photographs that anyone may show.

    python tools/screenshots.py googlenet.py:googlenet googlenet.safetensors --work build

The photographs are the demo's and four more of scikit-image, all CC0 or in the public domain (CREDITS.md); nothing else
is read. Beside it stands the same network with noise on its weights. Both atlases are kept in the folder after --work
(about ten minutes on one core), so that a second run only takes pictures. Needs playwright and a Chromium, as
`make test-web` does.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import skimage.data
import torch
import uvicorn
from demo import PHOTOGRAPHS as DEMO
from PIL import Image
from torch import nn

import pixelward as pw
from pixelward.atlas import Atlas
from pixelward.meter import Meter
from pixelward.web import links
from pixelward.web.export import export
from pixelward.web.serve import app

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
COMPARED = ("conv1:relu", "conv2:relu")  # layers of the network with noise; the last one is shown
NOISE = 0.5  # standard deviations of each weight tensor
TRIED = "chelsea.png"


class Window(NamedTuple):
    """A window to look through. ending: of the file's name; quality: of the WebP."""

    ending: str
    width: int
    height: int
    scheme: str
    quality: int


WINDOWS = (
    Window("", 1440, 1000, "light", 82),
    Window("-dark", 1440, 1000, "dark", 70),
    Window("-phone", 390, 844, "dark", 82),
    Window("-phone-light", 390, 844, "light", 70),
)
# Pages and the windows they are taken through; those that a script fills in are served, all others exported.
SERVED, EXPORTED = {"live": WINDOWS}, dict.fromkeys(("network", "layer", "unit", "picture", "compare"), WINDOWS)
EXPORTED["details"] = WINDOWS[:1]
HIGHER = {("live", 1440): 1180, ("live", 390): 2330, ("details", 1440): 1372}  # where there is more to see
FILES = tuple(f"page-{name}{each.ending}.webp" for name, windows in (SERVED | EXPORTED).items() for each in windows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="GoogLeNet, as FILE.py:FACTORY")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for the atlas")
    parser.add_argument("--channel", type=int, default=CHANNEL, help=f"unit of {SEEN} to show")
    parser.add_argument("--images", type=Path, default=IMAGES, help="folder for the pictures")
    given = parser.parse_args()
    net = pw.load(given.model, weights=given.weights)
    named = f"{Path(given.model.rpartition(':')[0]).name}:{given.model.rpartition(':')[2]}"
    photographs(given.work)
    atlas = drawn(net, named, given.work, "googlenet", LAYERS)
    pw.draw_details(atlas, net, [f"{SEEN}:{given.channel}"])
    credits = [f"{name}: {credit}; from scikit-image" for name, credit in PHOTOGRAPHS.items()]
    given.images.mkdir(parents=True, exist_ok=True)
    with chromium() as opened, served(atlas, net) as address:
        take(
            opened, SERVED, addresses(atlas, given.channel), address, given.images, given.work / "pictures/cat" / TRIED
        )
    other = drawn(noisy(net), named, given.work, "googlenet-noise", COMPARED)
    site = export(atlas, given.work / "site", credits=credits, beside=other).parent
    with chromium() as opened:
        take(opened, EXPORTED, addresses(atlas, given.channel), site.as_uri(), given.images)


def addresses(atlas: Atlas, channel: int) -> dict[str, str]:
    """Where the pages lie. The picture is the piece of the tried one that most units count among their strongest."""
    slug = atlas.layer(SEEN).slug
    pieces = [id for id in atlas.hit_pictures() if atlas.picture(id).name.endswith(TRIED)]
    return {
        "network": links.INDEX,
        "layer": f"{links.layer(slug)}?sort=strength",
        "unit": links.unit(slug, channel),
        "details": f"{links.unit(slug, channel)}#way-1",
        "picture": links.picture(max(pieces, key=lambda id: len(atlas.hits_of_picture(id)))),
        "compare": links.compare_layer(atlas.layer(COMPARED[-1]).slug),
        "live": links.live(slug, channel),
    }


def take(
    browser: Any,
    pages: Mapping[str, Sequence[Window]],
    addresses: Mapping[str, str],
    site: str,
    images: Path,
    tried: Path | None = None,
) -> None:
    """Write screenshots as WebP. site: what the addresses begin with. tried: a picture to send first."""
    for name, window in ((name, window) for name, windows in pages.items() for window in windows):
        size = {"width": window.width, "height": HIGHER.get((name, window.width), window.height)}
        context = browser.new_context(viewport=size, color_scheme=window.scheme)
        page = context.new_page()
        page.goto(f"{site}/{addresses[name]}")
        if tried is not None:
            page.set_input_files("#file", tried)
            page.locator(".of-layer[data-painted]").wait_for()
            page.locator(".of-unit").wait_for()
        page.wait_for_load_state("networkidle")
        page.evaluate("Promise.all([...document.images].filter((each) => each.complete).map((each) => each.decode()))")
        png = page.screenshot()
        context.close()
        file = images / f"page-{name}{window.ending}.webp"
        Image.open(io.BytesIO(png)).convert("RGB").save(file, quality=window.quality, method=6)
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


@contextmanager
def served(atlas: Atlas, net: nn.Module) -> Iterator[str]:
    """The address of a server that has the network."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app(atlas.path, model=net), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


def photographs(work: Path) -> None:
    """Each in the folder that is its label."""
    for name, label in LABELS.items():
        (work / "pictures" / label).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(skimage.data.__file__).parent / name, work / "pictures" / label / name)


def noisy(net: nn.Module) -> nn.Module:
    """The network itself, with noise on its weights from now on: the same noise each time."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in (each for each in net.parameters() if each.dim() > 1):
            weight += NOISE * weight.std() * torch.randn(weight.shape, generator=random)
    return net


def drawn(net: nn.Module, named: str, work: Path, folder: str, layers: tuple[str, ...]) -> Atlas:
    """The atlas in a folder of `work`, made or gone on with."""
    with Meter("scan", "tiles") as meter:
        atlas = pw.scan(
            net,
            work / "pictures",
            work / folder,
            layers=layers,
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
