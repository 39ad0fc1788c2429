"""The addresses of a site. No page and no template spells one; all are paths from the site's root.

Served and exported pages share them, so a page may only point at what the export holds.
"""

from __future__ import annotations

import re
from typing import NamedTuple

INDEX = "index.html"
BESIDE = "beside/"  # where the site of the other atlas lies
OUTSIDE = "../"  # from the root of that site to the one that it lies in

_SLUG, _NUMBER = "layers/(?P<slug>[a-z0-9-]+)", "(?P<number>0|[1-9][0-9]{0,17})"  # 18 digits fit into 64 bits
_PLACES = {  # kind: what its addresses look like
    "index": re.compile(re.escape(INDEX)),
    "layer": re.compile(rf"{_SLUG}/index\.html"),
    "unit": re.compile(rf"{_SLUG}/{_NUMBER}\.html"),
    "sheet": re.compile(rf"{_SLUG}/{_NUMBER}\.(?P<name>[a-z-]+)\.webp"),
    "details": re.compile(rf"{_SLUG}/{_NUMBER}\.details-(?P<hit>[1-9][0-9]{{0,8}})\.(?P<name>webp|html)"),
    "compare": re.compile(r"compare/index\.html"),
    "compare-layer": re.compile(r"compare/(?P<slug>[a-z0-9-]+)/index\.html"),
    "picture": re.compile(rf"pictures/{_NUMBER}\.html"),
    "thumb": re.compile(rf"pictures/{_NUMBER}\.webp"),
    "static": re.compile(r"static/(?P<name>[A-Za-z0-9._/-]+)"),
}


class Place(NamedTuple):
    """What an address names. kind: the function of this module that spells it; number: a channel or a picture's id;
    hit: from 1, the strongest."""

    kind: str
    slug: str = ""
    number: int = -1
    name: str = ""
    hit: int = 0


def place(address: str) -> Place | None:
    """What a path from the site's root names, if it is spelled as the functions below spell it; it need not exist."""
    for kind, pattern in _PLACES.items():
        if match := pattern.fullmatch(address):
            parts = match.groupdict()
            number, hit = int(parts.get("number", -1)), int(parts.get("hit", 0))
            return Place(kind, parts.get("slug", ""), number, parts.get("name", ""), hit)
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


def compare_unit(slug: str, channel: int) -> str:
    """The row of a unit on the page of its layer in the comparison."""
    return f"{compare_layer(slug)}#u{channel}"


def outside(address: str) -> str:
    """How the other atlas's own site names what lies in the site round it."""
    return OUTSIDE + address


def sheet(slug: str, channel: int, kind: str) -> str:
    """A unit's sheet of projections, patches or focus crops, or its kernel."""
    return f"layers/{slug}/{channel}.{kind}.webp"


def details(slug: str, channel: int, hit: int, ending: str = "webp") -> str:
    """The pictures of what is told at length of a hit, from 1; "html" is the page of its own that a server makes."""
    return f"layers/{slug}/{channel}.details-{hit}.{ending}"


def details_of(page: str, hit: int) -> str:
    """The page of its own of a hit. page: of its unit, or of another of its hits."""
    here = place(page)
    if here is None or here.kind not in ("unit", "details"):
        raise LookupError(f"{page} is no page of a unit")
    return details(here.slug, here.number, hit, "html")


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
    folder = page[: page.rfind("/") + 1]
    if target.startswith(folder):
        return target[len(folder) :]
    here, there = page.split("/")[:-1], target.split("/")
    shared = 0
    while shared < min(len(here), len(there) - 1) and here[shared] == there[shared]:
        shared += 1
    return "../" * (len(here) - shared) + "/".join(there[shared:])


# The live part: there is none of it in an export.

LIVE = "live.html"


def live(layer: str = "", channel: int = -1, token: str = "", position: tuple[int, ...] = ()) -> str:
    """Where pictures are tried; with a layer's slug, a unit's channel and a place in its map, these are shown first,
    of the picture of a token where one is named."""
    asked = {"layer": layer, "unit": str(channel) if layer and channel >= 0 else "", "picture": token}
    asked |= dict(zip("yx", map(str, position), strict=False))
    query = "&".join(f"{name}={value}" for name, value in asked.items() if value)
    return f"{LIVE}?{query}" if query else LIVE


def live_from(page: str) -> str:
    """Where a page leads to for trying pictures: to the layer or unit that it is about."""
    found = place(page)
    return live(found.slug, found.number) if found and found.kind in ("layer", "unit", "details") else LIVE


def try_upload() -> str:
    """Where a picture is sent to."""
    return "live/pictures"


def try_picture(id: int) -> str:
    """Where it is asked for that a picture of the atlas is tried."""
    return f"live/pictures/{id}"


def tried(token: str) -> str:
    """What the network takes a picture for."""
    return f"live/{token}/picture.html"


def token_of(tried: str) -> str:
    """The token in an address of a picture that is tried."""
    return tried.split("/")[1]


def tried_image(token: str, name: str) -> str:
    """The picture as the network takes it."""
    return f"live/{token}/{name}.webp"


def maps(token: str, slug: str = "") -> str:
    """The feature maps of a layer, which the query names."""
    return f"live/{token}/maps.html" + (f"?layer={slug}" if slug else "")


def map_sheet(token: str, slug: str, scale: str) -> str:
    """A layer's feature maps in one picture."""
    return f"live/{token}/{slug}.{scale}.webp"


def tried_unit(token: str, slug: str, channel: int, position: tuple[int, ...] = ()) -> str:
    """A unit on a picture, at a place of its map; at the strongest where none is named."""
    return f"live/{token}/{slug}/{channel}.html{_at(position)}"


def tried_unit_image(token: str, slug: str, channel: int, position: tuple[int, ...], kind: str) -> str:
    """Its projection, the patch that it came from, or its map."""
    return f"live/{token}/{slug}/{channel}.{kind}.webp{_at(position)}"


def _at(position: tuple[int, ...]) -> str:
    return f"?y={position[0]}&x={position[1]}" if position else ""
