"""Atlas + network + pictures -> the details of chosen units: their hits sent down again, and told at length."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pixelward.atlas import Atlas, Drawings, LayerRecord, PictureRow
from pixelward.controls import CAUTION, Comparison, by_rules, sanity
from pixelward.core.fields import Box
from pixelward.details import Details, Likened, Stage, read_details, write_details
from pixelward.errors import PixelwardError
from pixelward.explain import closer, way_back
from pixelward.fingerprint import recognised
from pixelward.folder import Damaged, details_file
from pixelward.gallery import Gallery, refuse_other_value
from pixelward.hatch import cleared, ruled
from pixelward.pictures import Tile, crop, fit, inks, pack, projection_webp, signal_to_picture
from pixelward.projection import Projection, project
from pixelward.strips import Step

Report = Callable[[int, int, float], None]
Pixels = NDArray[np.uint8]  # (h, w, 3) or (h, w, 4)

MOST = 224  # pixels of a tile's longer side
WIDE = 4 * (MOST + 4)  # pixels of a row of tiles, about


Panel = TypeVar("Panel", Stage, Likened)


class Asked(NamedTuple):
    """One unit whose details are wanted."""

    layer: LayerRecord
    channel: int


def units_asked(atlas: Atlas, texts: Sequence[str]) -> list[Asked]:
    """`LAYER:CHANNEL`, one unit, or `LAYER`, all of a layer, as units of an atlas, each once, in its order.

    Raises PixelwardError for a layer or channel that the atlas lacks.
    """
    found: dict[Asked, None] = {}
    for text in texts:
        name, _, last = text.rpartition(":")
        one = bool(name) and last.isdecimal()
        record = atlas.layer(name if one else text)
        if one and int(last) >= record.channels:
            raise PixelwardError(
                given=f"unit {int(last)} of layer {record.address}",
                allowed=f"0 to {record.channels - 1}",
                next_step=f"choose one of these, or {record.address} for all",
            )
        found |= dict.fromkeys(Asked(record, channel) for channel in ([int(last)] if one else range(record.channels)))
    return sorted(found, key=lambda each: (each.layer.number, each.channel))


def draw_details(
    atlas: Atlas | str | Path,
    net: nn.Module,
    units: Sequence[str],
    *,
    hits: Sequence[int] = (1,),
    pictures: str | Path | None = None,
    report: Report | None = None,
    note: Callable[[str], None] = print,
) -> Atlas:
    """Write the details of chosen units into a drawn atlas: the way back, the rules compared, the sanity row.

    units: `LAYER:CHANNEL`, or `LAYER` for all of a layer. hits: which of each unit's hits, from 1, the strongest; units
    without such a hit are left out, which `note` is told. pictures, report: as for `draw`. What is there already,
    and can be read, is left as it is, so the same call goes on where one was interrupted. Raises PixelwardError for
    another network or other pictures, a unit that the atlas lacks, a layer that is not drawn.
    """
    atlas = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    recognised(atlas, net)
    if any(hit < 1 for hit in hits):
        raise PixelwardError(given=f"hit {min(hits)}", allowed=f"1 to {atlas.k}", next_step="count hits from 1")
    asked = units_asked(atlas, units)
    drawings = _drawings(atlas, asked)
    wanted = [(each, hit) for each in asked for hit in dict.fromkeys(hits)]
    there = [(each, hit) for each, hit in wanted if has_hit(atlas, each, hit)]
    missing = len(wanted) - len(there)
    if missing:
        note(f"{missing} of {len(wanted)} hits left out: the units do not have so many, or are dead in this collection")
    to_do = [(each, hit) for each, hit in there if not _is_whole(atlas, each, hit)]
    if to_do:
        gallery, started = Gallery(atlas, pictures), time.monotonic()
        for done, (each, hit) in enumerate(to_do, start=1):
            loaded = gallery.load(picture_of(atlas, *each, hit))
            write_details(atlas, each.layer, each.channel, *examine(atlas, net, loaded.pixels, *each, hit))
            if report is not None:
                report(done, len(to_do), done / max(time.monotonic() - started, 1e-9))
    if there:  # also where an earlier run was interrupted before it could say so
        atlas.write_drawings(drawings)
    return atlas


def _is_whole(atlas: Atlas, asked: Asked, hit: int) -> bool:
    """Whether details are there, of this atlas, and can be read."""
    try:
        found = read_details(atlas, asked.layer, asked.channel, hit)
    except Damaged:
        return False
    pictures = details_file(asked.layer.slug, asked.channel, hit, "webp")
    return found is not None and (atlas.path / pictures).is_file()


def picture_of(atlas: Atlas, record: LayerRecord, channel: int, hit: int) -> PictureRow:
    """The picture of a hit, from 1, that the unit has."""
    return atlas.picture(int(atlas.units(record).picture[channel, hit - 1]))


def examine(
    atlas: Atlas,
    net: nn.Module,
    pixels: Tensor,
    record: LayerRecord,
    channel: int,
    hit: int,
    *,
    go_on: Callable[[], object] = lambda: None,
) -> tuple[Details, bytes]:
    """The details of a hit, from 1, that a unit of a drawn layer has, and their pictures as WebP.

    pixels: the hit's picture, prepared, (C, H, W). go_on: called between the panels; what it raises ends the work.
    Raises PixelwardError where the network gives another value there than in the scan.
    """
    drawings = _drawings(atlas, [Asked(record, channel)])
    projection = _projection(atlas, net, pixels, drawings, record, channel, hit)
    panels = _Panels(projection)

    def stage(step: Step, last: bool) -> Stage:
        go_on()
        return panels.stage(step, last)

    def likened(each: Comparison) -> Likened:
        go_on()
        return panels.likened(each)

    way = way_back(net, projection, stage)
    methods = [likened(each) for each in by_rules(net, projection)]
    checks = [likened(each) for each in sanity(net, projection)]
    image, tiles = pack(panels.tiles, WIDE)
    details = Details(
        network=atlas.network["sha256"],
        hit=hit,
        picture=int(atlas.units(record).picture[channel, hit - 1]),
        position=projection.position,
        value=float(atlas.units(record).value[channel, hit - 1]),
        rules=drawings.rules,
        unpool=drawings.unpool,
        seed=drawings.seed,
        caution=CAUTION,
        closer=panels.closer,
        silent=not bool(projection.signal.any()),
        size=image.size,
        way=tuple(_placed(each, tiles) for each in way),
        methods=tuple(_placed(each, tiles) for each in methods),
        sanity=tuple(_placed(each, tiles) for each in checks),
    )
    return details, projection_webp(image)


def _drawings(atlas: Atlas, asked: Sequence[Asked]) -> Drawings:
    drawings = atlas.drawings
    layers = dict.fromkeys(each.layer.address for each in asked)
    absent = [name for name in layers if drawings is None or name not in drawings.layers]
    if absent or drawings is None:
        raise PixelwardError(
            given=f"details of {', '.join(absent) or 'no unit'}, not drawn in {atlas.path}",
            allowed="layers that are drawn",
            next_step=f"draw them first: pixelward draw {quote(str(atlas.path))} MODEL",
        )
    return drawings


def has_hit(atlas: Atlas, asked: Asked, hit: int) -> bool:
    """Whether a unit has so many hits; they are counted from 1."""
    return 1 <= hit <= atlas.k and int(atlas.units(asked.layer).picture[asked.channel, hit - 1]) >= 0


def _projection(
    atlas: Atlas,
    net: nn.Module,
    pixels: Tensor,
    drawings: Drawings,
    record: LayerRecord,
    channel: int,
    hit: int,
) -> Projection:
    """The hit projected again, from its picture, as it was drawn."""
    units, at = atlas.units(record), (channel, hit - 1)
    position = tuple(units.position[at].tolist()) if record.map else ()
    found = project(
        net,
        pixels,
        layer=record.address,
        channel=channel,
        position=position,
        rules=drawings.rules,
        unpool=drawings.unpool,
        seed=drawings.seed,
    )
    if not isinstance(found, Projection):
        raise LookupError("one unit of one picture is one projection")
    largest = float(np.asarray(units.value).max(initial=0.0))
    refuse_other_value(record, channel, position, found.value, float(units.value[at]), largest, found.signal.dtype)
    return replace(found, preprocess=atlas.preprocess)


class _Panels:
    """Tiles of one projection's panels, in order; a panel names its tile by that number until all are packed."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._size = (projection.signal.shape[1], projection.signal.shape[2])
        self._shown, self.closer = closer(projection)
        self.tiles: list[Pixels] = []

    def stage(self, step: Step, last: bool) -> Stage:
        """The maps where they lie over the shown part of the picture, so that all panels show the same piece of it."""
        if last:
            tile = self._drawn(step.signal, self._shown)
        elif step.signal.shape[1:] == (1, 1):  # a vector
            tile = inks(step.signal[:, 0, 0])
        else:
            view, (height, width) = self._over(step.signal), step.signal.shape[1:]
            tile = ruled(crop(inks(step.signal), view, fill=0), view, (height, width))
        share = np.count_nonzero(step.signal) / step.signal.size
        return Stage(step.title, step.subtitle, step.signal.shape, share, self._add(tile))

    def likened(self, each: Comparison) -> Likened:
        """A compared signal where the shown one is."""
        tile = None if each.signal is None else self._add(self._drawn(each.signal, self._shown))
        plain, fine = each.likeness or (None, None)
        return Likened(each.title, each.sentence, tile, plain, fine, each.is_shown)

    def _drawn(self, signal: NDArray[np.floating], view: Box) -> Pixels:
        shown = signal_to_picture(signal, self._projection.preprocess.channels, self._projection.shown)
        return cleared(crop(shown.picture, view), view, self._size)

    def _over(self, maps: NDArray[np.floating]) -> Box:
        """The shown part in cells of these maps; wider where the signal would not be seen, or be cut at its border."""
        edges = []
        for axis in (0, 1):
            scale = maps.shape[axis + 1] / self._size[axis]
            first, size = self._shown[axis], self._shown[axis + 2]
            edges.append((math.floor(first * scale), math.ceil((first + size) * scale)))
        (top, bottom), (left, right) = edges
        busy: NDArray[np.bool_] = np.asarray(maps.any(axis=0))
        if not self.closer or not busy[max(top, 0) : bottom, max(left, 0) : right].any():
            rows, columns = (np.flatnonzero(busy.any(axis=axis)) for axis in (1, 0))
            if rows.size:
                top, bottom = min(top, int(rows[0])), max(bottom, int(rows[-1]) + 1)
                left, right = min(left, int(columns[0])), max(right, int(columns[-1]) + 1)
        return Box(top, left, bottom - top, right - left)

    def _add(self, tile: Pixels) -> Tile:
        small = tile if max(tile.shape[:2]) <= MOST else np.asarray(fit(tile, MOST))
        self.tiles.append(small)
        return (len(self.tiles) - 1, 0, 0, 0)


def _placed(panel: Panel, tiles: Sequence[Tile]) -> Panel:
    """A panel with its tile instead of the number of that."""
    return panel if panel.tile is None else replace(panel, tile=tiles[panel.tile[0]])
