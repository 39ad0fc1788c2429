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
from pixelward.details import Details, Likened, Stage, write_details
from pixelward.draft import Draft
from pixelward.folder import SHEETS, VERSION, kernel_file, sheet_file, thumb_file, write_file
from pixelward.hatch import cleared
from pixelward.pictures import (
    cell_size,
    columns_of,
    crop,
    pack,
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
                tiles["projections"].append(part(shown, view))
                tiles["patches"].append(part(photo, view))
                close = Box(box.top + 4, box.left + 4, 20, 20)
                tiles["focus"].append(part(shown, close) if spec.field > 48 else None)
                tiles["focus-patches"].append(part(photo, close) if spec.field > 48 else None)
            cell = cell_size(view.height, view.width)
            for kind in SHEETS:
                encode = photo_webp if kind.endswith("patches") else projection_webp
                if any(tile is not None for tile in tiles[kind]):
                    image = sheet(tiles[kind], cell, columns_of(atlas.k))
                    write_file(atlas.path / sheet_file(record.slug, channel, kind), encode(image))
    if atlas.layers:
        record = atlas.layers[0]
        for channel in range(record.channels):
            tile = np.random.default_rng(channel).integers(0, 256, (7, 7, 3), dtype=np.uint8)
            write_file(atlas.path / kernel_file(record.slug, channel), projection_webp(sheet([tile], 112)))
    for id in atlas.hit_pictures():
        write_file(atlas.path / thumb_file(id), photo_webp(Image.fromarray(pixels[id])))
    layers = tuple(record.address for record, spec in zip(atlas.layers, specs, strict=True) if spec.drawn)
    atlas.write_drawings(Drawings("deconvnet", "sum", "value", layers))
    for record, channel, hit in told(atlas):
        write_details(atlas, record, channel, *details_of(atlas, record, channel, hit))
    atlas.write_drawings(Drawings("deconvnet", "sum", "value", layers))


def part(picture: np.ndarray, box: Box) -> np.ndarray:
    """A box of a picture, clear where it leaves that."""
    return cleared(crop(picture, box), box, picture.shape[:2])


def told(atlas: Atlas) -> list[tuple[LayerRecord, int, int]]:
    """The hits that are told at length: the first and third of unit 2 of the first layer, one of a unit of the last."""
    drawn = [record for record in atlas.layers if atlas.drawings and record.address in atlas.drawings.layers]
    asked = [(drawn[0], 2, 1), (drawn[0], 2, 3), (drawn[-1], min(3, drawn[-1].channels - 1), 1)] if drawn else []
    return [
        (r, c, hit) for r, c, hit in dict.fromkeys(asked) if hit <= atlas.k and atlas.units(r).picture[c, hit - 1] >= 0
    ]


def details_of(atlas: Atlas, record: LayerRecord, channel: int, hit: int) -> tuple[Details, bytes]:
    """Details made up: markup in every word, a panel without a picture, one without likeness."""
    units, evil = atlas.units(record), '<img src=x onerror=alert(1)>&"'
    tiles = [
        np.full((8, 8, 4), 90, np.uint8),
        np.random.default_rng(hit).integers(0, 255, (120, 120, 3), dtype=np.uint8),
    ]
    image, (maps, pixels) = pack(tiles, 900)
    details = Details(
        network=atlas.network["sha256"],
        hit=hit,
        picture=int(units.picture[channel, hit - 1]),
        position=tuple(units.position[channel, hit - 1].tolist()) if record.map else (),
        value=float(units.value[channel, hit - 1]),
        rules="deconvnet",
        unpool="sum",
        seed="value",
        caution=f"No proof {evil}",
        closer=hit == 1,
        silent=hit == 3,
        size=image.size,
        way=(
            Stage("seed", record.address, (record.channels, 8, 8), 1 / 384, maps),
            *(Stage("unpool", f"pool{n}.a-module-with-a-long-name.{evil}", (64, 8, 8), 0.25, maps) for n in range(9)),
            Stage("filter", "conv1", (3, 64, 64), 0.5, pixels),
        ),
        methods=(
            Likened("deconvnet, sum", f"The paper’s {evil}", pixels, 1.0, 1.0, True),
            Likened("guided, place", f"Refused: {evil}", None, None, None, False),
        ),
        sanity=(
            Likened("all of these shuffled", "Those of conv1.", pixels, -0.004, -0.5, False),
            Likened("centre unpooling", "Switches ignored.", pixels, None, None, False),
        ),
    )
    return details, projection_webp(image)


def _signal(photo: np.ndarray, box: Box) -> np.ndarray:
    """Something like a projection: the picture's fine structure, strongest in the middle of the field."""
    fine = photo.astype(np.float32) - np.asarray(Image.fromarray(photo).resize((8, 8)).resize(photo.shape[1::-1]))
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]]
    far = ((y - box.top - box.height / 2) / box.height) ** 2 + ((x - box.left - box.width / 2) / box.width) ** 2
    inside = (abs(y - box.top - box.height / 2) < box.height / 2) & (abs(x - box.left - box.width / 2) < box.width / 2)
    return (fine * (np.exp(-14 * far) * inside)[..., None]).transpose(2, 0, 1)
