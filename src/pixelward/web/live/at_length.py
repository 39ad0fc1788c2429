"""Hits told at length on demand: of every unit of a drawn layer a page, its twin, and its pictures."""

from __future__ import annotations

from functools import partial
from shlex import quote
from typing import Literal
from weakref import WeakKeyDictionary

from fastapi import APIRouter, HTTPException, Request, Response

from pixelward.atlas import Atlas, LayerRecord
from pixelward.details import Details, damaged_details, read_details
from pixelward.errors import PixelwardError
from pixelward.examine import Asked, examine, has_hit, picture_of
from pixelward.folder import Damaged, details_file
from pixelward.web import links, pages
from pixelward.web.answers import answer
from pixelward.web.content import details_page
from pixelward.web.kept import Kept
from pixelward.web.live.desk import READ, Desk, Sight, layer_of
from pixelward.web.live.samples import load
from pixelward.web.refusals import Impossible, Moved, Refusal
from pixelward.web.site import Item
from pixelward.web.studio import Studio

KEPT = 64  # hits whose details are kept, some hundred kilobytes each

Told = tuple[Details, bytes]
Known = Kept[tuple[int, int, int], Told]  # by the number of the layer, the channel and the hit
Made = WeakKeyDictionary[Atlas, Known]  # weak: an atlas that was drawn anew is let go


def router(desk: Desk) -> APIRouter:
    """The routes. What was drawn ahead is read, all else made in the worker."""
    routes, made = APIRouter(), Made()

    @routes.api_route("/layers/{slug}/{channel:int}.details-{hit:int}.{ending}", methods=READ)
    async def told(
        request: Request, slug: str, channel: int, hit: int, ending: Literal["html", "json", "webp"]
    ) -> Response:
        atlas, studio = desk.now()
        record = layer_of(atlas, slug)
        if not _is_there(atlas, record, channel, hit) or _other_spelling(request, slug, channel, hit, ending):
            raise HTTPException(404)
        # Before the network is asked for, which what was drawn ahead does not need: it may be another atlas's now.
        found = _drawn(atlas, record, channel, hit)
        if found is None:
            found = await made_now(request, desk.sight(atlas, studio), record, channel, hit)
        body = found[1]
        if ending != "webp":
            page = details_page(atlas, record, channel, found[0], standing=desk.standing)
            body = (pages.twin(page) if ending == "json" else pages.html(page, live=studio is not None)).encode()
        return answer(request, Item.of(links.details(slug, channel, hit, ending), body))

    async def made_now(request: Request, here: Sight, record: LayerRecord, channel: int, hit: int) -> Told:
        kept = made.setdefault(here.atlas, Kept(KEPT))
        found = kept.get((record.number, channel, hit))  # so that a page's pictures do not wait for other pages
        if found is not None:
            return found
        try:
            job = partial(_made, kept=kept, record=record, channel=channel, hit=hit)
            return await here.run(request, "details", job)
        except (Refusal, Damaged):
            raise
        except PixelwardError as error:
            raise Impossible.of(error) from error

    return routes


def _made(studio: Studio, atlas: Atlas, kept: Known, record: LayerRecord, channel: int, hit: int) -> Told:
    """To be called in the worker: what waits there for the same hit finds it made."""
    key = record.number, channel, hit
    found = kept.get(key)
    if found is None:
        row = picture_of(atlas, record, channel, hit)
        try:
            loaded = load(atlas, row)
        except (PixelwardError, OSError) as error:
            raise Moved(
                given=f"hit {hit} of {record.address}, unit {channel}, whose picture is not what or where it was",
                allowed="pictures that are still where they were scanned, unchanged",
                next_step="put it back, or draw this ahead, with --pictures WHERE: "
                f"pixelward draw {quote(atlas.path.name)} MODEL --detail {record.address}:{channel} --hit {hit}",
            ) from error
        found = examine(atlas, studio.net, loaded.pixels, record, channel, hit, go_on=studio.go_on)
        kept.put(key, found)
    return found


def _is_there(atlas: Atlas, record: LayerRecord, channel: int, hit: int) -> bool:
    drawings = atlas.drawings
    return (
        drawings is not None
        and record.address in drawings.layers
        and channel < record.channels
        and has_hit(atlas, Asked(record, channel), hit)
    )


def _other_spelling(request: Request, slug: str, channel: int, hit: int, ending: str) -> bool:
    """Whether the address is another than pages give, as one with a leading zero."""
    spelled: str = request.scope["path"]
    return spelled != f"/{links.details(slug, channel, hit, ending)}"


def _drawn(atlas: Atlas, record: LayerRecord, channel: int, hit: int) -> Told | None:
    """What was drawn ahead. Raises Damaged where it cannot be read."""
    details = read_details(atlas, record, channel, hit)
    try:
        pictures = atlas.path / details_file(record.slug, channel, hit, "webp")
        return None if details is None else (details, pictures.read_bytes())
    except OSError as error:
        raise damaged_details(atlas, record, channel, hit, "webp") from error
