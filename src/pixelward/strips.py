"""Pictures with words, for the `project` command: a projection beside its picture, the way down, the controls.

Light paper, one font size for text and one for titles, panels of one size. Pillow's own font has little beyond ASCII,
so the words drawn here keep to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pixelward.core.fields import Box
from pixelward.hatch import cleared, hatched
from pixelward.pictures import (
    Correlation,
    Picture,
    Signal,
    crop,
    fit,
    focus_box,
    inks,
    signal_to_picture,
    view_box,
)

Colour = tuple[int, int, int]
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PAPER: Colour = (250, 250, 248)
INK: Colour = (29, 29, 31)
QUIET: Colour = (104, 104, 110)
MARK: Colour = (255, 196, 0)  # the field, on any photograph
RULE: Colour = (222, 222, 218)  # round the panels

MARGIN = 28
BETWEEN = 22  # panels
BELOW = 10  # a panel, before its words
HEADING, TITLE, TEXT = 19, 15, 13  # font sizes in pixels
DRAWN = frozenset(map(chr, range(32, 127))) | frozenset("·±“”’…")  # what Pillow's font can draw
SPELLED = {"×": "x", "–": "-", "—": "-", "−": "-"}


class Step(NamedTuple):
    """One step on the way down: "unpool", where, and the signal after it, (C, h, w) or, in a vector, (C,)."""

    title: str
    subtitle: str
    signal: Signal


class Control(NamedTuple):
    """A picture to compare a projection with; None where there is none.

    correlation: None where one of the two does not vary.
    """

    title: str
    sentence: str
    picture: Picture | None
    correlation: Correlation | None


class _Panel(NamedTuple):
    image: Image.Image
    title: str
    lines: tuple[str, ...]


class _Line(NamedTuple):
    text: str
    font: _Font
    colour: Colour
    height: int


def beside(
    picture: Picture, signal: Signal, field: Box, *, order: str, title: str, lines: Sequence[str] = ()
) -> Image.Image:
    """A picture with the field marked, the whole projection, then both cropped to the field.

    picture: (H, W, 3) uint8, as the network saw it. signal: (C, H, W). lines: what was chosen, under the title.
    Where the energy sits in a small part of a large field, a last panel shows that part.
    """
    height, width = picture.shape[:2]
    shown = signal_to_picture(signal, order, field)
    view = view_box(field, height, width)
    focus = focus_box(signal, field)
    side = 256
    size = f"{field.height} x {field.width} pixels"
    panels = [
        _Panel(
            _marked(picture, field, side, dim=True), "Picture", (f"{height} x {width} pixels; its field in full light",)
        ),
        _Panel(_marked(shown.picture, field, side), "Projection", (f"grey is 0, black and white ± {shown.scale:.3g}",)),
    ]
    if view != Box(0, 0, height, width):
        panels += [
            _Panel(_part(picture, view, side), "Patch", (f"the field, {size}",)),
            _Panel(_part(shown.picture, view, side), "Projection in its field", ("hatched outside the picture",)),
        ]
    if focus is not None:
        words = (f"95 % of its energy, {focus.height} x {focus.width} pixels",)
        panels.append(_Panel(_part(shown.picture, focus, side), "Where the signal is", words))
    return _compose(title, lines, panels, side, columns=len(panels))


def walk_strip(steps: Sequence[Step], *, order: str, title: str, lines: Sequence[str] = ()) -> Image.Image:
    """The signal after every step on the way down; the last step's signal is the one at the pixels.

    Maps of many channels are one picture: at each place the red ink is the root of the summed squares of the positive
    values over all channels, the blue ink that of the negative ones, so that what a rectifier takes away is seen.
    A vector is laid out in rows of a square, a cell a unit.
    """
    side = 176
    panels = []
    for number, step in enumerate(steps, start=1):
        last = number == len(steps)
        image = fit(signal_to_picture(step.signal, order).picture if last else _on_paper(inks(step.signal)), side)
        size = f"{' x '.join(map(str, step.signal.shape))}, {_share(step.signal)} not zero"
        panels.append(_Panel(image, f"{number}  {step.title}", (step.subtitle, size)))
    key = (
        "Maps are summed up over their channels: red ink is positive signal, blue ink negative (root of the squares). "
        "The last picture is the signal at the pixels: grey is 0."
    )
    return _compose(title, [*lines, key], panels, side, columns=min(len(panels), 7))


def controls_strip(
    shown: Picture, controls: Sequence[Control], *, title: str, lines: Sequence[str] = ()
) -> Image.Image:
    """The shown projection, then its controls, each with its correlation to it and what that means (PAPER B7)."""
    side = 200
    panels = [_Panel(_panel(shown, side), "Shown", ("The projection that the others are compared with.",))]
    for control in controls:
        likeness = control.correlation
        number = (
            "no likeness: one of the two does not vary"
            if likeness is None
            else f"r = {likeness.plain:.2f}, fine structure {likeness.fine:.2f}"
        )
        if control.picture is None:
            panels.append(_Panel(Image.new("RGB", (side, side), PAPER), control.title, (control.sentence,)))
        else:
            panels.append(_Panel(_panel(control.picture, side), control.title, (number, control.sentence)))
    return _compose(title, lines, panels, side, columns=min(len(panels), 5))


def _part(picture: Picture, box: Box, side: int) -> Image.Image:
    """A box of a picture at panel size."""
    return _panel(cleared(crop(picture, box), box, (picture.shape[0], picture.shape[1])), side)


def _panel(tile: Picture, side: int) -> Image.Image:
    """A tile at panel size, hatched where it is clear."""
    image = hatched(fit(tile, side))
    return Image.fromarray(_on_paper(np.asarray(image))) if image.mode == "RGBA" else image


def _on_paper(picture: NDArray[np.uint8]) -> Picture:
    """An RGBA picture on the strips' paper."""
    image = Image.fromarray(picture)
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, (*PAPER, 255)), image).convert("RGB"))


def _share(signal: Signal) -> str:
    share = 100 * np.count_nonzero(signal) / max(signal.size, 1)
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.2g} %"


def _marked(picture: Picture, box: Box, side: int, dim: bool = False) -> Image.Image:
    """A picture at panel size with a box drawn on it; the sides that leave the picture are not drawn."""
    height, width = picture.shape[:2]
    image = fit(picture, side)
    scale = side / max(height, width)
    top, left = round(box.top * scale), round(box.left * scale)
    bottom, right = round((box.top + box.height) * scale) - 1, round((box.left + box.width) * scale) - 1
    if dim:
        dark = Image.blend(image, Image.new("RGB", image.size, (24, 24, 26)), 0.55)
        light = (max(left, 0), max(top, 0), min(right + 1, image.width), min(bottom + 1, image.height))
        if light[0] < light[2] and light[1] < light[3]:
            dark.paste(image.crop(light), light[:2])
        image = dark
    ImageDraw.Draw(image).rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=MARK, width=2)
    return image


def _compose(title: str, lines: Sequence[str], panels: Sequence[_Panel], side: int, columns: int) -> Image.Image:
    """Title, lines, then the panels in rows with their words below; as high as the words need."""
    wide = max(columns * side + (columns - 1) * BETWEEN, 480)
    head = [*_lines(title, HEADING, INK, wide), *(line for words in lines for line in _lines(words, TEXT, QUIET, wide))]
    below = [
        [
            *_lines(panel.title, TITLE, INK, side),
            *(line for text in panel.lines for line in _lines(text, TEXT, QUIET, side)),
        ]
        for panel in panels
    ]
    rows = [range(start, min(start + columns, len(panels))) for start in range(0, len(panels), columns)]
    frames = [max(panels[i].image.height for i in row) for row in rows]
    words = [BELOW + max(_height(below[i]) for i in row) for row in rows]
    first = MARGIN + _height(head) + BELOW + 4
    high = first + sum(frames) + sum(words) + BETWEEN * (len(rows) - 1) + MARGIN
    page = Image.new("RGB", (wide + 2 * MARGIN, high), PAPER)
    pen = ImageDraw.Draw(page)
    _write(pen, MARGIN, MARGIN, head)
    top = first
    for row, frame, under in zip(rows, frames, words, strict=True):
        for place, i in enumerate(row):
            left, image = MARGIN + place * (side + BETWEEN), panels[i].image
            page.paste(image, (left + (side - image.width) // 2, top + (frame - image.height) // 2))
            pen.rectangle((left - 1, top - 1, left + side, top + frame), outline=RULE)
            _write(pen, left, top + frame + BELOW, below[i])
        top += frame + under + BETWEEN
    return page


def _lines(words: str, size: int, colour: Colour, width: int) -> list[_Line]:
    font = ImageFont.load_default(size)
    return [_Line(text, font, colour, round(1.4 * size)) for text in _wrapped(words, font, width)]


def _height(lines: Sequence[_Line]) -> int:
    return sum(line.height for line in lines)


def _write(pen: ImageDraw.ImageDraw, left: int, top: int, lines: Sequence[_Line]) -> None:
    for line in lines:
        pen.text((left, top), line.text, font=line.font, fill=line.colour)
        top += line.height


def _wrapped(words: str, font: _Font, width: int) -> list[str]:
    """Lines no wider than `width` pixels; a word that is too long alone is cut. What the font lacks becomes '?'."""
    plain = "".join(c if c in DRAWN else "?" for c in "".join(SPELLED.get(c, c) for c in words))
    lines, line = [], ""
    for word in plain.split():
        longer = f"{line} {word}".strip()
        if font.getlength(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        while font.getlength(word) > width:
            cut = max(n for n in range(1, len(word) + 1) if n == 1 or font.getlength(word[:n]) <= width)
            lines.append(word[:cut])
            word = word[cut:]
        line = word
    return [*lines, line] if line else lines
