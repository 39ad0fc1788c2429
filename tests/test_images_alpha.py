"""Alpha is laid over white strip by strip, as it would be at once."""

import io

import numpy as np
import pytest
from PIL import Image

from picture_files import noise, saved, seen
from pixelward.data import images


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
