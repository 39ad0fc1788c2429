"""What lies outside the picture, or a map, is hatched where it is shown; nothing inside is touched."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pixelward.core.fields import Box
from pixelward.hatch import ALPHA, RULED, cleared, hatched, lines, ruled
from pixelward.pictures import crop, fit, sheet

EDGES = st.integers(-30, 60)
SIDES = st.integers(1, 50)


@given(top=EDGES, left=EDGES, height=SIDES, width=SIDES, scale=st.sampled_from([1, 2, 3]))
def test_exactly_what_leaves_the_picture_is_clear(top: int, left: int, height: int, width: int, scale: int):
    picture = np.full((20, 30, 3), 77, np.uint8)
    view = Box(top, left, height, width)
    tile = np.kron(crop(picture, view, fill=200), np.ones((scale, scale, 1), np.uint8))
    found = cleared(tile, view, (20, 30))
    assert np.array_equal(found[..., :3], tile)
    inside = tile[..., 0] == 77
    if inside.all():
        assert found is tile
    else:
        assert np.array_equal(found[..., 3], 255 * inside)


@given(top=EDGES, left=EDGES, height=SIDES, width=SIDES)
def test_maps_are_ruled_exactly_where_they_have_no_cells(top: int, left: int, height: int, width: int):
    maps = np.random.default_rng(0).integers(1, 200, (20, 30, 4), dtype=np.uint8)  # no part of it as a line
    view = Box(top, left, height, width)
    tile = crop(maps, view, fill=0)
    found, beyond = ruled(tile, view, (20, 30)), ~tile.any(axis=2)
    if not beyond.any():
        assert found is tile
        return
    times = max(RULED // max(height, width), 1)
    large = np.kron(tile, np.ones((times, times, 1), np.uint8))
    there = np.kron(beyond, np.ones((times, times), bool))
    assert np.array_equal(found, np.where(there[..., None], np.asarray(lines(width * times, height * times)), large))


def test_a_hatch_is_seen_on_light_and_on_dark_paper_and_is_no_grey_of_zero():
    outside = np.asarray(hatched(Image.fromarray(np.zeros((40, 40, 4), np.uint8))))
    assert set(np.unique(outside[..., 3])) == set(ALPHA)
    for paper in (250, 22):
        seen = paper + (outside[..., 0].astype(int) - paper) * outside[..., 3] / 255
        assert np.ptp(seen) > 20
        assert np.abs(seen - 128).min() > 40


def test_on_a_sheet_only_what_is_clear_is_hatched():
    tile = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    whole = np.asarray(sheet([tile, cleared(tile, Box(-8, 0, 16, 16), (64, 64))], cell=64, columns=2))
    assert np.array_equal(whole[:, :64, :3], np.asarray(fit(tile, 64)))
    assert np.array_equal(whole[32:, 68:], whole[32:, :64])
    assert (whole[:32, 68:, 3] < 128).all()
    assert hatched(fit(tile, 64)).mode == "RGB"
