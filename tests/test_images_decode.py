"""Pictures are decoded as a person sees them: turned upright, over white, in eight bits."""

import struct

import numpy as np
import pytest
import torch
from PIL import Image, features

from picture_files import noise, png, refused, saved, seen
from pixelward.data.images import ENDINGS, FORMATS, Preprocess, decode, prepare

# EXIF's definition: where row 0 and column 0 of what is stored lie in the upright picture A (height H, width W).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.swapaxes(0, 1),  # left, top
    6: lambda a: a.swapaxes(0, 1)[::-1],  # right, top: stored[r, c] = A[c, W - 1 - r]
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),  # right, bottom: stored[r, c] = A[H - 1 - c, W - 1 - r]
    8: lambda a: a[::-1].swapaxes(0, 1),  # left, bottom: stored[r, c] = A[H - 1 - c, r]
}


def oriented(upright: np.ndarray, orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    return saved(np.ascontiguousarray(STORED[orientation](upright)), kind, exif=exif, **options)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_pictures_are_turned_upright_once(kind, orientation):
    upright = noise(3, 5, 3)
    decoded = decode(oriented(upright, orientation, kind), "x")
    np.testing.assert_array_equal(np.asarray(decoded), upright)
    # Nor is it turned again when it comes back as a Pillow picture.
    plain = Preprocess("RGB", 255.0, (0.0,) * 3, (1.0,) * 3, resize=3, size=3)
    assert torch.equal(prepare(decoded, plain, "x"), prepare(saved(upright), plain, "x"))


def test_a_damaged_exif_block_does_not_hinder_the_picture_nor_its_turning():
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "maker", 6
    data = saved(np.zeros((4, 2, 3), np.uint8), "JPEG", exif=exif)
    assert decode(data, "x").size == (4, 2)
    order = "<" if b"II*\0" in data else ">"
    tag = struct.pack(f"{order}HH", 0x010F, 2)
    assert tag in data
    damaged = data.replace(tag, struct.pack(f"{order}HH", 0x9102, 2))  # text where EXIF wants a fraction
    assert decode(damaged, "x").size == (4, 2)
    head = data.index(b"Exif\0\0") + 6
    assert decode(data[:head] + b"\xff" * 8 + data[head + 8 :], "x").size == (2, 4)


def test_alpha_is_laid_over_white():
    pixels = np.array([[[200, 100, 50, 0], [200, 100, 50, 255], [200, 100, 50, 128]]], np.uint8)
    shown = seen(saved(pixels))[0].astype(int)
    assert shown[0].tolist() == [255, 255, 255]
    assert shown[1].tolist() == [200, 100, 50]
    half = np.array([200, 100, 50]) * 128 / 255 + 127
    assert abs(shown[2] - half).max() <= 1
    assert seen(saved(Image.fromarray(pixels).convert("LA")))[0, 0].tolist() == [255, 255, 255]


def test_a_colour_or_palette_entry_that_stands_for_transparent_becomes_white():
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 8, 7))
    assert seen(saved(image, transparency=(1, 2, 3))).tolist() == [[[255, 255, 255], [9, 8, 7]]]
    palette = image.quantize(2)
    entry = palette.getpixel((0, 0))
    for kind in ("PNG", "GIF"):
        assert seen(saved(palette, kind, transparency=entry)).tolist() == [[[255, 255, 255], [9, 8, 7]]]
    by_entry = bytes([0 if each == entry else 255 for each in range(2)])
    assert seen(saved(palette, transparency=by_entry)).tolist() == [[[255, 255, 255], [9, 8, 7]]]


def test_grey_palette_and_single_bits_are_expanded():
    grey = noise(3, 4)
    np.testing.assert_array_equal(seen(saved(grey)), np.repeat(grey[..., None], 3, 2))
    colours = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    assert seen(saved(Image.fromarray(colours).quantize(2))).tolist() == colours.tolist()
    assert seen(saved(Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1"))).tolist() == [[[0] * 3, [255] * 3]]


VALUES = np.array([[0, 255, 256, 0x8000, 65535]], np.uint16)
SIXTEEN = {
    "grey PNG": png(5, 1, 16, 0, b"\0" + VALUES.astype(">u2").tobytes()),
    "colour PNG": png(5, 1, 16, 2, b"\0" + np.repeat(VALUES[..., None], 3, 2).astype(">u2").tobytes()),
    "TIFF": saved(VALUES, "TIFF"),
    "PGM": b"P5 5 1 65535\n" + VALUES.astype(">u2").tobytes(),
}


@pytest.mark.parametrize("kind", SIXTEEN)
def test_sixteen_bits_become_their_upper_eight(kind):
    assert seen(SIXTEEN[kind]).tolist() == [[[value] * 3 for value in (0, 0, 1, 128, 255)]]


def test_numbers_of_which_nobody_knows_what_is_white_are_refused():
    for values in (np.full((2, 2), 0.5, np.float32), np.full((2, 2), 70_000, np.int32)):
        assert "values beyond 16 bits, of which nobody knows what is white" in refused(saved(values, "TIFF"))


def test_cmyk_becomes_rgb():
    image = Image.new("CMYK", (8, 8), (255, 0, 0, 0))  # cyan alone
    for kind in ("JPEG", "TIFF"):
        assert abs(seen(saved(image, kind)).astype(int) - [0, 255, 255]).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    shown = seen(saved(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert (shown == [255, 0, 0]).all()


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_of_the_table_is_read(kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    shown = seen(saved(Image.new("RGB", (16, 16), (250, 120, 10)), kind))
    assert abs(shown.astype(int) - [250, 120, 10]).max() <= 12  # some lose a little


def test_the_endings_are_those_of_the_formats_in_small_letters():
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif"} <= set(ENDINGS)
    assert len(set(ENDINGS)) == len(ENDINGS)
    assert all(ending.startswith(".") and ending == ending.lower() for ending in ENDINGS)
