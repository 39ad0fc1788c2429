"""An atlas that is finished: reading it, checking it, saying that it is drawn. `draft.py` writes one.

Arrays are memory-mapped, so that reading one unit opens no whole file, unless they are asked for in memory. Reading
needs no torch.
"""

from __future__ import annotations

import re
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelward import cards
from pixelward.core.fields import Box, Extent
from pixelward.core.findings import Operation
from pixelward.errors import PixelwardError
from pixelward.folder import (
    ATLAS,
    DRAWINGS,
    MANIFEST,
    PICTURES,
    TEMPORARY,
    VERSION,
    Damaged,
    damaged,
    differing,
    map_arrays,
    read_json,
    read_record,
    sha256_of,
    stamp,
    stats_file,
    units_file,
    write_json,
)
from pixelward.kinds import DRAWN, LAYER, RECORD, refuse_other_types
from pixelward.views import Hit as Hit
from pixelward.views import LayerView, atlas_card, shape_of
from pixelward.words import counted

if TYPE_CHECKING:
    from pixelward.data.images import Preprocess


@dataclass(frozen=True)
class LayerRecord:
    """A layer of an atlas. `map`: (height, width) of its maps, () for a vector; boxes in prepared pixels."""

    number: int
    address: str
    aliases: tuple[str, ...]
    channels: int
    map: tuple[int, ...]
    field: Extent
    reach: Extent
    stride: tuple[int, int] | None

    @property
    def shown(self) -> Extent:
        """What tiles show of a picture: the field, or the reach where the whole picture is the field, above gates."""
        return self.reach if self.field.is_global else self.field

    @cached_property
    def slug(self) -> str:
        """The name of the layer's files, folders and pages."""
        return f"{self.number:03d}-{re.sub('[^a-z0-9]', '-', self.address.lower())}"

    def _repr_html_(self) -> str:
        """For notebooks: the layer in words; it does not know its atlas, hence no pictures."""
        also = [cards.line(f"Also {', '.join(self.aliases)}", quiet=True)] if self.aliases else []
        more = cards.line("Its units are those of atlas[ADDRESS].", quiet=True)
        return cards.card(self.address, [cards.line(shape_of(self)), *also, more])

    def to_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("number", "address", "aliases", "channels", "map", "stride")}
        return plain | {"field": self.field.to_json(), "reach": self.reach.to_json()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> LayerRecord:
        """Raises KeyError, TypeError, ValueError or IndexError for what `to_json` of one does not give."""
        refuse_other_types(plain, LAYER)
        stride = plain["stride"]
        return cls(
            number=plain["number"],
            address=plain["address"],
            aliases=tuple(plain["aliases"]),
            channels=plain["channels"],
            map=tuple(plain["map"]),
            field=Extent.from_json(plain["field"]),
            reach=Extent.from_json(plain["reach"]),
            stride=None if stride is None else (stride[0], stride[1]),
        )


class Units(NamedTuple):
    """Hits of all units of a layer, strongest first; missing ones are value 0, picture -1, position -1."""

    value: NDArray[np.float32]  # (C, k)
    picture: NDArray[np.int64]  # (C, k)
    position: NDArray[np.int32]  # (C, k, 2), y and x


class Stats(NamedTuple):
    """Statistics of all units of a layer over the spatial maxima of `seen` pictures."""

    seen: int
    positive: NDArray[np.int64]  # (C,) pictures with a maximum above zero
    histogram: NDArray[np.int64]  # (C, 82) of those maxima: below edges[0], 80 bins open on the right, from edges[80]
    maximum: NDArray[np.float32]  # (C,)
    edges: NDArray[np.float32]  # (81,)


class PictureRow(NamedTuple):
    """A picture, or one tile of a photograph: then `tile` is its box in the photograph's own pixels.

    width, height: of the whole picture, upright, in pixels. state: "used", or "skipped" and a reason.
    sha256: of the file, in hexadecimal digits. What could not be found out is None.
    """

    id: int
    source: str
    name: str
    tile: Box | None = None
    scale: float | None = None
    width: int | None = None
    height: int | None = None
    label: str | None = None
    state: str = "used"
    reason: str | None = None
    sha256: str | None = None

    @property
    def title(self) -> str:
        """A picture's name; of a tile, also where it was cut from the photograph."""
        if self.tile is None:
            return self.name
        return f"{self.name} [{self.tile.width} × {self.tile.height} at x {self.tile.left}, y {self.tile.top}]"


# Of the table `pictures`, in the order of PictureRow; sha256 as 32 bytes.
COLUMNS = (
    "id, source, name, tile_top, tile_left, tile_height, tile_width, scale, width, height, label, state, reason, sha256"
)


@dataclass(frozen=True)
class Drawings:
    """How an atlas was drawn, and the addresses of the layers that were. seed: "value", "one" or a number.

    operations: how signals cross each operation of the network; None in atlases drawn before this was kept.
    """

    rules: str
    unpool: str
    seed: str | float
    layers: tuple[str, ...]
    operations: tuple[Operation, ...] | None = None


class Atlas:
    """A finished atlas, opened for reading with `Atlas.open`.

    network: {"model": as it was named, "sha256": of its weights}. rules: the rule set whose reach the layers state.
    size: (height, width) of a prepared picture. tiles: (size, stride) where photographs were cut into tiles.
    sources: {"name", "path"} of each. pictures_seen, pictures_skipped: numbers of pictures (or tiles).
    preprocessing: how a picture became the network's input, as plain data; `preprocess` is the same, ready for use.
    """

    def __init__(self, path: Path, record: Mapping[str, Any], *, mapped: bool = True) -> None:
        refuse_other_types(record, RECORD)
        self.path = path
        self.network: dict[str, str] = record["network"]
        self.preprocessing: dict[str, Any] = record["preprocessing"]
        self.rules: str = record["rules"]
        self.k: int = record["k"]
        self.size: tuple[int, int] = (record["size"][0], record["size"][1])
        self.tiles: tuple[int, int] | None = record["tiles"] and (record["tiles"]["size"], record["tiles"]["stride"])
        self.sources: list[dict[str, str]] = record["sources"]
        self.pictures_seen: int = record["counts"]["used"]
        self.pictures_skipped: int = record["counts"]["skipped"]
        self._record = record
        self._mapped_files = mapped
        self._numbers: dict[str, int] = {}  # by every name of a layer
        for number, each in enumerate(record["layers"]):
            self._numbers.update(dict.fromkeys(each["aliases"], number))
            self._numbers[each["address"]] = number
        self._layers: dict[int, LayerRecord] = {}  # those that were asked for: most of the time that opening would take
        self._maps: dict[str, Mapping[str, NDArray[Any]]] = {}
        self._drawings: tuple[object, Drawings | None] | None = None  # the file's stamp, and what it said
        self._database: sqlite3.Connection | None = None

    @classmethod
    def open(cls, path: str | Path, *, mapped: bool = True) -> Atlas:
        """Open a finished atlas. Raises PixelwardError, with what to do, for anything else.

        mapped: False reads a layer's arrays into memory when they are first asked for. A program that runs for long
        wants that: the system ends it if a mapped file becomes shorter.
        """
        folder = Path(path)
        record = read_record(folder)
        try:
            return cls(folder, record, mapped=mapped)
        except (KeyError, TypeError, IndexError) as error:
            raise damaged(folder, ATLAS) from error

    def __repr__(self) -> str:
        return f"Atlas({str(self.path)!r}, {counted(len(self.layers), 'layer')}, {self.network['model']})"

    def _repr_html_(self) -> str:
        """For notebooks: the layers, each with a few of its units."""
        return atlas_card(self)

    @property
    def preprocess(self) -> Preprocess:
        """How a picture became the network's input."""
        from pixelward.data.images import Preprocess  # here, because it brings torch along

        return Preprocess.from_dict(self.preprocessing)

    @cached_property
    def layers(self) -> tuple[LayerRecord, ...]:
        """All layers, from the pixels up. Raises PixelwardError where the record of one is damaged."""
        return tuple(map(self._layer, range(len(self._record["layers"]))))

    def layer(self, name: str) -> LayerRecord:
        """The layer with this address or alias. Raises PixelwardError, which lists the known ones."""
        if name not in self._numbers:
            raise PixelwardError(
                given=f"layer {name!r}",
                allowed=", ".join(each.address for each in self.layers),
                next_step=f"choose one of these, or scan again with --layers {name}",
            )
        return self._layer(self._numbers[name])

    def _layer(self, number: int) -> LayerRecord:
        if number not in self._layers:
            try:
                self._layers[number] = LayerRecord.from_json(self._record["layers"][number])
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise damaged(self.path, ATLAS) from error
        return self._layers[number]

    def __getitem__(self, name: str) -> LayerView:
        return LayerView(self, self.layer(name))

    def units(self, record: LayerRecord) -> Units:
        """The hits of a layer's units, as they lie in their file. Raises Damaged where they are not of its units."""
        file = units_file(record.slug)
        found = Units(*self._arrays(file, Units._fields))
        self._refuse_other_shape(file, found, (record.channels, self.k))
        return found

    def stats(self, record: LayerRecord) -> Stats:
        """The statistics of a layer's units, as they lie in their file. Raises Damaged as `units`."""
        file = stats_file(record.slug)
        seen, *arrays = self._arrays(file, Stats._fields)
        self._refuse_other_shape(file, arrays[:-1], (record.channels,))  # all but the edges of bins
        return Stats(int(seen[0]), *arrays)

    def picture(self, id: int) -> PictureRow:
        """The picture with this id. Raises PixelwardError if there is none."""
        found = self.pictures([id])
        if id not in found:
            last = self._record["counts"]["pictures"] - 1
            raise PixelwardError(given=f"picture {id}", allowed=f"0 to {last}", next_step="choose one of these")
        return found[id]

    def pictures(self, ids: Iterable[int]) -> dict[int, PictureRow]:
        """The pictures with these ids, by id; unknown ids are left out."""
        every, rows = sorted(set(ids)), {}
        for start in range(0, len(every), 500):  # SQLite takes a limited number of arguments
            some = every[start : start + 500]
            marks = ",".join("?" * len(some))
            for row in self._query(f"SELECT {COLUMNS} FROM pictures WHERE id IN ({marks})", some):
                rows[row[0]] = _picture(row)
        return {id: rows[id] for id in every if id in rows}

    def skipped(self) -> Iterator[PictureRow]:
        """The pictures that could not be used, in order, each with its reason."""
        return map(_picture, self._query(f"SELECT {COLUMNS} FROM pictures WHERE state = 'skipped' ORDER BY id"))

    def hit_pictures(self) -> Iterator[int]:
        """The ids of all pictures that hold a hit, ascending."""
        return (row[0] for row in self._query("SELECT DISTINCT picture FROM hits ORDER BY picture"))

    def sample_picture(self) -> int | None:
        """Of the pictures that show at least half of their photograph the one with the most hits, the first of several.

        Where none shows as much, of those that show most; None where no unit has fired.
        """
        share = "COALESCE(1.0 * tile_height * tile_width / (height * width), 1.0)"
        found = self._query(
            "SELECT picture FROM hits JOIN pictures ON id = picture GROUP BY picture "
            f"ORDER BY MIN({share}, 0.5) DESC, COUNT(*) DESC, picture LIMIT 1"
        )
        return next((row[0] for row in found), None)

    def hits_of_picture(self, id: int) -> list[tuple[int, int, int]]:
        """The hits in a picture: (number of the layer, channel, rank from 0), ascending."""
        return list(self._query("SELECT layer, channel, rank FROM hits WHERE picture = ? ORDER BY 1, 2", [id]))

    @property
    def drawings(self) -> Drawings | None:
        """How the atlas is drawn now; None while it is not."""
        seen = stamp(self.path / DRAWINGS)
        if seen is None:
            return None
        if self._drawings is None or self._drawings[0] != seen:
            self._drawings = seen, self._read_drawings()
        return self._drawings[1]

    def _read_drawings(self) -> Drawings | None:
        plain = self._drawings_record()
        if plain is None:
            return None
        try:
            found = plain.get("operations")
            operations = None if found is None else tuple(map(_operation, found))
            return Drawings(plain["rules"], plain["unpool"], plain["seed"], tuple(plain["layers"]), operations)
        except (KeyError, TypeError, AttributeError) as error:
            raise damaged(self.path, DRAWINGS) from error

    def write_drawings(self, drawings: Drawings) -> None:
        """Say that the drawings of these layers, and the thumbs, are done: a manifest of hashes for each folder, last
        `drawings.json`. All files must be there already."""
        folders = {address: f"drawings/{self.layer(address).slug}" for address in drawings.layers}
        for folder in [*folders.values(), "thumbs"]:
            (self.path / folder).mkdir(parents=True, exist_ok=True)
            files = sorted(f for f in (self.path / folder).iterdir() if f.name != MANIFEST and f.suffix != TEMPORARY)
            write_json(self.path / folder / MANIFEST, {file.name: sha256_of(file) for file in files})
        hashes = {address: sha256_of(self.path / folder / MANIFEST) for address, folder in folders.items()}
        how: dict[str, Any] = {"version": VERSION, "rules": drawings.rules, "unpool": drawings.unpool}
        how["seed"] = drawings.seed
        if drawings.operations is not None:
            how["operations"] = [asdict(each) for each in drawings.operations]
        thumbs = sha256_of(self.path / "thumbs" / MANIFEST)
        write_json(self.path / DRAWINGS, how | {"layers": hashes, "thumbs": thumbs})

    def refuse_other_hits(self, record: LayerRecord) -> None:
        """Raises PixelwardError unless the hits of a layer are, byte for byte, those that the scan wrote."""
        file = units_file(record.slug)
        if any(differing(self.path, {file: self._record["files"][file]})):
            raise damaged(self.path, file)

    def verify(self) -> list[str]:
        """Every file that is missing or whose content is not what was written, one line each; empty if all is well."""
        wrong = [*differing(self.path, self._record["files"])]
        if not wrong:
            wrong += self._misfits()
        plain = self._drawings_record()
        if plain is not None:
            folders = {f"drawings/{self.layer(address).slug}": wanted for address, wanted in plain["layers"].items()}
            for folder, wanted in (folders | {"thumbs": plain["thumbs"]}).items():
                manifest = f"{folder}/{MANIFEST}"
                damage = list(differing(self.path, {manifest: wanted}))
                if not damage:
                    files = read_json(self.path / manifest)
                    damage = list(differing(self.path, {f"{folder}/{name}": each for name, each in files.items()}))
                wrong += damage
        return wrong

    def _misfits(self) -> Iterator[str]:
        """What the record says of arrays that are as they were written, and is not so."""
        for record in self.layers:
            try:
                self.units(record)
                self.stats(record)
            except Damaged:
                yield f"{ATLAS} does not fit the arrays of {record.address}"

    def _drawings_record(self) -> dict[str, Any] | None:
        try:
            plain: dict[str, Any] = read_json(self.path / DRAWINGS)
            refuse_other_types(plain, DRAWN)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(self.path, DRAWINGS) from error
        return plain

    def _arrays(self, file: str, names: Sequence[str]) -> list[NDArray[Any]]:
        try:
            if file not in self._maps:
                self._maps[file] = map_arrays(self.path / file, mapped=self._mapped_files)
            return [self._maps[file][name] for name in names]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(self.path, file) from error

    def _refuse_other_shape(self, file: str, arrays: Iterable[NDArray[Any]], begins: tuple[int, ...]) -> None:
        if any(array.shape[: len(begins)] != begins for array in arrays):
            # The file, or what is said of it, which has no hash of its own.
            changed = any(differing(self.path, {file: self._record["files"].get(file, "")}))
            raise damaged(self.path, file if changed else ATLAS)

    def _query(self, question: str, values: Iterable[Any] = ()) -> Iterator[Any]:
        if self._database is None:
            where = f"{(self.path / PICTURES).absolute().as_uri()}?mode=ro&immutable=1"
            try:
                self._database = sqlite3.connect(where, uri=True, check_same_thread=False)
            except sqlite3.Error as error:
                raise damaged(self.path, PICTURES) from error
            weakref.finalize(self, self._database.close)
        try:
            yield from self._database.execute(question, tuple(values))
        except sqlite3.Error as error:
            raise damaged(self.path, PICTURES) from error


def _picture(row: tuple[Any, ...]) -> PictureRow:
    tile = None if row[3] is None else Box(*row[3:7])
    sha256 = None if row[13] is None else row[13].hex()
    return PictureRow._make((*row[:3], tile, *row[7:13], sha256))


def _operation(plain: Mapping[str, Any]) -> Operation:
    return Operation(**{**plain, "blocks": tuple(plain["blocks"])})
