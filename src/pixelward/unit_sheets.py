"""The tiles of a layer's hits put together to sheets, one unit after the other, and written beside the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save

from pixelward.atlas import Atlas, LayerRecord
from pixelward.core.fields import Box
from pixelward.data.images import Preprocess
from pixelward.folder import boxes_file, sheet_file, write_file
from pixelward.hatch import cleared
from pixelward.pictures import (
    CELL,
    Picture,
    cell_size,
    columns_of,
    crop,
    focus_box,
    laid_in,
    part_inside,
    photo_webp,
    projection_webp,
    reduced,
    sheet,
    signal_to_picture,
    square_round,
    view_box,
)
from pixelward.pictures import fit as fit_tile
from pixelward.waiting import Waiting

WRITERS = 2  # threads that encode and write pictures
WAITING = 16_000_000  # bytes of pictures that may wait for them


class ChosenHit(NamedTuple):
    """A hit to be drawn: number of its layer, its unit and rank, and where it is."""

    layer: int
    channel: int
    rank: int
    position: tuple[int, int]
    value: float


class Writer:
    """Makes files in threads of its own, beside the network; leaving it waits for all. The first error is raised.

    room: bytes of pictures that may wait to be encoded; one that is larger waits alone.
    """

    def __init__(self, room: float = WAITING) -> None:
        self._threads = ThreadPoolExecutor(max_workers=WRITERS)
        self._waiting: deque[tuple[Future[None], int]] = deque()
        self._left = room

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._threads.shutdown(cancel_futures=kind is not None)
        if kind is None:
            while self._waiting:
                self._settle()

    def write(self, path: Path, encode: Callable[[Image.Image], bytes], image: Image.Image) -> None:
        """Encode and write a picture. Waits where too many others do."""
        size = image.width * image.height * len(image.getbands())
        while self._waiting and size > self._left:
            self._settle()
        self._left -= size
        self._waiting.append((self._threads.submit(lambda: write_file(path, encode(image))), size))

    def _settle(self) -> None:
        """Wait for the first, and raise its error."""
        written, size = self._waiting.popleft()
        self._left += size
        written.result()


class Sheets:
    """Tiles of a layer's units on their way to sheets; a sheet is written as soon as its unit is complete."""

    def __init__(
        self, atlas: Atlas, record: LayerRecord, preprocess: Preprocess, writer: Writer, tiles: Waiting
    ) -> None:
        """tiles: where they wait, those of other layers too."""
        self.record = record
        self._writer = writer
        self._tiles = tiles
        self._atlas = atlas
        self._order = preprocess.channels
        shape = (record.channels, atlas.k, 4)
        self._boxes = {name: np.full(shape, -1, np.int32) for name in ("field", "reach", "focus")}
        self._scales = np.zeros(shape[:2], np.float32)
        self._missing = (np.asarray(atlas.units(record).picture) >= 0).sum(1)
        view = view_box(record.shown.box((0, 0), atlas.size), *atlas.size)
        self._cell = cell_size(view.height, view.width)
        self.largest = float(np.asarray(atlas.units(record).value).max(initial=0.0))

    def add(self, hit: ChosenHit, shown: Picture, signal: NDArray[np.float32], box: Box) -> None:
        """Take a hit's signal, (C, h, w), which lies in `box` of the picture, and cut its tiles."""
        size = self._atlas.size
        position = hit.position if self.record.map else ()
        field, reach = self.record.field.box(position, size), self.record.reach.box(position, size)
        seen = self.record.shown.box(position, size)
        view = view_box(seen, *size)
        inside = _moved(seen, -box.top, -box.left)
        drawn = signal_to_picture(signal, self._order, inside)
        here = Box(view.top - box.top, view.left - box.left, view.height, view.width)
        # Of the field's part in the picture: how far the signal's box goes depends on the hits that went down with it.
        part = part_inside(seen, *size)
        focus = focus_box(laid_in(signal, box, part), Box(0, 0, part.height, part.width))
        if focus is None:
            close_up, close_by = view, here
        else:
            focus = _moved(focus, part.top, part.left)
            self._boxes["focus"][hit.channel, hit.rank] = focus
            close_up = square_round(focus, view)
            close_by = _moved(close_up, -box.top, -box.left)
        tiles = (
            self._tile(signal, drawn.picture, here, view),
            self._patch(shown, view),
            self._tile(signal, drawn.picture, close_by, close_up),
            self._patch(shown, close_up),
        )
        self._tiles.put((self.record.number, hit.channel, hit.rank), tiles)
        self._boxes["field"][hit.channel, hit.rank] = field
        self._boxes["reach"][hit.channel, hit.rank] = reach
        self._scales[hit.channel, hit.rank] = drawn.scale
        self._missing[hit.channel] -= 1
        if not self._missing[hit.channel]:
            self._write(hit.channel)

    def finish(self) -> None:
        """Write the boxes, once every hit was added."""
        arrays = {**self._boxes, "scale": self._scales}
        write_file(self._atlas.path / boxes_file(self.record.slug), save(arrays))

    def _tile(self, signal: NDArray[np.float32], drawn: Picture, box: Box, view: Box) -> Picture:
        """A box of a signal as a tile: of its picture, or, where that is too large, of the signal made smaller.

        view: the same box in the whole picture.
        """
        if max(box.height, box.width) <= CELL:
            tile = crop(drawn, box)
        else:
            tile = signal_to_picture(reduced(signal, box), self._order).picture
        return cleared(tile, view, self._atlas.size)

    def _patch(self, shown: Picture, view: Box) -> Picture:
        return _reduced(cleared(crop(shown, view), view, self._atlas.size))

    def _write(self, channel: int) -> None:
        concentrated = (self._boxes["focus"][channel, :, 2] > 0).any()
        hits = [self._tiles.take((self.record.number, channel, rank)) for rank in range(self._atlas.k)]
        for number, (kind, encode) in enumerate(_KINDS.items()):
            if concentrated or not kind.startswith("focus"):
                cell = CELL if kind.startswith("focus") else self._cell
                image = sheet([None if hit is None else hit[number] for hit in hits], cell, columns_of(self._atlas.k))
                self._writer.write(self._atlas.path / sheet_file(self.record.slug, channel, kind), encode, image)


_KINDS = {  # in the order of a hit's tiles
    "projections": projection_webp,
    "patches": photo_webp,
    "focus": projection_webp,
    "focus-patches": photo_webp,
}


def _moved(box: Box, down: int, right: int) -> Box:
    return Box(box.top + down, box.left + right, box.height, box.width)


def _reduced(tile: Picture) -> Picture:
    """A tile no larger than its cell, so that thousands can wait."""
    return tile if max(tile.shape[:2]) <= CELL else np.asarray(fit_tile(tile, CELL))
