"""What of a tile lies outside the picture: clear in its alpha channel, and hatched wherever the tile is shown.

Grey means a signal of zero, so what is no part of the picture must not be grey: the hatch is half clear, and reads as
paper that shows through, on light and on dark.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelward.core.fields import Box

PERIOD, LINE = 8, 2  # pixels, along a row: from line to line, and of a line
COLOUR = 128  # of lines and of the ground between them
ALPHA = (18, 88)  # of the ground, of a line


def cleared(tile: NDArray[np.uint8], view: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A tile that shows `view` of a picture of (height, width), clear where that leaves the picture.

    tile: (h, w, 3), of any scale. Returns (h, w, 4), or the tile itself where nothing lies outside.
    """
    edges = []
    for first, length, side, pixels in zip(view[:2], view[2:], size, tile.shape[:2], strict=True):
        inside = (min(max(edge - first, 0), length) for edge in (0, side))
        edges.append(tuple(round(edge * pixels / length) for edge in inside))
    if all(edge == (0, pixels) for edge, pixels in zip(edges, tile.shape[:2], strict=True)):
        return tile
    (top, bottom), (left, right) = edges
    alpha = np.zeros((*tile.shape[:2], 1), np.uint8)
    alpha[top:bottom, left:right] = 255
    return np.concatenate([tile, alpha], axis=2)


def hatched(image: Image.Image) -> Image.Image:
    """An image with lines where it is clear; one without an alpha channel as it is."""
    return Image.alpha_composite(lines(*image.size), image) if image.mode == "RGBA" else image


def lines(width: int, height: int) -> Image.Image:
    """The hatch itself, RGBA."""
    rows, columns = np.ogrid[:height, :width]
    alpha = np.where((rows + columns) % PERIOD < LINE, ALPHA[1], ALPHA[0]).astype(np.uint8)
    grey = np.full_like(alpha, COLOUR)
    return Image.fromarray(np.stack([grey, grey, grey, alpha], axis=2))
