"""Signals become pictures by one honest scale, crops may leave the picture, sheets keep pixels visible."""

import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from pixelward import pictures
from pixelward.core.fields import Box
from pixelward.errors import PixelwardError
from pixelward.pictures import (
    CELL,
    GAP,
    GREY,
    cell_size,
    columns_of,
    correlation,
    crop,
    fit,
    focus_box,
    photo_webp,
    projection_webp,
    reduced,
    sheet,
    signal_to_picture,
    view_box,
)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_grey_is_zero_and_the_scale_is_white_and_black():
    signal = np.zeros((3, 20, 20), np.float32)
    signal[:, 0, :10], signal[:, 1, :10], signal[:, 2, 0] = 8.0, -8.0, 4.0
    shown = signal_to_picture(signal)
    assert shown.scale == 8.0
    assert shown.picture.dtype == np.uint8
    assert (shown.picture[0, :10] == 255).all()
    assert (shown.picture[1, :10] == 1).all()
    assert (shown.picture[2, 0] == 192).all()  # 128 + 127 / 2, to the even neighbour
    assert (shown.picture[3:] == GREY).all()


def test_the_negative_signal_is_the_picture_mirrored_at_grey():
    signal = noise(3, 16, 16)
    up, down = signal_to_picture(signal).picture.astype(int), signal_to_picture(-signal).picture.astype(int)
    assert (up + down == 2 * GREY).all()


def test_one_scale_serves_the_three_colours():
    signal = np.abs(noise(1, 16, 16)) * np.array([1.0, 0.5, 0.0], np.float32)[:, None, None]
    red, green, blue = (signal_to_picture(signal).picture[..., c].astype(int) - GREY for c in range(3))
    unclipped = red < 127
    assert (np.abs(green - red / 2)[unclipped] <= 1).all()
    assert (blue == 0).all()


@pytest.mark.parametrize("factor", [2.0**-30, 0.5, 1024.0])
def test_a_signal_times_a_power_of_two_is_the_same_picture(factor: float):
    signal = noise(3, 16, 16)
    once, scaled = signal_to_picture(signal), signal_to_picture(signal * np.float32(factor))
    assert (once.picture == scaled.picture).all()
    assert scaled.scale == once.scale * factor


@pytest.mark.parametrize("side", [7, 20, 64])
def test_one_stray_pixel_does_not_wash_out_the_rest(side: int):
    signal = noise(3, side, side)
    stray = signal.copy()
    stray[:, side // 2, side // 2] = 1e4
    plain, shown = signal_to_picture(signal), signal_to_picture(stray)
    assert shown.scale < 1.5 * plain.scale
    assert shown.picture.std() > 0.7 * plain.picture.std()


@settings(deadline=None)
@given(pixels=st.integers(1, 12), seed=st.integers(0, 99), floor=st.sampled_from([0.0, 1e-8]))
def test_a_signal_of_few_pixels_does_not_vanish(pixels: int, seed: int, floor: float):
    rng = np.random.default_rng(seed)
    signal = np.full((3, 100, 100), floor)  # a floor: rounding that a float32 network leaves
    places = rng.choice(10_000, pixels, replace=False)
    signal.reshape(3, -1)[:, places] = rng.choice([-1, 1], pixels) * rng.uniform(1, 2, pixels)
    far = np.abs(signal_to_picture(signal).picture.astype(int) - GREY).max(axis=2).ravel()
    assert (far[places] >= 60).all()
    assert (np.delete(far, places) == 0).all()


def test_a_signal_of_zero_is_all_grey():
    shown = signal_to_picture(np.zeros((3, 8, 8), np.float32))
    assert shown.scale == 0.0
    assert (shown.picture == GREY).all()


def test_the_scale_is_measured_inside_the_box():
    signal = noise(3, 32, 32)
    box = Box(-4, 8, 20, 20)
    inside = signal_to_picture(signal, box=box)
    signal[:, 16:] *= 1000  # outside the box
    assert signal_to_picture(signal, box=box).scale == inside.scale


def test_a_box_that_misses_the_picture_has_no_scale():
    assert signal_to_picture(noise(3, 8, 8), box=Box(20, 20, 4, 4)).scale == 0.0


def test_bgr_is_shown_as_rgb():
    signal = noise(3, 8, 8)
    assert (signal_to_picture(signal[::-1], "BGR").picture == signal_to_picture(signal, "RGB").picture).all()


def test_one_channel_is_shown_grey():
    picture = signal_to_picture(noise(1, 8, 8), "L").picture
    assert picture.shape == (8, 8, 3)
    assert (picture == picture[..., :1]).all()


def test_other_counts_show_the_channel_of_largest_magnitude():
    signal = np.zeros((5, 10, 10), np.float32)
    signal[:, :, :5], signal[3, :, :5], signal[1, :, 5:] = 0.5, -2.0, 2.0
    picture = signal_to_picture(signal).picture
    assert (picture[:, :5] == 1).all()
    assert (picture[:, 5:] == 255).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(bad: float):
    signal = noise(3, 8, 8)
    signal[0, 0, 0] = bad
    with pytest.raises(
        PixelwardError, match=r"given: a signal with NaN or infinity - allowed: finite .* - next step: "
    ):
        signal_to_picture(signal)


@settings(deadline=None)
@given(
    top=st.integers(-12, 12),
    left=st.integers(-12, 12),
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    colours=st.booleans(),
)
def test_crop_is_the_box_cut_from_a_padded_picture(top: int, left: int, height: int, width: int, colours: bool):
    picture = np.random.default_rng(0).integers(0, 255, (9, 7, 3) if colours else (9, 7), dtype=np.uint8)
    margin = [(30, 30), (30, 30), (0, 0)][: picture.ndim]
    padded = np.pad(picture, margin, constant_values=GREY)
    expected = padded[30 + top :, 30 + left :][:height, :width]
    assert (crop(picture, Box(top, left, height, width)) == expected).all()


def test_view_box_is_the_field_but_never_longer_than_the_picture():
    assert view_box(Box(-5, 3, 27, 27), 64, 64) == Box(-5, 3, 27, 27)
    assert view_box(Box(-37, -40, 139, 139), 64, 64) == Box(0, 0, 64, 64)
    assert view_box(Box(-37, 3, 139, 7), 64, 64) == Box(0, 3, 64, 7)


def smallest_box(energy: np.ndarray, most: float) -> tuple[int, int, int, int] | None:
    """Every box tried: the smallest with 95 % of the energy, of at most `most` pixels, first in the stated order."""
    height, width = energy.shape
    found = [
        (tall * wide, tall, top, left, wide)
        for top, left in itertools.product(range(height), range(width))
        for tall, wide in itertools.product(range(1, height - top + 1), range(1, width - left + 1))
        if tall * wide <= most and energy[top : top + tall, left : left + wide].sum() >= 0.95 * energy.sum()
    ]
    if not found:
        return None
    _, tall, top, left, wide = min(found)
    return top, left, tall, wide


@settings(deadline=None, max_examples=60)
@given(height=st.integers(4, 9), width=st.integers(4, 9), seed=st.integers(0, 10_000), points=st.integers(0, 5))
def test_focus_box_is_the_smallest_of_all_boxes(height: int, width: int, seed: int, points: int):
    rng = np.random.default_rng(seed)
    signal = 1e-3 * rng.integers(-9, 9, (2, height, width)).astype(np.float64)
    for _ in range(points):
        signal[:, rng.integers(height), rng.integers(width)] = rng.integers(1, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "FOCUS_FIELD", 1)
        found = focus_box(signal, Box(0, 0, height, width))
    expected = smallest_box(np.square(signal).sum(axis=0), 0.25 * height * width)
    if not signal.any():
        expected = None
    assert (None if found is None else tuple(found)) == expected


def spot(side: int, top: int, left: int) -> np.ndarray:
    signal = 1e-3 * noise(3, side, side)
    signal[:, top : top + 9, left : left + 12] = 1.0
    return signal


def test_focus_box_finds_a_spot_in_a_large_field():
    assert focus_box(spot(64, 20, 30), Box(0, 0, 64, 64)) == Box(20, 30, 9, 12)


def test_focus_box_stays_inside_a_field_that_leaves_the_picture():
    found = focus_box(spot(64, 0, 0), Box(-30, -30, 90, 90))
    assert found == Box(0, 0, 9, 12)


@pytest.mark.parametrize(
    ("signal", "box", "why"),
    [
        (np.zeros((3, 64, 64)), Box(0, 0, 64, 64), "no energy"),
        (noise(3, 64, 64), Box(0, 0, 64, 64), "energy everywhere"),
        (spot(64, 20, 30), Box(10, 20, 30, 30), "a small field"),
        (spot(64, 20, 30), Box(70, 70, 60, 60), "a field outside the picture"),
    ],
)
def test_there_is_no_focus_box_where_it_would_show_nothing_new(signal: np.ndarray, box: Box, why: str):
    assert focus_box(signal, box) is None, why


def test_the_stated_thresholds_hold():
    assert (pictures.FOCUS_ENERGY, pictures.FOCUS_FIELD, pictures.FOCUS_SHARE) == (0.95, 48, 0.25)


@given(count=st.integers(1, 200))
def test_a_sheet_is_the_least_square_that_holds_its_tiles(count: int):
    side = columns_of(count)
    assert side**2 >= count > (side - 1) ** 2


@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_cells_are_whole_multiples_of_small_tiles(height: int, width: int):
    side, cell = max(height, width), cell_size(height, width)
    assert (cell == CELL) if side >= CELL else (cell % side == 0 and abs(cell - CELL) <= side / 2)


def test_a_sheet_lays_its_tiles_row_by_row_and_leaves_missing_ones_empty():
    tiles = [np.full((4, 4, 3), 10 * n, np.uint8) for n in range(3)]
    image = sheet([*tiles, None], cell=8)
    assert image.mode == "RGBA"
    assert image.size == (2 * 8 + GAP, 2 * 8 + GAP)
    pixels = np.asarray(image)
    corners = [(0, 0), (0, 8 + GAP), (8 + GAP, 0)]
    for number, (top, left) in enumerate(corners):
        assert (pixels[top : top + 8, left : left + 8] == (10 * number, 10 * number, 10 * number, 255)).all()
    missing = pixels[8 + GAP :, 8 + GAP :]
    assert (missing[1:-1, 1:-1, 3] == 0).all()
    assert (missing[0, :, 3] > 0).all()
    assert (pixels[:, 8 : 8 + GAP, 3] == 0).all()


def test_columns_may_be_chosen():
    assert sheet([np.zeros((2, 2, 3), np.uint8)] * 5, cell=4, columns=5).size == (5 * 4 + 4 * GAP, 4)


def test_small_tiles_are_enlarged_so_that_pixels_stay_visible():
    tile = np.random.default_rng(0).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    large = np.asarray(fit(tile, 20))
    assert (large == tile.repeat(4, axis=0).repeat(4, axis=1)).all()


def test_enlarging_by_a_broken_factor_gives_every_pixel_its_share():
    tile = np.zeros((4, 4, 3), np.uint8)
    tile[::2] = 240
    rows = np.asarray(fit(tile, 6))[:, 0, 0]
    assert rows.tolist() == [240, 120, 0, 240, 120, 0]  # 1.5 pixels each, the shared one half and half


@pytest.mark.parametrize(("shape", "size"), [((300, 100), (37, 112)), ((3, 12), (112, 28)), ((1, 500), (112, 1))])
def test_a_tile_keeps_its_shape(shape: tuple[int, int], size: tuple[int, int]):
    assert fit(np.zeros((*shape, 3), np.uint8), 112).size == size


def test_a_stored_projection_is_within_half_a_step_and_grey_is_exact():
    tiles = [signal_to_picture(noise(3, 16, 16, seed=n)).picture for n in range(3)] + [
        np.full((16, 16, 3), GREY, np.uint8)
    ]
    image = sheet(tiles, cell=32)
    there, back = np.asarray(image), np.asarray(Image.open(io.BytesIO(projection_webp(image))).convert("RGBA"))
    seen = there[..., 3] == 255
    assert (there[..., 3] == back[..., 3]).all()
    assert np.abs(there[seen].astype(int) - back[seen])[:, :3].max() <= pictures.LEVELS // 2
    assert (back[-32:, -32:, :3] == GREY).all()


@pytest.mark.parametrize("encode", [projection_webp, photo_webp])
def test_the_same_sheet_gives_the_same_bytes(encode):
    image = sheet([signal_to_picture(noise(3, 16, 16, seed=n)).picture for n in range(4)], cell=64)
    assert encode(image) == encode(image.copy())


def gaussian_oracle(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    fine = [x - gaussian_filter(x.astype(np.float64), sigma=(0, 3, 3), mode="reflect") for x in (a, b)]
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1]), float(np.corrcoef(*(x.ravel() for x in fine))[0, 1])


@settings(deadline=None, max_examples=30)
@given(height=st.integers(2, 40), width=st.integers(2, 40), seed=st.integers(0, 999))
def test_correlation_agrees_with_scipy(height: int, width: int, seed: int):
    a, b = noise(3, height, width, seed=seed), noise(3, height, width, seed=seed + 1) + 0.2
    found = correlation(a, a + b)
    assert found is not None
    np.testing.assert_allclose(found, gaussian_oracle(a, a + b), atol=1e-6)


def test_correlation_looks_inside_the_box_only():
    a, b = noise(3, 30, 30), noise(3, 30, 30, seed=1)
    box = Box(-5, 10, 20, 40)
    assert correlation(a, b, box) == correlation(a[:, :15, 10:], b[:, :15, 10:])


def test_a_slow_ramp_counts_in_the_plain_correlation_only():
    ramp = 20 * np.sin(np.linspace(0, np.pi, 60, dtype=np.float32))[None, None].repeat(60, axis=1)
    found = correlation(ramp + noise(1, 60, 60), ramp + noise(1, 60, 60, seed=1))
    assert found is not None
    assert found.plain > 0.9
    assert abs(found.fine) < 0.2


def test_a_signal_correlates_with_itself_and_its_negative():
    a = noise(3, 20, 20)
    assert correlation(a, 7 * a) == pytest.approx((1, 1))
    assert correlation(a, -a) == pytest.approx((-1, -1))


@pytest.mark.parametrize("control", [np.zeros((3, 20, 20)), np.full((3, 20, 20), 0.3)])
def test_a_control_that_is_zero_or_constant_has_no_correlation(control: np.ndarray):
    assert correlation(noise(3, 20, 20), control) is None


def test_there_is_no_correlation_outside_the_picture():
    assert correlation(noise(3, 9, 9), noise(3, 9, 9), Box(50, 50, 4, 4)) is None


def test_a_signal_is_made_smaller_before_it_is_drawn_so_that_thin_lines_do_not_fade():
    signal = np.zeros((3, 224, 224), np.float32)
    signal[:, :, 100] = 4.0
    small = reduced(signal, Box(0, 0, 224, 224))
    assert small.shape == (3, CELL, CELL)
    assert np.isclose(small.mean(), signal.mean())
    assert signal_to_picture(small).picture.max() == 255
    faded = np.asarray(fit(signal_to_picture(signal).picture, CELL))
    assert faded.max() < 220


def test_a_part_that_is_small_enough_is_the_signal_itself_and_zero_outside():
    signal = noise(2, 20, 30)
    part = reduced(signal, Box(-3, 25, 10, 12), side=12)
    assert np.array_equal(part[:, 3:, :5], signal[:, :7, 25:])
    assert not part[:, :3].any()
    assert not part[:, :, 5:].any()
    assert reduced(signal, Box(0, 0, 20, 30), side=10).shape == (2, 7, 10)
