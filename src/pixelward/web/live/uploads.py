"""Pictures that visitors send: read up to a limit, decoded, and kept in memory for a while. Never on a disk."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.requests import ClientDisconnect, Request
from torch import Tensor

from pixelward.data.images import MOST_PIXELS, About, Preprocess, about, decode, fit, resized, to_rgb, to_tensor
from pixelward.errors import PixelwardError
from pixelward.web.kept import Kept
from pixelward.web.refusals import Gone, TooLarge, Unfinished

if TYPE_CHECKING:
    from pixelward.pictures import Picture

BYTES = 20_000_000  # of a file
PIXELS = 50_000_000  # of a picture: those of large cameras, and about as many bytes decoded as one may spare
SECONDS = 10  # without a byte, after which an upload has stalled
RATE = 20_000  # bytes per second at least, beyond those seconds: a phone's picture over a slow line
KEPT = 16  # pictures, the last that were asked for; the network's input is small
FILES = 24  # drawn for each

TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, eq=False)
class Tried:
    """A picture as the network takes it.

    pixels: (C, H, W) float32; shown: (H, W, 3) uint8, the same for people. width, height: of the whole picture,
    upright; 0 where it is not known. notes: what was done to it on the way. files: what was drawn of it, by name.
    values: the maps, (C, h, w) float32, of the layer that was looked at last, by its address.
    """

    name: str
    pixels: Tensor
    shown: Picture
    width: int
    height: int
    notes: tuple[str, ...]
    files: Kept[str, bytes] = field(default_factory=lambda: Kept(FILES))
    values: Kept[str, NDArray[np.float32]] = field(default_factory=lambda: Kept(1))


class Pictures:
    """The pictures that are tried, each under a token that cannot be guessed."""

    def __init__(self, most: int = KEPT) -> None:
        self._kept: Kept[str, Tried] = Kept(most)

    def put(self, picture: Tried) -> str:
        """Keep a picture; its token."""
        token = secrets.token_urlsafe(16)
        self._kept.put(token, picture)
        return token

    def get(self, token: str) -> Tried:
        """The picture of a token. Raises Gone for one that is not kept."""
        found = self._kept.get(token) if TOKEN.fullmatch(token) else None
        if found is None:
            raise Gone(
                given="a picture that is not kept here",
                allowed=f"the {KEPT} pictures that were tried last, since the server was started",
                next_step="choose the picture once more",
            )
        return found


async def read(request: Request) -> bytes:
    """The body of a request. Raises TooLarge as soon as it is known to have more than BYTES, Unfinished where it
    stalls for SECONDS, falls behind RATE or is broken off."""
    try:
        async with asyncio.timeout(SECONDS) as limit:
            return await _read(request, limit)
    except (TimeoutError, ClientDisconnect) as error:
        raise Unfinished(
            given="a picture that did not arrive whole",
            allowed=f"{SECONDS} seconds without a byte, and {RATE:,} bytes per second at least",
            next_step="send it again, or a smaller one",
        ) from error


async def _read(request: Request, limit: asyncio.Timeout) -> bytes:
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > BYTES:
        raise _too_many_bytes(f"a file of {int(told):,} bytes")
    body, now = bytearray(), asyncio.get_running_loop().time
    begun = now()
    async for part in request.stream():
        body += part
        if len(body) > BYTES:
            raise _too_many_bytes(f"a file of more than {BYTES:,} bytes")
        limit.reschedule(SECONDS + min(now(), begun + len(body) / RATE))
    return bytes(body)


def prepared(data: bytes, name: str, preprocess: Preprocess) -> Tried:
    """A picture file as the network takes it, as `pixelward.project` would prepare it.

    Raises TooLarge for more than PIXELS, or MOST_PIXELS after the resize, by its header alone, and PixelwardError for
    what is no whole picture.
    """
    try:
        header = about(data, name)
    except PixelwardError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            raise _too_many_pixels(f"picture {name}, of hundreds of millions of pixels by its header") from error
        raise
    sides = f"picture {name} of {header.width} x {header.height} pixels"
    if header.width * header.height > PIXELS:
        raise _too_many_pixels(sides)
    width, height = resized(header.width, header.height, preprocess)
    if width * height > MOST_PIXELS:
        raise TooLarge(
            given=f"{sides}, which become {width} x {height} before the centre is cut out",
            allowed=f"up to {MOST_PIXELS:,} pixels then",
            next_step="cut a part out of it that is less long, and try that",
        )
    image = decode(data, name)
    pixels = to_tensor(fit(image, preprocess, name), preprocess)
    notes = tuple(text for holds, text in _NOTES if holds(header))
    return Tried(name, pixels, to_rgb(pixels, preprocess), image.width, image.height, notes)


def named(given: str) -> str:
    """What a visitor calls a picture, short and without characters that do something."""
    shown = "".join(each for each in given[:120] if each.isprintable()).strip()
    return shown or "of yours"


_NOTES: tuple[tuple[Callable[[About], bool], str], ...] = (
    (lambda header: header.animated, "It holds several pictures, of which this is the first."),
    (lambda header: header.turned, "It was turned upright, as its EXIF data ask."),
    (lambda header: header.mode == "CMYK", "Its CMYK colours were converted without their profile."),
)


def _too_many_pixels(given: str) -> TooLarge:
    return TooLarge(
        given=given,
        allowed=f"up to {PIXELS:,} pixels",
        next_step="make it smaller first; the network looks at far fewer",
    )


def _too_many_bytes(given: str) -> TooLarge:
    return TooLarge(
        given=given, allowed=f"up to {BYTES:,} bytes", next_step="save the picture smaller, or as JPEG, and try that"
    )
