"""What a question to the network finds: the atlas and its studio as they are when it is asked, and the pictures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from fastapi import HTTPException, Request

from pixelward.atlas import Atlas, LayerRecord
from pixelward.web.live.uploads import Pictures
from pixelward.web.refusals import Crowded, OtherNetwork, Superseded
from pixelward.web.standing import Standing
from pixelward.web.studio import Studio

PAGE = "x-pixelward-page"  # the header in which a page says which of all it is
UPLOADS = 4  # that are read at once
TURN = 3.0  # seconds that one more waits for its turn
READ = ["GET", "HEAD"]  # the methods of what is only read

T = TypeVar("T")


@dataclass(frozen=True)
class Sight:
    """An atlas, its studio, and the pictures prepared for it, which belong together for all of one question."""

    atlas: Atlas
    studio: Studio
    pictures: Pictures

    def layer(self, slug: str) -> LayerRecord:
        """The layer of this name, else what is not found."""
        return layer_of(self.atlas, slug)

    async def run(self, request: Request, kind: str, job: Callable[[Studio, Atlas], T]) -> T:
        """Do a job for the page that asks, whose newest of each kind counts; and none that a visitor left.

        Where no page says which it is, as when one is being opened, all count: people open several at once.
        """
        page = request.headers.get(PAGE, "")[:64]
        work = self.studio.run(f"{page}/{kind}" if page else "", partial(job, self.studio, self.atlas))
        return await _while_there(request, work)


class Desk:
    """Where all questions come in."""

    def __init__(self, now: Callable[[], tuple[Atlas, Studio | None]], standing: Standing | None = None) -> None:
        """now: gives the atlas as it is, and its studio, None where the network is not its own.

        standing: of the atlas, in a comparison with another.
        """
        self.now, self.standing = now, standing
        # By studio: a picture that was prepared as another scan did is none for this one.
        self._pictures: WeakKeyDictionary[Studio, Pictures] = WeakKeyDictionary()
        self._reading = asyncio.Semaphore(UPLOADS)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """While an upload is read. Raises Crowded where as many as may be arrive and none ends within TURN."""
        try:
            async with asyncio.timeout(TURN):
                await self._reading.acquire()
        except TimeoutError as error:
            raise Crowded(
                given=f"one more picture, while {UPLOADS} arrive",
                allowed=f"{UPLOADS} that arrive at once",
                next_step="send it again in a few seconds",
            ) from error
        try:
            yield
        finally:
            self._reading.release()

    def look(self) -> Sight:
        """What there is now. Raises OtherNetwork where the atlas was scanned with another network, and as `now`."""
        return self.sight(*self.now())

    def sight(self, atlas: Atlas, studio: Studio | None) -> Sight:
        """Of what `now` gave. Raises OtherNetwork where the network is not the atlas's own."""
        if studio is None:
            raise OtherNetwork(
                given="an atlas that was scanned with another network since the server was started",
                allowed="the network that the server was started with",
                next_step="start it again, with the network that was scanned now",
            )
        return Sight(atlas, studio, self._pictures.setdefault(studio, Pictures()))


def layer_of(atlas: Atlas, slug: str) -> LayerRecord:
    """The layer of this name, else what is not found."""
    found = next((record for record in atlas.layers if record.slug == slug), None)
    if found is None:
        raise HTTPException(404)
    return found


async def _while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` comes to. It is cancelled where the visitor leaves before."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Superseded(given="a page that was left", allowed="one that waits", next_step="open it again")
    finally:
        working.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
