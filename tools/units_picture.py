"""A picture of chosen units of an atlas for the documentation, laid out as the paper's figure 2.

    python tools/units_picture.py demo/atlas docs/images/units.webp conv2:relu=1,6,13,20 conv5:relu=0,8,11,17

Only atlases of photographs that may be shown: the demo's are public domain and CC0 (CREDITS.md).
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import pixelward as pw
from pixelward.folder import sheet_file
from pixelward.web.content import unit_page

SIDE, GAP, BETWEEN, MARGIN, LABEL = 150, 4, 22, 24, 26
PAPER, INK = (250, 250, 248), (60, 60, 64)


def main(folder: str, target: str, *rows: str) -> None:
    atlas = pw.open(folder)
    units = {address: channels.split(",") for address, channels in (row.rsplit("=", 1) for row in rows)}
    columns = max(map(len, units.values()))
    pair = 2 * SIDE + GAP
    width = 2 * MARGIN + columns * pair + (columns - 1) * BETWEEN
    page = Image.new("RGB", (width, 2 * MARGIN + len(units) * (SIDE + LABEL) - 4), PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for row, (address, channels) in enumerate(units.items()):
        top = MARGIN + row * (SIDE + LABEL)
        for column, channel in enumerate(channels):
            left = MARGIN + column * (pair + BETWEEN)
            entry = unit_page(atlas, atlas.layer(address), int(channel)).unit
            kinds = ("focus", "focus-patches") if entry.closer else ("projections", "patches")
            for offset, kind in zip((0, SIDE + GAP), kinds, strict=True):
                file = atlas.path / sheet_file(atlas.layer(address).slug, int(channel), kind)
                small = Image.open(file).convert("RGBA").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                page.paste(small, (left + offset, top), small)
            pen.text((left, top + SIDE + 3), f"{address.removesuffix(':relu')}, unit {channel}", font=font, fill=INK)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    page.save(target, quality=88, method=6)


if __name__ == "__main__":
    main(*sys.argv[1:])
