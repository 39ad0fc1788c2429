"""Pictures of the atlas itself, to be tried as if they were sent."""

from __future__ import annotations

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


def samples(atlas: Atlas) -> tuple[Sample, ...]:
    """A few of the pictures that hold a hit, evenly spread; none while the atlas is not drawn."""
    if atlas.drawings is None:
        return ()
    ids = list(atlas.hit_pictures())
    count = min(SHOWN, len(ids))
    chosen = [ids[number * (len(ids) - 1) // max(count - 1, 1)] for number in range(count)]
    rows = atlas.pictures(chosen).values()
    return tuple(Sample(row.id, row.title, links.thumb(row.id), links.picture(row.id)) for row in rows)


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
    """A scanned picture. Raises PixelwardError or OSError where it is not what or where it was.

    The sources are listed once, for that may take long, and once more where that fails: a picture that was missing then
    may have come back.
    """
    before = _gallery.cache_info().hits
    found = _gallery(atlas)
    try:
        return found.load(row)
    except (PixelwardError, OSError):
        if _gallery.cache_info().hits == before:  # it was listed just now
            _gallery.cache_clear()
            raise
        _gallery.cache_clear()
        return _gallery(atlas).load(row)


@lru_cache(maxsize=1)
def _gallery(atlas: Atlas) -> Gallery:
    return Gallery(atlas, None)
