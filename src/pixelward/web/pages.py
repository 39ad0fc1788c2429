"""A page of entries.py -> HTML and its JSON twin. Pure: the same page gives the same text, served or exported.

Templates escape everything that they are given, and hold neither inline scripts nor inline styles, so that a strict
content-security policy can forbid both.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial

import jinja2
from markupsafe import Markup, escape

from pixelward.core.fields import Box
from pixelward.errors import PixelwardError
from pixelward.hatch import RULED
from pixelward.pictures import Tile
from pixelward.web import links
from pixelward.web.entries import (
    CompareLayerPage,
    ComparePage,
    DetailsPage,
    Histogram,
    HitEntry,
    IndexPage,
    LayerEntry,
    LayerPage,
    Page,
    PicturePage,
    UnitEntry,
    UnitPage,
    UnitTile,
)
from pixelward.words import number, share

TEMPLATES: dict[type[Page], str] = {
    IndexPage: "index.html",
    LayerPage: "layer.html",
    UnitPage: "unit.html",
    DetailsPage: "details.html",
    PicturePage: "picture.html",
    ComparePage: "compare.html",
    CompareLayerPage: "compare_layer.html",
}

OF_PICTURE = ("name", "label", "page", "thumb")  # fields of a hit that are the same for all in its picture
# Where names may be broken, and numbers, which may not: 0.1 is one, but not the beginning of the name 0.1.conv.
_BREAKS = re.compile(r"(?<![\w.])\d+\.\d+(?:e[+-]?\d+)?(?!\w|\.\w)|(?P<after>[._/])(?=\w)")
WIDTH, HEIGHT, FOOT = 640, 150, 22  # of the histogram, in units of its viewBox; FOOT holds the numbers
ROOM = HEIGHT - FOOT - 4  # of the highest bar


@dataclass(frozen=True)
class Bar:
    """One bin, ready to draw."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Tick:
    """A number below the bars."""

    x: float
    text: str


@dataclass(frozen=True)
class Gridline:
    """A number of pictures beside the bars, at its height."""

    y: float
    text: str


def prepare() -> None:
    """Compile the templates of all pages but the live ones, so that no first page has to wait for it."""
    environment = _environment()
    for name in environment.list_templates(filter_func=lambda name: not name.startswith("live/")):
        environment.get_template(name)


def html(page: Page, live: bool = False) -> str:
    """The page as HTML. live: whether pictures can be tried; the page then leads to where."""
    template = _environment().get_template(TEMPLATES[type(page)])
    return template.render(page=page, live=live, to=partial(links.relative, page.path))


def twin(page: Page) -> str:
    """The page as JSON: its dataclass, field by field.

    A layer's units have many hits in few pictures, so that what is said of a picture stands once there, by its id, in
    `pictures`, and not at each hit.
    """
    if isinstance(page, LayerPage):
        told = {hit.picture: hit for unit in page.units for hit in unit.hits}
        pictures = {id: {name: vars(hit)[name] for name in OF_PICTURE} for id, hit in told.items()}
        return _json(vars(page) | {"pictures": pictures}, without=OF_PICTURE)
    return _json(page)


def _json(plain: object, without: Sequence[str] = ()) -> str:
    """JSON without blanks. without: fields of hits that are left out."""

    def default(entry: object) -> dict[str, object]:
        fields = vars(entry)
        if without and isinstance(entry, HitEntry):
            return {name: value for name, value in fields.items() if name not in without}
        return fields

    return json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=default) + "\n"


def filled(template: str, page: object) -> str:
    """A page of the live part, or a piece of one, whose links are those of a page at the site's root."""
    return _environment().get_template(template).render(page=page, live=True, to=partial(links.relative, links.INDEX))


def problem(title: str, told: PixelwardError, *, piece: bool = False, alone: bool = False) -> str:
    """The page of a server that cannot give what it was asked for, or the piece of one that says it.

    Its links begin at the root of the site; there are none where it is `alone`: they would lead to the same refusal.
    """
    template = _environment().get_template("live/problem.html" if piece else "problem.html")
    return template.render(title=title, told=told, alone=alone, to=lambda target: f"/{target}")


def spelled(words: str) -> Markup:
    """Words in which what stands between backticks is to be typed."""
    parts = re.split("`([^`]+)`", words)
    return Markup("").join(
        Markup("<code>{}</code>").format(each) if at % 2 else escape(each) for at, each in enumerate(parts)
    )


def minus(value: object) -> str:
    """A number as a text, with a minus that is as wide as a digit."""
    text = str(value)
    return f"−{text[1:]}" if text.startswith("-") else text


def _number(value: float) -> str:
    return minus(number(value))


def signed(value: float) -> str:
    """A correlation with two digits; zero has no minus."""
    return minus(f"{round(value, 2) + 0.0:.2f}")


def curly(text: str) -> str:
    """Words that are printed too, with apostrophes as pages have them."""
    return re.sub(r"(?<=\w)'(?=\w)", "’", text)


def panel(tile: Tile, href: str, size: tuple[int, int], alt: str, *, hatch: bool) -> Markup:
    """A tile of the file of pictures at a link, as an element; there may be two hundred on a page, for which a macro
    would take too long.

    Small maps are shown cell by cell, pictures as pictures. size: width and height of the file. hatch: what is clear
    lies outside the picture.
    """
    kinds = "tile" + " cells-shown" * (tile[2] <= RULED) + " hatch" * hatch
    return Markup(
        f'<svg class="{kinds}" viewBox="{" ".join(map(str, tile))}" role="img" aria-label="{escape(alt)}">'
        f'<image href="{escape(href)}" width="{size[0]}" height="{size[1]}"/></svg>'
    )


@lru_cache(maxsize=4096)  # names and sentences, which come again and again
def breakable(text: str) -> Markup:
    """A text, escaped, whose long names may go on in a new line after a dot, a slash or an underscore. Numbers stay
    whole."""
    return Markup(_BREAKS.sub(lambda found: f"{found[0]}<wbr>" if found["after"] else found[0], str(escape(text))))


def bars(histogram: Histogram) -> list[Bar]:
    """The bins side by side, as high as their counts."""
    wide = WIDTH / max(len(histogram.counts), 1)
    most = max(histogram.counts, default=0)
    drawn = []
    for at, (low, high, count) in enumerate(zip(histogram.low, histogram.high, histogram.counts, strict=True)):
        tall = max(ROOM * count / most, 1.5) if count else 0.0
        ends = f"below {number(high or 0)}" if low is None else f"from {number(low)}"
        between = f"{ends} to {number(high)}" if low is not None and high is not None else ends
        noun = "picture" if count == 1 else "pictures"
        bar = Bar(at * wide + 1, HEIGHT - FOOT - tall, max(wide - 2, 1), tall, f"{between}: {count:,} {noun}")
        drawn.append(bar)
    return drawn


def gridlines(histogram: Histogram, most: int = 4) -> list[Gridline]:
    """Round numbers of pictures from 0 up to the highest bar, at most `most` above 0."""
    highest = max(histogram.counts, default=0)
    steps = (digit * 10**power for power in range(20) for digit in (1, 2, 5))
    step = next(step for step in steps if highest // step <= most)
    counts = range(0, highest + 1, step)
    return [Gridline(HEIGHT - FOOT - ROOM * count / max(highest, 1), f"{count:,}") for count in counts]


def ticks(histogram: Histogram, most: int = 8) -> list[Tick]:
    """Powers of two below their edges, at most `most` of them."""
    wide = WIDTH / max(len(histogram.counts), 1)
    edges = [*histogram.low, *histogram.high[-1:]]
    places = [
        (at, round(math.log2(edge)))
        for at, edge in enumerate(edges)
        if edge is not None and abs(math.log2(edge) - round(math.log2(edge))) < 1e-3
    ]
    step = -(-len(places) // most) or 1
    return [
        Tick(at * wide, f"{2**power:,}" if power >= 0 else f"{2.0**power:.3g}")
        for at, power in places
        if power % step == 0
    ]


def slab(layer: LayerEntry, size: tuple[int, int], most: int) -> Box:
    """A layer as a slab in a square of 400: as high as its maps in a picture of that height, as wide as its channels
    where the widest layer has `most`; never too thin to be seen."""
    height = max(round(400 * (layer.map[0] if layer.map else 1) / size[0]), 16)
    width = max(round(400 * layer.channels / most), 16)
    return Box((400 - height) // 2, (400 - width) // 2, height, width)


def surroundings(layers: Sequence[LayerEntry], size: tuple[int, int]) -> Box:
    """The picture with a margin that shows how far the fields of the middle units leave it, up to a quarter of it."""
    margins = []
    for axis, side in enumerate(size):
        beyond = [max(-layer.middle[axis], layer.middle[axis] + layer.middle[axis + 2] - side) for layer in layers]
        margins.append(min(max(*beyond, 0, 0), side // 4))
    return Box(-margins[0], -margins[1], size[0] + 2 * margins[0], size[1] + 2 * margins[1])


def gallery_columns(count: int) -> int:
    """How many panels stand side by side in rows of up to nine, all as long as can be."""
    return -(-count // max(-(-count // 9), 1))


def faintness(count: int) -> float:
    """How opaque each of so many frames over one picture is: where many cross, the picture is still seen."""
    return min(0.7, 6 / max(count, 1))


def whole(size: tuple[int, int]) -> Box:
    """A picture of (height, width) as a box."""
    return Box(0, 0, *size)


def shade(box: Box, size: tuple[int, int]) -> str:
    """The path of what lies outside a box in a picture of (height, width), for the fill rule evenodd."""
    top, left = max(box.top, 0), max(box.left, 0)
    bottom, right = min(box.top + box.height, size[0]), min(box.left + box.width, size[1])
    return f"M0 0H{size[1]}V{size[0]}H0ZM{left} {top}V{bottom}H{right}V{top}Z"


class Catalogue:
    """The pictures of units' hits, each named once, and the hits as short texts: what the script of tiles reads."""

    def __init__(self, path: str, units: Iterable[UnitEntry]) -> None:
        """path: of the page."""
        self._to = partial(links.relative, path)
        self._hits = {hit.picture: hit for unit in units for hit in unit.hits}
        self._numbers = {id: number for number, id in enumerate(self._hits)}

    def pictures(self) -> str:
        """A JSON list of [address, name, label or null]."""
        return json.dumps([[self._to(hit.page), hit.name, hit.label] for hit in self._hits.values()])

    def hits(self, unit: UnitEntry) -> str:
        """Of each its value, the number of its picture and its y and x, if it has them; separated by semicolons."""
        return ";".join(map(self._hit, unit.hits))

    def _hit(self, hit: HitEntry) -> str:
        place = f" {hit.position[0]} {hit.position[1]}" if hit.position else ""
        return f"{number(hit.value)} {self._numbers[hit.picture]}{place}"


class TwoCatalogues:
    """The same for the pictures of two atlases, which may bear the same numbers; of hits only the picture is told."""

    def __init__(self, page: CompareLayerPage) -> None:
        self._to = partial(links.relative, page.path)
        both = ((links.picture, page.pictures), (lambda id: links.beside(links.picture(id)), page.pictures_of_other))
        self._listed = [(address(id), name) for address, names in both for id, name in names.items()]
        self._numbers = {address: number for number, (address, _) in enumerate(self._listed)}

    def pictures(self) -> str:
        """A JSON list of [address, name, null]."""
        return json.dumps([[self._to(address), name, None] for address, name in self._listed])

    def hits(self, tile: UnitTile) -> str:
        """Of each the number of its picture, after the value that is not told."""
        prefix = links.BESIDE if tile.page.startswith(links.BESIDE) else ""
        return ";".join(f" {self._numbers[prefix + links.picture(id)]}" for id in tile.pictures)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pixelward.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "minus": minus, "curly": curly, "spelled": spelled}
    environment.filters |= {"bits": math.log2, "signed": signed, "breakable": breakable, "panel": panel}
    environment.globals |= {"links": links, "share": share, "bars": bars, "ticks": ticks, "gridlines": gridlines}
    environment.globals |= {"shade": shade, "slab": slab, "surroundings": surroundings, "whole": whole}
    environment.globals |= {"catalogue": Catalogue, "catalogues": TwoCatalogues, "gallery_columns": gallery_columns}
    environment.globals |= {"faintness": faintness}
    environment.globals |= {"chart": (WIDTH, HEIGHT, FOOT)}
    return environment
