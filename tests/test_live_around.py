"""What stands around the live part: the pages that lead there, its own page, and networks that are not its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient

import pixelward as pw
from live_atlas import LAYERS, SIZE, network
from live_served import (  # noqa: F401
    HOME,
    JSON,
    PIECE,
    atlas_once,
    encoded,
    photo,
    refusal,
    send,
    served_once,
    token_of,
    tried,
)
from pixelward.atlas import Atlas
from pixelward.errors import PixelwardError
from pixelward.web import links
from pixelward.web.serve import app
from tags import Tags


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
        f"live/{token}/{slug}/0.none.webp",
        f"live/{token}/{slug}.none.webp",
        "live/pictures/0",
    ):
        assert served.get(f"/{address}").status_code in (404, 405), address
    for address in ("live/pictures/99", "live/pictures/-1", f"live/pictures/{10**30}", "live/pictures/..%2f0"):
        assert served.post(f"/{address}", headers=JSON).status_code in (404, 405), address
    for query in ("order=beauty", "scale=7", ""):
        assert served.get(f"/{links.maps(token)}?{query}").status_code == 422


def test_the_camera_is_for_the_live_page_alone(served: TestClient):
    assert "camera=(self)" in served.get("/live.html").headers["permissions-policy"]
    for address in ("/", "/static/live.js", "/none"):
        assert "camera=()" in served.get(address).headers["permissions-policy"]
    assert served.get("/live.html").headers["content-security-policy"].startswith("default-src 'none'")


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
        tags = Tags(served.get(f"/{address}", headers=PIECE).text)
        assert (tags.unbalanced, tags.open, len(tags.of("title"))) == ([], [], 0), address


@pytest.mark.parametrize("headers", [{}, {"sec-fetch-dest": "document"}, {**PIECE, "sec-fetch-dest": "document"}])
def test_a_piece_that_is_opened_by_itself_leads_to_the_live_page_with_that_picture(
    served: TestClient, atlas: Atlas, headers: dict[str, str]
):
    token, slug = token_of(tried(served)), atlas.layers[0].slug
    for address, to in (
        (links.tried(token), f"picture={token}"),
        (links.maps(token, slug), f"layer={slug}&picture={token}"),
        (links.tried_unit(token, slug, 2, (3, 4)), f"layer={slug}&unit=2&picture={token}&y=3&x=4"),
    ):
        answer = served.get(f"/{address}", headers=headers, follow_redirects=False)
        assert (answer.status_code, answer.headers["cache-control"]) == (303, "no-store")
        assert urljoin(f"{HOME}/{address}", answer.headers["location"]) == f"{HOME}/live.html?{to}"
        asked = {**headers, "accept": "application/json"}
        assert served.get(f"/{address}", headers=asked, follow_redirects=False).status_code == 200
        assert served.get(f"/{links.twin(links.tried(token))}", headers=headers, follow_redirects=False).json()
    assert served.get(f"/{links.tried('A' * 22)}", headers=headers, follow_redirects=False).status_code == 410


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
    assert "atlas, which is not there any more" in refusal(send(client, encoded(photo())), 503)


def test_the_command_refuses_another_network_in_one_line(atlas: Atlas):
    command = [sys.executable, "-c", "from pixelward.cli import app; app()", "serve", str(atlas.path), "zfnet64"]
    done = subprocess.run([*command, "--port", "0"], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "a network that is not the one of" in done.stderr


def test_from_a_hit_told_at_length_its_unit_is_tried():
    assert links.live_from(links.details("001-conv2", 4, 2, "html")) == links.live("001-conv2", 4)
    assert links.live_from(links.unit("001-conv2", 4)) == links.live("001-conv2", 4)
