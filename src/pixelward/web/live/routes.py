"""The addresses of the live part. Every question to the network goes through the studio's worker."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Literal, TypeVar

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from pixelward.atlas import Atlas, LayerRecord
from pixelward.errors import PixelwardError
from pixelward.folder import Damaged
from pixelward.web import gather, links, pages
from pixelward.web.guard import CAMERA, PERMISSIONS
from pixelward.web.live import panels, uploads
from pixelward.web.live.desk import READ, Desk, Sight
from pixelward.web.live.entries import LivePage, TriedPanel, UnitPanel
from pixelward.web.live.samples import sampled, samples
from pixelward.web.live.uploads import Tried
from pixelward.web.problems import wants_json, wants_piece
from pixelward.web.refusals import Impossible, Refusal
from pixelward.web.standing import Standing
from pixelward.web.studio import Studio

T = TypeVar("T")
Order = Literal["share", "value", "number"]
Scale = Literal["map", "layer"]


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    read = partial(routes.api_route, methods=READ)

    @read("/live.html")
    @read("/live.json")
    def page(request: Request) -> Response:
        found = live_page(desk.look().atlas, standing=desk.standing)
        return _answer(request, "live/page.html", found, {PERMISSIONS: CAMERA})

    @routes.post("/live/pictures")
    async def upload(request: Request, name: str = "") -> Response:
        async with desk.reading():
            data = await uploads.read(request)
        here = desk.look()
        make = partial(uploads.prepared, data, uploads.named(name), here.studio.preprocess)
        return _answer(request, "live/tried.html", await tried(request, here, make))

    @routes.post("/live/pictures/{id:int}")
    async def sample(request: Request, id: int) -> Response:
        here = desk.look()
        if not 0 <= id < 2**63 or not here.atlas.hits_of_picture(id):
            raise HTTPException(404)
        return _answer(request, "live/tried.html", await tried(request, here, partial(sampled, here.atlas, id)))

    async def tried(request: Request, here: Sight, make: Callable[[], Tried]) -> TriedPanel:
        def job(studio: Studio, atlas: Atlas) -> TriedPanel:
            picture = make()
            return panels.tried_panel(studio, atlas, picture, here.pictures.put(picture))

        return await here.run(request, "picture", job)

    @read("/live/{token}/picture.html")
    @read("/live/{token}/picture.json")
    async def again(request: Request, token: str) -> Response:
        here = desk.look()
        job = partial(panels.tried_panel, picture=here.pictures.get(token), token=token)
        if _alone(request):
            return _to_live(request, links.live(token=token))
        return _answer(request, "live/tried.html", await here.run(request, "picture", job))

    @read("/live/{token}/picture.webp")
    async def seen(request: Request, token: str) -> Response:
        here = desk.look()
        picture = here.pictures.get(token)
        return await drawn(request, here, picture, "picture", partial(panels.tried_panel, picture=picture, token=token))

    @read("/live/{token}/{slug}.{scale}.webp")
    async def sheet(request: Request, token: str, slug: str, scale: Scale) -> Response:
        here = desk.look()
        picture, record = here.pictures.get(token), here.layer(slug)
        job = partial(panels.maps_panel, record=record, picture=picture, token=token, order="number", scale=scale)
        return await drawn(request, here, picture, panels.sheet_name(record, scale), job)

    @read("/live/{token}/maps.html")
    @read("/live/{token}/maps.json")
    async def maps(request: Request, token: str, layer: str, order: Order = "share", scale: Scale = "map") -> Response:
        here = desk.look()
        picture, record = here.pictures.get(token), here.layer(layer)
        if _alone(request):
            return _to_live(request, links.live(record.slug, token=token))
        job = partial(panels.maps_panel, record=record, picture=picture, token=token, order=order, scale=scale)
        return _answer(request, "live/maps.html", await here.run(request, "maps", job))

    @read("/live/{token}/{slug}/{channel:int}.html")
    @read("/live/{token}/{slug}/{channel:int}.json")
    async def unit(
        request: Request, token: str, slug: str, channel: int, y: int | None = None, x: int | None = None
    ) -> Response:
        here = desk.look()
        picture, record = here.pictures.get(token), here.layer(slug)
        place = _place(record, channel, y, x)
        job = asked(record, picture, token, channel, place)
        if _alone(request):
            return _to_live(request, links.live(record.slug, channel, token, place or ()))
        return _answer(request, "live/unit.html", await possible(here.run(request, "unit", job)))

    @read("/live/{token}/{slug}/{channel:int}.{kind}.webp")
    async def unit_image(
        request: Request,
        token: str,
        slug: str,
        channel: int,
        kind: Literal["projection", "patch", "map"],
        y: int | None = None,
        x: int | None = None,
    ) -> Response:
        here = desk.look()
        picture, record = here.pictures.get(token), here.layer(slug)
        place = _place(record, channel, y, x)
        job = asked(record, picture, token, channel, place)
        if place is None and record.map:  # drawings are kept by the place that they are of
            y, x = (await possible(here.run(request, f"drawing {kind}", job))).position
            place = y, x
            job = asked(record, picture, token, channel, place)
        return await drawn(
            request,
            here,
            picture,
            panels.drawn_name(panels.how_drawn(here.atlas), record, channel, place or (), kind),
            job,
        )

    def asked(
        record: LayerRecord, picture: Tried, token: str, channel: int, place: tuple[int, int] | None
    ) -> Callable[[Studio, Atlas], UnitPanel]:
        return partial(panels.unit_panel, record=record, picture=picture, token=token, channel=channel, position=place)

    async def possible(work: Awaitable[T]) -> T:
        """What `work` comes to. Raises Impossible above all for a layer that no rule can project."""
        try:
            return await work
        except (Refusal, Damaged):
            raise
        except PixelwardError as error:
            raise Impossible.of(error) from error

    async def drawn(
        request: Request, here: Sight, picture: Tried, name: str, job: Callable[[Studio, Atlas], object]
    ) -> Response:
        """A drawing, made anew where it was too long ago."""
        found = picture.files.get(name)
        if found is None:
            await possible(here.run(request, f"drawing {name}", job))
            found = picture.files.get(name)
        if found is None:
            raise HTTPException(404)
        return Response(found, media_type="image/webp", headers=PRIVATE)

    return routes


PRIVATE = {"cache-control": "no-store"}  # nothing of a picture stays with a browser either


def _place(record: LayerRecord, channel: int, y: int | None, x: int | None) -> tuple[int, int] | None:
    """The place that is asked for, None for the strongest; a unit or a place that there is not is not found."""
    if (y is None) != (x is None):
        raise PixelwardError(
            given="y without x" if x is None else "x without y",
            allowed="both, for a place of the map, or neither, for the strongest",
            next_step="name both y and x, or leave both away",
        )
    place = None if y is None or x is None else (y, x)
    if place is not None and not (
        record.map and all(0 <= at < side for at, side in zip(place, record.map, strict=True))
    ):
        raise HTTPException(404)
    if not 0 <= channel < record.channels:
        raise HTTPException(404)
    return place


def live_page(atlas: Atlas, *, standing: Standing | None = None) -> LivePage:
    """Where a picture is tried. standing: of the atlas, in a comparison with another."""
    return LivePage(
        path=links.LIVE,
        network=atlas.network["model"],
        size=atlas.size,
        layers=tuple(gather.layer_entry(atlas, record) for record in atlas.layers),
        samples=samples(atlas),
        bytes=uploads.BYTES,
        pixels=uploads.PIXELS,
        compare=None if standing is None else standing.of_all,
    )


def _alone(request: Request) -> bool:
    """Whether a piece of the live page is opened by itself, in a window of a browser, not put into the page."""
    if wants_json(request.scope):
        return False
    return request.headers.get("sec-fetch-dest") == "document" or not wants_piece(request.scope)


def _to_live(request: Request, target: str) -> Response:
    """To the live page, which shows the piece."""
    here: str = request.scope["path"].removeprefix("/")
    return RedirectResponse(links.relative(here, target), 303, PRIVATE)


def _answer(request: Request, template: str, found: Any, headers: dict[str, str] | None = None) -> Response:
    headers = {**PRIVATE, **(headers or {})}
    if wants_json(request.scope):
        text = json.dumps(asdict(found), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        return Response(text.encode(), headers=headers, media_type="application/json")
    return Response(pages.filled(template, found).encode(), headers=headers, media_type="text/html; charset=utf-8")
