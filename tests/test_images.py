"""Pictures: decoded as a person sees them, fitted as torchvision does, turned into numbers and back."""

import io
import json
import struct
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from pixelward.data import images
from pixelward.data.images import (
    ENDINGS,
    FORMATS,
    IMAGENET,
    Preprocess,
    decode,
    fit,
    prepare,
    to_rgb,
    to_tensor,
)
from pixelward.errors import PixelwardError

CAFFE = Preprocess("BGR", 255.0, (104.0, 117.0, 123.0), (1.0, 1.0, 1.0), resize=256, size=224)
GREY = Preprocess("L", 1.0, (0.1307,), (0.3081,), resize=28, size=28)
KINDS = pytest.mark.parametrize("preprocess", [IMAGENET, CAFFE, GREY], ids=["RGB", "BGR", "L"])


def noise(height: int, width: int, *channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def seen(data: bytes) -> np.ndarray:
    image = decode(data, "x.png")
    assert image.mode == "RGB"
    return np.asarray(image)


def refused(data: bytes, name: str = "some/picture.jpg") -> str:
    with pytest.raises(PixelwardError) as caught:
        decode(data, name)
    message = str(caught.value)
    assert message.startswith(f"given: picture {name}, which cannot be read: ")
    assert "allowed: a whole picture file, JPEG, PNG," in message
    assert message.endswith("next step: open it in a viewer and save it anew, or leave it out")
    assert "\n" not in message
    assert "0x" not in message  # no address in memory: the same file gives the same words
    return caught.value.given.partition("cannot be read: ")[2]


# Fit


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


# Numbers


def test_channels_range_mean_and_std_by_hand():
    image = Image.new("RGB", (2, 1), (10, 20, 30))
    assert to_tensor(image, CAFFE)[:, 0, 1].tolist() == [30 - 104, 20 - 117, 10 - 123]
    halves = Preprocess("RGB", 1.0, (0.5, 0.25, 0.0), (0.5, 1.0, 2.0), 1, 1)
    image = Image.new("RGB", (1, 1), (255, 51, 102))
    assert to_tensor(image, halves).flatten().tolist() == pytest.approx([1.0, 0.2 - 0.25, 0.2])


def test_range_one_is_torchvisions_to_tensor_and_normalize_bit_for_bit():
    pixels = noise(16, 16, 3)
    scaled = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(torch.float32).div(255)
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (IMAGENET.mean, IMAGENET.std))
    tensor = to_tensor(Image.fromarray(pixels), IMAGENET)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert torch.equal(tensor, scaled.sub(mean).div(std))


def test_a_network_of_one_channel_gets_grey():
    tensor = to_tensor(Image.new("RGB", (3, 2), (255, 0, 0)), replace(GREY, range=255.0, mean=(0.0,), std=(1.0,)))
    assert tensor.shape == (1, 2, 3)
    assert set(tensor.flatten().tolist()) == {76.0}  # 0.299 of 255
    grey = noise(4, 5)
    tensor = to_tensor(decode(saved(grey), "grey"), replace(GREY, range=255.0, mean=(0.0,), std=(1.0,)))
    np.testing.assert_array_equal(tensor[0].numpy(), grey)  # expanded to RGB and back, nothing is lost


@KINDS
def test_to_rgb_inverts_to_tensor(preprocess):
    every = np.arange(256 * 3, dtype=np.int64).reshape(16, 16, 3) * 7 % 256
    image = Image.fromarray(every.astype(np.uint8))
    expected = np.asarray(image.convert("L").convert("RGB") if preprocess is GREY else image)
    shown = to_rgb(to_tensor(image, preprocess).requires_grad_(), preprocess)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, expected)


def test_to_rgb_clips_what_no_picture_holds():
    tensor = torch.tensor([-500.0, 0.0, 500.0]).view(3, 1, 1)
    assert to_rgb(tensor, CAFFE).tolist() == [[[255, 117, 0]]]


@pytest.mark.parametrize("shape", [(1, 4, 4), (4, 4), (1, 3, 4, 4)])
def test_to_rgb_refuses_another_number_of_channels(shape):
    allowed = r"allowed: \(3, height, width\), as preprocess has channels RGB"
    with pytest.raises(PixelwardError, match=rf"given: a picture of shape \({shape[0]}, .* {allowed}"):
        to_rgb(torch.zeros(shape), IMAGENET)


@KINDS
def test_prepare_is_decode_fit_and_to_tensor(preprocess):
    data = saved(noise(40, 300, 4))
    prepared = prepare(data, preprocess, "x")
    assert prepared.shape == (len(preprocess.mean), preprocess.size, preprocess.size)
    assert torch.equal(prepared, to_tensor(fit(decode(data, "x"), preprocess), preprocess))
    with Image.open(io.BytesIO(data)) as image:  # a Pillow picture of any mode goes the same way
        assert torch.equal(prepare(image, preprocess, "x"), prepared)


# Decode

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


def random_picture(mode: str, side: tuple[int, int]) -> Image.Image:
    """A random picture in a mode, 256 entries in its palette if it has one."""
    width, height = side
    if mode not in ("P", "PA"):
        return Image.fromarray(noise(height, width, *{"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}[mode]))
    image = Image.frombytes("P", side, noise(height, width).tobytes())
    image.putpalette(noise(256, 3, seed=1).tobytes())
    if mode == "PA":
        image = image.convert("PA")
        image.putalpha(Image.fromarray(noise(height, width, seed=2)))
    return image


def at_once(image: Image.Image) -> np.ndarray:
    """A picture over white, the whole of it by Pillow itself."""
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return np.asarray(white.convert("RGB"))


@pytest.mark.parametrize("strip", [1, 30, 1_000_000])
@pytest.mark.parametrize("side", [(7, 9), (64, 3), (1, 50), (50, 1)])
@pytest.mark.parametrize(
    ("mode", "transparent"),
    [
        *(("RGBA", None), ("LA", None), ("PA", None), ("P", 7), ("P", bytes(range(256))), ("P", bytes(9))),
        *(("L", 3), ("RGB", (0, 0, 0))),
    ],
)
def test_alpha_is_laid_over_white_in_strips_as_it_would_be_at_once(monkeypatch, mode, transparent, side, strip):
    monkeypatch.setattr(images, "STRIP", strip)
    image = random_picture(mode, side)
    if mode == "RGB":
        image.putpixel((0, 0), (0, 0, 0))
    if transparent is not None:
        image.info["transparency"] = transparent
    assert image.has_transparency_data
    before = image.copy()
    expected = at_once(image.copy())
    np.testing.assert_array_equal(np.asarray(images._to_rgb_mode(image)), expected)
    assert (image.mode, image.size, image.tobytes()) == (before.mode, before.size, before.tobytes())
    kinds = {"RGBA": ("PNG", "WEBP", "TIFF"), "LA": ("PNG",), "P": ("PNG",), "L": ("PNG",), "RGB": ("PNG",), "PA": ()}
    for kind in kinds[mode]:
        data = saved(image, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
        np.testing.assert_array_equal(seen(data), at_once(Image.open(io.BytesIO(data))))


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


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


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


# Refusals


def cut_short(kind: str) -> bytes:
    data = saved(noise(64, 64, 3), kind)
    return data[: len(data) // 2]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_a_truncated_file_is_refused_by_name(kind):
    assert refused(cut_short(kind))


@pytest.mark.parametrize("data", [b"", b"hello", b"<svg/>", b"%PDF-1.4", b"\xff\xd8\xff", b"P6 0 0 255\n"])
def test_what_is_no_picture_is_refused_by_name(data):
    assert refused(data) == "not a picture of a known format"


def test_a_format_that_would_start_another_program_is_not_opened():
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    assert refused(page) == "not a picture of a known format"


def test_an_absurd_number_of_pixels_is_refused_before_it_takes_memory():
    assert "3600000000 pixels" in refused(png(60_000, 60_000, 8, 2, b""))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_whatever_bytes_a_file_holds_the_answer_is_a_picture_or_one_error(data):
    whole = bytearray(saved(noise(9, 7, 3), data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PixelwardError):
        assert decode(bytes(whole), "fuzz").mode == "RGB"


def test_a_pillow_picture_without_pixels_is_refused():
    with pytest.raises(PixelwardError, match="given: picture mine, which cannot be read: it has no pixels"):
        prepare(Image.new("RGB", (0, 5)), IMAGENET, "mine")


# What must not be left behind


def malformed(image: np.ndarray) -> bytes:
    """A JPEG that Pillow reads but remarks on: it claims to hold several pictures and does not say where."""
    data = saved(image, "JPEG")
    body = b"MPF\0" + b"II*\0" + struct.pack("<I", 8) + b"\0" * 6
    return data[:2] + b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body + data[2:]


def test_pillows_remarks_are_kept_quiet_and_the_filters_left_as_they_were():
    data = malformed(noise(8, 8, 3))
    with pytest.warns(UserWarning, match="malformed MPO"):
        Image.open(io.BytesIO(data))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        with ThreadPoolExecutor(4) as pool:
            shown = list(pool.map(seen, [data] * 40))
        assert warnings.filters == before
    assert heard == []
    assert all((each == shown[0]).all() for each in shown)


def test_a_tiff_that_makes_pillow_remark_while_it_loads_is_quiet_too():
    exif = Image.Exif()
    comment = b"longer than the entry's own four bytes"
    inner = exif.get_ifd(0x8769)
    inner[0x9286] = comment
    exif[0x8769] = inner
    data = saved(noise(4, 4, 3), "TIFF", exif=exif)
    entry = data.index(struct.pack("<HHI", 0x9286, 1, len(comment)))
    lost = data[: entry + 8] + struct.pack("<I", len(data) - 1) + data[entry + 12 :]  # where the comment should be
    image = Image.open(io.BytesIO(lost))
    with pytest.warns(UserWarning, match="Truncated File Read"):
        image.load()
    np.testing.assert_array_equal(seen(lost), noise(4, 4, 3))


def test_threads_take_turns_while_the_filters_are_changed(monkeypatch):
    inside, most = [], []
    opened = Image.open

    def slow(*args, **options):
        inside.append(None)
        time.sleep(0.003)
        most.append(len(inside))
        inside.pop()
        return opened(*args, **options)

    monkeypatch.setattr(Image, "open", slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(seen, [saved(noise(8, 8, 3))] * 12))
    assert most == [1] * 12


# Preprocess


@KINDS
def test_preprocess_survives_its_dict_and_json(preprocess):
    plain = preprocess.to_dict()
    assert list(plain) == ["channels", "range", "mean", "std", "resize", "size"]
    assert Preprocess.from_dict(plain) == preprocess
    assert Preprocess.from_dict(json.loads(json.dumps(plain))) == preprocess


def test_whole_numbers_are_as_good_as_others():
    plain = CAFFE.to_dict() | {"range": 255, "mean": [104, 117, 123], "std": (1, 1, 1)}
    assert Preprocess.from_dict(plain) == CAFFE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sizes": 3}, "given: preprocess with unknown sizes - allowed: the keys channels, range, mean, std, resize"),
        ({"channels": "rgb"}, "given: preprocess with channels 'rgb' - allowed: RGB, BGR, L - "),
        ({"channels": ["RGB"]}, "given: preprocess with channels ['RGB'] - allowed: RGB, BGR, L - "),
        ({"range": 256}, "given: preprocess with range 256 - allowed: 1.0 or 255.0 - "),
        ({"range": True}, "given: preprocess with range True - allowed: 1.0 or 255.0 - "),
        ({"mean": 0.5}, "given: preprocess with mean 0.5 - allowed: a tuple of numbers, one a channel - "),
        ({"mean": (0.5,)}, "given: preprocess with mean (0.5,) - allowed: a tuple of 3, for channels RGB - "),
        ({"mean": (0.5, "1", 0.5)}, "given: preprocess with mean (0.5, '1', 0.5) - allowed: a tuple of numbers"),
        ({"std": (1, 1, float("nan"))}, "given: preprocess with std (1, 1, nan) - allowed: a tuple of numbers above 0"),
        ({"std": (1, 0, 1)}, "given: preprocess with std (1, 0, 1) - allowed: a tuple of numbers above 0 - "),
        ({"std": ()}, "given: preprocess with std () - allowed: a tuple of 3, for channels RGB - "),
        (
            {"channels": "L"},
            "given: preprocess with mean (0.485, 0.456, 0.406) - allowed: a tuple of 1, for channels L - ",
        ),
        ({"size": 0}, "given: preprocess with size 0 - allowed: a whole number of pixels, from 1 - "),
        ({"resize": 256.0}, "given: preprocess with resize 256.0 - allowed: a whole number of pixels, from 1 - "),
    ],
)
def test_impossible_preprocessing_is_refused(change, words):
    with pytest.raises(PixelwardError) as caught:
        Preprocess.from_dict(IMAGENET.to_dict() | change)
    assert words in str(caught.value)
    assert str(caught.value).endswith("next step: correct the network's preprocess dict")


def test_missing_preprocessing_is_refused():
    plain = {key: value for key, value in IMAGENET.to_dict().items() if key not in ("std", "size")}
    with pytest.raises(PixelwardError, match="given: preprocess with missing std, size - allowed: the keys channels, "):
        Preprocess.from_dict(plain)
