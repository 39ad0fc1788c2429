"""The page of a layer of so many units as a test wants, all drawn: every sheet is one file."""

import itertools
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from fake_atlas import NAMES, SPECS, fake_atlas
from pixelward.atlas import Drawings
from pixelward.folder import sheet_file, write_file
from pixelward.pictures import photo_webp
from pixelward.web import content, pages


def written(home: Path, units: int, names: Sequence[str] = NAMES) -> tuple[Path, content.LayerPage]:
    """The page's file in `home`, and what it says."""
    atlas = fake_atlas(home / "atlas", [SPECS[0]._replace(channels=units, dead=3)], names=names, drawn=False)
    (record,) = atlas.layers
    first = atlas.path / sheet_file(record.slug, 0, "projections")
    write_file(first, photo_webp(Image.new("RGB", (120, 120), "teal")))
    for channel, kind in itertools.product(range(units), ("projections", "patches")):
        if (file := atlas.path / sheet_file(record.slug, channel, kind)) != first:
            file.hardlink_to(first)
    atlas.write_drawings(Drawings("deconvnet", "sum", "value", (record.address,)))
    page = content.layer_page(atlas, record)
    file = home / page.path
    shutil.copytree(atlas.path / "drawings" / record.slug, file.parent, copy_function=os.link)
    file.write_text(pages.html(page), "utf-8")
    shutil.copytree(Path(pages.__file__).with_name("static"), home / "static")
    return file, page
