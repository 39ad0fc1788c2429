"""Pictures of one's own, tried in the server: what is taken and what is refused, and that answers are the network's."""

import asyncio
import io
import json
import shutil
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from httpx import Response
from PIL import Image, ImageSequence
from starlette.requests import Request
from torch import nn

import pixelward as pw
from live_atlas import LAYERS, PREPROCESS, SIZE, live_atlas, network
from pixelward.atlas import Atlas
from pixelward.core.layers import Layer, observe
from pixelward.data.images import Preprocess, prepare
from pixelward.errors import PixelwardError
from pixelward.pictures import GREY, crop, fit, signal_to_picture, view_box
from pixelward.projection import Projection
from pixelward.web import links
from pixelward.web.live import maps, panels, uploads
from pixelward.web.refusals import TooLarge
from pixelward.web.serve import app
from tags import Tags

HOME = "http://127.0.0.1"
OURS = {"origin": HOME}
JSON = {**OURS, "accept": "application/json"}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return live_atlas(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def served(atlas: Atlas) -> Iterator[TestClient]:
    with TestClient(app(atlas.path, model=network()), base_url=HOME) as client:
        yield client


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def photo(width: int = 50, height: int = 40, seed: int = 1) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """A PNG whose header says side x side pixels, and which holds next to none."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def send(client: TestClient, data: bytes, name: str = "mine.png", headers: dict[str, str] = JSON) -> Response:
    return client.post(f"/{links.try_upload()}", params={"name": name}, content=data, headers=headers)


def tried(client: TestClient, data: bytes | None = None) -> dict[str, Any]:
    answer = send(client, data or encoded(photo()))
    assert answer.status_code == 200, answer.text
    return answer.json()


def token_of(panel: dict[str, Any]) -> str:
    return panel["path"].split("/")[1]


def slug_of(atlas: Atlas, address: str) -> str:
    return atlas.layer(address).slug


def ask(client: TestClient, address: str) -> Any:
    answer = client.get(f"/{address}", headers={"accept": "application/json"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(answer: Response, status: int) -> str:
    """What a refusal says, all of it; the server must live on."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert set(told) == {"problem", "given", "allowed", "next_step"}
    return " - ".join(told.values())


# What the network says of a picture


def prepared(data: bytes) -> torch.Tensor:
    return prepare(data, Preprocess.from_dict(PREPROCESS), "mine")


def values_of(data: bytes, address: str) -> np.ndarray:
    """A layer's values, by calling the modules."""
    net = network()
    x = net.relu(net.conv1(prepared(data)[None]))
    x = x if address == "conv1:relu" else net.conv2(net.pool(x))
    return (net.fc(net.flat(x)) if address == "fc" else x)[0].detach().numpy()


def test_classes_are_the_softmax_of_the_output(served: TestClient):
    data = encoded(photo(seed=5))
    panel = tried(served, data)
    expected = torch.tensor(values_of(data, "fc")).softmax(0)
    assert panel["classes"] == 3
    assert [guess["index"] for guess in panel["guesses"]] == expected.argsort(descending=True).tolist()
    np.testing.assert_allclose([g["share"] for g in panel["guesses"]], expected.sort(descending=True)[0], rtol=1e-5)
    assert {guess["name"] for guess in panel["guesses"]} == {None}


class Ends(nn.Module):
    """The same network with another end."""

    def __init__(self, end: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.end, self.preprocess = network(), end, PREPROCESS

    def forward(self, x: torch.Tensor) -> Any:
        return self.end(self.inner(x))


@pytest.mark.parametrize("end", [lambda y: y[:, :, None, None], lambda y: (y, y), lambda y: y[:, :1]])
def test_classes_are_left_out_where_the_output_is_none_of_them(end: Callable[..., Any], tmp_path: Path):
    net = Ends(end).eval()
    (tmp_path / "one").mkdir()
    photo().save(tmp_path / "one" / "a.png")
    atlas = pw.scan(net, tmp_path / "one", tmp_path / "atlas", layers=["inner.conv1:relu"], note=print)
    panel = tried(TestClient(app(atlas.path, model=net), base_url=HOME))
    assert (panel["classes"], panel["guesses"]) == (0, None)


def test_probabilities_are_not_made_into_others_and_names_are_told(tmp_path: Path):
    net = Ends(lambda y: y.softmax(1)).eval()
    net.classes = ("cat", "dog", "<b>")
    (tmp_path / "one").mkdir()
    photo().save(tmp_path / "one" / "a.png")
    atlas = pw.scan(net, tmp_path / "one", tmp_path / "atlas", layers=["inner.conv1:relu"], note=print)
    client, data = TestClient(app(atlas.path, model=net), base_url=HOME), encoded(photo(seed=5))
    panel = tried(client, data)
    expected = torch.tensor(values_of(data, "fc")).softmax(0)
    assert [g["name"] for g in panel["guesses"]] == [net.classes[n] for n in expected.argsort(descending=True)]
    np.testing.assert_allclose([g["share"] for g in panel["guesses"]], expected.sort(descending=True)[0], rtol=1e-5)
    assert "&lt;b&gt;" in send(client, data, headers=OURS).text


def test_the_picture_is_shown_as_the_network_takes_it(served: TestClient):
    data = encoded(photo(70, 40))
    panel = tried(served, data)
    assert (panel["width"], panel["height"], panel["size"]) == (70, 40, [SIZE, SIZE])
    shown = Image.open(io.BytesIO(served.get(f"/{panel['image']}").content))
    values = np.asarray(shown.convert("RGB")).transpose(2, 0, 1) / 255
    np.testing.assert_allclose((values - 0.5) / 0.25, prepared(data).numpy(), atol=1e-5)


@pytest.mark.parametrize("address", LAYERS)
def test_feature_maps_are_the_networks_values(served: TestClient, atlas: Atlas, address: str):
    data = encoded(photo(seed=3))
    token = token_of(tried(served, data))
    expected = values_of(data, address)
    flat = expected.reshape(len(expected), -1)
    panel = ask(served, f"{links.maps(token, slug_of(atlas, address))}&order=number")
    np.testing.assert_allclose([each["value"] for each in panel["maps"]], flat.max(1), rtol=1e-5, atol=1e-6)
    for each in panel["maps"]:
        assert expected[(each["channel"], *each["position"])] == flat[each["channel"]].max()
    for channel in range(len(expected)):
        unit = ask(served, links.tried_unit(token, slug_of(atlas, address), channel))
        np.testing.assert_allclose(np.ravel(unit["map"]), flat[channel], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", ["map", "layer"])
@pytest.mark.parametrize("address", LAYERS)
def test_maps_on_the_sheet_are_the_values_in_grey(served: TestClient, atlas: Atlas, address: str, scale: str):
    data = encoded(photo(seed=3))
    token = token_of(tried(served, data))
    panel = ask(served, f"{links.maps(token, slug_of(atlas, address))}&scale={scale}")
    sheet = np.asarray(Image.open(io.BytesIO(served.get(f"/{panel['sheet']}").content)).convert("L")).astype(int)
    values = values_of(data, address).reshape(-1, *panel["cell"])
    assert panel["signed"] == (values.min() < 0)
    assert panel["scale"] == ("layer" if address == "fc" else scale)
    for channel, one in enumerate(values):
        row, column = divmod(channel, panel["columns"])
        top, left = row * (panel["cell"][0] + 1), column * (panel["cell"][1] + 1)
        shown = sheet[top : top + one.shape[0], left : left + one.shape[1]]
        most = np.abs(one if panel["scale"] == "map" else values).max()
        expected = GREY + 127 * one / most if panel["signed"] else 255 * one / most
        assert np.abs(shown - expected).max() <= 1


def test_a_map_of_zeros_is_black_and_large_ones_are_reduced():
    assert maps.grey(np.zeros((2, 3, 3), np.float32), "map").max() == 0
    assert maps.cell_of(224, 112) == (112, 56)
    ones = np.ones((5, 224, 112), np.float32)
    assert Image.open(io.BytesIO(maps.sheet(ones, "layer"))).size == (4 * 57, 2 * 113)


@pytest.mark.parametrize("order", ["share", "value", "number"])
def test_maps_are_sorted_as_asked(served: TestClient, atlas: Atlas, order: str):
    token = token_of(tried(served))
    record = atlas.layer("conv1:relu")
    found = ask(served, f"{links.maps(token, record.slug)}&order={order}")["maps"]
    most = atlas.stats(record).maximum
    keys = {"number": lambda each: each["channel"], "value": lambda each: -each["value"]}
    keys["share"] = lambda each: -each["value"] / float(most[each["channel"]])
    assert found == sorted(found, key=keys[order])
    for each in found:
        assert each["share"] == pytest.approx(each["value"] / float(most[each["channel"]]))


@pytest.mark.parametrize(
    ("address", "place"), [(LAYERS[0], None), (LAYERS[0], (3, 9)), (LAYERS[1], (7, 0)), ("fc", None)]
)
def test_a_projection_is_the_one_that_project_gives(
    served: TestClient, atlas: Atlas, address: str, place: tuple[int, int] | None
):
    data = encoded(photo(seed=8))
    token, slug = token_of(tried(served, data)), slug_of(atlas, address)
    expected = pw.project(network(), prepared(data), layer=address, channel=1, position=place)
    panel = ask(served, links.tried_unit(token, slug, 1, place or ()))
    assert panel["value"] == expected.value
    assert tuple(panel["position"]) == expected.position
    assert (panel["field"], panel["reach"]) == (list(expected.field), list(expected.reach))
    assert panel["best"] == (place is None)
    shown = Image.open(io.BytesIO(served.get(f"/{panel['projection']}").content)).convert("RGB")
    assert np.array_equal(np.asarray(shown), drawn(expected))


def drawn(expected: Projection) -> np.ndarray:
    """A projection as the atlas's tiles show one."""
    picture = signal_to_picture(expected.signal.numpy(), "RGB", expected.shown).picture
    return np.asarray(fit(crop(picture, view_box(expected.shown, SIZE, SIZE)), 224))


def test_a_unit_stands_beside_its_hits_in_the_atlas(served: TestClient, atlas: Atlas):
    token, record = token_of(tried(served)), atlas.layer("conv1:relu")
    panel = ask(served, links.tried_unit(token, record.slug, 2))
    hits = atlas["conv1:relu"][2].hits
    assert [hit["value"] for hit in panel["unit"]["hits"]] == [hit.value for hit in hits]
    assert panel["rank"] == sum(hit.value > panel["value"] for hit in hits)
    text = served.get(f"/{links.tried_unit(token, record.slug, 2)}").text
    assert f'href="{links.unit(record.slug, 2)}"' in text
    assert f'src="{links.sheet(record.slug, 2, "projections")}"' in text
    assert "A sharp picture is no proof" in text


@pytest.mark.parametrize("id", [0, 3])
def test_a_picture_of_the_atlas_has_the_values_of_the_scan(served: TestClient, atlas: Atlas, id: int):
    panel = served.post(f"/{links.try_picture(id)}", headers=JSON).json()
    assert panel["name"] == f"{id} <b>.png"
    found = 0
    for number, channel, rank in atlas.hits_of_picture(id):
        record = atlas.layers[number]
        unit = ask(served, links.tried_unit(token_of(panel), record.slug, channel))
        assert unit["value"] == pytest.approx(float(atlas.units(record).value[channel, rank]), rel=1e-5, abs=1e-6)
        found += 1
    assert found


def test_a_picture_whose_file_is_gone_is_tried_by_its_small_copy(atlas: Atlas, tmp_path: Path):
    home = shutil.copytree(atlas.path.parent, tmp_path / "moved")
    record = json.loads((home / "atlas" / "atlas.json").read_text())
    record["sources"][0]["path"] = str(tmp_path / "nowhere")
    (home / "atlas" / "atlas.json").write_text(json.dumps(record))
    panel = (
        TestClient(app(home / "atlas", model=network()), base_url=HOME).post("/live/pictures/0", headers=JSON).json()
    )
    assert "small copy" in " ".join(panel["notes"])


# What is taken, and what is refused


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
        (bomb(50_000), 413, "allowed: up to 50,000,000 pixels"),
        (bomb(9_000), 413, "9000 x 9000 pixels"),
    ],
    ids=["empty", "html", "half a png", "half a jpeg", "postscript", "bomb", "too many pixels"],
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
        answer = served.get(f"/{address}")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


def test_only_the_last_pictures_are_kept(served: TestClient, atlas: Atlas):
    first = tried(served)
    for _ in range(uploads.KEPT):
        tried(served)
    for address in (first["path"], links.maps(token_of(first), atlas.layers[0].slug), "live/nobody/picture.html"):
        answer = served.get(f"/{address}", headers={"accept": "application/json"})
        assert "choose the picture once more" in refusal(answer, 410)
    assert served.get(f"/{first['image']}").status_code == 410


def test_a_layers_maps_are_computed_once_for_all_that_is_looked_at_in_them(
    served: TestClient, atlas: Atlas, monkeypatch: pytest.MonkeyPatch
):
    passes: list[str] = []

    def counted(net: nn.Module, batch: torch.Tensor, layers: list[Layer], see: Callable[..., None]) -> None:
        passes.extend(layer.address for layer in layers)
        observe(net, batch, layers, see)

    monkeypatch.setattr(panels, "observe", counted)
    token, (one, other) = token_of(tried(served)), LAYERS[:2]
    for address in (one, other, one):
        slug = slug_of(atlas, address)
        ask(served, links.maps(token, slug))
        for channel in (0, 1):
            ask(served, links.tried_unit(token, slug, channel))
    assert passes == [one, other, one]


def test_drawings_that_were_dropped_are_made_anew(served: TestClient, atlas: Atlas):
    token, slug = token_of(tried(served)), atlas.layers[0].slug
    unit = ask(served, links.tried_unit(token, slug, 1))
    before = served.get(f"/{unit['projection']}").content
    for y in range(uploads.FILES):
        ask(served, links.tried_unit(token, slug, 0, (y % 16, y // 16)))
    assert served.get(f"/{unit['projection']}").content == before
    assert served.get(f"/{links.tried_image(token, 'picture')}").status_code == 200


def test_addresses_that_name_nothing_are_not_found(served: TestClient, atlas: Atlas):
    panel = tried(served)
    token, slug = token_of(panel), atlas.layers[0].slug
    for address in (
        links.maps(token, "none"),
        links.maps(token, "../../etc"),
        links.tried_unit(token, "none", 0),
        links.tried_unit(token, slug, 4),
        links.tried_unit(token, slug, 0, (16, 0)),
        links.tried_unit(token, slug, 0, (0, -1)),
        f"live/{token}/{slug}/../../../atlas.json",
        f"live/{token}/%2e%2e/atlas.json",
        "live/pictures/0",
    ):
        assert served.get(f"/{address}").status_code in (404, 405), address
    for address in ("live/pictures/99", "live/pictures/-1", f"live/pictures/{10**30}", "live/pictures/..%2f0"):
        assert served.post(f"/{address}", headers=JSON).status_code in (404, 405), address
    for query in ("order=beauty", "scale=7", ""):
        assert served.get(f"/{links.maps(token)}?{query}").status_code == 422


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


def test_the_camera_is_for_the_live_page_alone(served: TestClient):
    assert "camera=(self)" in served.get("/live.html").headers["permissions-policy"]
    for address in ("/", "/static/live.js", "/none"):
        assert "camera=()" in served.get(address).headers["permissions-policy"]
    assert served.get("/live.html").headers["content-security-policy"].startswith("default-src 'none'")


# One network for all


class Slow(nn.Module):
    """A network that can be held in the middle of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.preprocess = network(), PREPROCESS
        self.held, self.started, self.let_go = False, threading.Event(), threading.Event()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.held:
            self.started.set()
            assert self.let_go.wait(30)
        return self.inner(x)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[Slow, TestClient, Atlas]]:
    net = Slow().eval()
    (tmp_path / "one").mkdir()
    photo().save(tmp_path / "one" / "a.png")
    atlas = pw.scan(net, tmp_path / "one", tmp_path / "atlas", layers=["inner.conv1:relu"], note=print)
    with TestClient(app(atlas.path, model=net), base_url=HOME) as client:
        client.get("/")  # the check is done
        yield net, client, atlas
        net.let_go.set()


def test_a_newer_click_of_the_same_page_wins(slow: tuple[Slow, TestClient, Atlas]):
    net, client, atlas = slow
    token, slug = token_of(tried(client)), atlas.layers[0].slug
    ask(client, links.maps(token, slug))

    def click(channel: int, page: str) -> Response:
        headers = {"accept": "application/json", "x-pixelward-page": page}
        return client.get(f"/{links.tried_unit(token, slug, channel)}", headers=headers)

    net.held = True
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(click, 0, "a")
        assert net.started.wait(30)
        newer = pool.submit(click, 1, "a")
        assert "newer" in refusal(first.result(30), 409)  # while the network is still at it
        other = pool.submit(click, 2, "b")
        net.let_go.set()
        assert [future.result(30).json()["unit"]["channel"] for future in (newer, other)] == [1, 2]


def test_too_many_at_once_are_told_to_come_again(slow: tuple[Slow, TestClient, Atlas]):
    net, client, atlas = slow
    token, slug = token_of(tried(client)), atlas.layers[0].slug
    ask(client, links.maps(token, slug))
    net.held = True
    asked = f"/{links.tried_unit(token, slug, 0)}"
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(client.get, asked)
        assert net.started.wait(30)
        rest = [pool.submit(client.get, asked, headers={"accept": "application/json"}) for _ in range(9)]
        refused = next(each for each in _done(rest))
        net.let_go.set()
        assert first.result(30).status_code == 200
        assert sorted(future.result(30).status_code for future in rest) == [200] * 8 + [503]
    answer = refused.result(30)
    assert answer.headers["retry-after"] == "3"
    assert "try again in a few seconds" in refusal(answer, 503)


def _done(futures: list[Any]) -> Iterator[Any]:
    from concurrent.futures import as_completed

    return as_completed(futures, timeout=30)


# The pages around it, and the command


def test_pages_lead_to_the_live_page_where_there_is_a_network(served: TestClient, atlas: Atlas):
    slug = atlas.layers[0].slug
    for address, to in (
        (links.INDEX, "live.html"),
        (links.layer(slug), f"../../live.html?layer={slug}"),
        (links.unit(slug, 2), f"../../live.html?layer={slug}&amp;unit=2"),
        (links.picture(0), "../live.html"),
    ):
        assert f'<a class="try" href="{to}">' in served.get(f"/{address}").text


def test_without_a_network_there_is_no_live_part(atlas: Atlas):
    client = TestClient(app(atlas.path), base_url=HOME)
    for address in (links.LIVE, links.twin(links.LIVE), links.static("live.js"), links.static("htmx.min.js")):
        assert client.get(f"/{address}").status_code == 404
    assert send(client, encoded(photo())).status_code == 405
    for address in (links.INDEX, links.unit(atlas.layers[0].slug, 0)):
        assert "live" not in client.get(f"/{address}").text


def test_the_network_page_says_how_operations_are_crossed(served: TestClient, atlas: Atlas):
    found = served.get("/index.json").json()["operations"]
    report = pw.check(network(), size=(SIZE, SIZE))
    assert [(each["operation"], each["count"]) for each in found] == [(op.title, op.count) for op in report.operations]
    assert "How the signal crosses each operation" in served.get("/").text


def test_the_live_page_has_a_twin_and_is_well_formed(served: TestClient, atlas: Atlas):
    page = served.get("/live.json").json()
    assert [layer["address"] for layer in page["layers"]] == list(LAYERS)
    assert [sample["picture"] for sample in page["samples"]] == list(atlas.hit_pictures())
    tags = Tags(served.get("/live.html").text)
    assert (tags.unbalanced, tags.open, len(tags.of("h1"))) == ([], [], 1)
    assert "&lt;b&gt;.png" in served.get("/live.html").text


def test_pieces_are_well_formed(served: TestClient, atlas: Atlas):
    panel = tried(served)
    addresses = [panel["path"]]
    for record in atlas.layers:
        addresses += [links.maps(token_of(panel), record.slug), links.tried_unit(token_of(panel), record.slug, 0)]
    for address in addresses:
        tags = Tags(served.get(f"/{address}").text)
        assert (tags.unbalanced, tags.open) == ([], []), address


def test_another_network_is_refused_at_the_start(atlas: Atlas):
    with pytest.raises(PixelwardError, match=r"a network that is not the one of .*atlas \(tiny\)"):
        app(atlas.path, model=network(seed=5))


def test_an_atlas_that_becomes_another_networks_is_told(atlas: Atlas, tmp_path: Path):
    home = shutil.copytree(atlas.path, tmp_path / "atlas")
    client = TestClient(app(home, model=network()), base_url=HOME)
    panel = tried(client)
    record = json.loads((home / "atlas.json").read_text())
    record["network"]["sha256"] = "00" * 32
    (home / "atlas.json").write_text(json.dumps(record))
    assert "start it again" in refusal(send(client, encoded(photo())), 503)
    answer = client.get(f"/{links.maps(token_of(panel), atlas.layers[0].slug)}", headers={"accept": "application/json"})
    assert "start it again" in refusal(answer, 503)
    assert "live" not in client.get("/").text
    shutil.rmtree(home)
    assert "atlas, which is no folder" in refusal(send(client, encoded(photo())), 503)


def test_a_layer_that_cannot_be_projected_is_told_as_such(tmp_path: Path):
    class Obstacle(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.exp(x)

    net = nn.Sequential(nn.Conv2d(3, 4, 3), Obstacle(), nn.Conv2d(4, 2, 3)).eval()
    net.preprocess = PREPROCESS
    (tmp_path / "one").mkdir()
    photo().save(tmp_path / "one" / "a.png")
    atlas = pw.scan(net, tmp_path / "one", tmp_path / "atlas", layers=["0", "2"], note=print)
    client = TestClient(app(atlas.path, model=net), base_url=HOME)
    if [record.address for record in atlas.layers] != ["0", "2"]:
        pytest.skip("a scan leaves it out")
    token = token_of(tried(client))
    answer = client.get(f"/{links.tried_unit(token, atlas.layers[1].slug, 0)}", headers={"accept": "application/json"})
    assert "exp" in refusal(answer, 422)


def test_the_command_refuses_another_network_in_one_line(atlas: Atlas):
    command = [sys.executable, "-c", "from pixelward.cli import app; app()", "serve", str(atlas.path), "zfnet64"]
    done = subprocess.run([*command, "--port", "0"], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "a network that is not the one of" in done.stderr


def test_from_a_hit_told_at_length_its_unit_is_tried():
    assert links.live_from(links.details("001-conv2", 4, 2, "html")) == links.live("001-conv2", 4)
    assert links.live_from(links.unit("001-conv2", 4)) == links.live("001-conv2", 4)


def test_one_hit_is_spoken_of_as_one(atlas: Atlas, tmp_path: Path):
    net = network()
    one = pw.scan(net, atlas.path.parent / "pictures", tmp_path / "one", layers=["conv1:relu"], k=1, note=print)
    with TestClient(app(one.path, model=net), base_url=HOME) as client:
        token = tried(client, encoded(Image.new("RGB", (SIZE, SIZE), "gray")))["path"].split("/")[1]
        units = [f"/{links.tried_unit(token, one.layers[0].slug, channel)}" for channel in range(4)]
        ranks = [client.get(each, headers=JSON).json()["rank"] for each in units]
        texts = [client.get(each).text for each in units]
    assert 1 in ranks
    assert ["below its best hit." in text for text in texts] == [rank == 1 for rank in ranks]
    assert all("1 best hits" not in text for text in texts)
