"""An atlas that is being written: a folder is claimed, what is done is kept in `parts/`, and then it is finished.

`parts/` holds the plan of the scan, a file of picture rows for each finished shard, and the state of the hits and
statistics after the last finished one. Everything is written whole or not at all, and nothing that is written
depends on where a scan was interrupted, so a scan that goes on ends with the same bytes as one in one go.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from pixelward.atlas import COLUMNS, LayerRecord, PictureRow
from pixelward.core.fields import Box
from pixelward.errors import PixelwardError
from pixelward.folder import (
    ATLAS,
    PARTS,
    PICTURES,
    TEMPORARY,
    read_record,
    settle_file,
    sha256_of,
    stats_file,
    units_file,
    write_file,
    write_json,
)

Arrays = Mapping[str, NDArray[Any]]

_HITS_AT_ONCE = 100_000  # rows of the table made into Python numbers at a time: bounds memory
_PLAN = "plan.json"
# What makes two scans the same one, and what a message calls it.
_COMPARED = {
    "network": "network",
    "preprocessing": "preprocessing",
    "rules": "rules",
    "k": "k",
    "size": "picture size",
    "tiles": "tiles",
    "layers": "layers",
    "listing": "pictures",
}
_SCHEMA = """
CREATE TABLE pictures (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, name TEXT NOT NULL,
    tile_top INTEGER, tile_left INTEGER, tile_height INTEGER, tile_width INTEGER, scale REAL,
    width INTEGER, height INTEGER, label TEXT, state TEXT NOT NULL, reason TEXT, sha256 BLOB
);
CREATE INDEX skipped ON pictures (id) WHERE state = 'skipped';
CREATE TABLE hits (  -- by picture
    picture INTEGER, layer INTEGER, channel INTEGER, rank INTEGER, PRIMARY KEY (picture, layer, channel)
) WITHOUT ROWID;
"""


class Draft:
    """The folder of a scan that is under way. Make one with `begin`.

    shards: how many are finished. files: how many they hold. pictures: how many picture ids these took.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any], *, created: bool) -> None:
        self.path = path
        self._plan, self._created = plan, created
        # The state after the last finished shard; an older one may lie beside it after a crash.
        self._done: Path | None = max((path / PARTS).glob("*.safetensors"), default=None)
        self.shards = int(self._done.stem) + 1 if self._done else 0
        self.files, self.pictures = map(int, self.state()["done"]) if self._done else (0, 0)

    @classmethod
    def begin(cls, path: Path, plan: Mapping[str, Any]) -> Draft | None:
        """Claim a folder for the scan that `plan` describes, or go on with it; None if the very atlas is finished.

        plan: plain data that becomes the head of `atlas.json`: version, sources and all that _COMPARED names.
        Raises PixelwardError, with nothing written, if the folder holds anything else.
        """
        plan = json.loads(json.dumps(plan))
        if (path / ATLAS).exists():
            _refuse_other(path, "a finished atlas", read_record(path), plan)
            shutil.rmtree(path / PARTS, ignore_errors=True)  # left by a scan that was killed while it cleared up
            return None
        if (path / PARTS / _PLAN).exists():
            old = json.loads((path / PARTS / _PLAN).read_text("utf-8"))
            _refuse_other(path, "an unfinished atlas", old, plan)
            return cls(path, plan, created=False)
        created = not path.exists()
        if not created:
            _refuse_filled(path)
        try:
            write_json(path / PARTS / _PLAN, plan)
        except OSError as error:
            raise PixelwardError(
                given=f"{path}, which cannot be written ({error.strerror})",
                allowed="a folder that you may write to",
                next_step="choose another folder with -o",
            ) from error
        return cls(path, plan, created=created)

    def state(self) -> dict[str, NDArray[Any]]:
        """The arrays that were saved with the last finished shard; none before the first."""
        return load_file(self._done) if self._done else {}

    def save(self, arrays: Arrays, rows: Sequence[PictureRow]) -> None:
        """Keep one more finished shard. arrays: the state after it; rows: the shard's own pictures."""
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_file(self._rows_file(self.shards), lines.encode())
        files = self.files + len({(row.source, row.name) for row in rows})
        pictures = self.pictures + len(rows)
        before, done = self._done, self.path / PARTS / f"{self.shards:06d}.safetensors"
        write_file(done, save({**arrays, "done": np.array([files, pictures])}))
        self._done, self.shards, self.files, self.pictures = done, self.shards + 1, files, pictures
        if before:
            before.unlink()

    def finish(self, layers: Sequence[LayerRecord], edges: NDArray[np.float32]) -> None:
        """Write the atlas out of what was saved, `atlas.json` last, and remove the parts.

        layers: in order; the state's arrays are called NUMBER/value and so on. edges: of the histogram's bins.
        """
        state, files = self.state(), []
        for record in layers:
            own = {name: state[f"{record.number}/{name}"] for name in ("value", "picture", "position")}
            files.append(self._write(units_file(record.slug), own))
            own = {name: state[f"{record.number}/{name}"] for name in ("seen", "positive", "histogram", "maximum")}
            files.append(self._write(stats_file(record.slug), own | {"edges": edges}))
        shards = self._write_pictures([state[f"{record.number}/picture"] for record in layers])
        files.append(PICTURES)
        pictures, used = (sum(shard[name] for shard in shards) for name in ("pictures", "used"))
        counts = {"pictures": pictures, "used": used, "skipped": pictures - used}
        hashes = {file: sha256_of(self.path / file) for file in files}
        write_json(self.path / ATLAS, {**self._plan, "shards": shards, "counts": counts, "files": hashes})
        shutil.rmtree(self.path / PARTS)

    def discard(self) -> None:
        """Leave the folder as it was before the scan."""
        shutil.rmtree(self.path / PARTS)
        if self._created:
            self.path.rmdir()

    def rows(self) -> Iterator[list[PictureRow]]:
        """The picture rows of every finished shard."""
        for shard in range(self.shards):
            with self._rows_file(shard).open("rb") as file:
                yield [_row(json.loads(line)) for line in file]

    def _rows_file(self, shard: int) -> Path:
        return self.path / PARTS / f"{shard:06d}.pictures.jsonl"

    def _write(self, file: str, arrays: Arrays) -> str:
        write_file(self.path / file, save(dict(arrays)))
        return file

    def _write_pictures(self, layers: Sequence[NDArray[np.int64]]) -> list[dict[str, Any]]:
        """Write the table of pictures and, out of the layers' (C, k) picture ids, that of hits. Returns the shards."""
        temporary = self.path / (PICTURES + TEMPORARY)
        temporary.unlink(missing_ok=True)
        shards = []
        marks = ",".join("?" * len(COLUMNS.split(",")))
        with closing(sqlite3.connect(temporary, isolation_level=None)) as database:
            # It is built anew after a crash, so it needs no journal of its own.
            database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;" + _SCHEMA)
            for rows in self.rows():
                database.executemany(f"INSERT INTO pictures ({COLUMNS}) VALUES ({marks})", map(_columns, rows))
                shards.append(_shard(rows))
            hits = _hits(layers)
            for start in range(0, len(hits), _HITS_AT_ONCE):
                some = hits[start : start + _HITS_AT_ONCE].tolist()
                database.executemany("INSERT INTO hits VALUES (?, ?, ?, ?)", some)
            database.execute("COMMIT")
        settle_file(temporary, self.path / PICTURES)
        return shards


def _hits(layers: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Picture, layer, channel and rank of every hit, in that order: (M, 4)."""
    found = []
    for number, picture in enumerate(layers):
        channel, rank = (picture >= 0).nonzero()
        found.append(np.stack([picture[channel, rank], np.full_like(channel, number), channel, rank], 1))
    every = np.concatenate(found)
    return every[np.lexsort(every.T[::-1])]


def _shard(rows: Sequence[PictureRow]) -> dict[str, Any]:
    """What `atlas.json` says of a shard. Its hash tells, in a merge, whether two shards are of the same pictures."""
    content = hashlib.sha256()
    for row in rows:
        content.update(json.dumps([row.source, row.name, row.tile, row.sha256]).encode() + b"\n")
    used = sum(row.state == "used" for row in rows)
    return {"sha256": content.hexdigest(), "pictures": len(rows), "used": used}


def _row(values: list[Any]) -> PictureRow:
    row = PictureRow._make(values)
    return row if row.tile is None else row._replace(tile=Box(*row.tile))


def _columns(row: PictureRow) -> tuple[Any, ...]:
    box = row.tile or (None, None, None, None)
    sha256 = None if row.sha256 is None else bytes.fromhex(row.sha256)
    return (row.id, row.source, row.name, *box, *row[4:10], sha256)


def _refuse_other(path: Path, what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise PixelwardError, which names what differs, unless both describe one scan."""
    mine, yours = ({**plan, "network": plan.get("network", {}).get("sha256")} for plan in (old, new))
    differing = [called for name, called in _COMPARED.items() if mine.get(name) != yours[name]]
    if differing:
        raise PixelwardError(
            given=f"{path}, which holds {what} of another scan ({', '.join(differing)} differ)",
            allowed="a new or empty folder, or one that holds this very scan",
            next_step="choose another folder with -o",
        )


def _refuse_filled(path: Path) -> None:
    """Raise PixelwardError if there is anything in the way at `path`, but for what a killed start may have left."""
    if path.is_dir():
        left = [path / PARTS] if all(file.suffix == TEMPORARY for file in (path / PARTS).glob("*")) else []
        names = sorted(entry.name for entry in path.iterdir() if entry not in left)
        given = f"{path}, which holds other files ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
    else:
        names, given = [path.name], f"{path}, which is a file"
    if names:
        raise PixelwardError(given=given, allowed="a new or empty folder", next_step="choose another folder with -o")
