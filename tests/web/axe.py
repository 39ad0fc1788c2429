"""What axe-core finds wrong with a page."""

from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("axe.min.js")


def findings(page: Any) -> list[tuple[str, str]]:
    """Rule and element of each finding. The script is evaluated, since a strict policy refuses one that is added."""
    page.evaluate(SOURCE.read_text("utf-8"))
    found = page.evaluate("axe.run(document, { preload: false })")
    assert len(found["passes"]) > 10
    return [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]]
