"""Pictures are fitted as torchvision does: resized, cut from the centre, or refused as too large."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from picture_files import noise
from pixelward.data.images import IMAGENET, decode, fit, prepare
from pixelward.errors import PixelwardError


def as_documented(image: Image.Image, resize: int, size: int) -> np.ndarray:
    """torchvision's Resize(resize) and CenterCrop(size), from its documentation, on arrays."""
    width, height = image.size
    new = (resize, int(resize * height / width)) if width <= height else (int(resize * width / height), resize)
    pixels = np.asarray(image.resize(new, Image.Resampling.BILINEAR))
    rows, columns = (max(size - side, 0) for side in pixels.shape[:2])
    pixels = np.pad(pixels, ((rows // 2, (rows + 1) // 2), (columns // 2, (columns + 1) // 2), (0, 0)))
    top, left = (round((side - size) / 2.0) for side in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]


@settings(deadline=None, max_examples=120)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 70), st.integers(1, 80))
@example(451, 300, 256, 224)
@example(3, 90, 2, 80)
@example(49, 50, 60, 70)
@example(50, 49, 60, 70)
def test_fit_is_torchvisions_resize_and_centre_crop_bit_for_bit(width, height, resize, size):
    image = Image.fromarray(noise(height, width, 3))
    fitted = fit(image, replace(IMAGENET, resize=resize, size=size))
    assert fitted.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(fitted), as_documented(image, resize, size))


# Worked out by hand from (side - size) / 2, where .5 goes to the even neighbour; below 0, black comes first.
@pytest.mark.parametrize(
    ("width", "height", "size", "left", "top"),
    [
        (384, 256, 224, 80, 16),  # 160 / 2, 32 / 2
        (385, 256, 224, 80, 16),  # 161 / 2 = 80.5
        (387, 256, 224, 82, 16),  # 163 / 2 = 81.5
        (256, 259, 224, 16, 18),  # 35 / 2 = 17.5
        (5, 3, 6, 0, -1),  # one column is missing: it goes to the right; three rows: one above, two below
        (3, 8, 5, -1, 2),  # 3 / 2 = 1.5
        (7, 7, 7, 0, 0),
    ],
)
def test_the_crop_begins_where_torchvision_begins_and_resamples_nothing_of_the_right_size(
    width, height, size, left, top
):
    y, x = np.mgrid[:height, :width]
    image = Image.fromarray(np.stack([y % 256, x % 256, 1 + x // 256], 2).astype(np.uint8))  # each pixel says its place
    fitted = np.asarray(fit(image, replace(IMAGENET, resize=min(width, height), size=size))).astype(int)
    for row in range(size):
        for column in range(size):
            at_y, at_x = top + row, left + column
            inside = 0 <= at_y < height and 0 <= at_x < width
            expected = [at_y % 256, at_x % 256, 1 + at_x // 256] if inside else [0, 0, 0]
            assert fitted[row, column].tolist() == expected


def header_only(width: int, height: int) -> bytes:
    """A PNG that ends where its pixels should begin."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 9) + b"IDAT"


@pytest.mark.parametrize(
    ("width", "height", "refused"), [(1, 50, False), (50, 1, False), (1, 51, True), (102, 2, True)]
)
def test_what_would_grow_too_large_is_refused_by_its_header(width, height, refused):
    """1000 x 50,000 pixels are as many as may be. What is not refused so is read on, and there is nothing."""
    wanted = f"given: picture long of {width} x {height} pixels, whose shorter side becomes 1000 and whose longer 51000"
    with pytest.raises(PixelwardError) as found:
        decode(header_only(width, height), "long", replace(IMAGENET, resize=1000))
    assert str(found.value).startswith(wanted) == refused
    assert ("cannot be read" in str(found.value)) != refused
    with pytest.raises(PixelwardError, match="cannot be read"):
        decode(header_only(width, height), "long")
    if refused:
        with pytest.raises(PixelwardError, match="whose longer 51000"):
            fit(Image.new("RGB", (width, height)), replace(IMAGENET, resize=1000), "long")


@pytest.mark.parametrize(
    ("width", "height", "resize", "longer"),
    [(451, 300, 256, 384), (300, 451, 256, 384), (640, 427, 64, 95), (3, 1000, 2, 666)],  # 384.85, 95.92, 666.67
)
def test_the_longer_side_is_rounded_down(width, height, resize, longer):
    white = Image.new("RGB", (width, height), "white")
    inside = np.asarray(fit(white, replace(IMAGENET, resize=resize, size=700))).any((1, 2))
    across = np.asarray(fit(white, replace(IMAGENET, resize=resize, size=700))).any((0, 2))
    assert sorted([inside.sum(), across.sum()]) == [resize, longer]


def test_shrinking_averages_instead_of_leaving_out_pixels():
    board = np.indices((256, 256)).sum(0) % 2 * 255
    image = Image.fromarray(np.repeat(board[..., None], 3, 2).astype(np.uint8))
    fitted = np.asarray(fit(image, replace(IMAGENET, resize=64, size=32))).astype(int)
    assert abs(fitted - 127.5).max() <= 2


def test_a_picture_that_would_grow_without_bounds_is_refused():
    line = Image.new("RGB", (1, 20_000))
    with pytest.raises(
        PixelwardError, match=r"given: picture line\.png of 1 x 20000 pixels, whose shorter .* 5120000 - "
    ):
        prepare(line, IMAGENET, "line.png")
