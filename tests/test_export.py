"""The exported site: whole or not there, every link resolves, an earlier export is replaced and nothing else is."""

import json
import shutil
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest

from fake_atlas import fake_atlas, told
from pixelward.atlas import Atlas
from pixelward.errors import PixelwardError
from pixelward.folder import KERNEL, details_file, kernel_file
from pixelward.web import content, links, pages
from pixelward.web.export import CREDITS, MARKER, export
from tags import Tags


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return fake_atlas(tmp_path_factory.mktemp("fake") / "atlas")


@pytest.fixture(scope="module")
def site(atlas: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "site"
    assert export(atlas, folder) == folder / "index.html"
    return folder


def content_of(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_every_link_resolves_inside_the_site(site: Path):
    found = {file.relative_to(site).as_posix(): Tags(file.read_text("utf-8")) for file in site.rglob("*.html")}
    ids = {page: {attributes.get("id") for _, attributes in tags.tags} for page, tags in found.items()}
    reached = set()
    for page, tags in found.items():
        for _, attributes in tags.tags:
            addresses = [attributes[name] for name in ("href", "src") if name in attributes]
            addresses += [address for address, _, _ in json.loads(attributes.get("data-pictures", "[]"))]
            for address in addresses:
                target, fragment = urldefrag(urljoin(f"http://site/{page}", address))
                assert target.startswith("http://site/"), (page, attributes)
                path = unquote(target.removeprefix("http://site/"))
                assert (site / path).is_file(), (page, attributes)
                assert not fragment or fragment in ids[path], (page, attributes)
                reached.add(path)
    files = set(content_of(site)) - {MARKER, "index.html"}
    assert files - reached == set(), "a file that no page leads to"


def test_the_pages_are_those_that_the_functions_give(atlas: Atlas, site: Path):
    page = content.unit_page(atlas, atlas.layers[0], 2)
    assert (site / page.path).read_text("utf-8") == pages.html(page)
    assert (site / links.twin(page.path)).read_text("utf-8") == pages.twin(page)


def test_the_drawings_stand_beside_the_pages(atlas: Atlas, site: Path):
    slug = atlas.layers[0].slug
    there = (atlas.path / "drawings" / slug / "2.patches.webp").read_bytes()
    assert (site / "layers" / slug / "2.patches.webp").read_bytes() == there
    assert (site / links.sheet(slug, 0, KERNEL)).read_bytes() == (atlas.path / kernel_file(slug, 0)).read_bytes()
    for record, channel, hit in told(atlas):
        there = (atlas.path / details_file(record.slug, channel, hit, "webp")).read_bytes()
        assert (site / links.details(record.slug, channel, hit)).read_bytes() == there
    assert len(list((site / "pictures").glob("*.webp"))) == len(list(atlas.hit_pictures()))


def test_drawings_are_copied_where_they_cannot_be_linked(atlas: Atlas, site: Path, tmp_path: Path, monkeypatch):
    def refuse(self: Path, target: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    export(atlas, tmp_path / "site")
    assert content_of(tmp_path / "site") == content_of(site)


def test_an_earlier_export_is_replaced_whole(atlas: Atlas, site: Path, tmp_path: Path):
    target = tmp_path / "deep" / "site"
    export(atlas, target)
    (target / "stale.html").write_text("old")
    export(atlas.path, target)
    assert content_of(target) == content_of(site)
    assert [entry.name for entry in target.parent.iterdir()] == ["site"]


def test_an_empty_folder_may_become_the_site(atlas: Atlas, tmp_path: Path):
    (tmp_path / "site").mkdir()
    assert export(atlas, tmp_path / "site").is_file()


def test_a_folder_with_other_files_is_refused_and_left_alone(atlas: Atlas, tmp_path: Path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "thesis.tex").write_text("years of work")
    with pytest.raises(
        PixelwardError,
        match=r"given: .*site, which holds other files \(thesis.tex\) - allowed: .*earlier export - next step: ",
    ):
        export(atlas, tmp_path / "site")
    assert [entry.name for entry in tmp_path.rglob("*")] == ["site", "thesis.tex"]


def test_the_atlas_itself_is_no_place_for_the_site(atlas: Atlas):
    before = content_of(atlas.path)
    with pytest.raises(PixelwardError, match="which holds other files"):
        export(atlas, atlas.path)
    assert content_of(atlas.path) == before


def test_a_file_in_the_way_is_refused(atlas: Atlas, tmp_path: Path):
    (tmp_path / "site").write_text("a file")
    with pytest.raises(PixelwardError, match=r"given: .*site, which is a file - allowed: .* - next step: choose"):
        export(atlas, tmp_path / "site")


def test_an_atlas_without_drawings_is_refused_with_the_command_that_draws(tmp_path: Path):
    bare = fake_atlas(tmp_path / "atlas", drawn=False)
    with pytest.raises(PixelwardError, match=r"without drawings - allowed: .* - next step: .*pixelward draw .* MODEL"):
        export(bare, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_failure_leaves_the_earlier_export_and_nothing_half_written(atlas: Atlas, tmp_path: Path, monkeypatch):
    target = tmp_path / "site"
    export(atlas, target)
    before = content_of(target)
    monkeypatch.setattr(pages, "twin", lambda page: (_ for _ in ()).throw(RuntimeError("full disk")))
    with pytest.raises(RuntimeError, match="full disk"):
        export(atlas, target)
    assert content_of(target) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["site"]


def test_credits_come_from_the_caller_or_from_the_atlas(tmp_path: Path):
    atlas = fake_atlas(tmp_path / "atlas")
    (atlas.path / CREDITS).write_text(json.dumps(["A. Photographer, CC0"]))
    export(atlas, tmp_path / "site")
    assert "A. Photographer, CC0" in (tmp_path / "site" / "index.html").read_text("utf-8")
    export(atlas, tmp_path / "site", credits=["B. Other"])
    assert "A. Photographer" not in (tmp_path / "site" / "index.html").read_text("utf-8")
    (atlas.path / CREDITS).write_text('{"not": "a list"}')
    with pytest.raises(PixelwardError, match=r"credits.json - allowed: a JSON list of strings - next step: mend"):
        export(atlas, tmp_path / "site")


def test_progress_ends_with_the_last_page(atlas: Atlas, tmp_path: Path):
    told: list[tuple[int, int, float]] = []
    export(atlas, tmp_path / "site", report=lambda *numbers: told.append(numbers))
    assert told[-1][0] == told[-1][1] == len(list((tmp_path / "site").rglob("*.html")))


def test_the_site_can_be_read_by_everyone(site: Path):
    assert site.stat().st_mode & 0o777 == 0o755


def test_damaged_details_are_told_by_their_units_page_and_end_no_export(atlas: Atlas, tmp_path: Path):
    (record, channel, hit), *_ = told(atlas)
    harmed = Atlas.open(shutil.copytree(atlas.path, tmp_path / "atlas"))
    (harmed.path / details_file(record.slug, channel, hit, "json")).write_text("{")
    export(harmed, tmp_path / "site")
    assert not (tmp_path / "site" / links.details(record.slug, channel, hit)).exists()
    page = (tmp_path / "site" / links.unit(record.slug, channel)).read_text("utf-8")
    assert page == pages.html(content.unit_page(harmed, harmed.layer(record.address), channel))
