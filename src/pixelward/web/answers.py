"""How an item is answered: whole, or, where the browser's own copy is still right, in one line that says so."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from pixelward.web.site import Item


def answer(request: Request, item: Item) -> Response:
    """The item, or 304 where the request names its tag."""
    tag = f'"{item.tag}"'
    # Ask again each time, which costs next to nothing: the same address may be another atlas tomorrow.
    headers = {"etag": tag, "cache-control": "no-cache"}
    named = ",".join(request.headers.getlist("if-none-match"))
    known = [each.strip().removeprefix("W/") for each in named.split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(item.body, headers=headers, media_type=item.media)
