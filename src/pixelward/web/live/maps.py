"""Feature maps drawn in grey: one, or those of a layer on one sheet."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelward.pictures import CELL, GREY, webp

Maps = NDArray[np.floating]  # (C, h, w)
SCALES = ("map", "layer")
SIDE = 2000  # pixels, about, of a sheet's width


def is_signed(maps: Maps) -> bool:
    """Whether zero has to be grey, since there are values on both sides of it."""
    return bool((maps < 0).any())


def grey(maps: Maps, scale: str) -> NDArray[np.uint8]:
    """Maps as grey levels, (C, h, w): 0 is black and the largest white or, where there are negative ones, 0 is grey.

    scale: what is the largest, "map" for each its own, "layer" for all the same.
    """
    axes = (1, 2) if scale == "map" else (0, 1, 2)
    most = np.abs(maps).max(axis=axes, keepdims=True, initial=0.0)
    share = np.divide(maps, most, out=np.zeros_like(maps), where=most > 0)
    levels: NDArray[np.uint8] = np.rint(GREY + 127 * share if is_signed(maps) else 255 * share).astype(np.uint8)
    return levels


def cell_of(height: int, width: int) -> tuple[int, int]:
    """The (height, width) that a map takes on a sheet: its own, reduced where a side is longer than CELL."""
    longer = max(height, width)
    if longer <= CELL:
        return height, width
    return max(round(height * CELL / longer), 1), max(round(width * CELL / longer), 1)


def columns_for(count: int, cell: tuple[int, int]) -> int:
    """How many maps stand side by side: as many as make about a square, of no more than SIDE pixels if that is."""
    height, width = cell[0] + 1, cell[1] + 1
    return max(min(math.ceil(math.sqrt(count * height / width)), SIDE // width), 1)


def sheet(maps: Maps, scale: str) -> bytes:
    """All maps on one sheet, by number, a pixel between them, as a lossless WebP file."""
    count, height, width = maps.shape
    cell = cell_of(height, width)
    columns = columns_for(count, cell)
    rows = -(-count // columns)
    whole = np.zeros((rows * (cell[0] + 1), columns * (cell[1] + 1)), np.uint8)
    for number, one in enumerate(grey(maps, scale)):
        top, left = number // columns * (cell[0] + 1), number % columns * (cell[1] + 1)
        whole[top : top + cell[0], left : left + cell[1]] = _reduced(one, cell)
    return exact(Image.fromarray(whole))


def single(one: NDArray[np.floating]) -> bytes:
    """One map, (h, w), by its own scale, as a lossless WebP file."""
    return exact(Image.fromarray(_reduced(grey(one[None], "map")[0], cell_of(*one.shape))))


def _reduced(levels: NDArray[np.uint8], cell: tuple[int, int]) -> NDArray[np.uint8]:
    if levels.shape == cell:
        return levels
    return np.asarray(Image.fromarray(levels).resize((cell[1], cell[0]), Image.Resampling.BOX))


def exact(image: Image.Image) -> bytes:
    """An image as a WebP file that keeps every pixel."""
    return webp(image, lossless=True, quality=50, effort=0)
