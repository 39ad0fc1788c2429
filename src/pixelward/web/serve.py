"""The server: the pages of an export, made when they are asked for. Loads torch only where a network is given."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import uvicorn
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from pixelward.atlas import Atlas
from pixelward.errors import PixelwardError
from pixelward.folder import Damaged
from pixelward.web import links
from pixelward.web.answers import answer
from pixelward.web.guard import LOOPBACK, Guard, host_name
from pixelward.web.problems import address_of, problem
from pixelward.web.refusals import Refusal, Unreadable, Vanished
from pixelward.web.site import Site
from pixelward.words import listed

if TYPE_CHECKING:
    from torch import nn

    from pixelward.web.studio import Studio

HOST, PORT = "127.0.0.1", 8000

Say = Callable[[str], None]


def app(
    atlas: str | Path,
    *,
    beside: str | Path | None = None,
    allow_hosts: Sequence[str] = (),
    routers: Sequence[APIRouter] = (),
    model: nn.Module | None = None,
) -> FastAPI:
    """The application that serves an atlas; `.state.site` is its `Site`, `.state.studio` its `Studio` or None.

    beside: an atlas to compare it with. allow_hosts: names and addresses that browsers may call it by, next to those of
    the own machine. routers: routes next to the pages, tried first. model: the network that was scanned, in evaluation
    mode, for the pages that need it. Raises PixelwardError for a folder without a finished atlas, or another network's.
    """
    studio = None if model is None else _studio(atlas, model)
    site = Site(atlas, beside, studio)
    # Without the pages that FastAPI makes by itself: they load scripts from another host.
    served = FastAPI(
        title="Pixelward", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, lifespan=_life
    )
    served.state.site = site
    served.state.studio = studio
    served.add_middleware(Guard, hosts=[*LOOPBACK, *map(host_name, allow_hosts)])
    served.add_exception_handler(HTTPException, _refused)
    served.add_exception_handler(RequestValidationError, _misunderstood)
    served.add_exception_handler(PixelwardError, _mistaken)
    for router in [*routers, *([] if studio is None else [_live(site)])]:
        served.include_router(router)
    served.add_api_route("/{address:path}", _answer, methods=["GET", "HEAD"])
    return served


def serve(
    atlas: str | Path,
    *,
    beside: str | Path | None = None,
    host: str = HOST,
    port: int = PORT,
    allow_hosts: Sequence[str] = (),
    model: nn.Module | None = None,
    say: Say,
    note: Say,
) -> None:
    """Serve an atlas until the program is interrupted.

    host: the address to listen on; port: 0 takes any free one. beside, model: see `app`. say: called with the address
    once it can be opened; note: with what is worth knowing. Raises PixelwardError for an atlas, a network or an address
    that cannot be used.
    """
    own = [] if _any(host) else [host]
    application = app(atlas, beside=beside, allow_hosts=[*own, *allow_hosts], model=model)
    listening = _listen(host, port)
    site: Site = application.state.site
    for each in filter(None, (site, site.beside)):
        if each.atlas.drawings is None:
            draw = f"pixelward draw {quote(str(each.folder))} MODEL"
            note(f"{each.folder} is without pictures so far; make them with: {draw}")
    if not _own(listening.getsockname()[0]):
        names = "" if allow_hosts or own else "; name what they call it with --allow-host"
        note(f"listening on {host}: all who can reach this machine can look at the atlas{names}")
    shown = "127.0.0.1" if _any(host) else host_name(host)
    say(f"http://{shown}:{listening.getsockname()[1]}/")
    config = uvicorn.Config(
        application,
        http="h11",  # hands whole addresses on, which the guard reads
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _studio(atlas: str | Path, model: nn.Module) -> Studio:
    from pixelward.web.studio import Studio

    return Studio(Atlas.open(atlas), model)


def _live(site: Site) -> APIRouter:
    from pixelward.web.live import at_length, routes
    from pixelward.web.live.desk import Desk

    def now() -> tuple[Atlas, Studio | None]:
        try:
            return site.live
        except (PixelwardError, OSError) as error:
            raise _unreadable(site, error) from error

    desk = Desk(now, site.standing)
    every = routes.router(desk)
    every.include_router(at_length.router(desk))
    return every


@asynccontextmanager
async def _life(served: FastAPI) -> AsyncIterator[None]:
    yield
    if served.state.studio is not None:
        served.state.studio.close()


def _answer(request: Request) -> Response:
    """A page or a file, or that the browser's own copy is still right."""
    site: Site = request.app.state.site
    address = request.scope["path"].removeprefix("/") or links.INDEX
    try:
        item = site.get(address)
    except (PixelwardError, OSError) as error:
        raise _unreadable(site, error) from error
    if item is None:
        raise HTTPException(404)
    return answer(request, item)


def _refused(request: Request, error: Exception) -> Response:
    """For what the router and the routes refuse."""
    status = error.status_code if isinstance(error, HTTPException) else 400
    headers = dict(getattr(error, "headers", None) or {})
    if status == 404:
        told = PixelwardError(
            given=address_of(request.scope),
            allowed="an address that a page of this atlas leads to",
            next_step="begin at the first page; after a new scan, layers and pictures may have other addresses",
        )
    else:
        told = PixelwardError(
            given=f"{request.method} {address_of(request.scope)}",
            allowed=headers.get("Allow", "what the pages of this server send"),
            next_step="begin at the first page",
        )
    unread = status == 405 and "GET" not in headers.get("Allow", "GET")
    return problem(request.scope, status, told, headers, "This cannot be read" if unread else "")


def _misunderstood(request: Request, error: Exception) -> Response:
    """For a query that is not what a route takes; an address that is not is none, as without a network."""
    wrong = error.errors() if isinstance(error, RequestValidationError) else []
    if any(each["loc"][0] == "path" for each in wrong):
        return _refused(request, HTTPException(404))
    names = [str(each["loc"][-1]) for each in wrong]
    expected = [str(each.get("ctx", {}).get("expected", "")) or str(each["msg"]) for each in wrong]
    told = PixelwardError(
        given=f"{request.method} {address_of(request.scope)}, with no proper {listed(names)}",
        allowed="; ".join(f"{name}: {each.lower()}" for name, each in zip(names, expected, strict=True)),
        next_step="begin at the first page, or write the address as that page does",
    )
    return problem(request.scope, 422, told)


def _mistaken(request: Request, error: Exception) -> Response:
    """For what a route was given and cannot use."""
    if not isinstance(error, PixelwardError):
        raise error
    if isinstance(error, Damaged):
        error = Unreadable.of(error)
    told = _discreet(request.app.state.site, error)
    if isinstance(error, Refusal):
        return problem(request.scope, error.status, told, error.headers, error.title, alone=error.everywhere)
    return problem(request.scope, 400, told)


def _unreadable(site: Site, error: PixelwardError | OSError) -> Unreadable:
    """For an atlas that vanished, is not finished or is damaged."""
    both = [each for each in (site, site.beside) if each is not None]
    told = error.given if isinstance(error, PixelwardError) else str(error.filename or "")
    gone = next((each for each in both if str(each.folder) in told and not each.folder.is_dir()), None)
    if gone is not None:
        return (Vanished if gone is site else Unreadable)(
            given=f"{gone.folder}, which is not there any more",
            allowed="the atlas where it was when the server was started",
            next_step="put it back, then load this page again",
        )
    if isinstance(error, PixelwardError):
        return Unreadable.of(error)
    named = Path(str(error.filename or ""))
    whose = next((each for each in both if named.is_relative_to(each.folder)), site)
    return Unreadable(
        given=f"{whose.folder}, of which a file cannot be read ({error.strerror or 'damaged'})",
        allowed="an atlas as it was written",
        next_step="see what is damaged with `pixelward info ATLAS --verify`, then load this page again",
    )


def _discreet(site: Site, error: PixelwardError) -> PixelwardError:
    """The same words, with the names of the atlases' folders instead of where these lie."""
    names = {str(site.folder): site.folder.name or "."}
    if site.beside is not None:  # two epochs often lie in folders of one name
        names[str(site.beside.folder)] = f"{site.beside.folder.name or '.'} (the atlas beside)"

    def short(text: str) -> str:
        for where in sorted(names, key=len, reverse=True):  # one may lie in the other
            text = text.replace(where, names[where])
        return text

    given, allowed, step = map(short, (error.given, error.allowed, error.next_step))
    return PixelwardError(given=given, allowed=allowed, next_step=step)


def _any(host: str) -> bool:
    """Whether a host stands for all addresses of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""


def _own(address: str) -> bool:
    """Whether only this machine can reach an address that it listens at."""
    return ipaddress.ip_address(address).is_loopback


def _listen(host: str, port: int) -> socket.socket:
    try:
        # With the protocol named: asyncio sends small answers at once only where it sees that a socket is TCP.
        kinds = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = kinds[0]
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # elsewhere this would let two programs listen
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(2048)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise PixelwardError(
            given=f"{host}, port {port}, where no server can listen ({error.strerror})",
            allowed="an address of this machine and a port that is free",
            next_step="choose with --host and --port; --port 0 takes any free one",
        ) from error
    return listening
