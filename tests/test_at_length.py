"""Hits told at length on demand: the same as drawn ahead, for every hit, with clear answers where that cannot be."""

import gc
import json
import os
import re
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import pixelward as pw
from live_atlas import live_atlas, network, pictures
from live_served import HOME, atlas_once, served_once  # noqa: F401
from pixelward.atlas import Atlas
from pixelward.details import read_details
from pixelward.examine import draw_details, picture_of
from pixelward.folder import details_file
from pixelward.web import links
from pixelward.web.live import at_length
from pixelward.web.serve import app
from tags import Tags


def hits(atlas: Atlas, address: str) -> list[tuple[str, int, int]]:
    record = atlas.layer(address)
    return [
        (record.slug, channel, hit)
        for channel in range(record.channels)
        for hit in range(1, len(atlas[address][channel].hits) + 1)
    ]


def test_what_is_made_on_demand_is_what_is_drawn_ahead(atlas: Atlas, served: TestClient, tmp_path: Path):
    ahead = live_atlas(tmp_path)
    for address in ("conv1:relu", "conv2", "fc"):
        slug, channel, hit = hits(atlas, address)[-1]
        answer = served.get(f"/{links.details(slug, channel, hit, 'json')}")
        draw_details(ahead, network(), [f"{address}:{channel}"], hits=[hit])
        details = read_details(ahead, ahead.layer(address), channel, hit)
        assert details is not None
        assert answer.json()["told"]["details"] == json.loads(json.dumps(asdict(details)))
        pictures = served.get(f"/{links.details(slug, channel, hit)}")
        assert pictures.content == (ahead.path / details_file(slug, channel, hit, "webp")).read_bytes()
        assert pictures.headers["content-type"] == "image/webp"
        html = served.get(f"/{links.details(slug, channel, hit, 'html')}").text
        with TestClient(app(ahead.path, model=network()), base_url=HOME) as drawn:
            assert drawn.get(f"/{links.details(slug, channel, hit, 'html')}").text == html


def test_every_hit_of_a_unit_leads_to_its_page_and_back(atlas: Atlas, served: TestClient):
    slug, channel, last = hits(atlas, "conv2")[-1]
    unit = Tags(served.get(f"/{links.unit(slug, channel)}").text)
    ways = [link["href"] for link in unit.of("a") if ".details-" in link["href"]]
    assert ways == [f"{channel}.details-{hit}.html" for hit in range(1, last + 1)]
    for hit in range(1, last + 1):
        tags = Tags(served.get(f"/{links.details(slug, channel, hit, 'html')}").text)
        assert tags.unbalanced == tags.open == []
        leads = {link["aria-keyshortcuts"]: link["href"] for link in tags.of("a") if "aria-keyshortcuts" in link}
        expected = {"ArrowUp": f"{channel}.html#h{hit}"}
        expected |= {"ArrowLeft": f"{channel}.details-{hit - 1}.html"} if hit > 1 else {}
        expected |= {"ArrowRight": f"{channel}.details-{hit + 1}.html"} if hit < last else {}
        assert leads == expected
        assert " <b>.png" in tags.words


def test_readers_at_the_same_time_make_it_once(atlas: Atlas, monkeypatch: pytest.MonkeyPatch):
    made: list[Any] = []
    examine = at_length.examine
    monkeypatch.setattr(at_length, "examine", lambda *given, **how: made.append(given[3:]) or examine(*given, **how))
    slug, channel, hit = hits(atlas, "conv1:relu")[0]
    with TestClient(app(atlas.path, model=network()), base_url=HOME) as client, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: client.get(f"/{links.details(slug, channel, hit)}").content, range(4)))
    assert len(set(found)) == len(made) == 1


def test_what_no_unit_has_is_not_there(atlas: Atlas, served: TestClient):
    slug, channel, _ = hits(atlas, "conv2")[-1]
    there = links.details(slug, channel, 1, "html")
    asked = [links.details(slug, channel, hit, "html") for hit in (0, 99, 10**8, 10**30)]
    asked += [links.details(slug, number, 1, "html") for number in (6, 10**17, 10**30)]
    asked += [links.details("009-none", 0, 1, ending) for ending in ("html", "json", "webp")]
    asked += [there.replace(f"/{channel}.", f"/0{channel}."), there.replace("-1.html", "-01.html")]
    asked += [there.replace("html", "png"), f"{there}/..%2f..%2fatlas.json"]
    for address in asked:
        assert served.get(f"/{address}").status_code == 404, address
    without = TestClient(app(atlas.path), base_url=HOME)
    assert without.get(f"/{there}").status_code == 404
    assert ".details-" not in without.get(f"/{links.unit(slug, channel)}").text


def test_pictures_that_are_gone_or_changed_get_a_clear_answer(tmp_path: Path):
    atlas = live_atlas(tmp_path)
    slug, channel, hit = hits(atlas, "conv2")[0]
    kept = tmp_path / "pictures"
    aside = kept.rename(tmp_path / "elsewhere")
    address = links.details(slug, channel, hit, "html")
    with TestClient(app(atlas.path, model=network()), base_url=HOME) as client:
        answer = client.get(f"/{address}")
        assert answer.status_code == 410
        words = Tags(answer.text).words
        assert "The picture is not there any more" in words
        assert f"--pictures WHERE: pixelward draw atlas MODEL --detail conv2:{channel} --hit {hit}" in words
        assert str(tmp_path) not in words
        aside.rename(kept)
        assert client.get(f"/{address}").status_code == 200


def test_a_single_picture_that_comes_back_is_found_again(tmp_path: Path):
    atlas = live_atlas(tmp_path)
    slug, channel, hit = hits(atlas, "conv2")[0]
    row = picture_of(atlas, atlas.layer("conv2"), channel, hit)
    file, aside = tmp_path / "pictures" / row.name, tmp_path / "aside"
    address = links.details(slug, channel, hit, "html")
    with TestClient(app(atlas.path, model=network()), base_url=HOME) as client:
        file.rename(aside)
        for _ in range(2):
            assert client.get(f"/{address}").status_code == 410
        aside.rename(file)
        assert client.get(f"/{address}").status_code == 200


def test_layers_that_are_not_drawn_have_none(tmp_path: Path):
    net = network()
    atlas = pw.scan(net, pictures(tmp_path / "pictures"), tmp_path / "atlas", layers=["conv1:relu", "conv2"], k=2)
    pw.draw(atlas, net, layers=["conv1:relu"])
    with TestClient(app(atlas.path, model=net), base_url=HOME) as client:
        for address, status in (("conv1:relu", 200), ("conv2", 404)):
            slug, channel, hit = hits(atlas, address)[0]
            assert client.get(f"/{links.details(slug, channel, hit, 'html')}").status_code == status


def test_what_was_drawn_ahead_is_read_where_the_network_is_another_one_now(tmp_path: Path):
    atlas = live_atlas(tmp_path)
    with TestClient(app(atlas.path, model=network()), base_url=HOME) as client:
        assert client.get("/").is_success
        shutil.rmtree(atlas.path)
        other = network(seed=9)
        anew = pw.scan(other, tmp_path / "pictures", atlas.path, layers=["conv2"], k=4, note=print)
        pw.draw(anew, other)
        slug, channel, hit = hits(anew, "conv2")[0]
        draw_details(anew, other, [f"conv2:{channel}"], hits=[hit])
        without = TestClient(app(anew.path), base_url=HOME)
        pictures = client.get(f"/{links.details(slug, channel, hit)}")
        assert pictures.status_code == 200
        assert pictures.content == without.get(f"/{links.details(slug, channel, hit)}").content
        assert client.get(f"/{links.unit(slug, channel)}").text == without.get(f"/{links.unit(slug, channel)}").text
        page = client.get(f"/{links.details(slug, channel, hit, 'html')}")
        assert page.status_code == 200
        assert "live.html" not in page.text
        twin = client.get(f"/{links.details(slug, channel, hit, 'json')}").json()
        assert twin["told"]["details"]["network"] == anew.network["sha256"] != atlas.network["sha256"]
        refused = client.get(f"/{links.details(slug, channel, hit + 1)}")  # which the network would have to make
        assert (refused.status_code, "The atlas is of another scan now" in refused.text) == (503, True)


@pytest.mark.parametrize("ending", ["html", "json", "webp"])
@pytest.mark.parametrize("ahead", [True, False])
def test_what_a_browser_has_of_a_hit_is_not_sent_again(tmp_path: Path, ending: str, ahead: bool):
    atlas = live_atlas(tmp_path)
    slug, channel, hit = hits(atlas, "conv2")[0]
    if ahead:
        draw_details(atlas, network(), [f"conv2:{channel}"], hits=[hit])
    address, other = (f"/{links.details(slug, channel, each, ending)}" for each in (hit, hit + 1))
    with TestClient(app(atlas.path, model=network()), base_url=HOME) as client:
        whole = client.get(address)
        assert (whole.status_code, whole.headers["cache-control"]) == (200, "no-cache")
        tag = whole.headers["etag"]
        assert re.fullmatch('"[0-9a-f]{32}"', tag)
        assert client.get(other).headers["etag"] != tag
        again = client.get(address, headers={"if-none-match": f"W/{tag}"})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert client.get(other, headers={"if-none-match": tag}).content == client.get(other).content != b""
    if ahead and ending == "webp":
        assert TestClient(app(atlas.path), base_url=HOME).get(address).headers["etag"] == tag


def test_an_atlas_that_was_drawn_anew_is_let_go(tmp_path: Path):
    atlas = live_atlas(tmp_path)
    slug, channel, hit = hits(atlas, "conv2")[0]
    address = f"/{links.details(slug, channel, hit)}"
    served = app(atlas.path, model=network())
    with TestClient(served, base_url=HOME) as client:
        assert client.get(address).is_success
        before = weakref.ref(served.state.site.atlas)
        os.utime(atlas.path / "drawings.json", ns=(1, 1))
        assert client.get(address).is_success
        assert served.state.site.atlas is not before()
        gc.collect()
        assert before() is None


def test_of_two_atlases_a_hit_and_the_live_page_say_which_they_are_of(tmp_path: Path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    atlas = live_atlas(one)
    live_atlas(two)
    slug, channel, hit = hits(atlas, "conv2")[0]
    with TestClient(app(atlas.path, beside=two / atlas.path.name, model=network()), base_url=HOME) as both:
        for address in (links.details(slug, channel, hit, "html"), links.LIVE):
            assert f"one/{atlas.path.name}" in Tags(both.get(f"/{address}").text).words
        for address in (links.details(slug, channel, hit, "json"), "live.json"):
            assert both.get(f"/{address}").json()["compare"]["name"] == f"one/{atlas.path.name}"
    with TestClient(app(atlas.path, model=network()), base_url=HOME) as alone:
        assert alone.get("/live.json").json()["compare"] is None
