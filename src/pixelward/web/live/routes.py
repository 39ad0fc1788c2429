"""The addresses of the live part. Every question to the network goes through the studio's worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Literal, TypeVar

from fastapi import APIRouter, HTTPException, Request, Response

from pixelward.atlas import Atlas, LayerRecord
from pixelward.errors import PixelwardError
from pixelward.folder import Damaged
from pixelward.web import gather, links, pages
from pixelward.web.guard import CAMERA, PERMISSIONS
from pixelward.web.live import panels, uploads
from pixelward.web.live.entries import LivePage, TriedPanel
from pixelward.web.live.samples import sampled, samples
from pixelward.web.live.uploads import Pictures, Tried
from pixelward.web.problems import wants_json
from pixelward.web.refusals import Impossible, OtherNetwork, Refusal
from pixelward.web.studio import Studio

PAGE = "x-pixelward-page"  # the header in which a page says which of all it is
UPLOADS = 4  # that are read at once

T = TypeVar("T")
Order = Literal["share", "value", "number"]
Scale = Literal["map", "layer"]


class Desk:
    """The studio, the atlas as it is now, the pictures that are tried."""

    def __init__(self, studio: Studio, atlas: Callable[[], Atlas]) -> None:
        self._studio, self._atlas = studio, atlas
        self.pictures = Pictures()
        self.reading = asyncio.Semaphore(UPLOADS)

    @property
    def atlas(self) -> Atlas:
        """Raises OtherNetwork where the atlas was scanned anew, and otherwise."""
        atlas = self._atlas()
        if not self._studio.holds(atlas):
            raise OtherNetwork(
                given="an atlas that was scanned with another network, preparation or other layers since the server "
                "was started",
                allowed="the scan that the server was started with",
                next_step="start it again, with the network that was scanned now",
            )
        return atlas

    def layer(self, slug: str) -> LayerRecord:
        """The layer of this name, else what is not found."""
        found = next((record for record in self.atlas.layers if record.slug == slug), None)
        if found is None:
            raise HTTPException(404)
        return found

    async def run(self, request: Request, kind: str, job: Callable[[Studio, Atlas], T]) -> T:
        """Do a job for the page that asks; the newest of each kind counts."""
        page, atlas = request.headers.get(PAGE, "")[:64], self.atlas
        return await self._studio.run(f"{page}/{kind}" if page else "", lambda: job(self._studio, atlas))


def router(studio: Studio, atlas: Callable[[], Atlas]) -> APIRouter:
    """The routes. atlas: gives the atlas as it is now."""
    desk, routes = Desk(studio, atlas), APIRouter()

    @routes.get("/live.html")
    @routes.get("/live.json")
    def page(request: Request) -> Response:
        found = live_page(desk.atlas)
        return _answer(request, "live/page.html", found, {PERMISSIONS: CAMERA})

    @routes.post("/live/pictures")
    async def upload(request: Request, name: str = "") -> Response:
        async with desk.reading:
            data = await uploads.read(request)
        make = partial(uploads.prepared, data, uploads.named(name), studio.preprocess)
        return _answer(request, "live/tried.html", await tried(request, lambda _: make()))

    @routes.post("/live/pictures/{id:int}")
    async def sample(request: Request, id: int) -> Response:
        if not 0 <= id < 2**63 or not desk.atlas.hits_of_picture(id):
            raise HTTPException(404)
        return _answer(request, "live/tried.html", await tried(request, partial(sampled, id=id)))

    async def tried(request: Request, make: Callable[[Atlas], Tried]) -> TriedPanel:
        def job(studio: Studio, atlas: Atlas) -> TriedPanel:
            picture = make(atlas)
            return panels.tried_panel(studio, atlas, picture, desk.pictures.put(picture))

        return await desk.run(request, "picture", job)

    @routes.get("/live/{token}/picture.html")
    @routes.get("/live/{token}/picture.json")
    async def again(request: Request, token: str) -> Response:
        picture = desk.pictures.get(token)
        job = partial(panels.tried_panel, picture=picture, token=token)
        return _answer(request, "live/tried.html", await desk.run(request, "picture", job))

    @routes.get("/live/{token}/picture.webp")
    async def seen(request: Request, token: str) -> Response:
        picture = desk.pictures.get(token)
        return await drawn(request, picture, "picture", partial(panels.tried_panel, picture=picture, token=token))

    @routes.get("/live/{token}/{slug}.{scale}.webp")
    async def sheet(request: Request, token: str, slug: str, scale: Scale) -> Response:
        picture, record = desk.pictures.get(token), desk.layer(slug)
        job = partial(panels.maps_panel, record=record, picture=picture, token=token, order="number", scale=scale)
        return await drawn(request, picture, panels.sheet_name(record, scale), job)

    @routes.get("/live/{token}/maps.html")
    @routes.get("/live/{token}/maps.json")
    async def maps(request: Request, token: str, layer: str, order: Order = "share", scale: Scale = "map") -> Response:
        picture, record = desk.pictures.get(token), desk.layer(layer)
        job = partial(panels.maps_panel, record=record, picture=picture, token=token, order=order, scale=scale)
        return _answer(request, "live/maps.html", await desk.run(request, "maps", job))

    @routes.get("/live/{token}/{slug}/{channel:int}.html")
    @routes.get("/live/{token}/{slug}/{channel:int}.json")
    async def unit(
        request: Request, token: str, slug: str, channel: int, y: int | None = None, x: int | None = None
    ) -> Response:
        picture, record = desk.pictures.get(token), desk.layer(slug)
        job = asked(record, picture, token, channel, y, x)
        try:
            panel = await desk.run(request, "unit", job)
        except (Refusal, Damaged):
            raise
        except PixelwardError as error:  # a layer that no rule can project, above all
            raise Impossible.of(error) from error
        return _answer(request, "live/unit.html", panel)

    @routes.get("/live/{token}/{slug}/{channel:int}.{kind}.webp")
    async def unit_image(
        request: Request,
        token: str,
        slug: str,
        channel: int,
        kind: Literal["projection", "patch", "map"],
        y: int | None = None,
        x: int | None = None,
    ) -> Response:
        picture, record = desk.pictures.get(token), desk.layer(slug)
        job = asked(record, picture, token, channel, y, x)
        position = () if y is None or x is None else (y, x)
        return await drawn(request, picture, panels.drawn_name(record, channel, position, kind), job)

    def asked(
        record: LayerRecord, picture: Tried, token: str, channel: int, y: int | None, x: int | None
    ) -> Callable[[Studio, Atlas], Any]:
        """The job for a unit at a place that is there."""
        place = None if y is None or x is None else (y, x)
        inside = place is None or all(0 <= at < side for at, side in zip(place, record.map, strict=False))
        if not (0 <= channel < record.channels and inside):
            raise HTTPException(404)
        return partial(panels.unit_panel, record=record, picture=picture, token=token, channel=channel, position=place)

    async def drawn(request: Request, picture: Tried, name: str, job: Callable[[Studio, Atlas], Any]) -> Response:
        """A drawing, made anew where it was too long ago."""
        found = picture.files.get(name)
        if found is None:
            await desk.run(request, f"drawing {name}", job)
            found = picture.files.get(name)
        if found is None:
            raise HTTPException(404)
        return Response(found, media_type="image/webp", headers=PRIVATE)

    return routes


PRIVATE = {"cache-control": "no-store"}  # nothing of a picture stays with a browser either


def live_page(atlas: Atlas) -> LivePage:
    """Where a picture is tried."""
    return LivePage(
        path=links.LIVE,
        network=atlas.network["model"],
        size=atlas.size,
        layers=tuple(gather.layer_entry(atlas, record) for record in atlas.layers),
        samples=samples(atlas),
        bytes=uploads.BYTES,
        pixels=uploads.PIXELS,
    )


def _answer(request: Request, template: str, found: Any, headers: dict[str, str] | None = None) -> Response:
    headers = {**PRIVATE, **(headers or {})}
    if wants_json(request.scope):
        text = json.dumps(asdict(found), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        return Response(text.encode(), headers=headers, media_type="application/json")
    return Response(pages.filled(template, found).encode(), headers=headers, media_type="text/html; charset=utf-8")
