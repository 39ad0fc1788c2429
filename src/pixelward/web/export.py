"""An atlas -> a folder of static pages that work from file://, with everything that they need."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import as_file, files
from itertools import chain
from pathlib import Path
from shlex import quote

from pixelward.atlas import Atlas, LayerRecord
from pixelward.details import read_details
from pixelward.errors import PixelwardError
from pixelward.folder import KERNEL, SHEETS, Damaged, details_file, sheet_file, thumb_file
from pixelward.likeness import Pairing
from pixelward.web import links, pages
from pixelward.web.beside import compare_layer_page, compare_page
from pixelward.web.content import Page, index_page, layer_page, picture_page, unit_page
from pixelward.web.standing import Standing, standings

Report = Callable[[int, int, float], None]

MARKER = "pixelward-site.json"  # says that a folder is an export, so that the next one may replace it
CREDITS = "credits.json"


def export(
    atlas: Atlas | str | Path,
    site: str | Path,
    *,
    credits: Sequence[str] | None = None,
    beside: Atlas | str | Path | None = None,
    report: Report | None = None,
) -> Path:
    """Write the gallery of a drawn atlas to the folder `site` and return its first page.

    credits: lines for the first page; None reads them from `credits.json` in the atlas, a list of strings, if that is
    there. beside: another atlas to compare it with, whose own site is written to `beside/` inside. report: called with
    (pages done, pages in all, pages a second), now and then.
    The site is written under a temporary name and renamed. A folder that holds an earlier export is replaced whole;
    a folder that holds anything else is refused, and so are an atlas that is not drawn and two without a picture in
    common: PixelwardError.
    Drawings become hard links where the file system has them, else copies.
    """
    atlas = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    other = beside if isinstance(beside, Atlas | None) else Atlas.open(beside)
    target = Path(site).resolve()
    _refuse_other(target)
    for each in filter(None, (atlas, other)):
        _refuse_undrawn(each)
    pairing = None if other is None else Pairing(atlas, other)
    lines = read_credits(atlas) if credits is None else credits
    total = _count(atlas)
    sites: list[tuple[Atlas, str, Iterable[Page]]]
    if pairing is None:
        sites = [(atlas, "", _pages(atlas, lines, None))]
    else:
        one, two = standings(atlas.path, pairing.other.path, atlas.layers)
        sites = [
            (atlas, "", chain(_pages(atlas, lines, one), _comparison(pairing))),
            (pairing.other, links.BESIDE, _pages(pairing.other, read_credits(pairing.other), two)),
        ]
        total += _count(pairing.other) + 1 + len(atlas.layers)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    except OSError as error:
        raise PixelwardError(
            given=f"{target}, which cannot be written ({error.strerror})",
            allowed="a folder that you may write to",
            next_step="choose another folder with -o",
        ) from error
    try:
        started, done = time.monotonic(), 0
        for drawn, under, every in sites:
            for page in every:
                _write(building / under / page.path, pages.html(page))
                _write(building / under / links.twin(page.path), pages.twin(page))
                done += 1
                if report and (done % 50 == 0 or done == total):
                    report(done, total, done / max(time.monotonic() - started, 1e-9))
            _pictures(drawn, building / under)
            with as_file(files("pixelward.web") / "static") as static:
                shutil.copytree(static, building / under / "static")
        _write(building / MARKER, json.dumps({"pixelward": "site", "version": 1}) + "\n")
        building.chmod(0o755)  # a temporary folder is its owner's alone
        _put(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target / links.INDEX


def _count(atlas: Atlas) -> int:
    """How many pages an atlas has by itself."""
    return 1 + sum(1 + record.channels for record in atlas.layers) + sum(1 for _ in atlas.hit_pictures())


def _pages(atlas: Atlas, credits: Sequence[str], standing: Standing | None) -> Iterator[Page]:
    yield index_page(atlas, credits, standing=standing)
    for record in atlas.layers:
        yield layer_page(atlas, record, standing=standing)
        for channel in range(record.channels):
            yield unit_page(atlas, record, channel, standing=standing)
    for id in atlas.hit_pictures():
        yield picture_page(atlas, id, standing=standing)


def _comparison(pairing: Pairing) -> Iterator[Page]:
    yield compare_page(pairing)
    for record in pairing.this.layers:
        yield compare_layer_page(pairing, record)


def _pictures(atlas: Atlas, building: Path) -> None:
    """The drawings beside the pages that show them."""
    for record in atlas.layers:
        for channel in range(record.channels):
            for kind in (*SHEETS, KERNEL):
                _link(
                    atlas.path / sheet_file(record.slug, channel, kind),
                    building / links.sheet(record.slug, channel, kind),
                )
            for hit in range(1, atlas.k + 1):
                if _has_details(atlas, record, channel, hit):
                    _link(
                        atlas.path / details_file(record.slug, channel, hit, "webp"),
                        building / links.details(record.slug, channel, hit),
                    )
    for id in atlas.hit_pictures():
        _link(atlas.path / thumb_file(id), building / links.thumb(id))


def _has_details(atlas: Atlas, record: LayerRecord, channel: int, hit: int) -> bool:
    """Whether a hit is told at length; of details that cannot be read its unit's page speaks."""
    try:
        return read_details(atlas, record, channel, hit) is not None
    except Damaged:
        return False


def _link(source: Path, target: Path) -> None:
    if not source.is_file():
        return
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8", newline="\n")


def read_credits(atlas: Atlas) -> list[str]:
    """The lines for the first page that lie in the atlas. Raises PixelwardError if they are no list of strings."""
    file = atlas.path / CREDITS
    if not file.is_file():
        return []
    try:
        lines = json.loads(file.read_text("utf-8"))
    except ValueError:
        lines = None
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise PixelwardError(given=str(file), allowed="a JSON list of strings", next_step="mend the file or remove it")
    return lines


def _refuse_undrawn(atlas: Atlas) -> None:
    if atlas.drawings is None:
        raise PixelwardError(
            given=f"{atlas.path}, an atlas without drawings",
            allowed="an atlas that is drawn",
            next_step=f"make them with `pixelward draw {quote(str(atlas.path))} MODEL`",
        )


def _refuse_other(target: Path) -> None:
    """Raise PixelwardError unless `target` is new, an empty folder or an earlier export."""
    if target.is_dir():
        names = sorted(entry.name for entry in target.iterdir())
        if not names or MARKER in names:
            return
        given = f"{target}, which holds other files ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
    elif target.exists():
        given = f"{target}, which is a file"
    else:
        return
    raise PixelwardError(
        given=given, allowed="a new or empty folder, or an earlier export", next_step="choose another folder with -o"
    )


def _put(building: Path, target: Path) -> None:
    """Give the finished folder its name; the earlier export stands aside meanwhile and comes back on failure."""
    aside = building.with_name(building.name + ".old")
    there = target.is_dir()
    if there:
        target.rename(aside)
    try:
        building.rename(target)
    except BaseException:
        if there:
            aside.rename(target)
        raise
    if there:
        shutil.rmtree(aside)
