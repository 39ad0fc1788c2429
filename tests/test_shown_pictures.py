"""Pictures in the documentation: each is shown, made by a tool or a command that is named, and of photographs that
anyone may show."""

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(r"(?:!\[[^\]]*\]\(|\bsrc=\")([^)\"\s]+)")
PICTURE = {".webp", ".png", ".jpg", ".jpeg", ".gif", ".avif", ".svg", ".bmp", ".tif"}
FREE = re.compile(r"\bCC0\b|public domain")

# Files of docs/images that no screenshot is: what is known to make them, and where that is written.
OTHERS = {
    "units.webp": (ROOT / "tools/units_picture.py", "units_picture.py demo/atlas docs/images/units.webp"),
    "googlenet.webp": (ROOT / "docs/real-run.md", "pixelward scan googlenet.py:googlenet demo/pictures"),
    "way-down.webp": (ROOT / "docs/development.md", "pixelward project zfnet64 chelsea.png"),
}


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """The tools that draw the demo and take the screenshots."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("demo"), importlib.import_module("screenshots")


def files() -> set[Path]:
    """Pictures that are kept, but for the server's icon."""
    looked = [ROOT / name for name in ("docs", "examples", "bench", "tools", "tests")]
    return {file for folder in looked for file in folder.rglob("*") if file.suffix.lower() in PICTURE}


def credited() -> dict[str, str]:
    """Photographs in CREDITS.md, and their terms."""
    rows = re.findall(r"^\| `([^`]+)` \|.*\| ([^|]+) \|$", (ROOT / "CREDITS.md").read_text("utf-8"), re.MULTILINE)
    return {name: terms.strip() for name, terms in rows}


def test_every_picture_is_shown_and_every_one_that_is_shown_is_there():
    shown = {
        (page.parent / target).resolve()
        for page in DOCS
        for target in SHOWN.findall(page.read_text("utf-8"))
        if "://" not in target
    }
    assert shown == files()
    assert not any("://" in target for page in DOCS for target in SHOWN.findall(page.read_text("utf-8")))


def test_pictures_are_those_that_a_tool_or_a_command_makes(tools: tuple[ModuleType, ModuleType]):
    _, screenshots = tools
    assert {file.name for file in (ROOT / "docs/images").iterdir()} == {*screenshots.FILES, *OTHERS}
    for written, words in OTHERS.values():
        assert words in written.read_text("utf-8")
    assert sum(file.stat().st_size for file in files()) < 3_000_000  # each clone brings them along


def test_their_photographs_are_credited_as_free_for_all(tools: tuple[ModuleType, ModuleType]):
    demo, screenshots = tools
    terms = credited()
    assert len(terms) == 10
    assert all(FREE.search(each) for each in terms.values())
    assert set(screenshots.PHOTOGRAPHS) == set(screenshots.LABELS) == set(terms)
    assert set(demo.PHOTOGRAPHS) < set(terms)
    assert all(FREE.search(each) for each in (demo.PHOTOGRAPHS | screenshots.PHOTOGRAPHS).values())
    assert screenshots.TRIED in terms
    project = re.search(r"pixelward project zfnet64 (\S+)", OTHERS["way-down.webp"][0].read_text("utf-8"))
    assert project
    assert project[1] in terms
