"""What a notebook shows of an object: a card of HTML that needs nothing but itself.

Pictures are inside the text, small where there are many. Colours are those of the notebook, so that a card reads on
light and on dark paper; styles stand at their elements, since notebooks keep no other.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

SIDE = 104  # pixels of the longer side of a picture among many
_TYPES = {".webp": "image/webp", ".png": "image/png"}
_QUIET = "opacity:.72"
_STYLES = {
    "card": "max-width:60rem;line-height:1.45;color:inherit;background:none",
    "row": "display:flex;flex-wrap:wrap;gap:12px;margin:6px 0 14px",
    "figure": "margin:0",
    "pictures": "display:flex;flex-wrap:wrap;gap:4px",
    "image": "display:block;max-width:100%;height:auto;margin:0;background:none",
    "title": "font-size:1.1em",
    "line": "margin:2px 0",
    "quiet": f"margin:2px 0;{_QUIET}",
    "list": "margin:6px 0;padding-left:2.2em",
}


class Shown(NamedTuple):
    """A picture ready for a page. source: a data address. width, height: in pixels. alt: for who cannot see it."""

    source: str
    width: int
    height: int
    alt: str


class Figure(NamedTuple):
    """Pictures that belong together, and words below them."""

    pictures: Sequence[Shown]
    caption: str


def picture(image: Image.Image, alt: str) -> Shown:
    """An image as it is, without loss."""
    target = io.BytesIO()
    image.save(target, "PNG", optimize=True)
    return Shown(_address(target.getvalue(), ".png"), image.width, image.height, alt)


def sheet(file: Path, alt: str) -> Shown:
    """A picture's file, byte for byte."""
    data = file.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        return Shown(_address(data, file.suffix), image.width, image.height, alt)


def small(file: Path, alt: str) -> Shown:
    """A picture's file, reduced to SIDE pixels and some three kilobytes."""
    with Image.open(file) as image:
        share = min(SIDE / max(image.size), 1)
        size = (max(round(image.width * share), 1), max(round(image.height * share), 1))
        reduced = image.convert("RGBA").resize(size, Image.Resampling.LANCZOS)
    target = io.BytesIO()
    reduced.save(target, "WEBP", quality=80, method=4)
    return Shown(_address(target.getvalue(), ".webp"), *size, alt)


def card(title: str, parts: Iterable[str]) -> str:
    """The whole: a title and the parts that the functions below make."""
    return f'<div style="{_STYLES["card"]}">{_tag("b", "title", _text(title))}{"".join(parts)}</div>'


def line(text: str, *, quiet: bool = False) -> str:
    """A line of words."""
    return _tag("div", "quiet" if quiet else "line", _text(text))


def entries(texts: Iterable[str]) -> str:
    """Words in a numbered list."""
    return _tag("ol", "list", "".join(f"<li>{_text(each)}</li>" for each in texts))


def row(figures: Sequence[Figure]) -> str:
    """Figures side by side; nothing for none."""
    return _tag("div", "row", "".join(map(_figure, figures))) if figures else ""


def _figure(figure: Figure) -> str:
    images = "".join(
        f'<img style="{_STYLES["image"]}" src="{each.source}" width="{each.width}" height="{each.height}" '
        f'alt="{_text(each.alt)}">'
        for each in figure.pictures
    )
    caption = f'<figcaption style="{_QUIET}">{_text(figure.caption)}</figcaption>' if figure.caption else ""
    return _tag("figure", "figure", _tag("div", "pictures", images) + caption)


def _tag(name: str, style: str, inside: str) -> str:
    return f'<{name} style="{_STYLES[style]}">{inside}</{name}>'


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _address(data: bytes, suffix: str) -> str:
    return f"data:{_TYPES[suffix]};base64,{base64.b64encode(data).decode('ascii')}"
