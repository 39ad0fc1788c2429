"""Pictures of the atlas itself, to be tried as if they were sent."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache

from PIL import Image

from pixelward.atlas import Atlas, PictureRow
from pixelward.data.images import decode, to_rgb, to_tensor
from pixelward.errors import PixelwardError
from pixelward.folder import damaged, thumb_file
from pixelward.gallery import Gallery, Loaded
from pixelward.web import links
from pixelward.web.entries import Sample
from pixelward.web.live.uploads import Tried

SHOWN = 8
QUICK = 0.5  # seconds that listing the sources may take at any time
RESTS = 20  # times as long as that took they are left alone where it took longer


def samples(atlas: Atlas) -> tuple[Sample, ...]:
    """A few of the pictures that hold a hit, evenly spread; none while the atlas is not drawn."""
    if atlas.drawings is None:
        return ()
    ids = _photographs(atlas) if atlas.tiles else list(atlas.hit_pictures())
    count = min(SHOWN, len(ids))
    chosen = [ids[number * (len(ids) - 1) // max(count - 1, 1)] for number in range(count)]
    rows = atlas.pictures(chosen).values()
    return tuple(Sample(row.id, row.title, links.thumb(row.id), links.picture(row.id)) for row in rows)


def _photographs(atlas: Atlas) -> list[int]:
    """Of each photograph the largest tile that holds a hit."""
    largest: dict[tuple[str, str], PictureRow] = {}
    for row in atlas.pictures(atlas.hit_pictures()).values():
        kept = largest.setdefault((row.source, row.name), row)
        if row.tile and kept.tile and row.tile.height > kept.tile.height:
            largest[row.source, row.name] = row
    return [row.id for row in largest.values()]


def sampled(atlas: Atlas, id: int) -> Tried:
    """A picture of the atlas, as it was scanned; its small copy where the file is not to be had any more."""
    row = atlas.picture(id)
    name = row.title
    width, height = row.width or 0, row.height or 0
    try:
        loaded = load(atlas, row)
        return Tried(name, loaded.pixels, loaded.shown, width, height, ())
    except (PixelwardError, OSError) as missing:
        file = atlas.path / thumb_file(id)
        if not file.is_file():
            raise PixelwardError(
                given=f"picture {name}, whose file is not where it was scanned",
                allowed="pictures that are still there",
                next_step="choose another, or send the file",
            ) from missing
        try:
            whole = decode(file.read_bytes(), name)
        except (PixelwardError, OSError) as error:
            raise damaged(atlas.path, thumb_file(id)) from error
        small = whole.resize(atlas.size[::-1], Image.Resampling.BILINEAR)
        pixels = to_tensor(small, atlas.preprocess)
        note = "This is the atlas’s small copy, since the file is not where it was scanned; values differ a little."
        return Tried(name, pixels, to_rgb(pixels, atlas.preprocess), width, height, (note,))


def load(atlas: Atlas, row: PictureRow) -> Loaded:
    """A scanned picture; to be called in the worker. Raises PixelwardError or OSError where it is not what or where it
    was."""
    return _shelf(atlas).load(row)


class Shelf:
    """The scanned pictures. Their sources are listed once, for that may take long.

    A picture that was listed is found again as soon as its file is back. For one that was missing then the sources are
    listed again, after a long listing not before a rest: otherwise each question for it would take so long.
    """

    def __init__(self, atlas: Atlas, clock: Callable[[], float] = time.monotonic) -> None:
        self._atlas, self._clock = atlas, clock
        self._gallery: Gallery | None = None
        self._rested = -math.inf  # when by the clock

    def load(self, row: PictureRow) -> Loaded:
        """Raises PixelwardError or OSError."""
        resting = self._clock() < self._rested
        if self._gallery is not None:
            try:
                return self._gallery.load(row)
            except (PixelwardError, OSError):
                if resting:
                    raise
        elif resting:
            raise PixelwardError(
                given=f"picture {row.name}, whose source was not there a moment ago",
                allowed="pictures that are where they were scanned",
                next_step="put it back, and try again in a while",
            )
        self._gallery = self._listed()
        return self._gallery.load(row)

    def _listed(self) -> Gallery:
        begun = self._clock()
        try:
            return Gallery(self._atlas, None)
        finally:
            now = self._clock()
            self._rested = now + RESTS * (now - begun) if now - begun > QUICK else now


@lru_cache(maxsize=1)
def _shelf(atlas: Atlas) -> Shelf:
    return Shelf(atlas)
