"""The server gives what export writes, byte for byte, keeps up with its atlas, and outlives damage to it."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from hypothesis import given
from hypothesis import strategies as st

from fake_atlas import SPECS, fake_atlas, told
from pixelward.atlas import Atlas, LayerRecord
from pixelward.errors import PixelwardError
from pixelward.folder import KERNEL, SHEETS, boxes_file, details_file, sheet_file, units_file
from pixelward.web import content, links, pages
from pixelward.web.content import Page
from pixelward.web.export import CREDITS, MARKER, export
from pixelward.web.serve import _listen, _own, app, serve
from pixelward.web.site import Item, Site, _Kept
from tags import Tags


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    made = fake_atlas(tmp_path_factory.mktemp("fake") / "atlas")
    (made.path / CREDITS).write_text('["A. Photographer, CC0"]')
    return made


@pytest.fixture
def folder(atlas: Atlas, tmp_path: Path) -> Path:
    """A copy of the atlas to do harm to."""
    return shutil.copytree(atlas.path, tmp_path / "copy")


def client(folder: Path) -> TestClient:
    return TestClient(app(folder), base_url="http://127.0.0.1")


@pytest.fixture(scope="module")
def served(atlas: Atlas) -> TestClient:
    return client(atlas.path)


# The pages


def test_every_file_of_the_export_is_served_with_the_same_bytes(atlas: Atlas, served: TestClient, tmp_path: Path):
    export(atlas, tmp_path / "site")
    files = [file for file in (tmp_path / "site").rglob("*") if file.is_file() and file.name != MARKER]
    different = []
    for file in files:
        address = file.relative_to(tmp_path / "site").as_posix()
        answer = served.get(f"/{address}")
        if (answer.status_code, answer.content) != (200, file.read_bytes()):
            different.append(address)
    assert different == []
    assert {file.suffix for file in files} == {".html", ".json", ".webp", ".css", ".js", ".svg"}


def test_what_the_export_does_not_hold_is_not_served(atlas: Atlas, served: TestClient, tmp_path: Path):
    export(atlas, tmp_path / "site")
    slugs = [record.slug for record in atlas.layers]
    asked = [links.layer(slug) for slug in [*slugs, "009-none"]]
    asked += [links.unit(slug, channel) for slug in slugs for channel in range(8)]
    asked += [links.sheet(slug, channel, kind) for slug in slugs for channel in range(8) for kind in SHEETS]
    asked += [place(id) for id in range(20) for place in (links.picture, links.thumb)]
    asked += [links.sheet(slug, channel, KERNEL) for slug in slugs for channel in range(8)]
    hits = [(slug, channel, hit) for slug in slugs for channel in range(8) for hit in range(1, 12)]
    asked += [links.details(*each, ending) for each in hits for ending in ("webp", "html")]
    asked += [links.details(slugs[0], 2, 10**8), links.details(slugs[0], 10**17, 1)]
    asked += [links.sheet(slugs[0], 2, "boxes"), links.unit(slugs[0], 10**17), links.picture(10**17)]
    for address in [*asked, *(links.twin(address) for address in asked)]:
        assert served.get(f"/{address}").is_success == (tmp_path / "site" / address).is_file(), address


def test_the_root_is_the_first_page(served: TestClient):
    assert served.get("/").content == served.get("/index.html").content


def test_media_types_are_told(atlas: Atlas, served: TestClient):
    slug = atlas.layers[0].slug
    kinds = {
        links.INDEX: "text/html; charset=utf-8",
        links.twin(links.INDEX): "application/json",
        links.sheet(slug, 2, "patches"): "image/webp",
        links.static("pixelward.css"): "text/css; charset=utf-8",
        links.static("pixelward.js"): "text/javascript; charset=utf-8",
        links.static("icon.svg"): "image/svg+xml",
    }
    assert {address: served.get(f"/{address}").headers["content-type"] for address in kinds} == kinds


def test_a_head_is_told_as_much_as_a_get(served: TestClient):
    assert served.head("/").headers == served.get("/").headers


def test_what_a_browser_has_is_not_sent_again(atlas: Atlas, served: TestClient):
    slug = atlas.layers[0].slug
    for address in (links.INDEX, links.sheet(slug, 2, "patches"), links.static("pixelward.css")):
        first = served.get(f"/{address}")
        assert first.headers["cache-control"] == "no-cache"
        tag = first.headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = served.get(f"/{address}", headers={"if-none-match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert served.get(f"/{address}", headers={"if-none-match": '"other"'}).status_code == 200
        several = [("if-none-match", '"other"'), ("if-none-match", tag)]
        assert served.get(f"/{address}", headers=several).status_code == 304


def test_readers_at_the_same_time_get_the_same(atlas: Atlas):
    fresh = client(atlas.path)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: fresh.get(f"/{links.layer(atlas.layers[0].slug)}").content, range(24)))
    assert len(set(found)) == 1


def test_a_page_is_made_once(atlas: Atlas, monkeypatch: pytest.MonkeyPatch):
    made = []
    monkeypatch.setattr(pages, "html", lambda page, **_: made.append(page.path) or "made")
    fresh = client(atlas.path)
    assert [fresh.get("/").text for _ in range(3)] == ["made"] * 3
    assert made == [links.INDEX]


def test_no_more_is_kept_than_there_is_room_for():
    made: list[str] = []

    def get(key: str, size: int) -> None:
        assert len(kept.get(key, lambda: made.append(key) or Item(b"." * size, "", "")).body) == size

    kept = _Kept(10)
    for key, size in [("a", 4), ("b", 4), ("a", 4), ("c", 4), ("a", 4), ("b", 4), ("d", 11), ("d", 11), ("a", 4)]:
        get(key, size)
    assert made == ["a", "b", "c", "b", "d", "d", "a"]


def test_what_fails_once_is_made_anew():
    kept = _Kept(10)
    with pytest.raises(OSError, match="away"):
        kept.get("a", lambda: (_ for _ in ()).throw(OSError("away")))
    assert kept.get("a", lambda: Item(b"a", "", "")).body == b"a"


@given(st.sampled_from(["0-a", "012-conv1-relu"]), st.integers(0, 10**18 - 1), st.sampled_from(SHEETS))
def test_addresses_are_read_as_they_are_spelled(slug: str, number: int, name: str):
    spelled = {
        links.INDEX: links.Place("index"),
        links.layer(slug): links.Place("layer", slug),
        links.unit(slug, number): links.Place("unit", slug, number),
        links.picture(number): links.Place("picture", number=number),
        links.sheet(slug, number, name): links.Place("sheet", slug, number, name),
        links.thumb(number): links.Place("thumb", number=number),
        links.static(f"{name}.css"): links.Place("static", name=f"{name}.css"),
    }
    assert {address: links.place(address) for address in spelled} == spelled
    assert all(links.page_of(links.twin(path)) == path for path in spelled if path.endswith(".html"))
    for other in (
        "",
        "layers",
        f"layers/{slug}",
        f"layers/{slug}/0{number}.html",
        f"/{links.INDEX}",
        "pictures/-1.html",
    ):
        assert links.place(other) is None


# An atlas that changes, vanishes or is damaged


def problem(answer: Response, status: int) -> str:
    """The words of the page of a problem."""
    assert answer.status_code == status, answer.text
    tags = Tags(answer.text)
    assert (tags.unbalanced, tags.open, len(tags.of("h1"))) == ([], [], 1)
    ways = tags.of("a")
    assert not ways or ways[-1]["href"] == "/index.html"
    assert "Next step" in tags.words
    assert "Traceback" not in answer.text
    return re.sub(r"\s+", " ", tags.words)


def test_a_change_of_the_atlas_shows_at_once(folder: Path):
    here = client(folder)
    before = here.get("/")
    (folder / CREDITS).write_text('["B. Other, CC0"]')
    after = here.get("/", headers={"if-none-match": before.headers["etag"]})
    assert after.status_code == 200
    assert "B. Other, CC0" in after.text
    shutil.rmtree(folder)
    fake_atlas(folder, SPECS[:2], seed=5)
    assert "fc6:relu" in after.text
    assert "fc6:relu" not in here.get("/").text


def test_an_atlas_that_is_drawn_later_shows_its_drawings(folder: Path, tmp_path: Path):
    later = {name: (folder / name).rename(tmp_path / name) for name in ("drawings.json", "drawings", "thumbs")}
    here = client(folder)
    address = f"/{links.unit(Atlas.open(folder).layers[0].slug, 2)}"
    assert "projections.webp" not in here.get(address).text
    for name in ("drawings", "thumbs", "drawings.json"):
        later[name].rename(folder / name)
    assert "projections.webp" in here.get(address).text


def test_a_vanished_atlas_is_told_and_one_that_comes_back_is_served(folder: Path):
    here = client(folder)
    folder.rename(folder.with_name("elsewhere"))
    answer = here.get("/")
    words = problem(answer, 503)
    assert "copy, which is not there any more" in words
    assert "put it back" in words
    assert "To the first page" not in answer.text  # which is not there either
    assert str(folder.parent) not in words
    assert here.get("/static/pixelward.css").is_success
    folder.with_name("elsewhere").rename(folder)
    assert here.get("/").is_success


def test_an_atlas_that_is_being_scanned_is_told_as_such(folder: Path):
    here = client(folder)
    (folder / "atlas.json").unlink()
    (folder / "parts").mkdir()
    assert "copy, an atlas that is not finished" in problem(here.get("/"), 503)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 99}', "\x00" * 50])
def test_a_broken_record_is_told(folder: Path, text: str):
    here = client(folder)
    (folder / "atlas.json").write_text(text)
    assert "copy" in problem(here.get("/"), 503)


def test_a_record_whose_fields_are_of_other_types_is_told_on_every_page(folder: Path, tmp_path: Path):
    whole = shutil.copytree(folder, tmp_path / "whole")
    both = TestClient(app(whole, beside=folder), base_url="http://127.0.0.1")
    file, slug = folder / "atlas.json", Atlas.open(folder).layers[0].slug
    here, record = client(folder), json.loads(file.read_text())
    pages_of = [links.INDEX, links.layer(slug), links.unit(slug, 2)]
    assert all(here.get(f"/{address}").is_success for address in pages_of)
    record["layers"][0]["address"] = None
    file.write_text(json.dumps(record))
    for address in pages_of:
        assert "copy, whose atlas.json cannot be read" in problem(here.get(f"/{address}"), 503)
    assert "copy (the atlas beside), whose atlas.json" in problem(both.get("/compare/index.html"), 503)
    assert both.get("/").is_success


def test_units_that_the_arrays_do_not_have_are_told_and_the_rest_is_served(folder: Path):
    file, (layer, other, *_) = folder / "atlas.json", Atlas.open(folder).layers
    record = json.loads(file.read_text())
    record["layers"][0]["channels"] = 100_000
    file.write_text(json.dumps(record))
    here = client(folder)
    for address in (links.layer(layer.slug), links.unit(layer.slug, 2), links.unit(layer.slug, 99_999)):
        assert "copy, whose atlas.json cannot be read" in problem(here.get(f"/{address}"), 503)
    assert here.get(f"/{links.unit(other.slug, 2)}").is_success


@pytest.mark.parametrize("text", ["", "{", '{"version": 1}', "[]", "3"])
def test_a_broken_record_of_drawings_is_told(folder: Path, text: str):
    here = client(folder)
    (folder / "drawings.json").write_text(text)
    assert "copy, whose drawings.json cannot be read" in problem(here.get("/"), 503)


def test_broken_credits_are_told(folder: Path):
    (folder / CREDITS).write_text("{}")
    assert "a JSON list of strings" in problem(client(folder).get("/"), 503)


def halve(file: Path) -> None:
    """Cut a file in place, as a copy over it does that breaks off."""
    os.truncate(file, file.stat().st_size // 2)


@pytest.mark.parametrize("name", ["units", "pictures.sqlite", "boxes", "sheet"])
def test_half_a_file_is_told_and_the_rest_is_served(folder: Path, name: str):
    record = Atlas.open(folder).layers[1]
    files = {
        "units": units_file(record.slug),
        "pictures.sqlite": name,
        "boxes": boxes_file(record.slug),
        "sheet": sheet_file(record.slug, 2, "projections"),
    }
    if name == "boxes":
        (folder / files[name]).write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    else:
        halve(folder / files[name])
        if name == "sheet":
            (folder / files[name]).write_bytes(b"RIFF")
    here = client(folder)
    words = problem(here.get(f"/{links.unit(record.slug, 2)}"), 503)
    assert f"copy, whose {files[name]} cannot be read" in words
    if name in ("boxes", "sheet"):
        assert re.search(r"delete .*copy/drawings\.json, and draw again: pixelward draw .*copy MODEL", words)
    else:
        assert "pixelward info ATLAS --verify" in words
    if name != "pictures.sqlite":
        assert here.get(f"/{links.unit(Atlas.open(folder).layers[0].slug, 2)}").is_success


def test_details_that_cannot_be_read_are_told_in_one_line_and_the_rest_is_shown(folder: Path):
    (record, channel, hit), *_ = told(Atlas.open(folder))
    halve(folder / details_file(record.slug, channel, hit, "json"))
    here = client(folder)
    answer = here.get(f"/{links.unit(record.slug, channel)}")
    assert answer.status_code == 200
    tags = Tags(answer.text)
    assert (tags.unbalanced, tags.open) == ([], [])
    line = f"The details of hit {hit} cannot be read. Draw them again: "
    line += f"pixelward draw ATLAS MODEL --detail {record.address}:{channel} --hit {hit}"
    assert line in re.sub(r"\s+", " ", tags.words)
    plain = here.get(f"/{links.twin(links.unit(record.slug, channel))}").json()
    assert (plain["unreadable"], [each["details"]["hit"] for each in plain["told"]]) == ([hit], [3])
    assert len(plain["unit"]["hits"]) == 9
    assert "draw these details again" in problem(here.get(f"/{links.details(record.slug, channel, hit)}"), 503)


def test_a_file_that_is_cut_while_it_is_in_use_ends_nothing(folder: Path):
    record = Atlas.open(folder).layers[0]
    here = client(folder)
    assert here.get(f"/{links.unit(record.slug, 2)}").is_success
    os.truncate(folder / units_file(record.slug), 0)
    assert here.get(f"/{links.unit(record.slug, 3)}").is_success


def test_pages_are_made_one_after_the_other_and_quick_ones_do_not_wait_for_slow_ones(
    atlas: Atlas, monkeypatch: pytest.MonkeyPatch
):
    here, slug = Site(atlas.path), atlas.layers[0].slug
    at_work: list[int] = []
    slow, done = threading.Event(), threading.Event()

    def unit_page(atlas: Atlas, record: LayerRecord, channel: int, **how: Any) -> Page:
        at_work.append(channel)
        time.sleep(0.02)
        assert at_work == [channel]
        at_work.clear()
        return content.unit_page(atlas, record, channel, **how)

    def layer_page(*given: Any, **how: Any) -> Page:
        slow.set()
        assert done.wait(30)
        return content.layer_page(*given, **how)

    monkeypatch.setattr("pixelward.web.site.unit_page", unit_page)
    monkeypatch.setattr("pixelward.web.site.layer_page", layer_page)
    with ThreadPoolExecutor(8) as pool:
        layer = pool.submit(here.get, links.layer(slug))
        assert slow.wait(30)
        assert all(pool.map(here.get, [links.unit(slug, channel) for channel in range(5)]))
        done.set()
        assert layer.result()


def test_a_drawing_that_cannot_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch):
    here, sheet = client(folder), links.sheet(Atlas.open(folder).layers[0].slug, 2, "patches")
    read_bytes = Path.read_bytes

    def read(self: Path) -> bytes:
        if self.suffix == ".webp":
            raise PermissionError(13, "not allowed")
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", read)
    words = problem(here.get(f"/{sheet}"), 503)
    assert "copy, of which a file cannot be read (not allowed)" in words


def test_a_twin_tells_its_problems_as_json(served: TestClient):
    answer = served.get("/layers/none/index.json")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert set(answer.json()) == {"problem", "given", "allowed", "next_step"}


def test_no_atlas_is_refused_before_anything_is_served(tmp_path: Path):
    with pytest.raises(PixelwardError, match=r"which is no folder - allowed: a finished atlas - next step: "):
        app(tmp_path / "none")


# The command


def test_pages_are_served_without_torch(atlas: Atlas):
    code = (
        "import sys\nfrom fastapi.testclient import TestClient\nfrom pixelward.web.serve import app\n"
        f"here = TestClient(app({str(atlas.path)!r}), base_url='http://localhost')\n"
        "slug = here.app.state.site.atlas.layers[0].slug\n"
        "for address in ('', f'layers/{slug}/index.html', f'layers/{slug}/2.json', f'layers/{slug}/2.patches.webp'):\n"
        "    assert here.get('/' + address).status_code == 200, address\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def running(*words: object) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The command as a process; its address."""
    code = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nfrom pixelward.cli import app\napp()"
    )
    command = [sys.executable, "-c", code, "serve", *map(str, words), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.communicate()


def test_the_command_prints_its_address_and_serves_until_it_is_interrupted(atlas: Atlas):
    with running(atlas.path) as (address, process):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        with urllib.request.urlopen(address) as answer:
            assert b"zfnet64" in answer.read()
        connection = http.client.HTTPConnection(urlsplit(address).netloc)
        connection.request("GET", address)  # all of it in the first line, as to a proxy
        assert b"zfnet64" in connection.getresponse().read()
        connection.close()
        process.send_signal(signal.SIGINT)
        rest, told = process.communicate(timeout=30)
    assert (process.returncode, rest, told) == (130, "", "interrupted\n")


def test_listening_for_other_machines_is_said_in_one_line(atlas: Atlas):
    with running(atlas.path, "--host", "0.0.0.0") as (address, process):
        assert address.startswith("http://127.0.0.1:")
        process.kill()
        _, told = process.communicate()
    assert told == (
        "listening on 0.0.0.0: all who can reach this machine can look at the atlas; "
        "name what they call it with --allow-host\n"
    )


def test_addresses_that_only_this_machine_reaches_are_told_from_others():
    addresses = ("127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "192.168.1.5")
    assert [_own(address) for address in addresses] == [True] * 3 + [False] * 3


def test_a_port_that_is_taken_is_refused(atlas: Atlas):
    with running(atlas.path) as (address, _):
        port = int(address.rstrip("/").rsplit(":", 1)[1])
        with pytest.raises(PixelwardError, match=r"port \d+, where no server can listen .* next step: .*--port 0"):
            serve(atlas.path, port=port, say=print, note=print)


def test_answers_leave_at_once():
    with _listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP  # else asyncio holds small ones back for 40 ms


def test_a_host_that_is_not_this_machine_is_refused(atlas: Atlas):
    with pytest.raises(PixelwardError, match=r"given: 192\.0\.2\.1, port 0, where no server can listen"):
        serve(atlas.path, host="192.0.2.1", port=0, say=print, note=print)


def test_the_twin_of_a_page_is_what_the_page_is_made_of(atlas: Atlas, served: TestClient):
    assert json.loads(served.get("/index.json").text)["credits"] == ["A. Photographer, CC0"]
