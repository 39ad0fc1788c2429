"""Files that are no pictures are refused by name, and decoding leaves nothing behind."""

import io
import struct
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from picture_files import noise, png, refused, saved, seen
from pixelward.data.images import IMAGENET, decode, prepare
from pixelward.errors import PixelwardError


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
