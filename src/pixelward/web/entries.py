"""What pages are made of, and what each page says, as plain data. A page's JSON twin is its dataclass, field by field.

Paths are from the site's root, boxes and positions are (top, left, height, width) and (y, x), in prepared pixels and
in cells of the map.
"""

from __future__ import annotations

from dataclasses import dataclass

from pixelward.core.fields import Box
from pixelward.details import Details
from pixelward.pictures import GAP


@dataclass(frozen=True)
class Sheet:
    """A picture of up to columns x columns tiles, the strongest first, row by row; sizes in pixels."""

    path: str
    width: int
    height: int
    columns: int
    cell: int

    @property
    def rows(self) -> int:
        return (self.height + GAP) // (self.cell + GAP)

    def tile(self, rank: int) -> tuple[int, int, int, int]:
        """Left, top, width and height of a tile."""
        pitch = self.cell + GAP
        return rank % self.columns * pitch, rank // self.columns * pitch, self.cell, self.cell


@dataclass(frozen=True)
class LabelCount:
    """A label and how many of something bear it."""

    label: str
    count: int


@dataclass(frozen=True)
class HitEntry:
    """A hit of a unit. name: the picture, with its tile if it is one. position: () in a vector. box: field or reach.

    thumb: the whole picture, small; None while the atlas is not drawn.
    """

    rank: int
    value: float
    picture: int
    name: str
    label: str | None
    position: tuple[int, ...]
    box: Box
    page: str
    thumb: str | None


@dataclass(frozen=True)
class LayerEntry:
    """What is said of a layer wherever it is named.

    field: (height, width), or None for the whole picture; even: whether it is the same at every place. middle: the
    field of the unit in the middle of the map, which may leave the picture. outside: whether tiles can show what lies
    outside the picture.
    """

    number: int
    address: str
    aliases: tuple[str, ...]
    channels: int
    map: tuple[int, ...]
    field: tuple[int, int] | None
    even: bool
    middle: Box
    outside: bool
    dead: int
    drawn: bool
    notes: tuple[str, ...]
    page: str


@dataclass(frozen=True)
class UnitEntry:
    """A unit wherever it is shown. closer: its sheets show the part of the field where the signal is.

    positive: pictures that made it fire; maximum: its strongest value. labels: of its hits, the most frequent first.
    entropy: of those labels, in bits, 0 where all are the same; None where no hit has a label.
    """

    channel: int
    page: str
    hits: tuple[HitEntry, ...]
    projections: Sheet | None
    patches: Sheet | None
    closer: bool
    positive: int
    maximum: float
    labels: tuple[LabelCount, ...]
    entropy: float | None


@dataclass(frozen=True)
class UnitLink:
    """A unit of another layer."""

    address: str
    channel: int
    page: str


@dataclass(frozen=True)
class LayerLink:
    """Another layer in the comparison."""

    address: str
    page: str


@dataclass(frozen=True)
class Sample:
    """A picture on which the fields of all layers are drawn."""

    picture: int
    name: str
    thumb: str
    page: str


@dataclass(frozen=True)
class Crossing:
    """How the signal crosses an operation, in the words of `pixelward check`. where: the module of the first step."""

    operation: str
    how: str
    count: int
    where: str
    reason: str | None
    remedy: str | None


@dataclass(frozen=True)
class Beside:
    """How a page's atlas is compared with another one.

    name: what tells the atlas from the other one, whose name is `other`. page: of the comparison; own: whether it is
    about the layer or unit that this page is about, or, on a page about neither, about all.
    """

    name: str
    other: str
    page: str
    own: bool


@dataclass(frozen=True)
class IndexPage:
    """The network and its layers, each with a few of its units.

    sample: None while the atlas is not drawn. operations: how the signal crosses each; None where nobody checked.
    compare: how the atlas is compared with another; None where it is not.
    """

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
    sample: Sample | None
    layers: tuple[LayerEntry, ...]
    examples: tuple[tuple[UnitEntry, ...], ...]
    operations: tuple[Crossing, ...] | None
    compare: Beside | None


@dataclass(frozen=True)
class LayerPage:
    """All units of a layer; those without a hit are only listed. labels: how many units have a hit with each.

    compare: where they stand beside those of another atlas; None where it is not compared.
    """

    path: str
    network: str
    layer: LayerEntry
    seen: int
    previous: LayerEntry | None
    next: LayerEntry | None
    labels: tuple[LabelCount, ...]
    units: tuple[UnitEntry, ...]
    dead: tuple[UnitEntry, ...]
    compare: Beside | None


@dataclass(frozen=True)
class Histogram:
    """How many pictures had a maximum between each two edges; None stands for no edge."""

    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Told:
    """What is told of a hit at length; pictures: the path of the file that its tiles lie in."""

    pictures: str
    details: Details


@dataclass(frozen=True)
class UnitPage:
    """One unit, its hits large. below, above: the units of this number, or the last, in the layers next to this one.

    kernel: its weights, where it reads the pixels directly; one tile a channel, or one of colours. told: the hits that
    are told at length; unreadable: hits, from 1, whose details are there and cannot be read. compare: as a layer's.
    """

    path: str
    network: str
    layer: LayerEntry
    unit: UnitEntry
    other: tuple[Sheet, Sheet] | None
    size: tuple[int, int]
    seen: int
    histogram: Histogram
    kernel: Sheet | None
    told: tuple[Told, ...]
    unreadable: tuple[int, ...]
    previous: str | None
    next: str | None
    below: UnitLink | None
    above: UnitLink | None
    compare: Beside | None


@dataclass(frozen=True)
class DetailsPage:
    """One hit of a unit, told at length: made on demand, where there is a network. compare: as its unit's."""

    path: str
    network: str
    layer: LayerEntry
    unit: UnitEntry
    size: tuple[int, int]
    told: Told
    compare: Beside | None


@dataclass(frozen=True)
class PictureHit:
    """A unit that a picture is among the strongest for."""

    channel: int
    hit: HitEntry
    page: str
    projections: Sheet | None


@dataclass(frozen=True)
class PicturePage:
    """A picture, and the units that it is among the strongest for, by layer. thumb: None while nothing is drawn.

    title: its name, of a tile also where it was cut from the photograph. compare: as of the first page.
    """

    path: str
    network: str
    id: int
    source: str
    name: str
    title: str
    label: str | None
    width: int | None
    height: int | None
    tile: Box | None
    scale: float | None
    size: tuple[int, int]
    thumb: str | None
    layers: tuple[tuple[LayerEntry, tuple[PictureHit, ...]], ...]
    compare: Beside | None


@dataclass(frozen=True)
class Side:
    """One of two atlases. name: what tells it from the other. drawn: whether it has pictures."""

    name: str
    network: str
    sha256: str
    seen: int
    layers: int
    units: int
    drawn: bool
    page: str


@dataclass(frozen=True)
class ComparedLayer:
    """A layer and its partner in the other atlas.

    aligned: the same address and as many units, else `partner` is where its units find the most alike. Means over the
    units that have a hit: beside: of Jaccard's likeness to the unit that each stands beside; nearest: to the most alike
    of all layers.
    """

    layer: LayerEntry
    partner: LayerEntry
    aligned: bool
    beside: float
    nearest: float
    page: str


@dataclass(frozen=True)
class ComparePage:
    """Two atlases side by side. common: pictures among the strongest of both; either: of one or both.

    chance: how many pictures two units share on average that have nothing to do with each other. rule: which pictures
    count as the same.
    """

    path: str
    network: str
    this: Side
    other: Side
    common: int
    either: int
    chance: float
    rule: str
    layers: tuple[ComparedLayer, ...]


@dataclass(frozen=True)
class UnitTile:
    """A unit with its sheets. maximum: its strongest value, 0 for a dead one. pictures: of its hits, in order."""

    address: str
    channel: int
    page: str
    maximum: float
    pictures: tuple[int, ...]
    projections: Sheet | None
    patches: Sheet | None


@dataclass(frozen=True)
class Match:
    """A unit of the other atlas, how many pictures it shares with one of this, and how many hold a hit of either."""

    unit: UnitTile
    shared: int
    either: int


@dataclass(frozen=True)
class ComparedUnit:
    """A unit, what stands beside it in the partner layer, and the most alike of all layers; None, () for nothing.

    One of the two is alive.
    """

    unit: UnitTile
    beside: Match | None
    nearest: tuple[Match, ...]


@dataclass(frozen=True)
class CompareLayerPage:
    """All units of a layer beside those of its partner.

    dead: those without a hit, whose partner in the same layer there has none either; they are only listed. pictures,
    pictures_of_other: the names of all that are shown, by their ids in this atlas and in the other.
    """

    path: str
    network: str
    this: Side
    other: Side
    compared: ComparedLayer
    chance: float
    dead: tuple[UnitLink, ...]
    units: tuple[ComparedUnit, ...]
    pictures: dict[int, str]
    pictures_of_other: dict[int, str]
    previous: LayerLink | None
    next: LayerLink | None


Page = IndexPage | LayerPage | UnitPage | DetailsPage | PicturePage | ComparePage | CompareLayerPage
