"""An atlas -> the pieces that pages are made of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

import numpy as np
from PIL import Image

from pixelward.atlas import Atlas, LayerRecord, PictureRow, Stats
from pixelward.details import read_details
from pixelward.folder import KERNEL, Damaged, damaged, kernel_file, sheet_file
from pixelward.pictures import GAP, columns_of, view_box
from pixelward.views import shown_kinds
from pixelward.web import links
from pixelward.web.entries import Histogram, HitEntry, LabelCount, LayerEntry, Sample, Sheet, Told, UnitEntry, UnitLink

Shown = tuple[Sheet | None, Sheet | None, bool]  # projections, patches, whether they are close up


def layer_entry(atlas: Atlas, record: LayerRecord) -> LayerEntry:
    """What is said of a layer wherever it is named."""
    drawings = atlas.drawings
    middle = record.field.box(tuple(side // 2 for side in record.map), atlas.size)
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
        field=None if record.field.is_global else (middle.height, middle.width),
        even=record.field.is_global or record.field.is_even,
        middle=middle,
        outside=_leaves(atlas, record),
        dead=int((atlas.units(record).picture[:, 0] < 0).sum()),
        drawn=drawings is not None and record.address in drawings.layers,
        notes=tuple(notes),
        page=links.layer(record.slug),
    )


def _leaves(atlas: Atlas, record: LayerRecord) -> bool:
    """Whether the tiles of a unit at a corner of the map show what lies outside the picture."""
    corners = ((0,) * len(record.map), tuple(side - 1 for side in record.map))
    views = [view_box(record.shown.box(corner, atlas.size), *atlas.size) for corner in corners]
    return any(
        first < 0 or first + length > side
        for view in views
        for first, length, side in zip(view[:2], view[2:], atlas.size, strict=True)
    )


def sample(atlas: Atlas) -> Sample | None:
    """A picture that shows a photograph as a whole, and that many units count among their strongest."""
    id = atlas.sample_picture()
    if id is None or atlas.drawings is None:
        return None
    return Sample(id, atlas.picture(id).title, links.thumb(id), links.picture(id))


def unit_entries(atlas: Atlas, record: LayerRecord, channels: Iterable[int]) -> tuple[UnitEntry, ...]:
    """Units of a layer, with their hits and sheets."""
    channels, stats = list(channels), atlas.stats(record)
    pictures = atlas.units(record).picture[channels]
    hits = Hits(atlas, record, atlas.pictures(np.unique(pictures).tolist()))
    sheets = shown_sheets(atlas, record, channels)
    positive, maximum = stats.positive[channels].tolist(), stats.maximum[channels].tolist()
    counts = (pictures >= 0).sum(axis=1).tolist()  # the missing ones are the last
    entries = []
    for at, channel in enumerate(channels):
        projections, patches, closer = sheets[channel]
        own = hits.first(channel, counts[at])
        labels = counted_labels(hit.label for hit in own)
        entries.append(
            UnitEntry(
                channel=channel,
                page=links.unit(record.slug, channel),
                hits=own,
                projections=projections,
                patches=patches,
                closer=closer,
                positive=positive[at],
                maximum=maximum[at],
                labels=labels,
                entropy=entropy(labels),
            )
        )
    return tuple(entries)


class Hits:
    """The hits of a layer as pages show them. What many have in common, their picture and box, is made once."""

    def __init__(self, atlas: Atlas, record: LayerRecord, rows: Mapping[int, PictureRow]) -> None:
        """rows: the pictures of all hits that are asked for, by id."""
        self._units, self._record, self._size = atlas.units(record), record, atlas.size
        thumbs, shown = atlas.drawings is not None, record.shown
        self._of_picture = {
            id: (row.title, row.label, links.picture(id), links.thumb(id) if thumbs else None)
            for id, row in rows.items()
        }
        self._box = cache(lambda position: shown.box(position, atlas.size))

    def first(self, channel: int, count: int) -> tuple[HitEntry, ...]:
        """The strongest hits of a unit."""
        return tuple(self._entries(channel, range(count)))

    def one(self, channel: int, rank: int) -> HitEntry:
        """A hit of a unit, by its rank from 0."""
        return next(self._entries(channel, range(rank, rank + 1)))

    def _entries(self, channel: int, ranks: range) -> Iterator[HitEntry]:
        arrays = (array[channel, ranks.start : ranks.stop].tolist() for array in self._units)
        for rank, value, id, place in zip(ranks, *arrays, strict=True):
            name, label, page, thumb = self._of_picture[id]
            position = tuple(place) if self._record.map else ()
            yield HitEntry(rank, value, id, name, label, position, self._box(position), page, thumb)


def counted_labels(labels: Iterable[str | None]) -> tuple[LabelCount, ...]:
    """How often each label occurs, the most frequent first, then in the order of the alphabet."""
    counts = Counter(label for label in labels if label is not None)
    return tuple(LabelCount(*pair) for pair in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def entropy(labels: Sequence[LabelCount]) -> float | None:
    """Of a distribution of labels, in bits; None without any."""
    total = sum(each.count for each in labels)
    if not total:
        return None
    return sum(each.count / total * math.log2(total / each.count) for each in labels)


def unit_link(atlas: Atlas, number: int, channel: int) -> UnitLink | None:
    """The unit of this number, or the last, of layer `number`; None where there is no such layer."""
    if not 0 <= number < len(atlas.layers):
        return None
    record = atlas.layers[number]
    there = min(channel, record.channels - 1)
    return UnitLink(record.address, there, links.unit(record.slug, there))


def shown_sheets(atlas: Atlas, record: LayerRecord, channels: Sequence[int]) -> dict[int, Shown]:
    """Projections and patches as pages show them: close up where most signals fill a small part of a large field."""
    sizes: dict[str, tuple[int, int]] = {}

    def sheet(channel: int, kind: str | None) -> Sheet | None:
        return None if kind is None else _sheet(atlas, record, channel, kind, sizes)

    return {
        channel: (sheet(channel, kinds.projections), sheet(channel, kinds.patches), kinds.closer)
        for channel, kinds in shown_kinds(atlas, record, channels).items()
    }


def pair(atlas: Atlas, record: LayerRecord, channel: int, kinds: tuple[str, str]) -> tuple[Sheet, Sheet] | None:
    """Two sheets of a unit, if both are there."""
    if not all((atlas.path / sheet_file(record.slug, channel, kind)).is_file() for kind in kinds):
        return None
    one, other = (_sheet(atlas, record, channel, kind, {}) for kind in kinds)
    return one, other


def kernel(atlas: Atlas, record: LayerRecord, channel: int) -> Sheet | None:
    """The weights of a unit that reads the pixels directly, if they are drawn."""
    file = atlas.path / kernel_file(record.slug, channel)
    if not file.is_file():
        return None
    size = _size(atlas, kernel_file(record.slug, channel))
    return Sheet(links.sheet(record.slug, channel, KERNEL), *size, 1, size[0])


def told(atlas: Atlas, record: LayerRecord, channel: int) -> tuple[tuple[Told, ...], tuple[int, ...]]:
    """What is told at length of a unit's hits, the strongest first; and the hits whose details cannot be read."""
    found, unreadable = [], []
    for hit in range(1, atlas.k + 1):
        try:
            details = read_details(atlas, record, channel, hit)
        except Damaged:
            unreadable.append(hit)
            continue
        if details is not None:
            found.append(Told(links.details(record.slug, channel, hit), details))
    return tuple(found), tuple(unreadable)


def histogram(stats: Stats, channel: int) -> Histogram:
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


def _sheet(atlas: Atlas, record: LayerRecord, channel: int, kind: str, sizes: dict[str, tuple[int, int]]) -> Sheet:
    """A unit's sheet, which is there. All of a kind and layer have one size, so `sizes` saves reading it again."""
    if kind not in sizes:
        sizes[kind] = _size(atlas, sheet_file(record.slug, channel, kind))
    width, height = sizes[kind]
    columns = columns_of(atlas.k)
    return Sheet(links.sheet(record.slug, channel, kind), width, height, columns, (width + GAP) // columns - GAP)


def _size(atlas: Atlas, file: str) -> tuple[int, int]:
    """Width and height of a picture in the atlas."""
    try:
        with Image.open(atlas.path / file) as image:
            return image.size
    except OSError as error:
        raise damaged(atlas.path, file) from error
