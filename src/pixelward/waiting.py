"""Tiles that wait for their sheets: in a file without a name, so that memory does not grow with units and hits.

The file lies in the atlas's folder, where there is room for drawings, and vanishes with the process, however that ends.
What is read back soon is in the system's own cache.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from pixelward.errors import PixelwardError
from pixelward.pictures import Picture

Key = tuple[int, int, int]  # number of the layer, channel, rank


class Waiting:
    """Pictures, (h, w, 3 or 4) uint8, of hits; each is taken back once."""

    def __init__(self, folder: Path) -> None:
        """Raises PixelwardError where nothing can be written."""
        self._folder = folder
        with self._told():
            self._file = tempfile.TemporaryFile(dir=folder, prefix=".tiles-")  # noqa: SIM115
        self._end = 0
        self._places: dict[Key, tuple[int, list[tuple[int, ...]]]] = {}

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):  # it writes what waits to be written: on a full disk it cannot, and that was told
            self._file.close()

    def put(self, key: Key, pictures: Sequence[Picture]) -> None:
        """Keep the pictures of a hit. Raises PixelwardError where the disk is full, as `take` does."""
        whole = b"".join(picture.tobytes() for picture in pictures)
        with self._told():
            self._file.seek(self._end)
            self._file.write(whole)
        self._places[key] = self._end, [picture.shape for picture in pictures]
        self._end += len(whole)

    def take(self, key: Key) -> list[Picture] | None:
        """The pictures of a hit, which are not kept any longer; None where there are none."""
        if key not in self._places:
            return None
        start, shapes = self._places.pop(key)
        sizes = [math.prod(shape) for shape in shapes]
        with self._told():
            self._file.seek(start)
            whole = self._file.read(sum(sizes))
        return list(_cut(whole, shapes, sizes))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PixelwardError(
                given=f"{self._folder}, where no more can be written ({error.strerror})",
                allowed="a folder that may be written, with room for drawings, and for their tiles while these wait",
                next_step="see who may write there, or free some, and draw again: layers that are finished stay",
            ) from error


def _cut(whole: bytes, shapes: Sequence[tuple[int, ...]], sizes: Sequence[int]) -> Iterator[Picture]:
    start = 0
    for shape, size in zip(shapes, sizes, strict=True):
        yield np.frombuffer(whole, np.uint8, size, start).reshape(shape)
        start += size
