"""The addresses of a site. No page and no template spells one; all are paths from the site's root.

Served and exported pages share them, so a page may only point at what the export holds.
"""

from __future__ import annotations

import re
from typing import NamedTuple

INDEX = "index.html"
BESIDE = "beside/"  # where the site of the other atlas lies

_SLUG, _NUMBER = "layers/(?P<slug>[a-z0-9-]+)", "(?P<number>0|[1-9][0-9]{0,17})"  # 18 digits fit into 64 bits
_PLACES = {  # kind: what its addresses look like
    "index": re.compile(re.escape(INDEX)),
    "layer": re.compile(rf"{_SLUG}/index\.html"),
    "unit": re.compile(rf"{_SLUG}/{_NUMBER}\.html"),
    "sheet": re.compile(rf"{_SLUG}/{_NUMBER}\.(?P<name>[a-z-]+)\.webp"),
    "compare": re.compile(r"compare/index\.html"),
    "compare-layer": re.compile(r"compare/(?P<slug>[a-z0-9-]+)/index\.html"),
    "picture": re.compile(rf"pictures/{_NUMBER}\.html"),
    "thumb": re.compile(rf"pictures/{_NUMBER}\.webp"),
    "static": re.compile(r"static/(?P<name>[A-Za-z0-9._/-]+)"),
}


class Place(NamedTuple):
    """What an address names. kind: the function of this module that spells it; number: a channel or a picture's id."""

    kind: str
    slug: str = ""
    number: int = -1
    name: str = ""


def place(address: str) -> Place | None:
    """What a path from the site's root names, if it is spelled as the functions below spell it; it need not exist."""
    for kind, pattern in _PLACES.items():
        if match := pattern.fullmatch(address):
            parts = match.groupdict()
            return Place(kind, parts.get("slug", ""), int(parts.get("number", -1)), parts.get("name", ""))
    return None


def layer(slug: str) -> str:
    """The page of a layer; `slug` is `LayerRecord.slug`."""
    return f"layers/{slug}/index.html"


def unit(slug: str, channel: int) -> str:
    """The page of a unit: its permanent link."""
    return f"layers/{slug}/{channel}.html"


def picture(id: int) -> str:
    """The page of a picture that holds a hit."""
    return f"pictures/{id}.html"


def compare() -> str:
    """The page of an atlas beside another one."""
    return "compare/index.html"


def compare_layer(slug: str) -> str:
    """The page of a layer beside its partner in the other atlas; `slug` is of this atlas."""
    return f"compare/{slug}/index.html"


def beside(address: str) -> str:
    """Where something of the other atlas's own site lies."""
    return BESIDE + address


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


def page_of(twin: str) -> str:
    """The page that `twin` is the twin of."""
    return twin.removesuffix(".json") + ".html"


def relative(page: str, target: str) -> str:
    """How `page` names `target`; both are paths from the root. `target` may end in a #fragment."""
    here, there = page.split("/")[:-1], target.split("/")
    shared = 0
    while shared < min(len(here), len(there) - 1) and here[shared] == there[shared]:
        shared += 1
    return "../" * (len(here) - shared) + "/".join(there[shared:])
