"""Two atlases over the same pictures: which units share their strongest ones.

A picture is the same in both where its file is, byte for byte (sha256), whatever its name; where both atlases were cut
into tiles in the same way, its tile has to be the same too, otherwise photographs stand for all their tiles. The
likeness of two units is Jaccard's: of all pictures that hold a hit of either, the share that holds one of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixelward.atlas import Atlas, LayerRecord, PictureRow
from pixelward.errors import PixelwardError

MOST = 3  # units that are named as the most alike
AT_ONCE = 1 << 18  # pairs of units that are looked at together, so that they fit near the processor

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Alike:
    """Units of the other atlas, by number in all its layers (`Pairing.place`); -1 where no picture is shared.

    unit, shared (pictures in both), either (pictures in one or both): int64 of one shape.
    """

    unit: Integers
    shared: Integers
    either: Integers

    @property
    def share(self) -> NDArray[np.float64]:
        """Jaccard's likeness, 0 to 1."""
        return self.shared / np.maximum(self.either, 1)


@dataclass(frozen=True)
class Likeness:
    """A layer of this atlas, seen from the other one.

    partner: its layer to stand beside; aligned: whether that is the same layer, with as many units. beside: (C,) of
    each unit the one of the same number there, or, of another layer, the most alike. nearest: (C, MOST) the most alike
    of all layers, first the most; of equals the one of the same layer and number, then the first.
    """

    partner: LayerRecord
    aligned: bool
    beside: Alike
    nearest: Alike


class Pairing:
    """This atlas and the other. Raises PixelwardError where no strongest picture of one is among those of the other.

    common, either: how many pictures are among the strongest of both, of one or both. chance: how many a unit of each
    would share on average that fired and whose pictures, as many as it has, were drawn at random from their atlas's.
    """

    def __init__(self, this: Atlas, other: Atlas) -> None:
        self.this, self.other = this, other
        self.by_tiles = this.tiles == other.tiles
        numbers: dict[object, int] = {}
        self._keys: list[_Lookup] = []
        here: list[set[int]] = []
        for atlas in (this, other):
            rows = atlas.pictures(atlas.hit_pictures())
            keys = {id: numbers.setdefault(_identity(row, self.by_tiles), len(numbers)) for id, row in rows.items()}
            self._keys.append(_Lookup(keys))
            here.append(set(keys.values()))
        self.common, self.either = len(here[0] & here[1]), len(here[0] | here[1])
        if not self.common:
            raise PixelwardError(
                given=f"{this.path} and {other.path}, whose units have no strongest picture in common",
                allowed="two atlases over the same pictures, at least in part",
                next_step="scan the same pictures with both networks",
            )
        self._starts = np.cumsum([0, *(record.channels for record in other.layers)])
        self._of_picture = _Members(self._all_of_other(), self.either)
        self._sizes = np.bincount(self._of_picture.units, minlength=self._starts[-1])
        own = np.concatenate([self._sizes_of_this(record) for record in this.layers])
        self.chance = _chance((own, self._sizes), (len(here[0]), len(here[1])), self.common)
        self._known: dict[int, Likeness] = {}

    def place(self, unit: int) -> tuple[LayerRecord, int]:
        """The layer and channel of a unit of the other atlas, by its number in all its layers."""
        layer = int(np.searchsorted(self._starts, unit, side="right")) - 1
        return self.other.layers[layer], unit - int(self._starts[layer])

    def layer(self, record: LayerRecord) -> Likeness:
        """A layer of this atlas, seen from the other."""
        if record.number not in self._known:
            self._known[record.number] = self._compare(record)
        return self._known[record.number]

    def _compare(self, record: LayerRecord) -> Likeness:
        unit, key = _pairs(self._keys[0](self.this.units(record).picture))
        sizes = np.bincount(unit, minlength=record.channels)
        twin = next((each for each in self.other.layers if _same(each, record)), None)
        parts = [self._part(record, twin, unit, key, sizes, some) for some in self._chunks(record.channels)]
        best = np.concatenate([part.of_layers.share for part in parts])
        alive = sizes > 0
        # Of equally good layers the first: argmax takes it.
        partner = twin or self.other.layers[int(best[alive].mean(axis=0).argmax()) if alive.any() else 0]
        if twin is not None:
            beside = _joined([part.same for part in parts])
        else:
            beside = _taken(_joined([part.of_layers for part in parts]), partner.number)
        return Likeness(partner, twin is not None, beside, _joined([part.nearest for part in parts]))

    def _part(
        self,
        record: LayerRecord,
        twin: LayerRecord | None,
        unit: Integers,
        key: Integers,
        sizes: Integers,
        channels: Integers,
    ) -> _Part:
        """Some units of a layer against all of the other atlas."""
        width, rows = int(self._starts[-1]), np.arange(len(channels))
        wanted = (unit >= channels[0]) & (unit <= channels[-1])
        first, second = self._of_picture.pairs(unit[wanted] - channels[0], key[wanted])
        shared = np.bincount(first * width + second, minlength=len(channels) * width).reshape(-1, width)
        either = sizes[channels][:, None] + self._sizes - shared
        # One number orders the pairs: two fractions of such small numbers lie further apart than all ties together.
        step = 1 / (2 * int(either.max(initial=1)) ** 2)
        score = shared / np.maximum(either, 1) - np.linspace(0, step / 2, width)
        if twin is not None:
            own = self._starts[twin.number] + channels
            score[rows, own] = np.where(shared[rows, own] > 0, score[rows, own] + 0.75 * step, score[rows, own])
        most = min(MOST, width)
        top = (
            np.argpartition(-score, most - 1, axis=1)[:, :most]
            if most < width
            else np.tile(np.arange(width), (len(rows), 1))
        )
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(score, top, 1), axis=1), 1)
        of_layers = np.stack(
            [
                low + score[:, low:high].argmax(axis=1)
                for low, high in zip(self._starts, self._starts[1:], strict=False)
            ],
            1,
        )

        def alike(units: Integers, *, keep: bool = False) -> Alike:
            both, one = (np.take_along_axis(array, units, 1) for array in (shared, either))
            return Alike(units if keep else np.where(both > 0, units, -1), both, one)

        same = None if twin is None else _taken(alike((self._starts[twin.number] + channels)[:, None], keep=True), 0)
        return _Part(same, alike(of_layers), alike(top))

    def _chunks(self, channels: int) -> Iterator[Integers]:
        size = max(AT_ONCE // max(int(self._starts[-1]), 1), 1)
        for start in range(0, channels, size):
            yield np.arange(start, min(start + size, channels))

    def _sizes_of_this(self, record: LayerRecord) -> Integers:
        """How many pictures each unit of a layer has among its strongest, (C,)."""
        return np.bincount(_pairs(self._keys[0](self.this.units(record).picture))[0], minlength=record.channels)

    def _all_of_other(self) -> tuple[Integers, Integers]:
        """Every unit of the other atlas with each picture that holds a hit of it."""
        found = [
            (unit + start, key)
            for record, start in zip(self.other.layers, self._starts, strict=False)
            for unit, key in [_pairs(self._keys[1](self.other.units(record).picture))]
        ]
        units, keys = (np.concatenate(each) for each in zip(*found, strict=True))
        return units, keys


@dataclass(frozen=True)
class _Part:
    same: Alike | None
    of_layers: Alike  # (C, layers of the other atlas): the most alike in each
    nearest: Alike


class _Lookup:
    """Pictures of an atlas by id -> their numbers in both atlases; -1 for no picture."""

    def __init__(self, keys: dict[int, int]) -> None:
        self._ids = np.array([*keys, np.iinfo(np.int64).max])  # in ascending order, as an atlas gives them
        self._keys = np.array([*keys.values(), -1])

    def __call__(self, ids: Integers) -> Integers:
        at = np.searchsorted(self._ids, ids)
        found: Integers = np.where(self._ids[at] == ids, self._keys[at], -1)
        return found


class _Members:
    """Which units a picture is among the strongest of."""

    def __init__(self, pairs: tuple[Integers, Integers], pictures: int) -> None:
        units, keys = pairs
        self.units = units[np.argsort(keys, kind="stable")]
        self._counts = np.bincount(keys, minlength=pictures)
        self._starts = np.cumsum(self._counts) - self._counts

    def pairs(self, unit: Integers, key: Integers) -> tuple[Integers, Integers]:
        """Each unit given with a picture, once for every unit that has the picture too, and those."""
        counts = self._counts[key]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(unit, counts), self.units[np.repeat(self._starts[key], counts) + within]


def _chance(sizes: tuple[Integers, Integers], pictures: tuple[int, int], common: int) -> float:
    """How many pictures two units share on average: each of the common ones is with either at a rate of its own.

    sizes: how many distinct pictures each unit of an atlas has, not k: a unit may have fewer, and hits may be tiles of
    one photograph. pictures: of how many, in each.
    """
    one, other = (float(each[each > 0].mean()) for each in sizes)
    return common * (one / pictures[0]) * (other / pictures[1])


def _identity(row: PictureRow, by_tiles: bool) -> object:
    return row.sha256 or row.name, row.tile if by_tiles else None


def _pairs(keys: Integers) -> tuple[Integers, Integers]:
    """(C, k) numbers of pictures -> each unit with each of its pictures once."""
    unit = np.repeat(np.arange(len(keys)), keys.shape[1])
    pairs = np.unique(np.stack([unit, keys.ravel()])[:, keys.ravel() >= 0], axis=1)
    return pairs[0], pairs[1]


def _same(one: LayerRecord, other: LayerRecord) -> bool:
    return (one.address, one.channels) == (other.address, other.channels)


def _joined(parts: list[Alike | None] | list[Alike]) -> Alike:
    every = [part for part in parts if part is not None]
    return Alike(*(np.concatenate([getattr(part, name) for part in every]) for name in ("unit", "shared", "either")))


def _taken(alike: Alike, column: int) -> Alike:
    return Alike(alike.unit[:, column], alike.shared[:, column], alike.either[:, column])
