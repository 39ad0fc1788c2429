"""Files on their way to the network: read, decoded, fitted or cut to tiles, ahead of it in a thread of their own."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import NamedTuple, TypeVar, cast

from torch import Tensor

from pixelward.atlas import PictureRow
from pixelward.data.images import Preprocess, decode, fit, to_tensor
from pixelward.data.sources import Picture, Source
from pixelward.data.tiles import cut_all, tile_boxes
from pixelward.errors import PixelwardError

File = tuple[Source, Picture]

AHEAD = 2  # batches that may be decoded before the network wants them

T = TypeVar("T")


class Prepared(NamedTuple):
    """A picture or tile on its way to the network. pixels: (C, H, W), None if it is skipped; last: of its file."""

    shard: int
    row: PictureRow
    pixels: Tensor | None
    last: bool


def files_of(sources: Iterable[Source]) -> Iterator[File]:
    return ((source, picture) for source in sources for picture in source.pictures())


def listing_of(sources: Iterable[Source]) -> tuple[str, int]:
    """A hash of all names and labels in order, which tells whether a scan is the same one; and how many there are."""
    digest, number = hashlib.sha256(), 0
    for source, picture in files_of(sources):
        number += 1
        digest.update(json.dumps([source.name, picture.name, picture.label]).encode() + b"\n")
    return digest.hexdigest(), number


def prepared(
    files: Iterable[tuple[int, File]], preprocess: Preprocess, tiles: tuple[int, int] | None, *, length: int, id: int
) -> Iterator[Prepared]:
    """The pictures or tiles of numbered files, numbered from `id`. length: files a shard."""
    ids = count(id)
    for number, (source, picture) in files:
        for row, pixels, last in _read(source, picture, preprocess, tiles):
            yield Prepared(number // length, row._replace(id=next(ids)), pixels, last)


def _read(
    source: Source, picture: Picture, preprocess: Preprocess, tiles: tuple[int, int] | None
) -> Iterator[tuple[PictureRow, Tensor | None, bool]]:
    """A file as its one picture, or as its tiles, or skipped: row without an id, pixels, and whether it is the last."""
    row = PictureRow(-1, source.name, picture.name, label=picture.label)
    try:
        data = source.read(picture.name)
        row = row._replace(sha256=hashlib.sha256(data).hexdigest())
        image = decode(data, picture.name, None if tiles else preprocess)
        row = row._replace(width=image.width, height=image.height)
        pixels = None if tiles else to_tensor(fit(image, preprocess, picture.name), preprocess)
    except PixelwardError as error:
        yield row._replace(state="skipped", reason=error.given), None, True
        return
    if not tiles:
        yield row, pixels, True
        return
    size, stride = tiles
    cuts = tile_boxes(image.width, image.height, size, stride)
    if not cuts:
        reason = f"picture {picture.name} of {image.width} x {image.height} pixels, smaller than a tile of {size}"
        yield row._replace(state="skipped", reason=reason), None, True
    for left, (tile, piece) in enumerate(cut_all(image, cuts, size), start=1 - len(cuts)):
        yield row._replace(tile=tile.box, scale=tile.scale), to_tensor(piece, preprocess), left == 0


def photographs(items: Sequence[Prepared]) -> Iterator[slice]:
    """Runs of tiles of one photograph; the last one may go on in the next batch."""
    start = 0
    for stop, item in enumerate(items, start=1):
        if item.last or stop == len(items):
            yield slice(start, stop)
            start = stop


def ahead(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """The same items, made in a thread of their own, up to `depth` before they are asked for."""
    end = object()

    def step() -> T | object:
        return next(items, end)

    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting = deque(thread.submit(step) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(thread.submit(step))
                yield cast(T, item)
        finally:
            for future in waiting:
                future.cancel()
