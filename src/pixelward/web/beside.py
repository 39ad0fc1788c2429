"""What the pages of two atlases side by side say: this one, whose site has them, and the other, whose own site lies
below `beside/`. As in content.py, no HTML here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pixelward.atlas import Atlas, LayerRecord
from pixelward.likeness import Alike, Pairing
from pixelward.web import gather, links
from pixelward.web.entries import (
    ComparedLayer,
    ComparedUnit,
    CompareLayerPage,
    ComparePage,
    LayerEntry,
    LayerLink,
    Match,
    Sheet,
    Side,
    UnitLink,
    UnitTile,
)
from pixelward.web.standing import told_apart

TILES = "A picture is the same in both where its file is, byte for byte, and its tile."
FILES = "A picture is the same in both where its file is, byte for byte."
PHOTOGRAPHS = (
    "A picture is the same in both where its file is, byte for byte; the atlases cut photographs into different tiles, "
    "so that a photograph stands for all of its."
)


def compare_page(pairing: Pairing) -> ComparePage:
    """Both atlases and their layers."""
    this, other = _sides(pairing)
    rule = PHOTOGRAPHS if not pairing.by_tiles else TILES if pairing.this.tiles else FILES
    return ComparePage(
        path=links.compare(),
        network=pairing.this.network["model"],
        this=this,
        other=other,
        common=pairing.common,
        either=pairing.either,
        chance=pairing.chance,
        rule=rule,
        layers=tuple(_compared(pairing, record) for record in pairing.this.layers),
    )


def compare_layer_page(pairing: Pairing, record: LayerRecord) -> CompareLayerPage:
    """The units of a layer beside those of its partner."""
    likeness = pairing.layer(record)
    this, other = _sides(pairing)
    awake = _alive(pairing.this, record)
    if likeness.aligned:  # what died between two epochs, or woke up, is seen beside what it was or became
        awake = awake | _alive(pairing.other, likeness.partner)
    shown, dead = np.flatnonzero(awake).tolist(), np.flatnonzero(~awake).tolist()
    own = _tiles(pairing.this, record, shown)
    theirs = _tiles_of_other(pairing, [likeness.beside.unit[shown], likeness.nearest.unit[shown]])
    units = []
    for channel in shown:
        beside, nearest = (_matches(each, channel, theirs) for each in (likeness.beside, likeness.nearest))
        units.append(ComparedUnit(own[channel], beside[0] if beside else None, nearest))
    before, after = (_layer_link(pairing.this, at) for at in (record.number - 1, record.number + 1))
    return CompareLayerPage(
        path=links.compare_layer(record.slug),
        network=pairing.this.network["model"],
        this=this,
        other=other,
        compared=_compared(pairing, record),
        chance=pairing.chance,
        dead=tuple(UnitLink(record.address, channel, links.unit(record.slug, channel)) for channel in dead),
        units=tuple(units),
        pictures=_names(pairing.this, own.values()),
        pictures_of_other=_names(pairing.other, theirs.values()),
        previous=before,
        next=after,
    )


def _sides(pairing: Pairing) -> tuple[Side, Side]:
    first, second = told_apart(pairing.this.path.resolve(), pairing.other.path.resolve())
    return (
        _side(pairing.this, first, links.INDEX),
        _side(pairing.other, second, links.beside(links.INDEX)),
    )


def _side(atlas: Atlas, name: str, page: str) -> Side:
    return Side(
        name=name,
        network=atlas.network["model"],
        sha256=atlas.network["sha256"],
        seen=atlas.pictures_seen,
        layers=len(atlas.layers),
        units=sum(record.channels for record in atlas.layers),
        drawn=atlas.drawings is not None,
        page=page,
    )


def _compared(pairing: Pairing, record: LayerRecord) -> ComparedLayer:
    likeness = pairing.layer(record)
    alive = _alive(pairing.this, record)
    return ComparedLayer(
        layer=gather.layer_entry(pairing.this, record),
        partner=_moved(gather.layer_entry(pairing.other, likeness.partner)),
        aligned=likeness.aligned,
        beside=_mean(likeness.beside.share[alive]),
        nearest=_mean(likeness.nearest.share[alive, 0]),
        page=links.compare_layer(record.slug),
    )


def _alive(atlas: Atlas, record: LayerRecord) -> NDArray[np.bool_]:
    """Which units of a layer have a hit, (C,)."""
    alive: NDArray[np.bool_] = atlas.units(record).picture[:, 0] >= 0
    return alive


def _layer_link(atlas: Atlas, number: int) -> LayerLink | None:
    if not 0 <= number < len(atlas.layers):
        return None
    record = atlas.layers[number]
    return LayerLink(record.address, links.compare_layer(record.slug))


def _mean(shares: np.ndarray) -> float:
    return float(shares.mean()) if shares.size else 0.0


def _moved(entry: LayerEntry) -> LayerEntry:
    return replace(entry, page=links.beside(entry.page))


def _names(atlas: Atlas, tiles: Iterable[UnitTile]) -> dict[int, str]:
    """The pictures of these units by id, as their pages name them."""
    return {id: row.title for id, row in atlas.pictures(id for tile in tiles for id in tile.pictures).items()}


def _tiles(atlas: Atlas, record: LayerRecord, channels: Iterable[int], prefix: str = "") -> dict[int, UnitTile]:
    """Units with their sheets. prefix: of their addresses."""
    channels = list(channels)
    maximum, pictures = atlas.stats(record).maximum, atlas.units(record).picture

    def moved(sheet: Sheet | None) -> Sheet | None:
        return sheet and replace(sheet, path=prefix + sheet.path)

    return {
        channel: UnitTile(
            address=record.address,
            channel=channel,
            page=prefix + links.unit(record.slug, channel),
            maximum=float(maximum[channel]),
            pictures=tuple(id for id in pictures[channel].tolist() if id >= 0),
            projections=moved(projections),
            patches=moved(patches),
        )
        for channel, (projections, patches, _) in gather.shown_sheets(atlas, record, channels).items()
    }


def _tiles_of_other(pairing: Pairing, wanted: list[np.ndarray]) -> dict[int, UnitTile]:
    """Units of the other atlas by their number in all layers."""
    by_layer: dict[int, list[tuple[int, int]]] = {}
    for unit in np.unique(np.concatenate([each.ravel() for each in wanted])).tolist():
        if unit >= 0:
            record, channel = pairing.place(unit)
            by_layer.setdefault(record.number, []).append((unit, channel))
    found = {}
    for number, pairs in by_layer.items():
        tiles = _tiles(pairing.other, pairing.other.layers[number], [channel for _, channel in pairs], links.BESIDE)
        found.update({unit: tiles[channel] for unit, channel in pairs})
    return found


def _matches(alike: Alike, channel: int, tiles: dict[int, UnitTile]) -> tuple[Match, ...]:
    columns = (np.atleast_1d(array[channel]).tolist() for array in (alike.unit, alike.shared, alike.either))
    return tuple(Match(tiles[unit], shared, either) for unit, shared, either in zip(*columns, strict=True) if unit >= 0)
