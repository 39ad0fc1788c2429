"""Make docs/images/units.webp: units of four layers of the demo's atlas, as the paper's figure 2 shows them.

Run `make demo` first. The photographs are the demo's own: public domain and CC0 (CREDITS.md).
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import pixelward as pw
from pixelward.folder import sheet_file

ROOT = Path(__file__).resolve().parents[1]
UNITS = {  # chosen by eye
    "conv2:relu": (1, 6, 13, 20),
    "conv3:relu": (0, 27, 136, 164),
    "conv4:relu": (3, 40, 80, 92),
    "conv5:relu": (0, 8, 11, 17),
}
SIDE, GAP, BETWEEN, MARGIN, LABEL = 150, 4, 22, 24, 26
PAPER, INK = (250, 250, 248), (60, 60, 64)


def main() -> None:
    atlas = pw.open(ROOT / "demo" / "atlas")
    columns = max(map(len, UNITS.values()))
    pair = 2 * SIDE + GAP
    width = 2 * MARGIN + columns * pair + (columns - 1) * BETWEEN
    page = Image.new("RGB", (width, 2 * MARGIN + len(UNITS) * (SIDE + LABEL) - 4), PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for row, (address, channels) in enumerate(UNITS.items()):
        top = MARGIN + row * (SIDE + LABEL)
        for column, channel in enumerate(channels):
            left = MARGIN + column * (pair + BETWEEN)
            for offset, kind in ((0, "projections"), (SIDE + GAP, "patches")):
                sheet = Image.open(atlas.path / sheet_file(atlas.layer(address).slug, channel, kind)).convert("RGBA")
                small = sheet.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                page.paste(small, (left + offset, top), small)
            pen.text((left, top + SIDE + 3), f"{address.removesuffix(':relu')}, unit {channel}", font=font, fill=INK)
    target = ROOT / "docs" / "images" / "units.webp"
    target.parent.mkdir(parents=True, exist_ok=True)
    page.save(target, quality=88, method=6)
    print(target.relative_to(ROOT), target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
