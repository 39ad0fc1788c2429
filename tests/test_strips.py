"""The project command's pictures: nothing is clipped, the field is marked, what is zero is said to be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from pixelward import strips
from pixelward.core.fields import Box
from pixelward.pictures import NEGATIVE, POSITIVE, Correlation, inks
from pixelward.strips import MARGIN, MARK, PAPER, Control, Step, beside, controls_strip, walk_strip

LONG = (
    "features.denseblock4.denselayer16/relu#2, unit 1023, and a great many more words than would fit on one line " * 3
)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)


def controls(count: int) -> list[Control]:
    likeness = [Correlation(0.5, 0.25), None]
    return [Control(f"Control {n}", LONG, photo(9, 9), likeness[n % 2]) for n in range(count)]


def steps(count: int) -> list[Step]:
    maps = [Step("filter", LONG, noise(8, 5 + n, 5 + n)) for n in range(count - 1)]
    return [Step("seed", LONG, noise(50)), *maps[1:], Step("filter", "conv1", noise(3, 40, 30))][-count:]


MADE = {
    "beside": lambda: beside(
        photo(64, 64), noise(3, 64, 64), Box(10, -5, 27, 27), order="RGB", title=LONG, lines=[LONG]
    ),
    "walk": lambda: walk_strip(steps(9), order="BGR", title=LONG, lines=[LONG]),
    "one step": lambda: walk_strip(steps(1), order="RGB", title=LONG),
    "controls": lambda: controls_strip(photo(9, 9), controls(5), title=LONG, lines=[LONG]),
}


@pytest.mark.parametrize("made", MADE)
def test_nothing_reaches_into_the_margin(made: str):
    pixels = np.asarray(MADE[made]())
    edge = np.ones(pixels.shape[:2], bool)
    edge[MARGIN - 2 : -MARGIN + 2, MARGIN - 2 : -MARGIN + 2] = False
    assert (pixels[edge] == PAPER).all()


@pytest.mark.parametrize("made", MADE)
def test_the_same_input_gives_the_same_pixels(made: str):
    assert MADE[made]().tobytes() == MADE[made]().tobytes()


@settings(deadline=None, max_examples=40)
@given(words=st.text(max_size=80), width=st.integers(30, 300))
def test_lines_fit_and_lose_no_word(words: str, width: int):
    font = ImageFont.load_default(13)
    lines = strips._wrapped(words, font, width)
    assert all(font.getlength(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join("".join(strips._wrapped(words, font, 10**6)).split())


def test_characters_that_the_font_lacks_are_told():
    assert strips._wrapped("3 × 4 – 犬.png", ImageFont.load_default(13), 500) == ["3 x 4 - ?.png"]


def test_a_local_field_is_shown_cropped_and_a_field_beyond_the_picture_is_not():
    picture, signal = photo(64, 64), noise(3, 64, 64)
    local = beside(picture, signal, Box(0, 0, 20, 20), order="RGB", title="a")
    whole = beside(picture, signal, Box(-40, -40, 139, 139), order="RGB", title="a")
    assert local.width > 1.8 * whole.width


def test_the_field_is_marked_and_its_surroundings_are_dimmed():
    white = np.full((64, 64, 3), 255, np.uint8)
    pixels = np.asarray(beside(white, noise(3, 64, 64), Box(16, 16, 32, 32), order="RGB", title="a"))
    assert (pixels == MARK).all(axis=2).sum() > 4 * 2 * 128
    first = pixels[-200:-MARGIN, MARGIN : MARGIN + 256]
    assert (first == 255).all(axis=2).any()
    assert (first == (127, 127, 129)).all(axis=2).any()


def test_a_small_spot_gets_a_panel_of_its_own():
    signal = np.zeros((3, 64, 64), np.float32)
    plain = beside(photo(64, 64), noise(3, 64, 64), Box(0, 0, 60, 60), order="RGB", title="a")
    signal[:, 30:40, 30:40] = noise(3, 10, 10)
    assert beside(photo(64, 64), signal, Box(0, 0, 60, 60), order="RGB", title="a").width > plain.width


def test_the_inks_tell_positive_from_negative_signal():
    maps = np.zeros((4, 1, 3), np.float32)
    maps[0, 0, 0], maps[2, 0, 2] = 1.0, -1.0
    inked = strips._on_paper(inks(maps))
    assert tuple(inked[0, 0]) == POSITIVE
    assert tuple(inked[0, 1]) == PAPER
    assert tuple(inked[0, 2]) == NEGATIVE


def test_a_vector_is_laid_out_in_rows_of_a_square():
    vector = np.zeros(5, np.float32)
    vector[3] = 2.0
    inked = strips._on_paper(inks(vector))
    assert inked.shape == (3, 3, 3)
    assert tuple(inked[1, 0]) == POSITIVE
    assert (inked == PAPER).all(axis=2).sum() == 8


def test_a_control_that_is_zero_is_said_to_be():
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "_wrapped", lambda words, font, width: seen.append(words) or [])
        controls_strip(photo(9, 9), controls(2), title="a")
    assert "r = 0.50, fine structure 0.25" in seen
    assert "no likeness: one of the two does not vary" in seen


def test_strips_are_plain_rgb_images():
    assert all(isinstance(image := make(), Image.Image) and image.mode == "RGB" for make in MADE.values())
