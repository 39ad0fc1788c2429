"""A page of content.py -> HTML and its JSON twin. Pure: the same page gives the same text, served or exported.

Templates escape everything that they are given, and hold neither inline scripts nor inline styles, so that a strict
content-security policy can forbid both.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cache, partial

import jinja2

from pixelward.core.fields import Box
from pixelward.errors import PixelwardError
from pixelward.web import links
from pixelward.web.content import Histogram, IndexPage, LayerPage, Page, PicturePage, UnitPage

TEMPLATES: dict[type[Page], str] = {
    IndexPage: "index.html",
    LayerPage: "layer.html",
    UnitPage: "unit.html",
    PicturePage: "picture.html",
}

WIDTH, HEIGHT, FOOT = 640, 150, 22  # of the histogram, in units of its viewBox; FOOT holds the numbers


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


def html(page: Page) -> str:
    """The page as HTML."""
    template = _environment().get_template(TEMPLATES[type(page)])
    return template.render(page=page, to=partial(links.relative, page.path))


def twin(page: Page) -> str:
    """The page as JSON: its dataclass, field by field."""
    return json.dumps(asdict(page), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def problem(title: str, told: PixelwardError) -> str:
    """The page of a server that cannot give what it was asked for. Its links begin at the root of the site."""
    return _environment().get_template("problem.html").render(title=title, told=told, to=lambda target: f"/{target}")


def number(value: float) -> str:
    """A value with three significant digits, more where it has more before the point; powers of ten for tiny ones."""
    if value and abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:#.3g}" if abs(value) < 99.95 else f"{value:,.0f}"


def share(part: int, whole: int) -> str:
    """A part of a whole in per cent; a small part never reads as none, a large one never as all."""
    if not whole:
        return "0 %"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "below 0.1 %"
    if 99.9 < percent < 100:
        return "over 99.9 %"
    return f"{percent:.0f} %" if percent in (0, 100) or 10 <= percent < 99 else f"{percent:.1f} %"


def bars(histogram: Histogram) -> list[Bar]:
    """The bins side by side, as high as their counts."""
    wide = WIDTH / max(len(histogram.counts), 1)
    most, room = max(histogram.counts, default=0), HEIGHT - FOOT - 4
    drawn = []
    for at, (low, high, count) in enumerate(zip(histogram.low, histogram.high, histogram.counts, strict=True)):
        tall = max(room * count / most, 1.5) if count else 0.0
        ends = f"below {number(high or 0)}" if low is None else f"from {number(low)}"
        between = f"{ends} to {number(high)}" if low is not None and high is not None else ends
        noun = "picture" if count == 1 else "pictures"
        bar = Bar(at * wide + 1, HEIGHT - FOOT - tall, max(wide - 2, 1), tall, f"{between}: {count:,} {noun}")
        drawn.append(bar)
    return drawn


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


def field_glyph(field: tuple[int, int] | None, size: tuple[int, int]) -> Box:
    """The field, to scale, in the middle of a square of 40 that stands for the picture; cut where it is larger."""
    height, width = (min(40 * side / whole, 40) for side, whole in zip(field or size, size, strict=True))
    height, width = max(round(height), 2), max(round(width), 2)
    return Box((40 - height) // 2, (40 - width) // 2, height, width)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pixelward.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number}
    environment.globals |= {"links": links, "share": share, "bars": bars, "ticks": ticks, "field_glyph": field_glyph}
    environment.globals |= {"chart": (WIDTH, HEIGHT, FOOT)}
    return environment
