"""Where pictures come from: a folder, a list, a glob pattern, a zip or a single file, all seen as named members.

A member's name is its path inside its source, in UTF-8 and with "/" between folders whatever the machine; what is not
UTF-8 in it is percent-escaped. Members are listed once, in the order of their names' UTF-8 bytes, and read on demand.
"""

from __future__ import annotations

import csv
import os
import posixpath
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from pixelward.data.images import ENDINGS
from pixelward.errors import PixelwardError
from pixelward.folder import ATLAS, PARTS

FOLDERS = "folders"  # the value of `labels` that asks for the name of each picture's folder
JUNK = "__MACOSX"  # a folder of shadow files that one system's zips bring along
# Each marks a folder that Pixelward wrote: an atlas, one that is not finished, a site. What it holds is no source.
OUTPUTS = (ATLAS, f"{PARTS}/plan.json", "pixelward-site.json")

T = TypeVar("T")


class Picture(NamedTuple):
    """A picture of a source, by the name inside it."""

    source: str
    name: str
    label: str | None


@dataclass(frozen=True)
class Source:
    """Pictures under one name. Can be pickled, and read by several threads and processes at once.

    name: the last part of the path, or what `--name` says. path: as it was given; opened again, it gives the same.
    """

    name: str
    path: str
    _places: Mapping[str, str] = field(repr=False)  # member name -> where `_fetch` finds it, in order
    _fetch: Callable[[str], bytes] = field(repr=False)
    _home: str = field(repr=False)  # the folder of the members that stand in none of their own
    _labels: Mapping[str, str] = field(repr=False, default_factory=dict)  # by member name

    def __len__(self) -> int:
        return len(self._places)

    def pictures(self) -> Iterator[Picture]:
        """All pictures, in the order of their names' UTF-8 bytes."""
        return (Picture(self.name, name, self._labels.get(name)) for name in self._places)

    def read(self, name: str) -> bytes:
        """The bytes of a picture's file. Raises PixelwardError, which names it, if it is unknown or cannot be read."""
        if name not in self._places:
            raise PixelwardError(
                given=f"picture {name}",
                allowed=f"one of the {len(self)} pictures of {self.path}",
                next_step="check that these are the pictures that were scanned",
            )
        try:
            return self._fetch(self._places[name])
        except Exception as error:  # beside OSError, a damaged zip raises whatever its decompressors do
            raise PixelwardError(
                given=f"picture {name} of {self.path}, which cannot be read: {_reason(error)}",
                allowed="a file that is there, whole and may be read",
                next_step="check the file, or leave it out",
            ) from error


def open_sources(
    paths: str | Path | Sequence[str | Path], *, name: str | None = None, labels: str | Path | None = None
) -> list[Source]:
    """Open sources of pictures, sorted by the UTF-8 bytes of their names.

    paths: each a folder (with all below it; links to folders are followed, but every folder is listed once), a list
    (`.txt`, one path a line as seen from the list's folder; lines that start with # are comments), a glob pattern, a
    `.zip`, or a picture. Pictures are files that end in one of `images.ENDINGS` and have no part of their name hidden
    by a leading dot; a list may name any file. A glob takes its name and its members' from the folder before its
    first wildcard. Atlases and sites below a folder or in what a glob matches are passed over.
    name: for a single source, instead of the last part of its path.
    labels: a CSV file with the columns file (a member's name) and label, or "folders".
    Raises PixelwardError for a path that is not there, a source without pictures, two sources of one name, and
    labels that cannot be used.
    """
    given = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not given:
        raise PixelwardError(given="no pictures", allowed="one source or more", next_step="name a folder of pictures")
    if name is not None and (len(given) > 1 or not name):
        raise PixelwardError(
            given=f"--name {name!r} for {len(given)} sources",
            allowed="a name that is not empty, for one source",
            next_step="scan them one by one, each with its own --name, into its own atlas",
        )
    table = None if labels is None or labels == FOLDERS else _read_labels(labels)
    sources = sorted((_open(path, name) for path in given), key=lambda source: source.name)
    for one, other in pairwise(sources):
        if one.name == other.name:
            raise PixelwardError(
                given=f"two sources that are called {one.name}: {one.path} and {other.path}",
                allowed="names that differ",
                next_step="scan them one by one, each with its own --name, into its own atlas",
            )
    if labels == FOLDERS:
        return [replace(source, _labels=_folder_labels(source)) for source in sources]
    if table is None:
        return sources
    if not any(picture.name in table for source in sources for picture in source.pictures()):
        raise PixelwardError(
            given=f"labels {labels}, which name none of the pictures",
            allowed=f"names like {next(sources[0].pictures()).name}",
            next_step="correct the column file",
        )
    return [replace(source, _labels=table) for source in sources]


class _Found(NamedTuple):
    """What stands at a path. places: member name -> place. top: the path whose last part is the source's name."""

    places: Mapping[str, str]
    fetch: Callable[[str], bytes]
    top: str
    home: str


def _open(path: str, name: str | None) -> Source:
    try:
        kind = next((kind for kind, (is_one, _) in KINDS.items() if is_one(path)), None)
        found = None if kind is None else KINDS[kind][1](path)
        there = Path(path).exists()
    except PixelwardError:
        raise
    except Exception as error:  # of the file system, of a damaged zip, of a pattern that is none
        raise PixelwardError(
            given=f"pictures {path}, which cannot be read: {_reason(error)}",
            allowed="what is whole and may be read",
            next_step="check the path and the right to read it",
        ) from error
    if found is None:
        raise PixelwardError(
            given=f"pictures {path}, {'which is no picture' if there else 'which is not there'}",
            allowed=f"a folder, a list (.txt), a glob pattern, a .zip, or a file that ends in {', '.join(ENDINGS)}",
            next_step="check the path",
        )
    if not found.places:
        raise PixelwardError(
            given=f"{kind} {path} without pictures",
            allowed=f"files that end in {', '.join(ENDINGS)}",
            next_step="check the path",
        )
    return Source(name or _last_part(found.top), path, found.places, found.fetch, found.home)


def _in_folder(path: str) -> _Found:
    return _files(path, _walk(path), top=path)


def _in_zip(path: str) -> _Found:
    fetch = _ZipReader(path)
    # Names without the flag for UTF-8 are read as code page 437, but most programs write UTF-8 all the same.
    raw = {
        entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437").replace(b"\\", b"/"): entry.filename
        for entry in fetch.entries()
        if _is_picture(entry.filename)
    }
    places = {name: place for name, place in _in_order(raw).items() if not _is_hidden(name)}
    return _Found(places, fetch, path, _last_part(str(Path(path).with_suffix(""))))


def _in_list(path: str) -> _Found:
    folder = Path(path).parent
    lines = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    named = [line for line in map(bytes.strip, lines) if line and not line.startswith(b"#")]
    paths = [str(folder / os.fsdecode(line)) for line in named]
    if paths and not any(Path(each).is_file() for each in paths):
        raise PixelwardError(
            given=f"list {path}, of whose {len(paths)} files none is there",
            allowed="paths as seen from the list's folder",
            next_step=f"check that {paths[0]} is what is meant by its first line",
        )
    return _files(str(folder), paths, top=path)


def _single(path: str) -> _Found:
    return _files(str(Path(path).parent), [path], top=path)


def _in_glob(pattern: str) -> _Found:
    first = min(pattern.index(sign) for sign in "*?[" if sign in pattern)
    start = pattern.rfind("/", 0, first) + 1
    top = pattern[:start] or os.curdir
    # Of pathlib, whose ** does not follow links.
    matches = [str(path) for path in Path(top).glob(pattern[start:]) if _is_picture(path.name) and path.is_file()]
    outputs: dict[Path, bool] = {}

    def is_output(folder: Path) -> bool:
        """Whether a folder below the top, or one that it stands in, was written by Pixelward."""
        if folder == Path(top):
            return False
        if folder not in outputs:
            outputs[folder] = _is_output(str(folder)) or is_output(folder.parent)
        return outputs[folder]

    wanted = [path for path in matches if not (_is_hidden(os.path.relpath(path, top)) or is_output(Path(path).parent))]
    return _files(top, wanted, top=top)


# Kind of source -> is there one at this path, and what does it hold. The first that says yes is taken.
KINDS: Mapping[str, tuple[Callable[[str], bool], Callable[[str], _Found]]] = MappingProxyType(
    {
        "folder": (lambda path: Path(path).is_dir(), _in_folder),
        "zip": (lambda path: Path(path).is_file() and path.lower().endswith(".zip"), _in_zip),
        "list": (lambda path: Path(path).is_file() and path.lower().endswith(".txt"), _in_list),
        "picture": (lambda path: Path(path).is_file() and _is_picture(path), _single),
        "glob": (lambda path: not Path(path).exists() and any(sign in path for sign in "*?["), _in_glob),
    }
)


class _ZipReader:
    """Reads members of one zip file. Its handle belongs to one process; the threads of that take turns."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._locks: dict[int, threading.Lock] = {}
        self._handles: dict[int, zipfile.ZipFile] = {}

    def __call__(self, place: str) -> bytes:
        return self._use(lambda handle: handle.read(place))

    def entries(self) -> list[zipfile.ZipInfo]:
        return self._use(zipfile.ZipFile.infolist)

    def _use(self, what: Callable[[zipfile.ZipFile], T]) -> T:
        process = os.getpid()  # after a fork the file's position would be shared with the parent
        with self._locks.setdefault(process, threading.Lock()):
            if process not in self._handles:
                self._handles[process] = zipfile.ZipFile(self._path)
            return what(self._handles[process])

    def __reduce__(self) -> tuple[type[_ZipReader], tuple[str]]:
        return _ZipReader, (self._path,)


def _walk(top: str) -> Iterator[str]:
    """Paths of all pictures below a folder. Links to folders come after everything else and no folder comes twice, so
    that loops end and names do not depend on the order in which the disk lists them."""
    seen: set[str] = set()
    folders, links = [top], list[str]()
    while folders or links:
        if not folders:
            links.sort(reverse=True)
            folders.append(links.pop())
        folder = folders.pop()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not _is_hidden(entry.name)]
        for entry in visible:
            if entry.is_dir():
                if _is_output(entry.path):
                    continue
                (links if entry.is_symlink() else folders).append(entry.path)
            # A link to nowhere is a picture too, one that cannot be read, so that it is not passed over in silence.
            elif _is_picture(entry.name) and (entry.is_file() or entry.is_symlink()):
                yield entry.path


def _files(folder: str, paths: Iterable[str], top: str) -> _Found:
    """Files, named as they are seen from a folder."""
    inner = {os.fsencode(os.path.relpath(path, folder).replace(os.sep, "/")): path for path in paths}
    return _Found(_in_order(inner), _read_file, top, _last_part(folder))


def _read_file(path: str) -> bytes:
    return Path(path).read_bytes()


def _in_order(places: Mapping[bytes, str]) -> dict[str, str]:
    """Places by readable name. Python sorts text by code point, which is the order of UTF-8 bytes."""
    named = sorted((posixpath.normpath(_readable(raw)), place) for raw, place in places.items())
    twice = [name for name, count in Counter(name for name, _ in named).items() if count > 1]
    if twice:
        raise PixelwardError(
            given=f"two pictures that are both called {twice[0]}",
            allowed="names that differ when written in UTF-8",
            next_step="rename one of them",
        )
    return dict(named)


def _readable(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.replace(b"%", b"%25").decode("utf-8", "surrogateescape")
        return re.sub("[\udc80-\udcff]", lambda found: f"%{ord(found[0]) - 0xDC00:02X}", text)


def _last_part(path: str) -> str:
    return _readable(os.fsencode(Path(os.path.normpath(Path(path).absolute())).name or path))


def _is_picture(path: str) -> bool:
    return path.lower().endswith(ENDINGS)


def _is_output(folder: str) -> bool:
    return any(Path(folder, marker).is_file() for marker in OUTPUTS)


def _is_hidden(name: str) -> bool:
    return any(part == JUNK or (part[:1] == "." and part.strip(".")) for part in name.split("/"))


def _folder_labels(source: Source) -> dict[str, str]:
    return {
        picture.name: posixpath.basename(posixpath.dirname(picture.name)) or source._home
        for picture in source.pictures()
    }


def _read_labels(path: str | Path) -> dict[str, str]:
    """Label by member name, out of a CSV file."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PixelwardError(
            given=f"labels {path}, which cannot be read: {_reason(error)}",
            allowed=f"a CSV file in UTF-8, or the word {FOLDERS}",
            next_step="check the path",
        ) from error
    if not {"file", "label"} <= set(columns):
        raise PixelwardError(
            given=f"labels {path} with the columns {', '.join(columns)}",
            allowed="the columns file and label",
            next_step="rename the columns in its first line",
        )
    return {posixpath.normpath(row["file"]): row["label"] for row in rows if row["file"] and row["label"]}


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
