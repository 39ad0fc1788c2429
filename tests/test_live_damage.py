"""A damaged atlas below the live part: 503 with what to do, as on all pages, never the visitor's mistake."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from live_atlas import live_atlas, network
from live_served import HOME, JSON, token_of, tried
from pixelward.folder import PICTURES, boxes_file, sheet_file, stats_file, thumb_file, units_file
from pixelward.web.serve import app


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return live_atlas(tmp_path_factory.mktemp("live")).path


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "atlas")


@pytest.fixture
def served(folder: Path) -> Iterator[TestClient]:
    with TestClient(app(folder, model=network()), base_url=HOME, raise_server_exceptions=False) as client:
        yield client


SLUG = "000-conv1-relu"
UNIT, MAPS, PAGE, SAMPLE = "live/{}/000-conv1-relu/2.html", "live/{}/maps.html?layer=000-conv1-relu", "live.html", ""


@pytest.mark.parametrize(
    ("file", "addresses"),
    [
        (stats_file(SLUG), (UNIT, MAPS)),
        (units_file(SLUG), (UNIT, MAPS, PAGE)),
        (boxes_file(SLUG), (UNIT,)),
        (sheet_file(SLUG, 2, "projections"), (UNIT,)),
        (PICTURES, (UNIT, PAGE, SAMPLE)),
    ],
)
def test_half_a_file_is_the_atlas_and_not_the_question(
    folder: Path, served: TestClient, file: str, addresses: tuple[str, ...]
):
    os.truncate(folder / file, (folder / file).stat().st_size // 2 if file == PICTURES else 3)
    token = token_of(tried(served))
    for address in addresses:
        asked = address.format(token)
        answer = served.get(f"/{asked}", headers=JSON) if asked else served.post("/live/pictures/0", headers=JSON)
        assert answer.status_code == 503, (asked, answer.text)
        told = answer.json()
        assert told["problem"] == "The atlas cannot be read now"
        assert told["given"] == f"atlas, whose {file} cannot be read"
        drawn = file.startswith("drawings/")
        assert ("draw again: pixelward draw atlas MODEL" if drawn else "info ATLAS --verify") in told["next_step"]


def test_a_small_copy_that_is_damaged_is_told_as_damage(folder: Path, served: TestClient):
    record = folder / "atlas.json"
    record.write_text(record.read_text().replace('"path": "', '"path": "/nowhere'))
    file = folder / thumb_file(0)
    file.write_bytes(file.read_bytes()[:40])
    answer = served.post("/live/pictures/0", headers=JSON)
    assert (answer.status_code, answer.json()["given"]) == (503, f"atlas, whose {thumb_file(0)} cannot be read")
