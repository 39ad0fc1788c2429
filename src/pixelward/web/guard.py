"""What stands before every request and answer of the server.

A page from elsewhere, open in the same browser, must not read an atlas (its name can be made to mean this machine, so
the Host header is checked), nor send anything (so what changes something has to come from our own pages), nor keep the
network busy (so from other sites people can only come, by a link). Answers forbid whatever our pages do not need.
An error that nobody foresaw becomes a page; its trace goes to the terminal.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pixelward.errors import PixelwardError
from pixelward.web.problems import address_of, problem

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
READING = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    # Not `no-referrer`: with that, browsers say `Origin: null` in our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
LONGEST = 2000  # characters of an address; those of pages have some hundred at most
PERMISSIONS = "permissions-policy"
NONE = "camera=(), microphone=(), geolocation=(), display-capture=()"  # for all pages that ask for no other
CAMERA = NONE.replace("camera=()", "camera=(self)")

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"https?://(?P<host>[^/?#]*)(?P<path>/.*)?", re.IGNORECASE | re.DOTALL)
_log = logging.getLogger("uvicorn.error")


def host_name(given: str) -> str:
    """A host as browsers name it in their Host header, without a port. Raises PixelwardError if that is no name."""
    name = given.lower().rstrip(".")
    with suppress(ValueError):  # an IPv6 address has many spellings, of which browsers send the shortest
        name = ipaddress.ip_address(name.strip("[]")).compressed
    if ":" in name and not name.startswith("["):
        name = f"[{name}]"
    match = _HOST.fullmatch(name)
    if match is None or match["name"] != name:
        raise PixelwardError(
            given=f"host {given!r}",
            allowed="a name or an address, as pc.example.org or 192.168.1.5",
            next_step="leave scheme, port and path away",
        )
    return name


class Guard:
    """Middleware: Host, Origin, headers of safety, errors as pages. hosts: as `host_name` gives them."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = _by_path(scope)
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault(PERMISSIONS, NONE)
            await send(message)

        refused = self._refused(scope)
        if refused is not None:
            status, told = refused
            await problem(scope, status, told, alone=status == 421)(scope, receive, guarded)
            return
        try:
            await self._app(scope, receive, guarded)
        except Exception:
            _log.exception("%s %s failed", scope["method"], address_of(scope))
            if started:
                raise
            await problem(scope, 500, _broken(scope))(scope, receive, guarded)

    def _refused(self, scope: Scope) -> tuple[int, PixelwardError] | None:
        """The status and the words for a request that may not go on, None for one that may."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        match = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if match is None:
            return 400, PixelwardError(
                given="a request without one Host header that names a host",
                allowed="one host, as 127.0.0.1:8000",
                next_step="open the address that pixelward serve printed",
            )
        name = match["name"].rstrip(".")
        if name not in self._hosts:
            return 421, PixelwardError(
                given=f"host {name}",
                allowed="the names that this server was told",
                next_step="open the address that pixelward serve printed, or, if this name is yours, "
                f"start it with --allow-host {name}",
            )
        if len(scope["path"]) > LONGEST:
            return 404, PixelwardError(
                given=f"an address of {len(scope['path'])} characters",
                allowed=f"up to {LONGEST}",
                next_step="begin at the first page",
            )
        if scope["method"] not in READING and not _same_origin(headers, hosts[0]):
            return 403, PixelwardError(
                given=f"{scope['method']} with origin {headers.get('origin', 'unknown')}",
                allowed=f"{scope['method']} from a page of this server",
                next_step="open the page here and send it from there",
            )
        if _fetched_elsewhere(headers):
            return 403, PixelwardError(
                given=f"{address_of(scope)}, as a part of another site's page",
                allowed="pages of this server, and links that lead to it",
                next_step="open the address in a tab of its own",
            )
        return None


def _by_path(scope: Scope) -> Scope:
    """A request for a whole address, as proxies get it, as one for the path in it. The host there stands for the
    Host header's (RFC 9112, 3.2.2)."""
    match = _ABSOLUTE.fullmatch(scope.get("raw_path") or b"")
    if match is None:
        return scope
    raw = match["path"] or b"/"
    headers = [(name, match["host"] if name == b"host" else value) for name, value in scope["headers"]]
    return {**scope, "path": unquote_to_bytes(raw).decode("utf-8", "replace"), "raw_path": raw, "headers": headers}


def _fetched_elsewhere(headers: Headers) -> bool:
    """Whether another site's page fetches this, unlike a person who follows a link. Only browsers say so."""
    if not {"cross-site", "same-site"} & set(headers.getlist("sec-fetch-site")):  # same-site: of another port or name
        return False
    return (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) != ("navigate", "document")


def _same_origin(headers: Headers, host: str) -> bool:
    """Whether the one Origin header is this very server; https where something before it speaks that."""
    origins = [origin.lower() for origin in headers.getlist("origin")]
    return len(origins) == 1 and origins[0] in (f"http://{host.lower()}", f"https://{host.lower()}")


def _broken(scope: Scope) -> PixelwardError:
    return PixelwardError(
        given=f"{address_of(scope)}, at which the server failed",
        allowed="what an atlas of this version of Pixelward holds",
        next_step="see the trace where pixelward serve runs, and check the atlas with `pixelward info ATLAS --verify`",
    )
