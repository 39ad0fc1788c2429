"""Look at what `make demo` made: tools/check_demo.py ATLAS SITE.

Every layer and unit has its page and its pictures, nothing drawn is blank, every link resolves, the photographs are
credited, and nothing is fetched from anywhere else.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from demo import PHOTOGRAPHS
from PIL import Image

import pixelward as pw
from pixelward.atlas import Atlas
from pixelward.pictures import GREY

PICTURES = 1000  # tiles at least
LINKS = {"href", "src", "srcset", "poster", "action", "data"}
EMPTY = 3.0  # grey levels: what varies less, or differs less from grey, shows nothing
ALIVE = 0.9  # share of units that must have fired


class Links(HTMLParser):
    """What a page points at, the ids that it offers, and its pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.pictures: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.targets += [value for name, value in attrs if name in LINKS and value is not None]
        if given.get("id"):
            self.ids.add(str(given["id"]))
        if tag == "img":
            self.pictures.append(given)


def check(atlas: Path, site: Path) -> Iterator[str]:
    """What is wrong, one line each."""
    opened = pw.open(atlas)
    yield from (f"atlas: {line}" for line in opened.verify())
    if opened.pictures_seen < PICTURES:
        yield f"atlas: {opened.pictures_seen} pictures, fewer than {PICTURES}"
    if opened.pictures_skipped:
        yield f"atlas: {opened.pictures_skipped} pictures were skipped"
    yield from _check_units(opened, site)
    yield from _check_pages(site)
    index = (site / "index.html").read_text("utf-8")
    yield from (f"index.html does not credit {name}" for name in PHOTOGRAPHS if name not in index)


def _check_units(atlas: Atlas, site: Path) -> Iterator[str]:
    net = pw.load("zfnet64")
    expected = [layer.address for layer in pw.layers(net, size=atlas.size)]
    if [record.address for record in atlas.layers] != expected:
        yield f"atlas: layers {[record.address for record in atlas.layers]} instead of {expected}"
    for record in atlas.layers:
        alive = 0
        for channel in range(record.channels):
            folder = site / "layers" / record.slug
            for name in (f"{channel}.html", f"{channel}.json"):
                if not (folder / name).is_file():
                    yield f"{record.address} unit {channel} has no {name}"
            hits = atlas[record.address][channel].hits
            alive += bool(hits)
            for kind in ("projections", "patches") if hits else ():
                path = folder / f"{channel}.{kind}.webp"
                yield from _check_sheet(path, len(hits)) if path.is_file() else [f"{path} is not there"]
        if alive < ALIVE * record.channels:
            yield f"{record.address}: only {alive} of {record.channels} units fired"


def _check_sheet(path: Path, hits: int) -> Iterator[str]:
    """A projection varies; a patch may be a plain colour, but not the grey that stands for nothing."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGBA"), dtype=np.float64)
    side = 3  # tiles along a side, for nine hits a unit
    tiles = [part for row in np.array_split(pixels, side) for part in np.array_split(row, side, axis=1)]
    colours = [tile[tile[..., 3] > 0][:, :3] for tile in tiles[:hits]]  # what is transparent lies between tiles
    flat = [each for each in colours if not len(each) or each.std(axis=0).max() < EMPTY]
    if path.name.endswith(".patches.webp"):
        flat = [each for each in flat if not len(each) or abs(each.mean(axis=0) - GREY).max() < EMPTY]
    if flat:
        yield f"{path}: {len(flat)} of {hits} tiles show nothing"


def _check_pages(site: Path) -> Iterator[str]:
    pages = {path: Links(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or target.startswith("/"):
                yield f"{name} points outside: {target}"
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not there.is_file() or site.resolve() not in there.parents:
                yield f"{name} points at nothing: {target}"
            elif parts.fragment and there in pages and parts.fragment not in pages[there].ids:
                yield f"{name} points at a place that is not there: {target}"
        for picture in page.pictures:
            lacking = [key for key in ("alt", "width", "height") if not picture.get(key)]
            if lacking:
                yield f"{name}: a picture without {', '.join(lacking)}"
    for path in sorted(site.rglob("*.json")):
        json.loads(path.read_text("utf-8"))
    for path in [*site.rglob("*.css"), *site.rglob("*.js")]:
        for address in re.findall(
            r"https?://[^\s\"')]+|//[a-z][^\s\"')]*\.[^\s\"')]+|@import", path.read_text("utf-8")
        ):
            yield f"{path.relative_to(site)} names another host: {address}"


if __name__ == "__main__":
    wrong = list(check(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()))
    for line in wrong[:50]:
        print(line)
    if wrong:
        sys.exit(f"the demo has {len(wrong)} faults")
    print("the demo is whole")
