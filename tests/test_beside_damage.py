"""Two atlases served side by side, of which one vanishes or breaks: the pages of the other go on."""

import os
import re
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fake_atlas import fake_atlas
from pixelward.atlas import Atlas
from pixelward.folder import PICTURES, stats_file, units_file
from pixelward.web import links
from pixelward.web.serve import app
from tags import Tags

HERE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_atlas(tmp_path_factory.mktemp("one") / "atlas").path


@pytest.fixture
def folders(whole: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two atlases in folders of the same name."""
    return shutil.copytree(whole, tmp_path / "one" / "atlas"), shutil.copytree(whole, tmp_path / "two" / "atlas")


@pytest.fixture
def served(folders: tuple[Path, Path]) -> TestClient:
    return TestClient(app(folders[0], beside=folders[1]), base_url=HERE, raise_server_exceptions=False)


def own(atlas: Path) -> list[str]:
    record = Atlas.open(atlas).layers[0]
    return [links.INDEX, links.layer(record.slug), links.unit(record.slug, 2), links.sheet(record.slug, 2, "patches")]


def compared(atlas: Path) -> list[str]:
    return [links.compare(), *(links.compare_layer(record.slug) for record in Atlas.open(atlas).layers)]


def told(client: TestClient, address: str) -> str:
    answer = client.get(f"/{address}")
    assert answer.status_code == 503, address
    return re.sub(r"\s+", " ", Tags(answer.text).words)


def vanish(atlas: Path) -> None:
    atlas.rename(atlas.with_name("elsewhere"))


def unfinish(atlas: Path) -> None:
    (atlas / "atlas.json").unlink()


def cut(file: str):
    return lambda atlas: os.truncate(atlas / file, 60)


SLUG = "000-conv1-relu"
HARM = [vanish, unfinish, cut("atlas.json"), cut(units_file(SLUG)), cut(stats_file(SLUG)), cut(PICTURES)]


@pytest.mark.parametrize("asked_before", [False, True])
@pytest.mark.parametrize("harm", HARM, ids=["vanished", "unfinished", "record", "units", "stats", "pictures"])
def test_the_pages_of_one_atlas_outlive_the_other(
    folders: tuple[Path, Path], served: TestClient, harm, asked_before: bool
):
    one, two = folders
    pages, comparison = own(one), compared(one)
    before = {address: served.get(f"/{address}").content for address in pages} if asked_before else {}
    harm(two)
    # As after any change of it, so that what was read before is not what is served.
    os.utime(two / "drawings.json", ns=(1, 1)) if two.is_dir() else None
    for address in pages:
        answer = served.get(f"/{address}")
        assert answer.status_code == 200, address
        assert not before or answer.content == before[address]
    assert 'href="compare/index.html"' in served.get("/").text
    refused = [address for address in comparison if served.get(f"/{address}").status_code != 200]
    assert links.compare_layer(SLUG) in refused
    for address in refused:
        words = told(served, address)
        assert "atlas (the atlas beside), " in words
        assert str(two.parent) not in words
    for page in served.get("/").text, served.get(f"/{links.beside(links.INDEX)}").text:
        assert "Traceback" not in page


def test_the_other_atlas_outlives_this_one(folders: tuple[Path, Path], served: TestClient):
    one, two = folders
    pages = own(two)
    vanish(one)
    for address in pages:
        assert served.get(f"/{links.beside(address)}").status_code == 200
    assert "atlas, which is not there any more" in told(served, links.INDEX)
    assert "atlas, which is not there any more" in told(served, links.compare())


def test_what_comes_back_is_compared_again(folders: tuple[Path, Path], served: TestClient):
    _, two = folders
    before = served.get(f"/{links.compare()}").content
    vanish(two)
    assert "atlas (the atlas beside), which is not there any more" in told(served, links.compare())
    assert "atlas (the atlas beside), which is not there any more" in told(served, links.beside(links.INDEX))
    two.with_name("elsewhere").rename(two)
    assert served.get(f"/{links.compare()}").content == before


def test_a_file_that_may_not_be_read_names_its_atlas(
    folders: tuple[Path, Path], served: TestClient, monkeypatch: pytest.MonkeyPatch
):
    address = links.sheet(SLUG, 2, "patches")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "not allowed", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "atlas (the atlas beside), of which a file cannot be read" in told(served, links.beside(address))
    assert "atlas, of which a file cannot be read" in told(served, address)


def test_folders_of_short_relative_names_are_no_parts_of_other_words(folders: tuple[Path, Path], monkeypatch):
    one, two = folders
    two.rename(one.parent / "b")
    monkeypatch.chdir(one.parent)
    client = TestClient(app(one.name, beside="b"), base_url=HERE)
    (one / "atlas.json").unlink()
    (one.parent / "b" / "atlas.json").unlink()
    assert "b (the atlas beside)" in told(client, links.beside(links.INDEX))
    for address in (links.INDEX, links.beside(links.INDEX)):
        words = told(client, address)
        assert words.count("(the atlas beside)") <= 2
        assert not re.search(r"\w\(the atlas beside\)|\(the atlas beside\)\w", words)


def test_the_fault_of_the_page_that_is_asked_for_is_told_though_the_other_atlas_is_gone(folders, served):
    one, two = folders
    vanish(two)
    os.truncate(one / "atlas.json", 60)
    assert "the atlas beside" not in told(served, links.INDEX)
