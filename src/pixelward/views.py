"""Layers and units of an atlas as Python meets them: `atlas["conv3:relu"][17]`, and how a notebook shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pixelward import cards
from pixelward.errors import PixelwardError
from pixelward.folder import SHEETS, boxes_file, damaged, drawings_folder, map_arrays, sheet_file
from pixelward.words import counted, number, share

if TYPE_CHECKING:
    from pixelward.atlas import Atlas, LayerRecord, Units

EXAMPLES = 8  # units shown of a layer
FEW = 3  # units shown of each layer of an atlas
MANY = 32  # units of which it is faster to list their folder than to look for each
PICTURED = 20  # layers of an atlas that are shown with pictures


class Hit(NamedTuple):
    """A place where a unit fired. `picture`: its id; `name`: its name inside its source; position () in a vector."""

    value: float
    picture: int
    position: tuple[int, ...]
    name: str


class Kinds(NamedTuple):
    """The sheets that show a unit, of folder.SHEETS; None where there is none. closer: whether they are close up."""

    projections: str | None
    patches: str | None
    closer: bool


@dataclass(frozen=True)
class Unit:
    """One channel of a layer in an atlas."""

    layer: LayerRecord
    channel: int
    hits: list[Hit]
    _atlas: Atlas = field(repr=False, compare=False)

    @property
    def projections(self) -> Path | None:
        """The sheet of the unit's projections as the pages show it, strongest first, row by row; None if not drawn."""
        return self._sheet(0)

    @property
    def patches(self) -> Path | None:
        """The sheet of the patches that belong to `projections`."""
        return self._sheet(1)

    def _sheet(self, which: int) -> Path | None:
        kind = shown_kinds(self._atlas, self.layer, [self.channel])[self.channel][which]
        file = sheet_file(self.layer.slug, self.channel, str(kind))
        return None if kind is None else self._atlas.path / file

    def _repr_html_(self) -> str:
        """For notebooks: both sheets and the hits in words."""
        stats = self._atlas.stats(self.layer)
        positive, maximum = int(stats.positive[self.channel]), float(stats.maximum[self.channel])
        title = f"{self.layer.address}, unit {self.channel}"
        if not self.hits:
            return cards.card(
                title, [cards.line(f"Dead in this collection: none of {_pictures(stats.seen)} fired it.")]
            )
        fired = f"Fired in {positive:,} of {_pictures(stats.seen)} ({share(positive, stats.seen)})"
        rows = self._atlas.pictures(hit.picture for hit in self.hits)
        labels = Counter(label for hit in self.hits if (label := rows[hit.picture].label) is not None)
        counts = ", ".join(
            f"{label} {count}" for label, count in sorted(labels.items(), key=lambda each: (-each[1], each))
        )
        parts = [cards.line(f"{fired}, strongest {number(maximum)}")]
        if counts:
            parts.append(cards.line(f"Labels of these: {counts}", quiet=True))
        parts.append(cards.row(_figures(self._atlas, self.layer, [self.channel], whole=True)))
        parts.append(cards.entries(_told(hit, rows[hit.picture].title, rows[hit.picture].label) for hit in self.hits))
        return cards.card(title, parts)


class LayerView:
    """A layer of an atlas; `view[channel]` is a `Unit`."""

    def __init__(self, atlas: Atlas, record: LayerRecord) -> None:
        self.record = record
        self._atlas = atlas

    def __repr__(self) -> str:
        return f"LayerView({self.record.address!r}, {counted(self.record.channels, 'unit')})"

    def __len__(self) -> int:
        return self.record.channels

    def __iter__(self) -> Iterator[Unit]:
        return (self[channel] for channel in range(len(self)))

    def __getitem__(self, channel: int) -> Unit:
        if not 0 <= channel < self.record.channels:
            raise PixelwardError(
                given=f"channel {channel} of layer {self.record.address}",
                allowed=f"0 to {self.record.channels - 1}",
                next_step="choose one of these",
            )
        value, picture, position = (array[channel] for array in self._atlas.units(self.record))
        names = {id: row.name for id, row in self._atlas.pictures(int(id) for id in picture if id >= 0).items()}
        hits = [
            Hit(float(v), int(id), tuple(int(at) for at in place) if self.record.map else (), names[int(id)])
            for v, id, place in zip(value, picture, position, strict=True)
            if id >= 0
        ]
        return Unit(self.record, channel, hits, self._atlas)

    def _repr_html_(self) -> str:
        """For notebooks: what the layer is, and a few of its units."""
        some = example_channels(self._atlas.units(self.record), EXAMPLES)
        figures = _figures(self._atlas, self.record, some)
        parts = [cards.line(_described(self._atlas, self.record)), cards.row(figures)]
        if some and not figures:
            parts.append(cards.line("Not drawn.", quiet=True))
        return cards.card(self.record.address, parts)


def atlas_card(atlas: Atlas) -> str:
    """For notebooks: what an atlas holds; all its layers in words, up to PICTURED of them with a few units."""
    sources = ", ".join(source["name"] for source in atlas.sources)
    size = f"{atlas.size[0]} × {atlas.size[1]} px"
    drawings = atlas.drawings
    how = (
        f"Rules {drawings.rules}, unpooling {drawings.unpool}, seed {drawings.seed}"
        if drawings
        else "Not drawn: pixelward draw makes the pictures"
    )
    parts = [cards.line(f"{_pictures(atlas.pictures_seen)} from {sources}, {size}"), cards.line(how, quiet=True)]
    last = len(atlas.layers) - 1
    pictured = {round(at) for at in np.linspace(0, last, min(PICTURED, last + 1))}
    for record in atlas.layers:
        parts.append(cards.line(f"{record.address}: {_described(atlas, record)}"))
        if record.number in pictured:
            parts.append(cards.row(_figures(atlas, record, example_channels(atlas.units(record), FEW))))
    parts.append(cards.line("A layer is atlas[ADDRESS], a unit atlas[ADDRESS][CHANNEL].", quiet=True))
    return cards.card(atlas.network["model"], parts)


def example_channels(units: Units, most: int) -> list[int]:
    """A few channels, evenly spread over those with all their hits, or with any if none has all."""
    for rank in (-1, 0):
        pool = np.flatnonzero(units.picture[:, rank] >= 0)
        if len(pool):
            spread = np.linspace(0, len(pool) - 1, min(most, len(pool))).round().astype(int)
            return [int(channel) for channel in pool[spread]]
    return []


def shown_kinds(atlas: Atlas, record: LayerRecord, channels: Sequence[int]) -> dict[int, Kinds]:
    """The sheets that show units best: close up where most signals fill a small part of a large field."""
    close, there, found = _concentrated(atlas, record, channels), _drawn(atlas, record, channels), {}
    for channel in channels:
        focus, patches, projections, fields = (
            kind if sheet_file(record.slug, channel, kind) in there else None
            for kind in ("focus", "focus-patches", "projections", "patches")
        )
        closer = close[channel] and None not in (focus, patches)
        found[channel] = Kinds(focus, patches, True) if closer else Kinds(projections, fields, False)
    return found


def _drawn(atlas: Atlas, record: LayerRecord, channels: Sequence[int]) -> Set[str]:
    """The sheets of these units that are there. Of many, by the list of their folder."""
    folder = drawings_folder(record.slug)
    if len(channels) >= MANY:
        there = atlas.path / folder
        return {f"{folder}/{file.name}" for file in there.iterdir()} if there.is_dir() else set()
    files = (sheet_file(record.slug, channel, kind) for channel in channels for kind in SHEETS)
    return {file for file in files if (atlas.path / file).is_file()}


def _concentrated(atlas: Atlas, record: LayerRecord, channels: Sequence[int]) -> dict[int, bool]:
    """Whether at least half of each unit's hits have a focus box."""
    boxes = atlas.path / boxes_file(record.slug)
    if not boxes.is_file():
        return dict.fromkeys(channels, True)
    try:
        focus = (map_arrays(boxes)["focus"][channels, :, 2] > 0).sum(axis=1)
    except (OSError, ValueError, KeyError) as error:
        raise damaged(atlas.path, boxes_file(record.slug)) from error
    hits = (atlas.units(record).picture[channels] >= 0).sum(axis=1)
    return dict(zip(channels, (2 * focus >= hits).tolist(), strict=True))


def _figures(atlas: Atlas, record: LayerRecord, channels: Sequence[int], *, whole: bool = False) -> list[cards.Figure]:
    """Both sheets of each unit that is drawn. whole: at their own size, without a number below."""
    shown, figures = cards.sheet if whole else cards.small, []
    maximum = atlas.stats(record).maximum
    for channel, kinds in shown_kinds(atlas, record, channels).items():
        if kinds.projections is None or kinds.patches is None:
            continue
        files = [sheet_file(record.slug, channel, kind) for kind in (kinds.projections, kinds.patches)]
        words = (f"Projections of unit {channel}", f"Patches of unit {channel}")
        try:
            pair = [shown(atlas.path / file, alt) for file, alt in zip(files, words, strict=True)]
        except OSError as error:
            raise damaged(atlas.path, files[0]) from error
        figures.append(cards.Figure(pair, "" if whole else f"{channel}: {number(float(maximum[channel]))}"))
    return figures


def _described(atlas: Atlas, record: LayerRecord) -> str:
    """`192 units, 28 × 28 map, field 43 × 43 px, 3 dead (1.6 %)`."""
    middle = record.field.box(tuple(side // 2 for side in record.map), atlas.size)
    field = "field: the whole picture" if record.field.is_global else f"field {middle.height} × {middle.width} px"
    dead = int((atlas.units(record).picture[:, 0] < 0).sum())
    dying = f"{dead:,} dead ({share(dead, record.channels)})" if dead else "none dead"
    return f"{shape_of(record)}, {field}, {dying}"


def shape_of(record: LayerRecord) -> str:
    """`192 units, 28 × 28 map`."""
    maps = f"{record.map[0]} × {record.map[1]} map" if record.map else "vector"
    return f"{record.channels:,} {'unit' if record.channels == 1 else 'units'}, {maps}"


def _pictures(count: int) -> str:
    return f"{count:,} {'picture' if count == 1 else 'pictures'}"


def _told(hit: Hit, title: str, label: str | None) -> str:
    place = f", at y {hit.position[0]}, x {hit.position[1]}" if hit.position else ""
    return f"{number(hit.value)}: {title}{f' ({label})' if label is not None else ''}{place}"
