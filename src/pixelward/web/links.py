"""The addresses of a site. No page and no template spells one; all are paths from the site's root.

Served and exported pages share them, so a page may only point at what the export holds.
"""

from __future__ import annotations

INDEX = "index.html"


def layer(slug: str) -> str:
    """The page of a layer; `slug` is `LayerRecord.slug`."""
    return f"layers/{slug}/index.html"


def unit(slug: str, channel: int) -> str:
    """The page of a unit: its permanent link."""
    return f"layers/{slug}/{channel}.html"


def picture(id: int) -> str:
    """The page of a picture that holds a hit."""
    return f"pictures/{id}.html"


def sheet(slug: str, channel: int, kind: str) -> str:
    """A unit's sheet of projections, patches or focus crops."""
    return f"layers/{slug}/{channel}.{kind}.webp"


def thumb(id: int) -> str:
    """A whole picture, small."""
    return f"pictures/{id}.webp"


def static(name: str) -> str:
    """A file that comes with Pixelward: style, script, icon."""
    return f"static/{name}"


def twin(page: str) -> str:
    """The same page as JSON."""
    return page.removesuffix(".html") + ".json"


def relative(page: str, target: str) -> str:
    """How `page` names `target`; both are paths from the root. `target` may end in a #fragment."""
    here, there = page.split("/")[:-1], target.split("/")
    shared = 0
    while shared < min(len(here), len(there) - 1) and here[shared] == there[shared]:
        shared += 1
    return "../" * (len(here) - shared) + "/".join(there[shared:])
