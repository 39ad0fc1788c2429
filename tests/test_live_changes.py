"""What the live part answers when the atlas below it changes or breaks, and when a visitor does not behave."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect, Request

import pixelward as pw
from live_atlas import PREPROCESS, live_atlas, network
from live_served import HOME, JSON, token_of
from pixelward.atlas import Atlas
from pixelward.examine import draw_details
from pixelward.folder import details_file
from pixelward.web import links
from pixelward.web.live import desk, uploads
from pixelward.web.refusals import Crowded, Unfinished
from pixelward.web.serve import app
from tags import Tags


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    return live_atlas(tmp_path)


@pytest.fixture
def served(atlas: Atlas) -> Iterator[TestClient]:
    with TestClient(app(atlas.path, model=network()), base_url=HOME, raise_server_exceptions=False) as client:
        yield client


def scan_again(atlas: Atlas, **changed: Any) -> None:
    """The same weights and pictures into the same folder."""
    net = network()
    net.preprocess = changed.pop("preprocess", PREPROCESS)
    layers = changed.pop("layers", [record.address for record in atlas.layers])
    shutil.rmtree(atlas.path)
    pw.draw(pw.scan(net, atlas.path.parent / "pictures", atlas.path, layers=layers, k=4, model="tiny", note=print), net)


@pytest.mark.parametrize(
    "changed", [{"preprocess": {**PREPROCESS, "mean": [0.1] * 3}}, {"layers": ["conv2"]}], ids=["preparation", "layers"]
)
def test_after_a_new_scan_the_live_part_is_that_of_a_server_started_anew(
    atlas: Atlas, served: TestClient, changed: Any
):
    before = served.post("/live/pictures/0", headers=JSON).json()["path"].split("/")[1]
    scan_again(atlas, **changed)
    slug = pw.open(atlas.path).layers[0].slug
    for address in (links.tried(before), links.maps(before, slug), links.tried_unit(before, slug, 0)):
        answer = served.get(f"/{address}", headers=JSON)  # of a picture that was prepared for the other scan
        assert (answer.status_code, answer.json()["next_step"]) == (410, "choose the picture once more")
    assert "live.html" in served.get("/").text
    with TestClient(app(atlas.path, model=network()), base_url=HOME) as anew:
        assert answers(served, slug) == answers(anew, slug)


def answers(client: TestClient, slug: str) -> list[str]:
    """What is answered to a picture of the atlas, without the token that it got."""
    sent = client.post("/live/pictures/0", headers=JSON)
    assert sent.status_code == 200, sent.text
    token = sent.json()["path"].split("/")[1]
    unit, maps = links.tried_unit(token, slug, 0), links.maps(token, slug)
    found = [
        sent,
        *(client.get(f"/{address}", headers=JSON) for address in (links.LIVE, links.tried(token), maps, unit)),
    ]
    found += [
        client.get(f"/{links.details(slug, 0, 1, 'json')}"),
        client.get(f"/{links.tried_image(token, 'picture')}"),
    ]
    assert {answer.status_code for answer in found[:-2]} == {200}
    return [answer.content.replace(token.encode(), b"TOKEN").decode("latin-1") for answer in found]


@pytest.mark.parametrize("how", [{"rules": "guided"}, {"unpool": "place"}], ids=["rules", "unpooling"])
def test_a_tried_picture_is_projected_by_the_rules_that_its_atlas_is_drawn_by_now(
    atlas: Atlas, served: TestClient, how: dict[str, str]
):
    def projections(client: TestClient, token: str) -> list[bytes]:
        slug = atlas.layer("conv2").slug
        addresses = [links.tried_unit_image(token, slug, channel, (3, 4), "projection") for channel in range(6)]
        return [client.get(f"/{address}").content for address in addresses]

    token = token_of(served.post("/live/pictures/0", headers=JSON).json())
    before = projections(served, token)
    (atlas.path / "drawings.json").unlink()
    pw.draw(atlas.path, network(), **how)
    after = projections(served, token)
    with TestClient(app(atlas.path, model=network()), base_url=HOME) as anew:
        assert after == projections(anew, token_of(anew.post("/live/pictures/0", headers=JSON).json()))
    assert after != before


def test_details_that_are_damaged_are_told_as_all_damage_is(atlas: Atlas, served: TestClient):
    record = atlas.layer("conv2")
    channel = next(number for number in range(record.channels) if atlas["conv2"][number].hits)
    draw_details(atlas, network(), [f"conv2:{channel}"])
    for ending in ("webp", "json"):
        file = atlas.path / details_file(record.slug, channel, 1, ending)
        whole = file.read_bytes()
        file.write_bytes(whole[:20]) if ending == "json" else file.unlink()
        for asked in ("html", "json", "webp"):
            answer = served.get(f"/{links.details(record.slug, channel, 1, asked)}")
            assert answer.status_code == 503, asked
            assert f"pixelward draw atlas MODEL --detail conv2:{channel} --hit 1" in answer.text
        file.write_bytes(whole)
    assert served.get(f"/{links.details(record.slug, channel, 1, 'html')}").status_code == 200


@pytest.mark.parametrize("address", ["live/pictures/{}", "layers/000-conv1-relu/0.details-{}.json", "live/x/y/{}.html"])
def test_numbers_of_thousands_of_digits_are_no_address(served: TestClient, address: str):
    method = "POST" if address.startswith("live/pictures") else "GET"
    answer = served.request(method, f"/{address.format('1' * 5000)}", headers=JSON)
    assert (answer.status_code, answer.json()["problem"]) == (404, "There is nothing here")


def request(*messages: Any) -> Request:
    """A request whose body comes in these messages, and then no more."""
    left = list(messages)

    async def receive() -> Any:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return Request({"type": "http", "method": "POST", "headers": [], "path": "/"}, receive)


def test_an_upload_that_stalls_or_breaks_off_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "SECONDS", 0.01)
    part = {"type": "http.request", "body": b"12", "more_body": True}
    with pytest.raises(Unfinished, match=r"allowed: 0\.01 seconds"):
        asyncio.run(uploads.read(request(part)))
    with pytest.raises(Unfinished) as broken:
        asyncio.run(uploads.read(request(part, {"type": "http.disconnect"})))
    assert isinstance(broken.value.__cause__, ClientDisconnect)
    assert asyncio.run(uploads.read(request(part, {"type": "http.request", "body": b"3"}))) == b"123"


@pytest.mark.parametrize("flows", [True, False])
def test_an_upload_that_flows_goes_on_and_one_that_trickles_ends(monkeypatch: pytest.MonkeyPatch, flows: bool):
    monkeypatch.setattr(uploads, "SECONDS", 1)
    parts = iter([True] * 29 + [False])  # for longer than that, with no such pause

    async def receive() -> Any:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": bytes(10_000 if flows else 1), "more_body": next(parts)}

    sent = Request({"type": "http", "method": "POST", "headers": [], "path": "/"}, receive)
    if flows:
        assert len(asyncio.run(uploads.read(sent))) == 300_000
    else:
        with pytest.raises(Unfinished):
            asyncio.run(uploads.read(sent))


def test_one_upload_too_many_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(desk, "TURN", 0.01)

    async def visit() -> None:
        here = desk.Desk(lambda: pytest.fail("no look"))
        async with AsyncExitStack() as stalled:
            for _ in range(desk.UPLOADS):
                await stalled.enter_async_context(here.reading())
            with pytest.raises(Crowded, match="next step: send it again in a few seconds"):
                async with here.reading():
                    pass
        async with here.reading():  # their places are free again
            pass

    asyncio.run(visit())


def test_an_atlas_that_nobody_named_has_pages_with_a_name(tmp_path: Path, atlas: Atlas):
    net = network()
    plain = pw.scan(net, atlas.path.parent / "pictures", tmp_path / "plain", layers=["conv2"], note=print)
    assert plain.network["model"] == "Sequential"
    with TestClient(app(plain.path), base_url=HOME) as client:
        tags = Tags(client.get("/").text)
        assert "Sequential" in tags.words


def test_units_of_a_layer_can_be_gone_through(atlas: Atlas):
    units = list(atlas["conv2"])
    assert [unit.channel for unit in units] == list(range(atlas.layer("conv2").channels))
