"""Signals and patches -> pictures for people: one grey scale, crops, sheets, and the likeness of two signals.

A projection is signed and its scale is arbitrary (PAPER B6), so grey means zero, one factor serves the three colours,
and the factor is handed back to be written down (PAPER H7). Nothing here knows of networks or folders: arrays in,
arrays or Pillow images out, the same bytes for the same input.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pixelward.core.fields import Box
from pixelward.errors import PixelwardError
from pixelward.hatch import hatched

Signal = NDArray[np.floating]  # (C, H, W)
Picture = NDArray[np.uint8]  # (H, W, 3), RGB

Tile = tuple[int, int, int, int]  # left, top, width and height in a picture of several

Number = TypeVar("Number", bound=np.generic)
BOX = Image.Resampling.BOX

GREY = 128  # a signal of zero
CELL = 112  # about the side of a tile on a sheet, in pixels; see cell_size
GAP = 4  # between two tiles of a sheet, in pixels
PERCENTILE = 99.0  # of the pixels' magnitudes: white or black
ROUNDING = 1e-6  # below this share of the largest magnitude, a float32 value is rounding, not signal
FOCUS_ENERGY = 0.95  # of the squared signal lies inside a focus box
FOCUS_FIELD = 48  # a field whose longer side has fewer pixels is small enough to be read whole
FOCUS_SHARE = 0.25  # a focus box of more than this share of the field's area would show little more than the field
SLOW = 3.0  # pixels: standard deviation of the Gaussian that takes out slow variation (PAPER B7)
POSITIVE, NEGATIVE = (178, 58, 14), (20, 84, 158)  # inks of maps
LEVELS = 8  # of 255 grey levels are one in a stored projection
_ROUNDED = np.clip(np.rint((np.arange(256) - GREY) / LEVELS) * LEVELS + GREY, 0, 255).astype(np.uint8)
_ROUNDING = [*_ROUNDED.tolist() * 3, *range(256)]  # of red, green and blue; what is clear stays as clear


class Shown(NamedTuple):
    """A signal as a picture, and the magnitude that is drawn white or black (0 where there is no signal)."""

    picture: Picture
    scale: float


class Correlation(NamedTuple):
    """Pearson's correlation of two signals, as they are and after slow variation was taken out."""

    plain: float
    fine: float


def signal_to_picture(signal: Signal, order: str = "RGB", box: Box | None = None) -> Shown:
    """Draw a signal round mid-grey: 128 + 127 * signal / scale, clipped to 1 ... 255, one scale for all colours.

    signal: (C, H, W), float. order: "RGB" or "BGR", how the network takes its colours. box: where the scale is
    measured, normally the field. One channel is shown grey. Where there are neither one nor three channels, each pixel
    shows its channel of largest magnitude, in grey, so that no colour is invented.
    The scale is the 99th percentile of the pixels' magnitudes (largest over the colours), counted over pixels that
    are not zero up to rounding: a signal of few pixels does not vanish, and one stray pixel, which is always left
    out, does not wash out the rest. Raises PixelwardError for NaN and infinity.
    """
    scale = full_scale(np.abs(signal).max(axis=0), box)
    if signal.shape[0] == 3:
        colours = signal[::-1] if order == "BGR" else signal
    else:
        strongest = np.abs(signal).argmax(axis=0)[None]
        colours = np.broadcast_to(np.take_along_axis(signal, strongest, axis=0), (3, *signal.shape[1:]))
    shown = colours.transpose(1, 2, 0) * (127.0 / scale if scale else 0.0)
    return Shown(np.clip(np.rint(GREY + shown), 1, 255).astype(np.uint8), scale)


def full_scale(magnitude: NDArray[np.floating], box: Box | None = None) -> float:
    """The magnitude that `signal_to_picture` draws white or black. magnitude: (H, W), not negative."""
    if not np.isfinite(magnitude).all():
        raise PixelwardError(
            given="a signal with NaN or infinity",
            allowed="finite values",
            next_step="look for the layer that overflows, or use a network in float32",
        )
    inside = magnitude if box is None else magnitude[_inside(box, magnitude.shape)]
    largest = float(inside.max(initial=0.0))
    pixels = inside[inside > ROUNDING * largest]
    return float(np.percentile(pixels, PERCENTILE, method="lower")) if pixels.size else 0.0


def inks(signal: Signal) -> NDArray[np.uint8]:
    """Maps of many channels as one picture in two inks, (h, w, 4) RGBA; clear where the signal is zero.

    signal: (C, h, w); a vector, (C,), is laid out in rows of a square. At each place the red ink is the root of the
    summed squares of the positive values over all channels, the blue ink that of the negative ones; one scale for both.
    """
    if signal.ndim == 1:
        side = columns_of(signal.size)
        signal = np.pad(signal, (0, side * side - signal.size)).reshape(1, side, side)
    signs = [np.sqrt(np.square(np.clip(sign * signal, 0, None), dtype=np.float64).sum(axis=0)) for sign in (1, -1)]
    scale = full_scale(np.maximum(*signs)) or 1.0
    red, blue = (np.clip(strength / scale, 0, 1)[..., None] for strength in signs)
    colour = (red * POSITIVE + blue * NEGATIVE) / np.maximum(red + blue, 1e-12)
    drawn: NDArray[np.uint8] = np.rint(np.concatenate([colour, 255 * (1 - (1 - red) * (1 - blue))], axis=2)).astype(
        np.uint8
    )
    return drawn


def crop(picture: NDArray[Number], box: Box, fill: int = GREY) -> NDArray[Number]:
    """The pixels of a box that may leave the picture; what lies outside is `fill`. picture: (H, W) or (H, W, n)."""
    cut = np.full((box.height, box.width, *picture.shape[2:]), fill, dtype=picture.dtype)
    rows, columns = _inside(box, picture.shape)
    there = picture[rows, columns]
    top, left = max(-box.top, 0), max(-box.left, 0)
    cut[top : top + there.shape[0], left : left + there.shape[1]] = there
    return cut


def reduced(signal: Signal, box: Box, side: int = CELL) -> Signal:
    """The part of a signal in a box, zero where the box leaves it, averaged down until the longer side has `side`.

    Signals are averaged before they are drawn: thin lines, of which pictures keep a pale grey, are scaled anew.
    """
    whole = np.moveaxis(crop(np.moveaxis(signal, 0, -1), box, fill=0), -1, 0)
    longer = max(box.height, box.width)
    if longer <= side:
        return whole
    size = (max(round(box.width * side / longer), 1), max(round(box.height * side / longer), 1))
    return np.stack([np.asarray(Image.fromarray(one.astype(np.float32)).resize(size, BOX)) for one in whole])


def view_box(field: Box, height: int, width: int) -> Box:
    """What to show of a field: the field, or the whole picture along an axis where the field is no shorter.

    A field of 139 pixels over a picture of 64 would otherwise be drawn as a small picture in a grey frame.
    All units of a layer get boxes of one size.
    """
    top, tall = (0, height) if field.height >= height else (field.top, field.height)
    left, wide = (0, width) if field.width >= width else (field.left, field.width)
    return Box(top, left, tall, wide)


def part_inside(box: Box, height: int, width: int) -> Box:
    """The part of a box in a picture of this size; without height or width where there is none."""
    rows, columns = _inside(box, (height, width))
    return Box(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)


def focus_box(signal: Signal, box: Box) -> Box | None:
    """The smallest box inside `box` with 95 % of the energy there (sum of squares), if it is small in a large field.

    Large: the longer side of the part of `box` inside the picture has at least 48 pixels. Small: at most a quarter of
    that part's area. Otherwise, and for a signal of zero, None: the field itself is the picture to look at.
    The search is exact. For every height that could still win, the width shrinks while any window of that size holds
    enough; all windows of a size are one subtraction of a summed-area table, so the cost is about O(n^3 log n) in
    numpy rather than O(n^4). Of equal areas the lower box wins, then the upper, then the left one.
    """
    rows, columns = _inside(box, signal.shape[1:])
    energy = np.square(signal[:, rows, columns], dtype=np.float64).sum(axis=0)
    height, width = energy.shape
    if max(height, width) < FOCUS_FIELD or not energy.any():
        return None
    table = np.zeros((height + 1, width + 1))
    table[1:, 1:] = energy.cumsum(axis=0).cumsum(axis=1)
    enough = FOCUS_ENERGY * table[-1, -1]

    def first(tall: int, wide: int) -> tuple[int, int] | None:
        """Top and left of the first window of this size that holds enough."""
        bands = table[tall:] - table[:-tall]
        found = np.argwhere(bands[:, wide:] - bands[:, :-wide] >= enough)
        return (int(found[0, 0]), int(found[0, 1])) if found.size else None

    def narrowest(tall: int, widest: int) -> int | None:
        """The least width, up to `widest`, at which some window of this height holds enough (bisection)."""
        if first(tall, widest) is None:
            return None
        low, high = 1, widest
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if first(tall, middle) is not None else (middle + 1, high)
        return low

    least = narrowest(height, width)  # no box is narrower than the narrowest full-height one
    best, area = None, int(FOCUS_SHARE * height * width) + 1
    for tall in range(1, height + 1):
        widest = min((area - 1) // tall, width)
        if least is None or widest < least:
            break
        wide = narrowest(tall, widest)
        if wide is not None:
            best, area = (tall, wide), tall * wide
    if best is None:
        return None
    place = first(*best)
    return None if place is None else Box(rows.start + place[0], columns.start + place[1], *best)


def square_round(box: Box, view: Box) -> Box:
    """A square that holds a box with a tenth to spare, moved and cut so that it stays inside `view`."""
    side = math.ceil(1.1 * max(box.height, box.width))
    edges = []
    for start, length, first, whole in zip(box[:2], box[2:], view[:2], view[2:], strict=True):
        size = min(side, whole)
        edges.append((min(max(start + (length - size) // 2, first), first + whole - size), size))
    (top, height), (left, width) = edges
    return Box(top, left, height, width)


def columns_of(tiles: int) -> int:
    """How many tiles stand side by side on a sheet: the least square that holds them all."""
    return max(math.isqrt(max(tiles, 1) - 1) + 1, 1)


def cell_size(height: int, width: int) -> int:
    """The side of a sheet's cells for tiles of this size: the multiple nearest to CELL, so that pixels stay square.

    Tiles longer than CELL are reduced to it.
    """
    side = max(height, width)
    return CELL if side >= CELL else side * round(CELL / side)


def sheet(tiles: Sequence[Picture | None], cell: int, columns: int | None = None, gap: int = GAP) -> Image.Image:
    """Tiles side by side, in rows, each in a square cell; RGBA, transparent between the tiles.

    Without `columns`, as many as make a square. Small tiles are enlarged so that their pixels stay visible, large ones
    reduced. A tile that is missing leaves an outlined, empty cell, and what is clear of one is hatched: grey would mean
    a signal of zero.
    """
    columns = columns or columns_of(len(tiles))
    rows = -(-len(tiles) // columns)
    pitch = cell + gap
    whole = Image.new("RGBA", (columns * pitch - gap, rows * pitch - gap), (GREY, GREY, GREY, 0))
    pen = ImageDraw.Draw(whole)
    for number in range(rows * columns):
        top, left = number // columns * pitch, number % columns * pitch
        tile = tiles[number] if number < len(tiles) else None
        if tile is None:
            pen.rectangle((left, top, left + cell - 1, top + cell - 1), outline=(GREY, GREY, GREY, 96))
        else:
            image = hatched(fit(tile, cell))
            whole.paste(image, (left + (cell - image.width) // 2, top + (cell - image.height) // 2))
    return whole


def pack(tiles: Sequence[NDArray[np.uint8]], width: int, gap: int = GAP) -> tuple[Image.Image, list[Tile]]:
    """Tiles of any sizes, (h, w, 3) or (h, w, 4), in rows of about `width` pixels; RGBA, clear between the tiles.

    Returns the picture and where each tile lies in it.
    """
    places: list[Tile] = []
    left = top = tall = 0
    for tile in tiles:
        high, wide = tile.shape[:2]
        if left and left + wide > width:
            left, top, tall = 0, top + tall + gap, 0
        places.append((left, top, wide, high))
        left, tall = left + wide + gap, max(tall, high)
    right, bottom = (max((place[at] + place[at + 2] for place in places), default=1) for at in (0, 1))
    whole = Image.new("RGBA", (right, bottom), (GREY, GREY, GREY, 0))
    for tile, place in zip(tiles, places, strict=True):
        whole.paste(Image.fromarray(tile), place[:2])
    return whole, places


def fit(tile: Picture, side: int) -> Image.Image:
    """A tile, (h, w, 3) or (h, w, 4), as an image whose longer side has `side` pixels, its shape kept.

    Enlarged by whole pixels first and then averaged down, so that all of them have one size on the page.
    """
    image = Image.fromarray(tile)
    longer = max(image.size)
    size = (max(round(image.width * side / longer), 1), max(round(image.height * side / longer), 1))
    if longer > side:
        return image.resize(size, Image.Resampling.LANCZOS)
    times = -(-side // longer)
    large = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    return large.resize(size, BOX)


def projection_webp(image: Image.Image) -> bytes:
    """A sheet of projections as a WebP file: lossless, after rounding to every eighth level, 128 among them.

    Lossy WebP halves the resolution of colour, which turns the pixel-sized colours of a projection grey; lossless
    WebP of all levels takes two to three times the bytes. Measured and looked at on GoogLeNet. More effort than the
    least takes five to nine times as long and saves a fifth of the bytes.
    """
    return webp(image.convert("RGBA").point(_ROUNDING), lossless=True, quality=80, effort=0)


def photo_webp(image: Image.Image) -> bytes:
    """A sheet of patches, or a photograph, as a WebP file: lossy, at a quality where nothing is seen to be missing."""
    return webp(image, lossless=False, quality=85, effort=4)


def webp(image: Image.Image, *, lossless: bool, quality: int, effort: int) -> bytes:
    """An image as a WebP file."""
    target = io.BytesIO()
    image.save(target, "WEBP", lossless=lossless, quality=quality, method=effort)
    return target.getvalue()


def correlation(a: Signal, b: Signal, box: Box | None = None) -> Correlation | None:
    """How alike two signals (C, H, W) are inside a box: Pearson's r over all its values, plain and fine.

    Fine: after a Gaussian of sigma 3 was subtracted from each (PAPER B7), the border mirrored.
    None where either of them does not vary there, as a control that is zero.
    """
    rows, columns = _inside(box, a.shape[1:]) if box is not None else (slice(None), slice(None))
    pair = [signal[:, rows, columns].astype(np.float64) for signal in (a, b)]
    plain = _pearson(pair[0], pair[1])
    if plain is None:
        return None
    fine = _pearson(*(_without_slow(signal) for signal in pair))
    return None if fine is None else Correlation(plain, fine)


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    if a.size == 0:
        return None
    spread = []
    for values in (a, b):
        centred = values - values.mean()
        length = float(np.sqrt(np.square(centred).sum()))
        if length <= ROUNDING * float(np.sqrt(np.square(values).sum())):  # constant up to rounding, or zero
            return None
        spread.append(centred / length)
    return float(np.clip((spread[0] * spread[1]).sum(), -1.0, 1.0))


def _without_slow(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """The signal less its blurred self; exactly zero where only rounding is left."""
    fine = signal - _blur(signal)
    return fine if np.abs(fine).max(initial=0.0) > ROUNDING * np.abs(signal).max(initial=0.0) else np.zeros_like(fine)


def _blur(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """A Gaussian over the last two axes, cut off at four sigma, the border mirrored."""
    radius = int(4 * SLOW + 0.5)
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / SLOW))
    weights /= weights.sum()
    for axis in (1, 2):
        margin = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(signal, margin, "symmetric"), 2 * radius + 1, axis)
        signal = windows @ weights
    return signal


def laid_in(signal: Signal, lies: Box, box: Box) -> Signal:
    """The part of a signal in `box`; zero where `lies`, the box that the signal itself is of, does not reach."""
    here = Box(box.top - lies.top, box.left - lies.left, box.height, box.width)
    rows, columns = _inside(here, signal.shape[1:])
    part = signal[:, rows, columns]
    if part.shape[1:] == box[2:]:
        return part
    whole = np.zeros((len(signal), box.height, box.width), signal.dtype)
    top, left = rows.start - here.top, columns.start - here.left
    whole[:, top : top + part.shape[1], left : left + part.shape[2]] = part
    return whole


def _inside(box: Box, shape: Sequence[int]) -> tuple[slice, slice]:
    """The rows and columns of a picture of this (height, width, ...) that a box covers; empty where it covers none."""
    height, width = shape[0], shape[1]
    top, left = min(max(box.top, 0), height), min(max(box.left, 0), width)
    bottom = min(max(box.top + box.height, top), height)
    right = min(max(box.left + box.width, left), width)
    return slice(top, bottom), slice(left, right)
