"""Picture files made up for tests, and what decoding makes of them."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pixelward.data.images import IMAGENET, Preprocess, decode
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


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks
