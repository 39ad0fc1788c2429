"""The pictures of a scan, opened again, and held to be what was scanned."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from pixelward.atlas import Atlas, LayerRecord, PictureRow
from pixelward.data.images import decode, fit, to_rgb, to_tensor
from pixelward.data.sources import Source, open_sources
from pixelward.data.tiles import Tile, cut
from pixelward.errors import PixelwardError
from pixelward.pictures import Picture

AGREE = 1e-3  # relative difference of a value to the scan's that rounding explains


class Loaded(NamedTuple):
    """A picture as the network takes it, (C, H, W), and as people see it."""

    id: int
    pixels: Tensor
    shown: Picture


class Gallery:
    """The scanned pictures, read again, and held to be the same files."""

    def __init__(self, atlas: Atlas, pictures: str | Path | None) -> None:
        self.preprocess = atlas.preprocess
        self._size = atlas.size
        self._sources: dict[str, Source] = {}
        for source in atlas.sources:
            place = Path(source["path"]) if pictures is None else Path(pictures)
            if pictures is not None and len(atlas.sources) > 1:
                place = place / source["name"]
            (self._sources[source["name"]],) = open_sources([place], name=source["name"])
        self._last: tuple[tuple[str, str], Image.Image] | None = None

    def load(self, row: PictureRow) -> Loaded:
        name = (row.source, row.name)
        if self._last is None or self._last[0] != name:
            data = self._sources[row.source].read(row.name)
            if row.sha256 is not None and hashlib.sha256(data).hexdigest() != row.sha256:
                raise PixelwardError(
                    given=f"picture {row.name}, which is not the file that was scanned",
                    allowed="the scanned pictures, unchanged",
                    next_step="name where they are with --pictures, or scan again into a new folder",
                )
            self._last = name, decode(data, row.name, None if row.tile else self.preprocess)
        image = self._last[1]
        if row.tile is not None and row.scale is not None:
            fitted = cut(image, Tile(row.tile, row.scale), self._size[0])
        else:
            fitted = fit(image, self.preprocess, row.name)
        pixels = to_tensor(fitted, self.preprocess)
        return Loaded(row.id, pixels, to_rgb(pixels, self.preprocess))


def refuse_other_value(
    record: LayerRecord,
    channel: int,
    position: tuple[int, ...],
    now: float,
    scanned: float,
    largest: float,
    dtype: torch.dtype,
) -> None:
    """Hold a value to the scan's. A weak one is a small difference of large sums, and rounds as they do.

    largest: the strongest hit of the layer. dtype: of the network, half precision rounds more. Raises PixelwardError.
    """
    agree = max(AGREE, 8 * torch.finfo(dtype).eps)
    if abs(now - scanned) > agree * max(abs(scanned), agree * largest):
        raise PixelwardError(
            given=f"{record.address} unit {channel}: {now:.6g} at {position}, in the scan {scanned:.6g}",
            allowed="the pictures and the preprocessing of the scan",
            next_step="check them, or scan again into a new folder",
        )
