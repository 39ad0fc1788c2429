"""A small atlas made up for tests of what reads one: real files in the real format, hits and drawings invented."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from pixelward.atlas import Atlas, Drawings, LayerRecord, PictureRow
from pixelward.core.fields import Box, Extent, Span
from pixelward.draft import Draft
from pixelward.folder import SHEETS, VERSION, sheet_file, thumb_file, write_file
from pixelward.pictures import (
    cell_size,
    columns_of,
    crop,
    photo_webp,
    projection_webp,
    sheet,
    signal_to_picture,
    view_box,
)


class Spec(NamedTuple):
    """A layer to make up. map: its side in cells, 0 for a vector. dead: units without a hit. field: side in pixels."""

    address: str
    channels: int
    map: int
    stride: int
    field: int
    dead: int = 1
    drawn: bool = True


SPECS = (
    Spec("conv1:relu", 6, 16, 4, 7),
    Spec("block/relu#2", 5, 8, 8, 51, dead=2),
    Spec("fc6:relu", 4, 0, 0, 0, dead=0),
    Spec("late:relu", 3, 4, 16, 31, dead=0, drawn=False),
)
NAMES = ('cats/tabby <i>1</i> & "2".png', "dogs/ünïcode.jpg", "plain.png")


def record_of(number: int, spec: Spec) -> LayerRecord:
    span = Span(spec.stride, -(spec.field // 2), spec.field) if spec.map else None
    extent = Extent(span, span)
    stride = (spec.stride, spec.stride) if spec.map else None
    where = (spec.map, spec.map) if spec.map else ()
    return LayerRecord(number, spec.address, (), spec.channels, where, extent, extent, stride)


def fake_atlas(
    path: Path,
    specs: Sequence[Spec] = SPECS,
    photos: Sequence[np.ndarray] | None = None,
    *,
    names: Sequence[str] = NAMES,
    k: int = 9,
    size: int = 64,
    drawn: bool = True,
    labels: bool = True,
    seed: int = 0,
) -> Atlas:
    """An atlas over tiles of `photos` ((H, W, 3) uint8; noise by default), four tiles of each, the last one skipped."""
    rng = np.random.default_rng(seed)
    if photos is None:
        photos = [rng.integers(0, 255, (96, 128, 3), dtype=np.uint8) for _ in names]
    rows, pixels = [], []
    for name, photo in zip(names, photos, strict=True):
        for _ in range(max(4, -(-2 * k // len(names)))):
            top, left = (int(rng.integers(0, side - size + 1)) for side in photo.shape[:2])
            height, width = photo.shape[:2]
            tile = Box(top, left, size, size)
            label = name.split("/")[0] if labels else None
            rows.append(
                PictureRow(len(rows), "photos", name, tile, 1.0, width, height, label, "used", None, _sha256(name))
            )
            pixels.append(photo[top : top + size, left : left + size])
    broken = PictureRow(len(rows), "photos", "broken.jpg", None, None, None, None, None, "skipped", "truncated", None)
    records = [record_of(number, spec) for number, spec in enumerate(specs)]
    draft = Draft.begin(path, _plan(records, k, size))
    assert draft is not None
    state = {}
    for record, spec in zip(records, specs, strict=True):
        for name, array in _hits(rng, spec, k, len(rows)).items():
            state[f"{record.number}/{name}"] = array
    draft.save(state, [*rows, broken])
    draft.finish(records, np.exp2(np.arange(-40, 41) / 2).astype(np.float32))
    atlas = Atlas.open(path)
    if drawn:
        _draw(atlas, specs, pixels, size)
    return atlas


def _sha256(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _plan(records: Sequence[LayerRecord], k: int, size: int) -> dict[str, object]:
    preprocessing = {
        "channels": "RGB",
        "range": 1.0,
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "resize": size,
        "size": size,
    }
    return {
        "version": VERSION,
        "network": {"model": "zfnet64", "sha256": "0123456789abcdef" * 4},
        "preprocessing": preprocessing,
        "rules": "deconvnet",
        "k": k,
        "size": [size, size],
        "tiles": {"size": size, "stride": size // 2, "overlap": 0.25},
        "layers": [record.to_json() for record in records],
        "sources": [{"name": "photos", "path": "photos"}],
        "listing": "",
    }


def _hits(rng: np.random.Generator, spec: Spec, k: int, pictures: int) -> dict[str, np.ndarray]:
    """k hits of every unit, each in a picture of its own; the dead ones spread; the second unit has two hits only."""
    c = spec.channels
    value = -np.sort(-rng.gamma(4, 3, (c, k)).astype(np.float32), axis=1)
    picture = np.stack([rng.permutation(pictures)[:k] for _ in range(c)])
    position = rng.integers(0, spec.map or 1, (c, k, 2), dtype=np.int32)
    missing = np.zeros((c, k), bool)
    missing[np.linspace(0, c - 1, spec.dead).round().astype(int)] = True
    if c > 2:
        missing[1, 2:] = True
    value[missing], picture[missing], position[missing] = 0, -1, -1
    if not spec.map:
        position[:] = np.where(missing[..., None], -1, 0)
    positive = np.where(missing[:, 0], 0, rng.integers(k, pictures + 1, c))
    histogram = np.zeros((c, 82), np.int64)
    for unit in np.flatnonzero(positive):
        bins = np.clip(np.rint(rng.normal(46, 2.5, positive[unit])), 0, 81).astype(int)
        np.add.at(histogram[unit], bins, 1)
    maximum = value[:, 0].copy()
    return {
        "value": value,
        "picture": picture.astype(np.int64),
        "position": position,
        "seen": np.array([pictures], np.int64),
        "positive": positive.astype(np.int64),
        "histogram": histogram,
        "maximum": maximum,
    }


def _draw(atlas: Atlas, specs: Sequence[Spec], pixels: Sequence[np.ndarray], size: int) -> None:
    for record, spec in zip(atlas.layers, specs, strict=True):
        units = atlas.units(record)
        for channel in range(record.channels if spec.drawn else 0):
            if units.picture[channel, 0] < 0:
                continue
            tiles: dict[str, list[np.ndarray | None]] = {kind: [] for kind in SHEETS}
            for picture, position in zip(units.picture[channel], units.position[channel], strict=True):
                if picture < 0:
                    for drawn in tiles.values():
                        drawn.append(None)
                    continue
                box = record.field.box(tuple(position.tolist()), (size, size))
                view, photo = view_box(box, size, size), pixels[int(picture)]
                shown = signal_to_picture(_signal(photo, box), "RGB", box).picture
                tiles["projections"].append(crop(shown, view))
                tiles["patches"].append(crop(photo, view))
                close = Box(box.top + 4, box.left + 4, 20, 20)
                tiles["focus"].append(crop(shown, close) if spec.field > 48 else None)
                tiles["focus-patches"].append(crop(photo, close) if spec.field > 48 else None)
            cell = cell_size(view.height, view.width)
            for kind in SHEETS:
                encode = photo_webp if kind.endswith("patches") else projection_webp
                if any(tile is not None for tile in tiles[kind]):
                    image = sheet(tiles[kind], cell, columns_of(atlas.k))
                    write_file(atlas.path / sheet_file(record.slug, channel, kind), encode(image))
    for id in atlas.hit_pictures():
        write_file(atlas.path / thumb_file(id), photo_webp(Image.fromarray(pixels[id])))
    layers = tuple(record.address for record, spec in zip(atlas.layers, specs, strict=True) if spec.drawn)
    atlas.write_drawings(Drawings("deconvnet", "sum", "value", layers))


def _signal(photo: np.ndarray, box: Box) -> np.ndarray:
    """Something like a projection: the picture's fine structure, strongest in the middle of the field."""
    fine = photo.astype(np.float32) - np.asarray(Image.fromarray(photo).resize((8, 8)).resize(photo.shape[1::-1]))
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]]
    far = ((y - box.top - box.height / 2) / box.height) ** 2 + ((x - box.left - box.width / 2) / box.width) ** 2
    inside = (abs(y - box.top - box.height / 2) < box.height / 2) & (abs(x - box.left - box.width / 2) < box.width / 2)
    return (fine * (np.exp(-14 * far) * inside)[..., None]).transpose(2, 0, 1)
