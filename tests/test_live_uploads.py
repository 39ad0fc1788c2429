"""Pictures of one's own, sent to the server: what is taken, what is refused, and what is kept of them."""

import asyncio
import io
import struct
import zlib
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image, ImageSequence
from starlette.requests import Request

from live_served import (  # noqa: F401
    HOME,
    JSON,
    OURS,
    PIECE,
    ask,
    atlas_once,
    encoded,
    photo,
    prepared,
    refusal,
    send,
    served_once,
    token_of,
    tried,
)
from pixelward.atlas import Atlas
from pixelward.web import links
from pixelward.web.live import uploads
from pixelward.web.refusals import TooLarge
from tags import Tags


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header says so many pixels, and which holds next to none."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_an_animation_is_its_first_frame_and_that_is_said(served: TestClient):
    frames = [photo(seed=seed).quantize() for seed in (1, 2)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    panel = tried(served, data)
    assert any("first" in note for note in panel["notes"])
    first = next(ImageSequence.Iterator(Image.open(io.BytesIO(data)))).convert("RGB")
    assert torch.equal(prepared(data), prepared(encoded(first)))


def test_exif_turns_the_picture_and_that_is_said(served: TestClient):
    exif = Image.Exif()
    exif[0x0112] = 6
    panel = tried(served, encoded(photo(60, 40), "JPEG", exif=exif))
    assert (panel["width"], panel["height"]) == (40, 60)
    assert any("turned upright" in note for note in panel["notes"])


def test_cmyk_is_converted_and_that_is_said(served: TestClient):
    panel = tried(served, encoded(photo().convert("CMYK"), "JPEG"))
    assert any("CMYK" in note for note in panel["notes"])


def test_a_plain_picture_has_nothing_said(served: TestClient):
    assert tried(served)["notes"] == []


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 400, "not a picture of a known format"),
        (b"<html>hello</html>", 400, "not a picture of a known format"),
        (encoded(photo())[:-200], 400, "cannot be read"),
        (encoded(photo(), "JPEG")[:300], 400, "cannot be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 400, "not a picture of a known format"),
        (bomb(50_000, 50_000), 413, "allowed: up to 50,000,000 pixels"),
        (bomb(9_000, 9_000), 413, "9000 x 9000 pixels"),
        (bomb(60_000, 1), 413, "60000 x 1 pixels, which become 1920000 x 32 before the centre is cut out"),
        (bomb(2, 120_000), 413, "cut a part out of it"),
    ],
    ids=[
        *("empty", "html", "half a png", "half a jpeg", "postscript"),
        *("bomb", "too many pixels", "too long", "too high"),
    ],
)
def test_bad_uploads_are_told_and_the_server_lives_on(
    served: TestClient, data: bytes, status: int, words: str, monkeypatch: pytest.MonkeyPatch
):
    if status == 413:
        monkeypatch.setattr(uploads, "decode", lambda *_: pytest.fail("was decoded"))
    told = refusal(send(served, data, "<b>.png"), status)
    assert words.removeprefix("allowed: ") in told
    page = send(served, data, "<b>.png", OURS)
    assert page.status_code == status
    assert "<b>" not in Tags(page.text).words.replace("<b>.png", "")
    assert len(Tags(page.text).of("h1")) == 1
    piece = send(served, data, "<b>.png", {**OURS, "hx-request": "true"})
    assert piece.text.startswith('<div class="refused" role="alert">')
    monkeypatch.undo()
    assert tried(served)


def test_too_many_bytes_are_refused_by_what_the_header_says(served: TestClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "BYTES", 1000)
    assert "up to 1,000 bytes" in refusal(send(served, b"\0" * 1001), 413)


def test_reading_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "BYTES", 1000)
    asked = []

    async def receive() -> dict[str, Any]:
        asked.append(1)
        return {"type": "http.request", "body": b"\0" * 300, "more_body": True}

    with pytest.raises(TooLarge, match="more than 1,000 bytes"):
        asyncio.run(uploads.read(Request({"type": "http", "headers": []}, receive)))
    assert len(asked) == 4


def test_nothing_is_written_to_a_disk(served: TestClient, atlas: Atlas, monkeypatch: pytest.MonkeyPatch):
    import builtins
    import os
    import tempfile

    real, written = builtins.open, []

    def watched(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if set(mode) & set("wax+"):
            written.append(file)
        return real(file, mode, *rest, **more)

    monkeypatch.setattr(builtins, "open", watched)
    monkeypatch.setattr(io, "open", watched)
    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda *_, **__: written.append("temporary"))
    monkeypatch.setattr(os, "mkdir", lambda *_, **__: written.append("folder"))
    big = encoded(photo(1500, 1200))
    assert len(big) > 5_000_000
    token = token_of(tried(served, big))
    ask(served, links.tried_unit(token, atlas.layers[0].slug, 0))
    assert written == []


def test_answers_are_kept_by_no_browser(served: TestClient, atlas: Atlas):
    panel = tried(served)
    unit = links.tried_unit(token_of(panel), atlas.layers[0].slug, 0)
    for address in (panel["path"], panel["image"], unit, links.maps(token_of(panel), atlas.layers[0].slug)):
        answer = served.get(f"/{address}", headers=PIECE)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


def test_only_the_last_pictures_are_kept(served: TestClient, atlas: Atlas):
    first = tried(served)
    for _ in range(uploads.KEPT):
        tried(served)
    for address in (first["path"], links.maps(token_of(first), atlas.layers[0].slug), "live/nobody/picture.html"):
        answer = served.get(f"/{address}", headers={"accept": "application/json"})
        assert "choose the picture once more" in refusal(answer, 410)
    assert served.get(f"/{first['image']}").status_code == 410


def test_drawings_that_were_dropped_are_made_anew(served: TestClient, atlas: Atlas):
    token, slug = token_of(tried(served)), atlas.layers[0].slug
    unit = ask(served, links.tried_unit(token, slug, 1))
    before = served.get(f"/{unit['projection']}").content
    for y in range(uploads.FILES):
        ask(served, links.tried_unit(token, slug, 0, (y % 16, y // 16)))
    assert served.get(f"/{unit['projection']}").content == before
    assert served.get(f"/{links.tried_image(token, 'picture')}").status_code == 200


@pytest.mark.parametrize(
    "origin", [{}, {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": f"{HOME}:81"}]
)
def test_pictures_are_taken_from_our_own_pages_only(served: TestClient, origin: dict[str, str]):
    for address in (links.try_upload(), links.try_picture(0)):
        answer = served.post(f"/{address}", content=encoded(photo()), headers={"accept": "application/json", **origin})
        assert "from a page of this server" in refusal(answer, 403)


def test_another_host_is_refused(served: TestClient):
    answer = send(served, encoded(photo()), headers={**JSON, "host": "evil.example"})
    assert answer.status_code == 421
