"""What each page says: one function a page, from an atlas to a dataclass of entries.py.

No HTML here, and no address that links.py lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixelward.atlas import Atlas, LayerRecord
from pixelward.views import EXAMPLES, example_channels
from pixelward.web import gather, links
from pixelward.web.entries import (
    Crossing,
    DetailsPage,
    Histogram,
    HitEntry,
    IndexPage,
    LayerEntry,
    LayerPage,
    Page,
    PictureHit,
    PicturePage,
    Sheet,
    Told,
    UnitEntry,
    UnitPage,
)
from pixelward.web.standing import Standing

if TYPE_CHECKING:
    from pixelward.core.findings import Operation
    from pixelward.details import Details

__all__ = [
    "DetailsPage",
    "Histogram",
    "HitEntry",
    "IndexPage",
    "LayerEntry",
    "LayerPage",
    "Page",
    "PictureHit",
    "PicturePage",
    "Sheet",
    "UnitEntry",
    "UnitPage",
    "details_page",
    "index_page",
    "layer_page",
    "picture_page",
    "unit_page",
]


def index_page(atlas: Atlas, credits: Sequence[str] = (), *, standing: Standing | None = None) -> IndexPage:
    """The first page.

    credits: lines that name whose pictures these are. standing: how the atlas is compared with another, if it is.
    """
    entries, examples = [], []
    for record in atlas.layers:
        entries.append(gather.layer_entry(atlas, record))
        channels = example_channels(atlas.units(record), EXAMPLES) if entries[-1].drawn else []
        examples.append(gather.unit_entries(atlas, record, channels))
    drawings = atlas.drawings
    operations = None if drawings is None else drawings.operations
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
        sample=gather.sample(atlas),
        layers=tuple(entries),
        examples=tuple(examples),
        operations=None if operations is None else tuple(_crossing(each) for each in operations),
        compare=None if standing is None else standing.of_all,
    )


def layer_page(atlas: Atlas, record: LayerRecord, *, standing: Standing | None = None) -> LayerPage:
    """The page of a layer. standing: as of the first page."""
    every = gather.unit_entries(atlas, record, range(record.channels))
    before, after = (
        gather.layer_entry(atlas, atlas.layers[at]) if 0 <= at < len(atlas.layers) else None
        for at in (record.number - 1, record.number + 1)
    )
    labels = gather.counted_labels(each.label for unit in every for each in unit.labels)
    return LayerPage(
        path=links.layer(record.slug),
        network=atlas.network["model"],
        layer=gather.layer_entry(atlas, record),
        seen=atlas.stats(record).seen,
        previous=before,
        next=after,
        labels=tuple(sorted(labels, key=lambda each: each.label)),
        units=tuple(unit for unit in every if unit.hits),
        dead=tuple(unit for unit in every if not unit.hits),
        compare=None if standing is None else standing.of(record),
    )


def unit_page(atlas: Atlas, record: LayerRecord, channel: int, *, standing: Standing | None = None) -> UnitPage:
    """The page of a unit. channel: 0 to record.channels - 1. standing: as of the first page."""
    (unit,) = gather.unit_entries(atlas, record, [channel])
    stats = atlas.stats(record)
    kinds = ("projections", "patches") if unit.closer else ("focus", "focus-patches")
    before, after = (
        links.unit(record.slug, at) if 0 <= at < record.channels else None for at in (channel - 1, channel + 1)
    )
    told, unreadable = gather.told(atlas, record, channel) if unit.hits else ((), ())
    return UnitPage(
        path=unit.page,
        network=atlas.network["model"],
        layer=gather.layer_entry(atlas, record),
        unit=unit,
        other=gather.pair(atlas, record, channel, kinds),
        size=atlas.size,
        seen=stats.seen,
        histogram=gather.histogram(stats, channel),
        kernel=gather.kernel(atlas, record, channel),
        told=told,
        unreadable=unreadable,
        previous=before,
        next=after,
        below=gather.unit_link(atlas, record.number - 1, channel),
        above=gather.unit_link(atlas, record.number + 1, channel),
        compare=None if standing is None else standing.of(record, channel),
    )


def details_page(
    atlas: Atlas, record: LayerRecord, channel: int, details: Details, *, standing: Standing | None = None
) -> DetailsPage:
    """The page of a hit that is told at length, as a server makes it that has the network. standing: as of the first
    page."""
    (unit,) = gather.unit_entries(atlas, record, [channel])
    return DetailsPage(
        path=links.details(record.slug, channel, details.hit, "html"),
        network=atlas.network["model"],
        layer=gather.layer_entry(atlas, record),
        unit=unit,
        size=atlas.size,
        told=Told(links.details(record.slug, channel, details.hit), details),
        compare=None if standing is None else standing.of(record, channel),
    )


def picture_page(atlas: Atlas, id: int, *, standing: Standing | None = None) -> PicturePage:
    """The page of a picture that holds a hit. standing: as of the first page."""
    row, thumbs = atlas.picture(id), atlas.drawings is not None
    places: dict[int, list[tuple[int, int]]] = {}
    for number, channel, rank in atlas.hits_of_picture(id):
        places.setdefault(number, []).append((rank, channel))
    groups = []
    for number, here in places.items():
        record = atlas.layers[number]
        entries = gather.Hits(atlas, record, {id: row})
        sheets = gather.shown_sheets(atlas, record, [channel for _, channel in here])
        hits = tuple(
            PictureHit(
                channel,
                entries.one(channel, rank),
                links.unit(record.slug, channel),
                sheets[channel][0],
            )
            for rank, channel in sorted(here)
        )
        groups.append((gather.layer_entry(atlas, record), hits))
    return PicturePage(
        path=links.picture(id),
        network=atlas.network["model"],
        id=id,
        source=row.source,
        name=row.name,
        title=row.title,
        label=row.label,
        width=row.width,
        height=row.height,
        tile=row.tile,
        scale=row.scale,
        size=atlas.size,
        thumb=links.thumb(id) if thumbs else None,
        layers=tuple(groups),
        compare=None if standing is None else standing.of_all,
    )


def _crossing(found: Operation) -> Crossing:
    return Crossing(found.title, found.how, found.count, found.where, found.reason, found.remedy)


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


def _plain(value: object) -> str:
    return " ".join(f"{each:g}" for each in value) if isinstance(value, list | tuple) else str(value)
