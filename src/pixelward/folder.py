"""The atlas folder: where each file lies, and how one is written whole or not at all, mapped, hashed.

Nobody else spells a path inside an atlas. Paths are relative to it, with `/` between the parts.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pixelward.errors import PixelwardError

VERSION = 1
ATLAS, DRAWINGS, PICTURES, PARTS = "atlas.json", "drawings.json", "pictures.sqlite", "parts"
SHEETS = ("projections", "patches", "focus", "focus-patches")
KERNEL = "kernel"
MANIFEST, TEMPORARY = "manifest.json", ".tmp"
_TYPES = {"F32": "<f4", "I64": "<i8", "I32": "<i4"}  # safetensors' names


class Damaged(PixelwardError):
    """A file of an atlas that is missing or not as it was written: nothing that whoever asked could do better."""


def units_file(slug: str) -> str:
    """A layer's hits, relative to the atlas."""
    return f"units/{slug}.safetensors"


def stats_file(slug: str) -> str:
    """A layer's statistics, relative to the atlas."""
    return f"stats/{slug}.safetensors"


def drawings_folder(slug: str) -> str:
    """Where all drawings of a layer lie, relative to the atlas."""
    return f"drawings/{slug}"


def sheet_file(slug: str, channel: int, kind: str) -> str:
    """A unit's sheet of the given kind, one of SHEETS, relative to the atlas."""
    return f"{drawings_folder(slug)}/{channel}.{kind}.webp"


def kernel_file(slug: str, channel: int) -> str:
    """The weights of a unit that reads the pixels directly, as a picture, relative to the atlas."""
    return f"drawings/{slug}/{channel}.{KERNEL}.webp"


def details_file(slug: str, channel: int, hit: int, ending: str) -> str:
    """What is told of a unit's hit at length, "json", and its pictures, "webp". hit: from 1, the strongest."""
    return f"drawings/{slug}/{channel}.details-{hit}.{ending}"


def boxes_file(slug: str) -> str:
    """Boxes and grey scale factors of a layer's tiles, relative to the atlas."""
    return f"drawings/{slug}/boxes.safetensors"


def thumb_file(picture: int) -> str:
    """A whole picture, small, relative to the atlas."""
    return f"thumbs/{picture}.webp"


def read_record(folder: Path) -> dict[str, Any]:
    """What `atlas.json` in `folder` holds. Raises PixelwardError, with what to do, if that is no finished atlas."""
    try:
        record = read_json(folder / ATLAS)
        version = record["version"]
    except OSError as error:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            given, step = f"{folder}, whose {ATLAS} cannot be read ({error.strerror})", "see who may read it"
        elif (folder / PARTS).is_dir():
            given, step = f"{folder}, an atlas that is not finished", "give the same scan command again; it goes on"
        elif folder.is_dir():
            given, step = f"{folder}, which holds no {ATLAS}", "name the folder that a scan wrote with -o"
        else:
            given, step = f"{folder}, which is no folder", "make an atlas with `pixelward scan MODEL PICTURES -o ATLAS`"
        raise PixelwardError(given=given, allowed="a finished atlas", next_step=step) from error
    except (ValueError, TypeError, KeyError) as error:
        raise damaged(folder, ATLAS) from error
    if version != VERSION:
        raise PixelwardError(
            given=f"{folder}, an atlas of version {version}",
            allowed=f"version {VERSION}",
            next_step="install the Pixelward that wrote it, or scan again",
        )
    whole: dict[str, Any] = record
    return whole


def read_json(path: Path) -> Any:
    """What a file of JSON holds, read in half of the time that the standard library takes. Raises OSError or
    ValueError."""
    return orjson.loads(path.read_bytes())


def map_arrays(path: Path, *, mapped: bool = True) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file, read-only; memory-mapped, or read into memory."""
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        if start > path.stat().st_size:
            raise ValueError(f"{path} ends within its header")
        header = json.loads(file.read(start - 8))
        whole: mmap.mmap | bytes
        if mapped:
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        else:
            file.seek(0)
            whole = file.read()
    return {
        name: np.frombuffer(
            whole, _TYPES[entry["dtype"]], math.prod(entry["shape"]), start + entry["data_offsets"][0]
        ).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def write_file(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all: under a temporary name, flushed, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(data)
        settle_file(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def settle_file(temporary: Path, path: Path) -> None:
    """Flush a file that was written under a temporary name to the disk, and give it its own name."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    # The rename too must reach the disk before anything that says so; not every system can open a folder.
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever `write_file` writes a file anew; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def write_json(path: Path, plain: Mapping[str, Any]) -> None:
    """Write plain data as JSON, whole or not at all."""
    write_file(path, (json.dumps(plain, indent=1, allow_nan=False) + "\n").encode())


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differing(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    for name, wanted in files.items():
        if not (folder / name).is_file():
            yield f"{name} is missing"
        elif sha256_of(folder / name) != wanted:
            yield f"{name} is not as it was written"


def damaged(folder: Path, file: str, remedy: str = "") -> Damaged:
    """The error for a file of an atlas that cannot be read. remedy: the next step; "" for a new drawing or scan."""
    return Damaged(
        given=f"{folder}, whose {file} cannot be read",
        allowed="an atlas as it was written",
        next_step=remedy
        or (redraw(folder) if is_drawn(file) else "")
        or "see what is damaged with `pixelward info ATLAS --verify`, then scan again into a new folder",
    )


def is_drawn(file: str) -> bool:
    """Whether a file of an atlas was drawn, not scanned."""
    return file.startswith((DRAWINGS, "drawings/", "thumbs/"))


def redraw(folder: Path) -> str:
    """What to do where drawings are damaged: while `drawings.json` is there, they count as done."""
    return f"delete {folder / DRAWINGS}, and draw again: pixelward draw {quote(str(folder))} MODEL"
