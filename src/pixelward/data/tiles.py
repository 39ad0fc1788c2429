"""A photograph -> overlapping square tiles at several scales, so that a handful of photographs makes a data set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from pixelward.core.fields import Box
from pixelward.errors import PixelwardError


class Tile(NamedTuple):
    """A square piece of a photograph that was scaled by `scale`. box: what it covers of the photograph itself."""

    box: Box
    scale: float


def tile_boxes(width: int, height: int, size: int, stride: int) -> list[Tile]:
    """All tiles of a photograph of width x height pixels: scale by scale, row by row, from left to right.

    The scales are 1, 1/sqrt 2, 1/2, ... while the shorter side of the scaled photograph holds a tile of `size` pixels.
    Tiles stand `stride` pixels apart in the scaled photograph, the last of each row and column flush with the far edge,
    so that no border is lost. Boxes are in the photograph's own pixels, rounded to whole ones, and lie inside it. A
    photograph smaller than a tile has none. Raises PixelwardError unless 1 <= stride <= size.
    """
    if not 1 <= stride <= size:
        raise PixelwardError(
            given=f"tiles of {size} pixels that stand {stride} apart",
            allowed="a stride from 1 to the size, so that nothing is passed over",
            next_step="correct --tiles SIZE,STRIDE",
        )
    tiles: list[Tile] = []
    step = 0
    while True:
        scale = math.ldexp(math.sqrt(0.5) if step % 2 else 1.0, -(step // 2))  # alike on every machine
        across, down = _scaled((width, height), scale)
        if min(across, down) < size:
            return tiles
        columns = [_own_pixels(start, size, across, width) for start in _starts(across, size, stride)]
        for top, tall in (_own_pixels(start, size, down, height) for start in _starts(down, size, stride)):
            tiles += [Tile(Box(top, left, tall, wide), scale) for left, wide in columns]
        step += 1


def cut_all(image: Image.Image, tiles: Iterable[Tile], size: int) -> Iterator[tuple[Tile, Image.Image]]:
    """Cut tiles of one photograph, each a picture of size x size pixels, in the order given.

    tiles: of `tile_boxes` for this photograph and size, all or some. The photograph is scaled (Lanczos, with
    anti-aliasing) once for each run of tiles of one scale, and always from the original.
    """
    for scale, some in groupby(tiles, key=lambda tile: tile.scale):
        across, down = _scaled(image.size, scale)
        same = (across, down) == image.size
        scaled = image if same else image.resize((across, down), Image.Resampling.LANCZOS)
        for tile in some:
            # The box was rounded by half a pixel at most, and a pixel there is less than one here: this is exact.
            left = round(tile.box.left * across / image.width)
            top = round(tile.box.top * down / image.height)
            yield tile, scaled.crop((left, top, left + size, top + size))


def cut(image: Image.Image, tile: Tile, size: int) -> Image.Image:
    """Cut a single tile: the same pixels as from `cut_all`, which is the faster one for several."""
    return next(cut_all(image, [tile], size))[1]


def overlap(a: Box, b: Box) -> float:
    """How much of the smaller box lies in the other: 0 to 1; 0 where a box has no pixels."""
    return float(overlaps(a, b))


def overlaps(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """`overlap` for arrays of boxes, (..., 4) top, left, height, width, which broadcast. Returns (...) float64."""
    one, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
    start = np.maximum(one[..., :2], other[..., :2])
    stop = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
    shared = (stop - start).clip(min=0).prod(-1)
    smaller = np.minimum(one[..., 2:].prod(-1), other[..., 2:].prod(-1))
    share: NDArray[np.float64] = np.divide(shared, smaller, out=np.zeros_like(shared), where=smaller > 0)
    return share


def _scaled(sides: tuple[int, int], scale: float) -> tuple[int, int]:
    return round(sides[0] * scale), round(sides[1] * scale)


def _starts(side: int, size: int, stride: int) -> list[int]:
    """Where tiles begin along one axis of the scaled photograph."""
    return sorted({*range(0, side - size, stride), side - size})


def _own_pixels(start: int, size: int, scaled: int, own: int) -> tuple[int, int]:
    """An interval of the scaled photograph as (start, length) in the photograph's own pixels."""
    first, last = round(start * own / scaled), round((start + size) * own / scaled)
    return first, last - first
