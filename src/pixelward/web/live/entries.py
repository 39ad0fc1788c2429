"""What the live part answers, as plain data; the JSON of an answer is its dataclass, field by field.

Addresses are paths from the site's root, places (y, x) in cells of a map, boxes (top, left, height, width) in prepared
pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from pixelward.core.fields import Box
from pixelward.web.entries import Beside, LayerEntry, Sample, UnitEntry


@dataclass(frozen=True)
class LivePage:
    """Where a picture is tried.

    samples: pictures of the atlas that can be. bytes, pixels: what an upload may have. compare: as of the first page.
    """

    path: str
    network: str
    size: tuple[int, int]
    layers: tuple[LayerEntry, ...]
    samples: tuple[Sample, ...]
    bytes: int
    pixels: int
    compare: Beside | None


@dataclass(frozen=True)
class Guess:
    """A class that the network tells apart; name: None where nobody knows it. share: its probability."""

    index: int
    name: str | None
    share: float


@dataclass(frozen=True)
class Choice:
    """A layer that can be looked at."""

    slug: str
    address: str


@dataclass(frozen=True)
class TriedPanel:
    """A picture as the network takes it.

    width, height: of the whole picture. maps: where the feature maps of a layer are. classes: how many the network
    tells apart; guesses: the most probable ones, None where its output is no vector of classes.
    """

    path: str
    name: str
    width: int
    height: int
    size: tuple[int, int]
    notes: tuple[str, ...]
    image: str
    maps: str
    classes: int
    guesses: tuple[Guess, ...] | None
    layers: tuple[Choice, ...]


@dataclass(frozen=True)
class MapEntry:
    """A unit on this picture. value, position: of its strongest place; share: of its strongest value in the atlas."""

    channel: int
    value: float
    position: tuple[int, ...]
    share: float | None
    path: str


@dataclass(frozen=True)
class MapsPanel:
    """The feature maps of a layer, in the order asked for.

    scale: "map" or "layer", what is white; signed: whether there are negative values, so that grey is zero. sheet: one
    picture with the maps of all units by number, `columns` in a row, each of `cell` (height, width) pixels, with one
    pixel between them. left_out: units that are not listed.
    """

    path: str
    layer: LayerEntry
    order: str
    scale: str
    signed: bool
    sheet: str
    cell: tuple[int, int]
    columns: int
    maps: tuple[MapEntry, ...]
    left_out: int


@dataclass(frozen=True)
class UnitPanel:
    """A unit's projection for this picture, beside what the atlas knows of it.

    map: the unit's values on this picture, row by row; one number for a vector. rank: how many of its hits in the
    atlas are stronger. close: whether projection and patch are cut to where the signal is. largest: what is drawn
    white or black, the signal's scale, 0 without a signal.
    """

    path: str
    layer: LayerEntry
    unit: UnitEntry
    value: float
    position: tuple[int, ...]
    best: bool
    field: Box
    reach: Box
    shown: Box
    size: tuple[int, int]
    rank: int
    how: str
    close: bool
    largest: float
    map: tuple[tuple[float, ...], ...]
    signed: bool
    picture: str
    projection: str
    patch: str
    drawn_map: str
