"""Whether a page or JSON is answered, by the Accept header: qualities, wildcards, what is named."""

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from fake_atlas import fake_atlas
from pixelward.web.accept import prefers_json
from pixelward.web.serve import app

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("", False),
        ("*/*", False),
        (CHROME, False),
        ("text/html, */*", False),  # htmx
        ("application/json", True),
        ("application/json, text/plain, */*", True),  # axios
        ("Application/JSON ; charset=utf-8", True),
        ("application/*", True),
        ("application/*, */*", True),
        ("application/json;q=0", False),
        ("application/json; q=0.000, */*", False),
        ("*/*;q=0.1, application/json;q=0", False),
        ("application/json, text/html", False),  # both alike: these are pages
        ("application/json;q=0.9, text/html;q=0.8", True),
        ("text/html;q=0.8, application/json;q=0.9", True),
        ("application/json;q=0.8, text/html", False),
        ("application/json;q=0.2, */*;q=0.5", False),
        ("application/json, text/html;q=0", True),
        ("application/json;q=high", False),
        ("application/json;q=2", False),
        ("application/jsonp", False),
        ("text/x-application/json", False),
        (";;;,,,=q;", False),
    ],
)
def test_json_is_answered_where_it_is_preferred(accept: str, json: bool):
    assert prefers_json(accept) == json


@given(st.integers(0, 1000), st.integers(0, 1000), st.booleans())
def test_the_larger_quality_wins_in_any_order(one: int, other: int, turned: bool):
    parts = [f"application/json;q={one / 1000:.3f}", f"text/html;q={other / 1000:.3f}"]
    assert prefers_json(", ".join(parts[::-1] if turned else parts)) == (one > other)


def test_problems_are_told_in_what_is_preferred(tmp_path):
    with TestClient(app(fake_atlas(tmp_path / "atlas", drawn=False).path), base_url="http://localhost") as client:
        for accept, media in (
            ("application/json", "application/json"),
            ("application/json;q=0", "text/html; charset=utf-8"),
            (CHROME, "text/html; charset=utf-8"),
        ):
            answer = client.get("/none", headers={"accept": accept})
            assert (answer.status_code, answer.headers["content-type"]) == (404, media)
        assert client.get("/none.json", headers={"accept": CHROME}).headers["content-type"] == "application/json"
