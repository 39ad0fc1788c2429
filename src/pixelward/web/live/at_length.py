"""Hits told at length on demand: of every unit of a drawn layer a page, its twin, and its pictures."""

from __future__ import annotations

from functools import partial
from typing import Literal
from weakref import WeakKeyDictionary

from fastapi import APIRouter, HTTPException, Request, Response

from pixelward.atlas import Atlas, LayerRecord
from pixelward.details import Details, damaged_details, read_details
from pixelward.errors import PixelwardError
from pixelward.examine import Asked, examine, has_hit, picture_of
from pixelward.folder import Damaged, details_file
from pixelward.web import links, pages
from pixelward.web.content import details_page
from pixelward.web.live.desk import READ, Desk
from pixelward.web.live.kept import Kept
from pixelward.web.live.samples import gallery
from pixelward.web.refusals import Impossible, Moved, Refusal
from pixelward.web.site import MEDIA
from pixelward.web.studio import Studio

KEPT = 64  # hits whose details are kept, some hundred kilobytes each

Told = tuple[Details, bytes]
Made = WeakKeyDictionary[Atlas, Kept[tuple[int, int, int], Told]]  # weak: an atlas that was drawn anew is let go


def router(desk: Desk) -> APIRouter:
    """The routes. What was drawn ahead is read, all else made in the worker."""
    routes, made = APIRouter(), Made()

    @routes.api_route("/layers/{slug}/{channel:int}.details-{hit:int}.{ending}", methods=READ)
    async def told(
        request: Request, slug: str, channel: int, hit: int, ending: Literal["html", "json", "webp"]
    ) -> Response:
        here = desk.look()
        record = here.layer(slug)
        if not _is_there(here.atlas, record, channel, hit) or _other_spelling(request, slug, channel, hit, ending):
            raise HTTPException(404)
        try:
            found = _drawn(here.atlas, record, channel, hit)
            if found is None:
                job = partial(_made, made, record=record, channel=channel, hit=hit)
                # Arrow keys leaf through pages: of all that one visitor opens, only the last is looked at.
                found = await here.run(request, "details", job, whole_page=ending == "html")
        except (Refusal, Damaged):
            raise
        except PixelwardError as error:
            raise Impossible.of(error) from error
        body = found[1]
        if ending != "webp":
            page = details_page(here.atlas, record, channel, found[0])
            body = (pages.twin(page) if ending == "json" else pages.html(page, live=True)).encode()
        return Response(body, headers={"cache-control": "no-cache"}, media_type=MEDIA[f".{ending}"])

    return routes


def _made(made: Made, studio: Studio, atlas: Atlas, record: LayerRecord, channel: int, hit: int) -> Told:
    """To be called in the worker: what waits there for the same hit finds it made."""
    kept, key = made.setdefault(atlas, Kept(KEPT)), (record.number, channel, hit)
    found = kept.get(key)
    if found is None:
        row = picture_of(atlas, record, channel, hit)
        try:
            loaded = gallery(atlas).load(row)
        except (PixelwardError, OSError) as error:
            raise Moved(
                given=f"hit {hit} of {record.address}, unit {channel}, whose picture is not what or where it was",
                allowed="pictures that are still where they were scanned, unchanged",
                next_step="put it back, or draw this ahead, with --pictures WHERE: "
                f"pixelward draw {atlas.path.name} MODEL --detail {record.address}:{channel} --hit {hit}",
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
