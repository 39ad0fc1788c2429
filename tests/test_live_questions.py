"""How live addresses are asked: HEAD as GET, places named whole, queries that are no question told in words."""

import pytest
from fastapi.testclient import TestClient

from live_served import JSON, PIECE, atlas_once, served_once, token_of, tried  # noqa: F401
from pixelward.atlas import Atlas
from pixelward.web import links
from tags import Tags


@pytest.fixture(scope="module")
def token(served: TestClient) -> str:
    return token_of(tried(served))


def addresses(token: str, slug: str) -> list[str]:
    pages = [links.LIVE, links.tried(token), links.tried_unit(token, slug, 1), links.details(slug, 1, 1, "html")]
    images = [links.tried_image(token, "picture"), links.map_sheet(token, slug, "map"), links.details(slug, 1, 1)]
    images.append(links.tried_unit_image(token, slug, 1, (2, 3), "patch"))
    maps = [f"live/{token}/maps.{ending}?layer={slug}" for ending in ("html", "json")]
    return [*pages, *map(links.twin, pages), *maps, *images]


def test_a_head_is_told_as_much_as_a_get(atlas: Atlas, served: TestClient, token: str):
    for address in addresses(token, atlas.layers[0].slug):
        whole, head = (ask(f"/{address}", headers=PIECE) for ask in (served.get, served.head))
        assert (whole.status_code, head.status_code, head.content) == (200, 200, b""), address
        assert head.headers == whole.headers
        assert int(head.headers["content-length"]) == len(whole.content)


def test_a_head_of_what_is_refused_is_refused_as_a_get(atlas: Atlas, served: TestClient, token: str):
    slug = atlas.layers[0].slug
    for address, status in (
        (links.tried("A" * 22), 410),
        (links.tried_unit(token, slug, 99), 404),
        (links.maps(token), 422),
        (f"{links.tried_unit(token, slug, 0)}?y=1", 400),
    ):
        assert (served.get(f"/{address}").status_code, served.head(f"/{address}").status_code) == (status, status)


def test_what_is_only_read_is_not_sent_to(atlas: Atlas, served: TestClient, token: str):
    for address in addresses(token, atlas.layers[0].slug):
        answer = served.post(f"/{address}", headers=JSON)
        assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD"}), address
        assert answer.json()["problem"] == "This can only be read"
        assert answer.json()["allowed"] == answer.headers["allow"]


def test_what_is_only_sent_to_says_so(served: TestClient):
    for address in ("live/pictures", "live/pictures/0"):
        answer = served.delete(f"/{address}", headers=JSON)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert (answer.json()["problem"], answer.json()["allowed"]) == ("This cannot be read", "POST")


@pytest.mark.parametrize(("named", "missing"), [("y", "x"), ("x", "y")])
@pytest.mark.parametrize("what", ["html", "json", "patch.webp", "map.webp"])
def test_half_a_place_is_refused_in_one_line_that_names_both(
    atlas: Atlas, served: TestClient, token: str, named: str, missing: str, what: str
):
    slug = atlas.layers[0].slug
    answer = served.get(f"/live/{token}/{slug}/1.{what}?{named}=3", headers=JSON)
    assert answer.status_code == 400
    assert answer.json() == {
        "problem": "This cannot be understood",
        "given": f"{named} without {missing}",
        "allowed": "both, for a place of the map, or neither, for the strongest",
        "next_step": "name both y and x, or leave both away",
    }
    assert served.get(f"/live/{token}/{slug}/1.{what}?y=3&x=3").status_code == 200


@pytest.mark.parametrize("kind", ["projection", "patch", "map"])
def test_a_drawing_without_a_place_is_that_of_the_strongest(atlas: Atlas, served: TestClient, token: str, kind: str):
    slug = atlas.layers[0].slug
    alone = served.get(f"/live/{token}/{slug}/1.{kind}.webp")
    assert alone.status_code == 200
    y, x = served.get(f"/live/{token}/{slug}/1.json").json()["position"]
    assert alone.content == served.get(f"/live/{token}/{slug}/1.{kind}.webp?y={y}&x={x}").content


def test_a_vector_has_no_places(atlas: Atlas, served: TestClient, token: str):
    slug = atlas.layers[-1].slug
    assert atlas.layers[-1].map == ()
    assert served.get(f"/live/{token}/{slug}/1.html").status_code == 200
    for what in ("html", "json", "patch.webp"):
        assert served.get(f"/live/{token}/{slug}/1.{what}?y=0&x=0").status_code == 404


def test_a_query_that_is_none_is_told_by_what_is_allowed(atlas: Atlas, served: TestClient, token: str):
    maps, unit = links.maps(token), links.tried_unit(token, atlas.layers[0].slug, 0)
    for address, name, allowed in (
        (f"{maps}?layer=x&order=beauty", "order", "order: 'share', 'value' or 'number'"),
        (maps, "layer", "layer: field required"),
        (f"{unit}?y=one&x=1", "y", "y: input should be a valid integer"),
    ):
        answer = served.get(f"/{address}", headers=JSON)
        assert answer.status_code == 422
        told = answer.json()
        assert told["problem"] == "This cannot be understood"
        assert told["given"].endswith(f", with no proper {name}")
        assert told["allowed"].startswith(allowed)
        assert "beauty" not in answer.text
        assert "This cannot be understood" in Tags(served.get(f"/{address}").text).words
