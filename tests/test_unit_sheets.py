"""Tiles of hits: the same for a signal in whatever window it came down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_atlas import Spec, fake_atlas
from pixelward.atlas import Atlas
from pixelward.core.fields import Box
from pixelward.data.images import Preprocess
from pixelward.errors import PixelwardError
from pixelward.pictures import focus_box, laid_in, part_inside
from pixelward.unit_sheets import ChosenHit, Sheets, Writer
from pixelward.waiting import Waiting

SIDE = 64
GREY = Preprocess.from_dict(
    {"channels": "RGB", "range": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3, "resize": SIDE, "size": SIDE}
)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    folder = tmp_path_factory.mktemp("sheets") / "atlas"
    return fake_atlas(folder, [Spec("conv:relu", 2, 16, 4, 71, dead=0)], size=SIDE, drawn=False)


def tiles_of(atlas: Atlas, position: tuple[int, int], signal: np.ndarray, box: Box) -> tuple[list[np.ndarray], dict]:
    """What is kept of a hit whose signal lies in `box`: its tiles and its boxes."""
    (record,) = atlas.layers
    with Writer() as writer, Waiting(atlas.path) as waiting:
        sheets = Sheets(atlas, record, GREY, writer, waiting)
        shown = np.arange(3 * SIDE * SIDE).reshape(SIDE, SIDE, 3).astype(np.uint8)
        sheets.add(ChosenHit(record.number, 0, 0, position, 1.0), shown, signal, box)
        tiles = waiting.take((record.number, 0, 0))
        assert tiles is not None
        return tiles, {name: boxes[0, 0].tolist() for name, boxes in sheets._boxes.items()}


@given(
    position=st.tuples(*[st.integers(0, 15)] * 2),
    spot=st.tuples(*[st.floats(0, 1)] * 2),
    sides=st.tuples(*[st.integers(1, 40)] * 2),
    spare=st.tuples(*[st.integers(0, 30)] * 4),
)
def test_tiles_and_boxes_do_not_depend_on_the_window(atlas: Atlas, position, spot, sides, spare):
    (record,) = atlas.layers
    part = part_inside(record.shown.box(position, atlas.size), *atlas.size)
    tall, wide = min(sides[0], part.height), min(sides[1], part.width)
    top, left = (
        start + round(where * (length - side))
        for start, where, length, side in zip(part[:2], spot, part[2:], (tall, wide), strict=True)
    )
    whole = np.zeros((3, SIDE, SIDE), np.float32)
    # Whole numbers, whose sums are exact in any order.
    whole[:, top : top + tall, left : left + wide] = np.random.default_rng(tall).integers(-9, 10, (3, tall, wide))
    window = Box(top - spare[0], left - spare[1], tall + spare[0] + spare[2], wide + spare[1] + spare[3])
    tiles, boxes = tiles_of(atlas, position, whole, Box(0, 0, SIDE, SIDE))
    cut_tiles, cut_boxes = tiles_of(atlas, position, laid_in(whole, Box(0, 0, SIDE, SIDE), window), window)
    assert cut_boxes == boxes
    for tile, cut_tile in zip(tiles, cut_tiles, strict=True):
        np.testing.assert_array_equal(cut_tile, tile)
    found = focus_box(whole, record.shown.box(position, atlas.size))
    assert boxes["focus"] == ([-1] * 4 if found is None else list(found))


def test_the_focus_is_of_the_field_in_the_picture_not_of_the_window(atlas: Atlas):
    whole = np.zeros((3, SIDE, SIDE), np.float32)
    whole[:, 30:40, 30:40] = 1
    window = Box(28, 28, 14, 14)  # of which the spot is half
    _, boxes = tiles_of(atlas, (8, 8), whole[:, 28:42, 28:42], window)
    assert boxes["focus"] == [30, 30, 10, 10]


def test_where_no_tiles_can_wait_it_is_told_in_words(tmp_path):
    with pytest.raises(PixelwardError, match=r"gone, where no more can be written \(No such file.* see who may write"):
        Waiting(tmp_path / "gone")
