"""What stands before the server: other names, other origins, addresses that lead out, errors that nobody foresaw."""

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient

from fake_atlas import fake_atlas
from pixelward.atlas import Atlas
from pixelward.errors import PixelwardError
from pixelward.web.guard import HEADERS, host_name
from pixelward.web.serve import app
from tags import Tags

SECRET = "only for the owner of this machine"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    place = tmp_path_factory.mktemp("fake")
    (place / "secret.html").write_text(SECRET)
    made = fake_atlas(place / "atlas")
    (made.path / "secret.html").write_text(SECRET)
    return made


def routes() -> APIRouter:
    """Routes as the live part will have them, for tests only."""
    router = APIRouter()

    @router.post("/test/send")
    def send() -> str:
        return "sent"

    @router.post("/test/number")
    def take(number: int) -> int:
        return number

    @router.get("/test/broken")
    def broken() -> None:
        raise ZeroDivisionError(SECRET)

    @router.get("/test/mistaken")
    def mistaken() -> None:
        raise PixelwardError(given="a picture", allowed="<a better one>", next_step="take another")

    return router


@pytest.fixture(scope="module")
def served(atlas: Atlas) -> TestClient:
    return TestClient(app(atlas.path, allow_hosts=["Pc.Example.org"], routers=[routes()]), base_url="http://127.0.0.1")


async def ask(
    served: TestClient, path: str, headers: list[tuple[bytes, bytes]], method: str = "GET"
) -> tuple[int, bytes]:
    """A request as it is, without a client that tidies it up."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "replace"),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 8000),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await served.app(scope, receive, send)  # type: ignore[arg-type]
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


# Addresses that lead out of the site

CLIMBS = ["../secret.html", "../atlas/secret.html", "secret.html", "atlas.json", "pictures.sqlite", "drawings.json"]
ROOTS = ["", "/", "static/", "layers/", "pictures/", "static/../", "layers/000-conv1-relu/", "layers/../", "./", "//"]


@pytest.mark.parametrize("under", ROOTS)
def test_no_address_leads_out_of_the_site(atlas: Atlas, served: TestClient, under: str):
    outside = [*CLIMBS, "../" * 12 + "etc/passwd", "/etc/passwd", str(atlas.path / "secret.html"), "..", "."]
    spelled = [under + each for each in outside]
    spelled += [each.replace("/", "\\") for each in spelled]
    spelled += [each.replace("../", "..%2f") for each in spelled] + [quote(each, safe="") for each in spelled]
    spelled += [quote(each, safe="") for each in spelled]  # twice
    spelled += [
        each + end for each in spelled[:20] for end in ("\0", "\0.html", "%00", "\n", ".html", "/", " ", "::$DATA")
    ]
    for path in spelled:
        for address in (path, f"/{path}"):
            status, body = asyncio.run(ask(served, address, [(b"host", b"127.0.0.1")]))
            assert status == 404, address
            assert SECRET.encode() not in body
            assert b"root:" not in body


@pytest.mark.parametrize(
    "name", ["conv1:relu", "000-CONV1-RELU", "000-conv1-relu\0", "000-conv1-relu/.", "*", "000-conv1-relu\n"]
)
def test_a_layer_goes_by_the_name_of_its_folder_only(served: TestClient, name: str):
    assert asyncio.run(ask(served, f"/layers/{name}/index.html", [(b"host", b"127.0.0.1")]))[0] == 404


@pytest.mark.parametrize("number", ["-1", "02", "+2", " 2", "2 ", "٢", "2e0", "0x2", "2.0", "1" * 19, "1" * 5000, ""])
def test_numbers_are_spelled_in_one_way(served: TestClient, number: str):
    for address in (f"/layers/000-conv1-relu/{number}.html", f"/layers/000-conv1-relu/{number}.patches.webp"):
        assert asyncio.run(ask(served, address, [(b"host", b"127.0.0.1")]))[0] == 404
    assert asyncio.run(ask(served, f"/pictures/{number}.html", [(b"host", b"127.0.0.1")]))[0] == 404


def test_an_address_is_repeated_as_text_and_not_for_long(served: TestClient):
    answer = served.get(f"/{quote('<script>alert(1)</script>')}")
    assert not Tags(answer.text).of("script")
    assert "<script>alert(1)</script>" in Tags(answer.text).words
    answer = served.get("/" + "%E2%80%AE%00" * 500)
    assert len(answer.text) < 2000
    assert not re.search("[\0\N{RIGHT-TO-LEFT OVERRIDE}]", answer.text)


# Names and origins


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost:9", "LOCALHOST", "localhost.", "[::1]:8000", "pc.example.org:80"]
)
def test_the_machine_itself_and_names_that_are_allowed_are_served(served: TestClient, host: str):
    assert served.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.168.1.5", "[::2]"]
)
def test_other_names_are_refused_with_the_option_that_allows_them(served: TestClient, host: str):
    answer = served.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "To the first page" not in answer.text  # it is refused under this name likewise
    assert f"--allow-host {host.removesuffix(':8000')}" in Tags(answer.text).words
    assert "zfnet64" not in answer.text


@pytest.mark.parametrize("host", ["", "a b", "127.0.0.1:x", "127.0.0.1@evil", "<b>", "127.0.0.1/", "127.0.0.1, evil"])
def test_what_names_no_host_is_refused(served: TestClient, host: str):
    assert asyncio.run(ask(served, "/", [(b"host", host.encode())]))[0] == 400


def test_a_request_names_one_host(served: TestClient):
    assert asyncio.run(ask(served, "/", []))[0] == 400
    assert asyncio.run(ask(served, "/", [(b"host", b"127.0.0.1"), (b"host", b"evil.example")]))[0] == 400


@pytest.mark.parametrize(
    ("address", "host", "status"),
    [
        ("http://127.0.0.1:8000/", "127.0.0.1:8000", 200),
        ("HTTP://127.0.0.1:8000/static/pixelward.css", "127.0.0.1:8000", 200),
        ("https://pc.example.org/static%2Fpixelward.css", "pc.example.org", 200),
        ("http://localhost", "localhost", 200),  # an empty path is the first page
        ("http://127.0.0.1/none", "127.0.0.1", 404),
        ("http://127.0.0.1/../secret.html", "127.0.0.1", 404),
        ("http://127.0.0.1//127.0.0.1/", "127.0.0.1", 404),
        ("ftp://127.0.0.1/", "127.0.0.1", 404),
        # The address's host is the one that counts; the header's does not.
        ("http://evil.example/", "127.0.0.1", 421),
        ("http://127.0.0.1/", "evil.example", 200),
        ("http://127.0.0.1@evil.example/", "127.0.0.1", 400),
        ("http:///", "127.0.0.1", 400),
        ("http://127.0.0.1:x/", "127.0.0.1", 400),
    ],
)
def test_a_whole_address_is_its_path_under_its_own_host(served: TestClient, address: str, host: str, status: int):
    found, body = asyncio.run(ask(served, address, [(b"host", host.encode())]))
    assert found == status
    path = address.partition("://")[2].partition("/")[2]
    if status == 200:
        assert body == served.get(f"/{path}").content
    assert SECRET.encode() not in body


def test_a_whole_address_needs_one_host_header_all_the_same(served: TestClient):
    for headers in ([], [(b"host", b"127.0.0.1")] * 2):
        assert asyncio.run(ask(served, "http://127.0.0.1/", headers))[0] == 400


def test_what_is_sent_to_a_whole_address_has_to_come_from_there(served: TestClient):
    for origin, status in (("http://127.0.0.1:8000", 200), ("http://localhost:9", 403)):
        headers = [(b"host", b"localhost:9"), (b"origin", origin.encode())]
        found = asyncio.run(ask(served, "http://127.0.0.1:8000/test/send", headers, method="POST"))
        assert found[0] == status


def test_a_quoted_address_is_no_whole_one(served: TestClient):
    assert served.get("/http://127.0.0.1/").status_code == 404
    assert asyncio.run(ask(served, "http:%2f%2f127.0.0.1/", [(b"host", b"127.0.0.1")]))[0] == 404


def test_hosts_are_written_as_browsers_do():
    assert [host_name(each) for each in ("PC", "pc.example.org.", "::1", "[0:0::1]", "2001:DB8:0::5")] == [
        "pc",
        "pc.example.org",
        "[::1]",
        "[::1]",
        "[2001:db8::5]",
    ]
    for wrong in ("http://pc", "pc:8000", "pc/x", "", "a b"):
        with pytest.raises(PixelwardError, match="next step: leave scheme, port and path away"):
            host_name(wrong)


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "HTTP://127.0.0.1:8000", "https://127.0.0.1:8000"])
def test_our_own_pages_may_send(served: TestClient, origin: str):
    answer = served.post("/test/send", headers={"host": "127.0.0.1:8000", "origin": origin})
    assert (answer.status_code, answer.json()) == (200, "sent")


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "http://evil.example",
        "http://127.0.0.1",
        "http://127.0.0.1:8001",
        "http://localhost:8000",
        "http://127.0.0.1:8000.evil.example",
        "http://127.0.0.1:8000, http://evil.example",
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "STRANGE"])
def test_others_may_not_send(served: TestClient, origin: str | None, method: str):
    headers = {"host": "127.0.0.1:8000"} | ({} if origin is None else {"origin": origin})
    answer = served.request(method, "/test/send", headers=headers)
    assert answer.status_code == 403
    assert "from a page of this server" in answer.text


def test_reading_with_another_origin_is_not_shared(served: TestClient):
    answer = served.get("/", headers={"origin": "http://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(("mode", "dest"), [("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe"), ("", "")])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_pages_of_other_sites_fetch_nothing(served: TestClient, site: str, mode: str, dest: str, method: str):
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    answer = served.request(method, "/", headers=headers)
    assert answer.status_code == 403
    assert method == "HEAD" or "open the address in a tab of its own" in Tags(answer.text).words


@pytest.mark.parametrize(
    ("site", "mode", "dest"),
    [
        ("cross-site", "navigate", "document"),  # a link
        ("same-site", "navigate", "document"),
        ("none", "navigate", "document"),  # the address bar
        ("same-origin", "no-cors", "image"),
        ("same-origin", "cors", "empty"),
    ],
)
def test_links_of_other_sites_and_our_own_pages_are_answered(served: TestClient, site: str, mode: str, dest: str):
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    assert served.get("/", headers=headers).status_code == 200


# Answers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/static/pixelward.css", 200),
        ("GET", "/none", 404),
        ("POST", "/", 405),
        ("OPTIONS", "/", 405),
        ("GET", "/test/broken", 500),
        ("GET", "/test/mistaken", 400),
        ("POST", "/test/number?number=many", 422),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
    ],
)
def test_every_answer_forbids_what_our_pages_do_not_need(served: TestClient, method: str, path: str, status: int):
    answer = served.request(method, path, headers={"origin": "http://127.0.0.1"})
    assert answer.status_code == status
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert status < 400 or (answer.headers["cache-control"], "next" in answer.text.lower()) == ("no-store", True)


def test_the_policy_allows_nothing_inline_and_no_other_host():
    policy = dict(part.split(" ", 1) for part in HEADERS["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'"}


def test_an_error_nobody_foresaw_is_a_page_and_its_trace_stays_in_the_terminal(
    served: TestClient, caplog: pytest.LogCaptureFixture
):
    answer = served.get("/test/broken")
    assert answer.status_code == 500
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    assert SECRET in caplog.text
    assert served.get("/").status_code == 200


def test_a_mistake_is_told_in_three_parts(served: TestClient):
    answer = served.get("/test/mistaken")
    assert "&lt;a better one&gt;" in answer.text
    assert "take another" in answer.text


def test_no_file_is_needed_that_is_not_served(served: TestClient):
    tags = Tags(served.get("/none").text)
    for link in tags.of("link"):
        assert served.get(link["href"]).status_code == 200
    assert not tags.of("script")
    assert not [name for _, attributes in tags.tags for name in attributes if name == "style" or name.startswith("on")]


def test_the_server_tells_no_folder_of_the_machine(atlas: Atlas, served: TestClient):
    for path in ("/", "/none", "/test/broken"):
        assert str(Path(atlas.path).parent) not in served.get(path).text
