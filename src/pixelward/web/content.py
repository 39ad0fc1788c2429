"""What each page says: one dataclass a page, read from an atlas. No HTML here, and no address that links.py lacks.

Paths are from the site's root, boxes and positions are (top, left, height, width) and (y, x), in prepared pixels and
in cells of the map. The JSON twin of a page is its dataclass, field by field.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pixelward.atlas import Atlas, LayerRecord, PictureRow, Stats, Units
from pixelward.core.fields import Box
from pixelward.folder import boxes_file, damaged, map_arrays, sheet_file
from pixelward.pictures import GAP, columns_of
from pixelward.web import links

EXAMPLES = 8  # units shown of each layer on the first page


@dataclass(frozen=True)
class Sheet:
    """A picture of up to columns x columns tiles, the strongest first, row by row; sizes in pixels."""

    path: str
    width: int
    height: int
    columns: int
    cell: int

    def tile(self, rank: int) -> tuple[int, int, int, int]:
        """Left, top, width and height of a tile."""
        pitch = self.cell + GAP
        return rank % self.columns * pitch, rank // self.columns * pitch, self.cell, self.cell


@dataclass(frozen=True)
class HitEntry:
    """A hit of a unit. name: the picture, with its tile if it is one. position: () in a vector. box: field or reach."""

    rank: int
    value: float
    picture: int
    name: str
    label: str | None
    position: tuple[int, ...]
    box: Box
    page: str


@dataclass(frozen=True)
class LayerEntry:
    """What is said of a layer wherever it is named. field: (height, width), or None for the whole picture."""

    number: int
    address: str
    aliases: tuple[str, ...]
    channels: int
    map: tuple[int, ...]
    field: tuple[int, int] | None
    dead: int
    drawn: bool
    notes: tuple[str, ...]
    page: str


@dataclass(frozen=True)
class UnitEntry:
    """A unit on the page of its layer. closer: its sheets show the part of the field where the signal is."""

    channel: int
    page: str
    hits: tuple[HitEntry, ...]
    projections: Sheet | None
    patches: Sheet | None
    closer: bool


@dataclass(frozen=True)
class IndexPage:
    """The network and its layers, each with a few of its units."""

    path: str
    network: str
    sha256: str
    sources: tuple[str, ...]
    seen: int
    skipped: tuple[tuple[str, str], ...]
    size: tuple[int, int]
    preprocessing: str
    tiles: tuple[int, int] | None
    hits: int
    how: str
    notes: tuple[str, ...]
    credits: tuple[str, ...]
    layers: tuple[LayerEntry, ...]
    examples: tuple[tuple[UnitEntry, ...], ...]


@dataclass(frozen=True)
class LayerPage:
    """All units of a layer; those without a hit are only listed."""

    path: str
    network: str
    layer: LayerEntry
    previous: LayerEntry | None
    next: LayerEntry | None
    units: tuple[UnitEntry, ...]
    dead: tuple[UnitEntry, ...]


@dataclass(frozen=True)
class Histogram:
    """How many pictures had a maximum between each two edges; None stands for no edge."""

    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class UnitPage:
    """One unit, its hits large."""

    path: str
    network: str
    layer: LayerEntry
    unit: UnitEntry
    other: tuple[Sheet, Sheet] | None
    seen: int
    positive: int
    maximum: float
    histogram: Histogram
    previous: str | None
    next: str | None


@dataclass(frozen=True)
class PictureHit:
    """A unit that a picture is among the strongest for."""

    channel: int
    hit: HitEntry
    page: str
    projections: Sheet | None


@dataclass(frozen=True)
class PicturePage:
    """A picture, and the units that it is among the strongest for, by layer."""

    path: str
    network: str
    id: int
    source: str
    name: str
    label: str | None
    width: int | None
    height: int | None
    tile: Box | None
    scale: float | None
    size: tuple[int, int]
    thumb: str
    layers: tuple[tuple[LayerEntry, tuple[PictureHit, ...]], ...]


Page = IndexPage | LayerPage | UnitPage | PicturePage


def index_page(atlas: Atlas, credits: Sequence[str] = ()) -> IndexPage:
    """The first page. credits: lines that name whose pictures these are."""
    entries, examples = [], []
    for record in atlas.layers:
        entries.append(_layer_entry(atlas, record))
        examples.append(_unit_entries(atlas, record, _examples(atlas.units(record))) if entries[-1].drawn else ())
    drawings = atlas.drawings
    return IndexPage(
        path=links.INDEX,
        network=atlas.network["model"],
        sha256=atlas.network["sha256"],
        sources=tuple(source["name"] for source in atlas.sources),
        seen=atlas.pictures_seen,
        skipped=tuple((row.name, row.reason or "") for row in atlas.skipped()),
        size=atlas.size,
        preprocessing=", ".join(f"{key} {_plain(value)}" for key, value in atlas.preprocessing.items()),
        tiles=atlas.tiles,
        hits=atlas.k,
        how=f"rules {drawings.rules}, unpooling {drawings.unpool}, seed {drawings.seed}" if drawings else "",
        notes=_index_notes(atlas),
        credits=tuple(credits),
        layers=tuple(entries),
        examples=tuple(examples),
    )


def layer_page(atlas: Atlas, record: LayerRecord) -> LayerPage:
    """The page of a layer."""
    every = _unit_entries(atlas, record, range(record.channels))
    before, after = (
        _layer_entry(atlas, atlas.layers[at]) if 0 <= at < len(atlas.layers) else None
        for at in (record.number - 1, record.number + 1)
    )
    return LayerPage(
        path=links.layer(record.slug),
        network=atlas.network["model"],
        layer=_layer_entry(atlas, record),
        previous=before,
        next=after,
        units=tuple(unit for unit in every if unit.hits),
        dead=tuple(unit for unit in every if not unit.hits),
    )


def unit_page(atlas: Atlas, record: LayerRecord, channel: int) -> UnitPage:
    """The page of a unit. channel: 0 to record.channels - 1."""
    (unit,) = _unit_entries(atlas, record, [channel])
    stats = atlas.stats(record)
    before, after = (
        links.unit(record.slug, at) if 0 <= at < record.channels else None for at in (channel - 1, channel + 1)
    )
    return UnitPage(
        path=unit.page,
        network=atlas.network["model"],
        layer=_layer_entry(atlas, record),
        unit=unit,
        other=_pair(atlas, record, channel, ("projections", "patches") if unit.closer else ("focus", "focus-patches")),
        seen=stats.seen,
        positive=int(stats.positive[channel]),
        maximum=float(stats.maximum[channel]),
        histogram=_histogram(stats, channel),
        previous=before,
        next=after,
    )


def picture_page(atlas: Atlas, id: int) -> PicturePage:
    """The page of a picture that holds a hit."""
    row = atlas.picture(id)
    groups: dict[int, list[PictureHit]] = {}
    for number, channel, rank in atlas.hits_of_picture(id):
        record = atlas.layers[number]
        hit = _hit(atlas, record, atlas.units(record), channel, rank, {id: row})
        page, (projections, _, _) = links.unit(record.slug, channel), _shown_sheets(atlas, record, channel)
        groups.setdefault(number, []).append(PictureHit(channel, hit, page, projections))
    return PicturePage(
        path=links.picture(id),
        network=atlas.network["model"],
        id=id,
        source=row.source,
        name=row.name,
        label=row.label,
        width=row.width,
        height=row.height,
        tile=row.tile,
        scale=row.scale,
        size=atlas.size,
        thumb=links.thumb(id),
        layers=tuple(
            (_layer_entry(atlas, atlas.layers[number]), tuple(sorted(hits, key=lambda each: each.hit.rank)))
            for number, hits in groups.items()
        ),
    )


def _examples(units: Units) -> list[int]:
    """A few channels, evenly spread over those with all their hits, or with any if none has all."""
    for rank in (-1, 0):
        pool = np.flatnonzero(units.picture[:, rank] >= 0)
        if len(pool):
            spread = np.linspace(0, len(pool) - 1, min(EXAMPLES, len(pool))).round().astype(int)
            return [int(channel) for channel in pool[spread]]
    return []


def _index_notes(atlas: Atlas) -> tuple[str, ...]:
    notes = []
    rules = atlas.drawings.rules if atlas.drawings else "deconvnet"
    if rules == "deconvnet":
        notes.append(
            "Convolution, ReLU, max-pooling and local response normalisation are crossed as Zeiler & Fergus (2013) "
            "describe. Whatever else stands between a layer and the pixels is crossed by a stated extension of "
            "theirs."
        )
    else:
        notes.append(f"These projections follow the rule set “{rules}”, which is not the paper’s deconvnet.")
    if any(not record.map for record in atlas.layers):
        notes.append("Projections that start from a fully connected layer are a step beyond the paper.")
    return tuple(notes)


def _layer_entry(atlas: Atlas, record: LayerRecord) -> LayerEntry:
    drawings, rows, columns = atlas.drawings, record.field.rows, record.field.columns
    notes = []
    if not record.map:
        notes.append("Its units are fully connected: a step beyond the paper, which starts from convolutions only.")
    elif record.field.is_global:
        notes.append(
            "The whole picture can change a unit’s value here; patches show what the signal can arrive at (its reach)."
            if not record.reach.is_global
            else "The whole picture can change a unit’s value here, so patches show the whole picture."
        )
    return LayerEntry(
        number=record.number,
        address=record.address,
        aliases=record.aliases,
        channels=record.channels,
        map=record.map,
        field=None if rows is None or columns is None else (rows.size, columns.size),
        dead=int((atlas.units(record).picture[:, 0] < 0).sum()),
        drawn=drawings is not None and record.address in drawings.layers,
        notes=tuple(notes),
        page=links.layer(record.slug),
    )


def _unit_entries(atlas: Atlas, record: LayerRecord, channels: Iterable[int]) -> tuple[UnitEntry, ...]:
    channels, units = list(channels), atlas.units(record)
    rows = atlas.pictures(np.unique(units.picture[channels]).tolist())
    sizes: dict[str, tuple[int, int]] = {}
    entries = []
    for channel in channels:
        projections, patches, closer = _shown_sheets(atlas, record, channel, sizes)
        ranks = np.flatnonzero(units.picture[channel] >= 0).tolist()
        hits = tuple(_hit(atlas, record, units, channel, rank, rows) for rank in ranks)
        entries.append(UnitEntry(channel, links.unit(record.slug, channel), hits, projections, patches, closer))
    return tuple(entries)


def _shown_sheets(
    atlas: Atlas, record: LayerRecord, channel: int, sizes: dict[str, tuple[int, int]] | None = None
) -> tuple[Sheet | None, Sheet | None, bool]:
    """Projections and patches as pages show them: close up where most signals fill a small part of a large field."""
    close = _pair(atlas, record, channel, ("focus", "focus-patches"), sizes)
    if close is not None and _mostly_close(atlas, record, channel):
        return *close, True
    projections, patches = (_sheet(atlas, record, channel, kind, sizes) for kind in ("projections", "patches"))
    return projections, patches, False


def _mostly_close(atlas: Atlas, record: LayerRecord, channel: int) -> bool:
    """Whether at least half of a unit's hits have a focus box."""
    boxes = atlas.path / boxes_file(record.slug)
    if not boxes.is_file():
        return True
    try:
        focus = map_arrays(boxes)["focus"][channel, :, 2] > 0
    except (OSError, ValueError, KeyError) as error:
        raise damaged(atlas.path, boxes_file(record.slug)) from error
    return bool(2 * focus.sum() >= (atlas.units(record).picture[channel] >= 0).sum())


def _pair(
    atlas: Atlas,
    record: LayerRecord,
    channel: int,
    kinds: tuple[str, str],
    sizes: dict[str, tuple[int, int]] | None = None,
) -> tuple[Sheet, Sheet] | None:
    one, other = (_sheet(atlas, record, channel, kind, sizes) for kind in kinds)
    return None if one is None or other is None else (one, other)


def _hit(
    atlas: Atlas, record: LayerRecord, units: Units, channel: int, rank: int, rows: dict[int, PictureRow]
) -> HitEntry:
    id = int(units.picture[channel, rank])
    position = tuple(units.position[channel, rank].tolist()) if record.map else ()
    return HitEntry(
        rank=rank,
        value=float(units.value[channel, rank]),
        picture=id,
        name=picture_name(rows[id]),
        label=rows[id].label,
        position=position,
        box=record.shown.box(position, atlas.size),
        page=links.picture(id),
    )


def picture_name(row: PictureRow) -> str:
    """A picture's name; of a tile, also where it was cut from the photograph."""
    if row.tile is None:
        return row.name
    return f"{row.name} [{row.tile.width} × {row.tile.height} at x {row.tile.left}, y {row.tile.top}]"


def _sheet(
    atlas: Atlas, record: LayerRecord, channel: int, kind: str, sizes: dict[str, tuple[int, int]] | None = None
) -> Sheet | None:
    """A unit's sheet if there is one. All sheets of a kind and layer have one size; `sizes` saves reading it again."""
    file = atlas.path / sheet_file(record.slug, channel, kind)
    if not file.is_file():
        return None
    if sizes is None or kind not in sizes:
        sizes = {} if sizes is None else sizes
        try:
            with Image.open(file) as image:
                sizes[kind] = image.size
        except OSError as error:
            raise damaged(atlas.path, sheet_file(record.slug, channel, kind)) from error
    width, height = sizes[kind]
    columns = columns_of(atlas.k)
    return Sheet(links.sheet(record.slug, channel, kind), width, height, columns, (width + GAP) // columns - GAP)


def _histogram(stats: Stats, channel: int) -> Histogram:
    """The bins from the first to the last that is not empty."""
    counts = stats.histogram[channel].tolist()
    edges: list[float | None] = [None, *stats.edges.tolist(), None]
    filled = [at for at, count in enumerate(counts) if count] or [0]
    shown = range(filled[0], filled[-1] + 1) if any(counts) else range(0)
    return Histogram(
        low=tuple(edges[at] for at in shown),
        high=tuple(edges[at + 1] for at in shown),
        counts=tuple(counts[at] for at in shown),
    )


def _plain(value: object) -> str:
    return " ".join(f"{each:g}" for each in value) if isinstance(value, list | tuple) else str(value)
