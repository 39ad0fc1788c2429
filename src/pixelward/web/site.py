"""What a site holds, by address: the pages and files of an atlas as it is now, each byte for byte as export writes it.

An address reaches the file system only as numbers and names that were found in the atlas.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from PIL import Image

from pixelward.atlas import Atlas, LayerRecord
from pixelward.details import read_details
from pixelward.errors import PixelwardError
from pixelward.folder import ATLAS, DRAWINGS, KERNEL, SHEETS, details_file, sheet_file, stamp, thumb_file
from pixelward.likeness import Pairing
from pixelward.web import links, pages
from pixelward.web.beside import compare_layer_page, compare_page
from pixelward.web.content import Page, index_page, layer_page, picture_page, unit_page
from pixelward.web.export import CREDITS, read_credits
from pixelward.web.standing import Standing, standings

if TYPE_CHECKING:
    from pixelward.web.studio import Studio

KEPT = 64 << 20  # bytes of made pages that are kept in memory
_WARMING = threading.Lock()  # two sites share what is made then
# Pages are made one after the other, for threads that share one interpreter finish late together. Those that may take
# seconds wait for each other, not in front of the quick ones. For all sites of the process.
_QUICK, _SLOW = threading.Lock(), threading.Lock()
MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".webp": "image/webp",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class Item:
    """A page or a file, with its media type, and a tag that is the same for the same bytes."""

    body: bytes
    media: str
    tag: str

    @classmethod
    def of(cls, name: str, body: bytes) -> Item:
        media = MEDIA.get(PurePosixPath(name).suffix, "application/octet-stream")
        return cls(body, media, hashlib.sha256(body).hexdigest()[:32])


class Site:
    """The atlas in a folder. It is read again when it was scanned or drawn anew; pages that were made are kept."""

    def __init__(
        self,
        folder: str | Path,
        beside: str | Path | None = None,
        studio: Studio | None = None,
        *,
        outer: Path | None = None,
    ) -> None:
        """beside: the folder of an atlas to compare it with. studio: the network; pages then say more.

        outer: of the site of that other atlas, the folder of the one that it is compared with.

        Raises PixelwardError if one of them holds no finished atlas, or if they have no picture in common.
        """
        self.folder = Path(folder).absolute()  # so that its name in an error is not a part of another word
        self.beside = None if beside is None else Site(beside, outer=self.folder)
        self._outer = outer
        self._studio = studio
        own = files("pixelward.web")
        folders = [own / "static"] if studio is None else [own / "static", own / "live" / "static"]
        self._static = {name: file for folder in folders for name, file in _walk(folder)}
        self._changing = threading.Lock()
        self._edition: _Edition | None = None
        self._now().prepare()  # so that the first reader is not the one to find out
        threading.Thread(target=_warm_up, name="pixelward-warm-up", daemon=True).start()

    @property
    def atlas(self) -> Atlas:
        """The atlas as it is now. Raises PixelwardError if it vanished or is not finished."""
        return self._now().atlas

    @property
    def live(self) -> tuple[Atlas, Studio | None]:
        """The atlas as it is now, and the studio for it, None where the network is not its own. Raises as `atlas`."""
        edition = self._now()
        return edition.atlas, edition.studio

    def get(self, address: str) -> Item | None:
        """What lies at a path from the site's root; None if an export of the atlas has nothing there.

        Raises PixelwardError if the atlas vanished, is not finished or is damaged. Safe to call from many threads.
        """
        if self.beside is not None and address.startswith(links.BESIDE):
            return self.beside.get(address.removeprefix(links.BESIDE))
        place = links.place(address)
        if place is not None and place.kind == "static":
            file = self._static.get(place.name)
            return None if file is None else Item.of(address, file.read_bytes())
        edition = self._now()
        if place is not None and place.kind in ("sheet", "details", "thumb"):
            drawing = edition.drawing(place)
            return None if drawing is None else Item.of(address, drawing)
        return edition.page(address)

    def _now(self) -> _Edition:
        """The edition that the atlas's records on disk speak of."""
        seen = self._seen()
        edition = self._edition
        if edition is None or edition.seen != seen:
            with self._changing:
                edition = self._edition
                if edition is None or edition.seen != seen:
                    self._edition = None
                    atlas = Atlas.open(self.folder, mapped=False)
                    edition = _Edition(seen, atlas, self.beside, self._studio_of(atlas), self.standing)
                    self._edition = edition
        return edition

    def _studio_of(self, atlas: Atlas) -> Studio | None:
        """The studio for the atlas as it is now; None where there is no network, or another was scanned."""
        found = None if self._studio is None else self._studio.of(atlas)
        self._studio = found or self._studio
        return found

    def _seen(self) -> tuple[object, ...]:
        """What changes when one of the atlases does."""
        own = tuple(stamp(self.folder / name) for name in (ATLAS, DRAWINGS, CREDITS))
        if self._outer is not None:
            own = (*own, stamp(self._outer / ATLAS))
        return own if self.beside is None else (*own, *self.beside._seen())

    @property
    def standing(self) -> Standing | None:
        """How the atlas is compared with another, if it is. Names come from the folders alone, so that the pages of one
        atlas stay as they are when the other one vanishes."""
        if self.beside is not None:
            return standings(self.folder, self.beside.folder, ())[0]
        return None if self._outer is None else standings(self._outer, self.folder, _layers(self._outer))[1]


class _Edition:
    """An atlas between two changes of it."""

    def __init__(
        self, seen: object, atlas: Atlas, beside: Site | None, studio: Studio | None, standing: Standing | None
    ) -> None:
        self.seen = seen
        self.atlas = atlas
        self._beside = beside
        self.studio = studio
        self.standing = standing
        self._layers = {record.slug: record for record in atlas.layers}
        self._made = _Kept(KEPT)
        self._comparing = threading.Lock()
        self._compared: Pairing | None = None

    def prepare(self) -> None:
        """Find out whether the atlases can be compared. Raises PixelwardError if not."""
        if self._beside is not None:
            self._pairing  # noqa: B018

    @property
    def _pairing(self) -> Pairing:
        """Made once, and only where it is asked for: the other atlas may vanish, and the pages of this one go on."""
        assert self._beside is not None
        with self._comparing:
            if self._compared is None:
                self._compared = Pairing(self.atlas, self._beside.atlas)
            return self._compared

    def page(self, address: str) -> Item | None:
        """A page, or the twin of one."""
        twin = address.endswith(".json")
        place = links.place(links.page_of(address) if twin else address)
        if place is None or place.kind == "details" or not self._holds(place):
            return None

        def make() -> Item:
            with _QUICK if place.kind in ("unit", "picture") else _SLOW:
                page = self._content(place)
                text = pages.twin(page) if twin else pages.html(page, live=self.studio is not None)
                return Item.of(address, text.encode())

        return self._made.get(address, make)

    def drawing(self, place: links.Place) -> bytes | None:
        """A sheet of a unit, the pictures of what is told of a hit, or a small picture."""
        if not self._holds(place):
            return None
        names = {
            "sheet": sheet_file(place.slug, place.number, place.name),
            "details": details_file(place.slug, place.number, place.hit, "webp"),
            "thumb": thumb_file(place.number),
        }
        file = self.atlas.path / names[place.kind]
        return file.read_bytes() if file.is_file() else None

    def _holds(self, place: links.Place) -> bool:
        """Whether the atlas has what the place names."""
        if place.slug and place.slug not in self._layers:
            return False
        if place.kind in ("compare", "compare-layer"):
            return self._beside is not None
        if place.kind in ("picture", "thumb"):
            return bool(self.atlas.hits_of_picture(place.number))
        if place.kind in ("unit", "sheet", "details") and place.number >= self._layers[place.slug].channels:
            return False
        if place.kind == "details":
            there = read_details(self.atlas, self._layers[place.slug], place.number, place.hit)
            return place.name == "webp" and there is not None
        return place.kind != "sheet" or place.name in (*SHEETS, KERNEL)

    def _content(self, place: links.Place) -> Page:
        if place.kind == "index":
            return index_page(self.atlas, read_credits(self.atlas), standing=self.standing)
        if place.kind == "picture":
            return picture_page(self.atlas, place.number, standing=self.standing)
        if place.kind == "compare":
            return compare_page(self._pairing)
        record = self._layers[place.slug]
        if place.kind == "compare-layer":
            return compare_layer_page(self._pairing, record)
        if place.kind == "layer":
            return layer_page(self.atlas, record, standing=self.standing)
        return unit_page(self.atlas, record, place.number, standing=self.standing)


class _Kept:
    """The items that were asked for last, up to `most` bytes; what two ask for at the same time is made once."""

    def __init__(self, most: int) -> None:
        self._room = most
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[], Item]) -> Item:
        with self._lock:
            if item := self._found(key):
                return item
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if item := self._found(key):
                    return item
            try:
                item = make()
                with self._lock:
                    self._keep(key, item)
            finally:
                with self._lock:
                    self._making.pop(key, None)
            return item

    def _found(self, key: str) -> Item | None:
        if key in self._items:
            self._items.move_to_end(key)
        return self._items.get(key)

    def _keep(self, key: str, item: Item) -> None:
        if key in self._items:
            return
        self._items[key] = item
        self._room -= len(item.body)
        while self._room < 0:
            _, oldest = self._items.popitem(last=False)
            self._room += len(oldest.body)


def _warm_up() -> None:
    """What the first pages would have to wait for: templates, and readers of pictures."""
    with _WARMING:
        pages.prepare()
        Image.init()


def _layers(folder: Path) -> tuple[LayerRecord, ...]:
    """Of the atlas in a folder; none where it vanished or is not finished."""
    try:
        return tuple(Atlas.open(folder, mapped=False).layers)
    except (PixelwardError, OSError):
        return ()


def _walk(folder: Traversable, under: str = "") -> Iterator[tuple[str, Traversable]]:
    """Every file of a folder by its path inside."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{under}{entry.name}/")
        else:
            yield f"{under}{entry.name}", entry
