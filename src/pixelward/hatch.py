"""What of a tile lies outside the picture: clear in its alpha channel, and hatched wherever the tile is shown.

Grey means a signal of zero, so what is no part of the picture must not be grey: the hatch is half clear, and reads as
paper that shows through, on light and on dark. Maps are clear where they are zero: these get the lines themselves.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelward.core.fields import Box

PERIOD, LINE = 8, 2  # pixels, along a row: from line to line, and of a line
COLOUR = 128  # of lines and of the ground between them
ALPHA = (18, 88)  # of the ground, of a line
RULED = 112  # pixels of a tile that pages show cell by cell, at most


def outside(view: Box, size: tuple[int, int], pixels: tuple[int, int]) -> NDArray[np.bool_]:
    """Where a tile of `pixels` = (h, w), of any scale, that shows `view` of a picture of (height, width), leaves it."""
    beyond = np.ones(pixels, bool)
    edges = []
    for first, length, side, count in zip(view[:2], view[2:], size, pixels, strict=True):
        inside = (min(max(edge - first, 0), length) for edge in (0, side))
        edges.append(tuple(round(edge * count / length) for edge in inside))
    (top, bottom), (left, right) = edges
    beyond[top:bottom, left:right] = False
    return beyond


def cleared(tile: NDArray[np.uint8], view: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A tile that shows `view` of a picture of (height, width), clear where that leaves the picture.

    tile: (h, w, 3), of any scale. Returns (h, w, 4), or the tile itself where nothing lies outside.
    """
    beyond = outside(view, size, (tile.shape[0], tile.shape[1]))
    if not beyond.any():
        return tile
    return np.concatenate([tile, np.where(beyond, 0, 255).astype(np.uint8)[..., None]], axis=2)


def ruled(tile: NDArray[np.uint8], view: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Maps in inks, which are clear where they are zero, with the lines themselves where there are no cells any more.

    tile: (h, w, 4), a pixel a cell, that shows `view` of maps of (height, width). Returns the tile itself where nothing
    lies outside; else each cell enlarged, so that lines can be seen, until the longer side has at most RULED pixels.
    """
    beyond = outside(view, size, (tile.shape[0], tile.shape[1]))
    if not beyond.any():
        return tile
    times = max(RULED // max(beyond.shape), 1)
    tile, beyond = tile.repeat(times, 0).repeat(times, 1), beyond.repeat(times, 0).repeat(times, 1)
    return np.where(beyond[..., None], np.asarray(lines(beyond.shape[1], beyond.shape[0])), tile)


def hatched(image: Image.Image) -> Image.Image:
    """An image with lines where it is clear; one without an alpha channel as it is."""
    return Image.alpha_composite(lines(*image.size), image) if image.mode == "RGBA" else image


@lru_cache(maxsize=16)  # tiles of a sheet have few sizes
def lines(width: int, height: int) -> Image.Image:
    """The hatch itself, RGBA; not to be drawn on."""
    rows, columns = np.ogrid[:height, :width]
    alpha = np.where((rows + columns) % PERIOD < LINE, ALPHA[1], ALPHA[0]).astype(np.uint8)
    grey = np.full_like(alpha, COLOUR)
    return Image.fromarray(np.stack([grey, grey, grey, alpha], axis=2))
