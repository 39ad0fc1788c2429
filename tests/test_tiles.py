"""Tiles of one photograph: nothing is lost, nothing comes twice, and each is what its box says."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelward.core.fields import Box
from pixelward.data.images import decode
from pixelward.data.tiles import Tile, cut, cut_all, overlap, overlaps, tile_boxes
from pixelward.errors import PixelwardError

# The colour photographs of the demo: size, and the number of tiles of 64 pixels that stand 48 apart.
PHOTOGRAPHS = {
    "astronaut.png": 240,
    "chelsea.png": 122,
    "coffee.png": 207,
    "rocket.jpg": 239,
    "hubble_deep_field.jpg": 775,
    "retina.jpg": 1805,
}

sides = st.integers(1, 300)
boxes = st.builds(Box, *[st.integers(-20, 20)] * 2, *[st.integers(1, 20)] * 2)


@st.composite
def grids(draw) -> tuple[int, int, int, int]:
    """Width, height, size and stride for which there are tiles, but not too many."""
    size = draw(st.integers(4, 70))
    return draw(st.integers(size, 300)), draw(st.integers(size, 300)), size, draw(st.integers((size + 3) // 4, size))


def by_scale(tiles: list[Tile]) -> dict[float, list[Box]]:
    return {scale: [tile.box for tile in tiles if tile.scale == scale] for scale in {tile.scale for tile in tiles}}


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_tiles_by_hand():
    # 10 x 7, tiles of 4, 3 apart. Whole: columns 0, 3, 6 (6 + 4 = 10, flush), rows 0 and 3 (flush).
    whole = [(top, left, 4, 4) for top in (0, 3) for left in (0, 3, 6)]
    # At 1/sqrt 2: 7.07 x 4.95 -> 7 x 5: columns 0 and 3 (flush), rows 0 and 1 (flush).
    # Own pixels: columns 0 ... 4 * 10/7 = 5.7 -> 0 ... 6; 3 * 10/7 = 4.3 -> 4 ... 10;
    # rows 0 ... 4 * 7/5 = 5.6 -> 0 ... 6; 1 * 7/5 = 1.4 -> 1 ... 7. At 1/2: 5 x 4 (3.5 to even): columns 0 and 1,
    # 0 ... 8 and 2 ... 10; row 0, 0 ... 7. At 1/(2 sqrt 2) the shorter side is 2.5: too small.
    small = [(0, 0, 6, 6), (0, 4, 6, 6), (1, 0, 6, 6), (1, 4, 6, 6)]
    half = [(0, 0, 7, 8), (0, 2, 7, 8)]
    tiles = tile_boxes(10, 7, size=4, stride=3)
    assert [tuple(tile.box) for tile in tiles] == whole + small + half
    assert [tile.scale for tile in tiles] == [1.0] * 6 + [0.5**0.5] * 4 + [0.5] * 2


@settings(deadline=None, max_examples=40)
@given(grids())
def test_tiles_of_every_scale_cover_the_photograph_to_its_borders(grid):
    width, height, _, _ = grid
    for scale, found in by_scale(tile_boxes(*grid)).items():
        covered = np.zeros((height, width), bool)
        for top, left, tall, wide in found:
            assert 0 <= top < top + tall <= height
            assert 0 <= left < left + wide <= width
            covered[top : top + tall, left : left + wide] = True
        assert covered.all(), scale


@settings(deadline=None, max_examples=40)
@given(grids())
def test_no_tile_comes_twice_and_they_go_by_scale_row_and_column(grid):
    tiles = tile_boxes(*grid)
    assert len(set(tiles)) == len(tiles)
    assert tiles == sorted(tiles, key=lambda tile: (-tile.scale, tile.box.top, tile.box.left))
    assert tile_boxes(*grid) == tiles


@settings(deadline=None, max_examples=40)
@given(grids())
def test_scales_are_halves_and_their_roots_while_the_shorter_side_holds_a_tile(grid):
    width, height, size, _ = grid
    scales = sorted(by_scale(tile_boxes(*grid)), reverse=True)
    assert scales == pytest.approx([2 ** (-step / 2) for step in range(len(scales))], rel=1e-15)
    assert round(min(width, height) * scales[-1]) >= size
    assert round(min(width, height) * 2 ** (-len(scales) / 2)) < size


@settings(deadline=None, max_examples=40)
@given(grids())
def test_a_box_has_its_tiles_size_over_the_scale_to_a_pixel(grid):
    width, height, size, _ = grid
    for box, scale in tile_boxes(*grid):
        assert abs(box.height - size * height / round(height * scale)) <= 1
        assert abs(box.width - size * width / round(width * scale)) <= 1


@settings(deadline=None, max_examples=40)
@given(sides, sides, st.integers(41, 300))
def test_a_photograph_smaller_than_a_tile_has_none(width, height, size):
    tiles = tile_boxes(width, height, size, stride=size)
    assert bool(tiles) == (min(width, height) >= size)


def test_a_photograph_of_a_tiles_size_is_its_only_tile():
    assert tile_boxes(64, 64, 64, 48) == [Tile(Box(0, 0, 64, 64), 1.0)]
    photo = noise(64, 64)
    assert cut(photo, Tile(Box(0, 0, 64, 64), 1.0), 64).tobytes() == photo.tobytes()


@pytest.mark.parametrize(("size", "stride"), [(64, 0), (64, 65), (0, 0), (64, -1)])
def test_a_stride_that_leaves_gaps_or_goes_nowhere_is_refused(size, stride):
    words = f"given: tiles of {size} pixels that stand {stride} apart - allowed: a stride from 1 to the size, "
    with pytest.raises(PixelwardError, match=words + ".* - next step: correct --tiles SIZE,STRIDE"):
        tile_boxes(640, 480, size, stride)


# Cutting


@settings(deadline=None, max_examples=25)
@given(grids())
def test_a_tile_is_a_piece_of_the_photograph_scaled_as_a_whole(grid):
    width, height, size, stride = grid
    photo = noise(width, height)
    pieces = iter(cut_all(photo, tile_boxes(*grid), size))
    for scale in sorted(by_scale(tile_boxes(*grid)), reverse=True):
        scaled = photo.resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)
        pixels = np.asarray(scaled)
        rows, columns = (sorted({*range(0, side - size, stride), side - size}) for side in pixels.shape[:2])
        for top in rows:
            for left in columns:
                tile, piece = next(pieces)
                assert tile.scale == scale
                assert piece.size == (size, size)
                np.testing.assert_array_equal(np.asarray(piece), pixels[top : top + size, left : left + size])
    assert next(pieces, None) is None


def test_single_tiles_and_some_in_any_order_are_cut_like_all():
    photo = noise(97, 61)
    every = dict(cut_all(photo, tile_boxes(97, 61, 20, 9), 20))
    some = list(every)[::-3]
    for tile, piece in cut_all(photo, some, 20):
        assert piece.tobytes() == every[tile].tobytes()
        assert cut(photo, tile, 20).tobytes() == piece.tobytes()
    assert [tile for tile, _ in cut_all(photo, some, 20)] == some


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_a_tile_shows_what_its_box_covers(step):
    y, x = np.mgrid[:300, :420]
    photo = Image.fromarray(np.stack([y * 255 // 299, x * 255 // 419, 0 * x], 2).astype(np.uint8))
    for tile, piece in cut_all(photo, tile_boxes(420, 300, 32, 32), 32):
        if tile.scale == pytest.approx(2 ** (-step / 2)):
            box = tile.box
            own = photo.crop((box.left, box.top, box.left + box.width, box.top + box.height))
            difference = np.asarray(piece).mean((0, 1)) - np.asarray(own).mean((0, 1))
            assert abs(difference).max() < 1


# Overlap


def test_overlap_by_hand():
    a = Box(0, 0, 10, 10)
    assert overlap(a, Box(5, 5, 10, 10)) == 0.25  # 5 * 5 of 100
    assert overlap(a, Box(2, 2, 4, 5)) == 1.0  # inside
    assert overlap(a, Box(-5, 8, 10, 5)) == 5 * 2 / 50
    assert overlap(a, Box(10, 0, 10, 10)) == 0.0  # side by side
    assert overlap(a, Box(20, 20, 1, 1)) == 0.0
    assert overlap(a, Box(5, 5, 0, 3)) == 0.0  # no pixels


def pixels(box: Box) -> set[tuple[int, int]]:
    return {(y, x) for y in range(box.top, box.top + box.height) for x in range(box.left, box.left + box.width)}


@settings(deadline=None)
@given(boxes, boxes)
def test_overlap_is_the_share_of_the_smaller_boxs_pixels(a, b):
    shared = len(pixels(a) & pixels(b)) / min(len(pixels(a)), len(pixels(b)))
    assert overlap(a, b) == overlap(b, a) == shared
    assert overlap(a, a) == 1.0


@settings(deadline=None, max_examples=30)
@given(st.lists(boxes, min_size=1, max_size=6), st.lists(boxes, min_size=1, max_size=6))
def test_overlaps_of_arrays_are_those_of_their_boxes(some, others):
    table = overlaps(np.array(some)[:, None], np.array(others)[None])
    assert table.tolist() == [[overlap(a, b) for b in others] for a in some]


# The demo


def test_six_photographs_make_a_data_set():
    skimage = pytest.importorskip("skimage")
    folder = Path(skimage.__file__).parent / "data"
    counts = {}
    for name in PHOTOGRAPHS:
        photo = decode((folder / name).read_bytes(), name)
        counts[name] = len(tile_boxes(*photo.size, size=64, stride=48))
    assert counts == PHOTOGRAPHS
    assert 1000 <= sum(counts.values()) <= 6000
