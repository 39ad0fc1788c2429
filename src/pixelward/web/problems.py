"""What a server answers when it cannot give what it was asked for: a page, or its JSON, that says what to do next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from pixelward.errors import PixelwardError
from pixelward.web import pages
from pixelward.web.accept import prefers_json

TITLES = {
    400: "This cannot be understood",
    403: "Not from another site",
    404: "There is nothing here",
    405: "This can only be read",
    409: "Overtaken by a newer question",
    410: "This picture is no longer kept",
    413: "This is too large",
    421: "Not under this name",
    422: "This cannot be understood",
    500: "Something broke",
    503: "The atlas cannot be read now",
}
SHOWN = 200  # characters of an address that are repeated


def problem(
    scope: Scope,
    status: int,
    told: PixelwardError,
    headers: Mapping[str, str] | None = None,
    title: str = "",
    *,
    alone: bool = False,
) -> Response:
    """The answer to the request of `scope`: JSON where it asks for that, else a page or a piece of one.

    alone: whether every other page is refused likewise.
    """
    if status == 409 and wants_piece(scope):
        return Response(status_code=204, headers={"cache-control": "no-store"})  # nothing to show, and no error
    title = title or TITLES.get(status) or HTTPStatus(status).phrase
    headers = {"cache-control": "no-store", **(headers or {})}
    if wants_json(scope):
        plain = {"problem": title, "given": told.given, "allowed": told.allowed, "next_step": told.next_step}
        text = json.dumps(plain, indent=1) + "\n"
        return Response(text.encode(), status, headers, "application/json")
    text = pages.problem(title, told, piece=wants_piece(scope), alone=alone)
    return Response(text.encode(), status, headers, "text/html; charset=utf-8")


def wants_json(scope: Scope) -> bool:
    """Whether a request is a program's: its address ends in .json, or JSON is what it prefers."""
    return scope["path"].endswith(".json") or prefers_json(",".join(Headers(scope=scope).getlist("accept")))


def wants_piece(scope: Scope) -> bool:
    """Whether a request is a script's of our own pages, for a piece to put into one."""
    return Headers(scope=scope).get("hx-request") == "true"


def address_of(scope: Scope) -> str:
    """The address that was asked for, short and without characters that do something."""
    path = scope["path"]
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in path[:SHOWN])
    return shown + ("..." if len(path) > SHOWN else "")
