"""A picture file -> the network's input, and back to what a person sees.

`decode` turns bytes into an upright RGB picture, `fit` resizes and crops it exactly as torchvision's
`Resize(resize)` and `CenterCrop(size)` do on Pillow pictures, `to_tensor` makes numbers of it. The one departure from
torchvision: pictures are turned upright by their EXIF block.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from math import isfinite
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from pixelward.errors import PixelwardError

# The formats that are read, by their Pillow names, and how their files' names end. Formats that start other programs
# (EPS, WMF) and such as are recognised by nothing in the file (TGA) are left out.
FORMATS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
        "PNG": (".png",),
        "WEBP": (".webp",),
        "GIF": (".gif",),
        "BMP": (".bmp",),
        "TIFF": (".tif", ".tiff"),
        "AVIF": (".avif",),
        "JPEG2000": (".jp2", ".j2k"),
        "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    }
)
ENDINGS = tuple(ending for endings in FORMATS.values() for ending in endings)
MOST_PIXELS = 50_000_000  # of a picture after it was resized, of which all but the centre is cut off then
STRIP = 1_000_000  # pixels, about, that are laid over white at once

# What each value of EXIF's orientation asks for. Not ImageOps.exif_transpose: that one also writes the EXIF block
# anew, which fails for some pictures whose block is damaged elsewhere.
UPRIGHT: Mapping[object, Image.Transpose] = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)

CHANNELS: Mapping[str, int] = MappingProxyType({"RGB": 3, "BGR": 3, "L": 1})

_speaking = threading.Lock()

T = TypeVar("T")


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the network's input.

    The steps: shorter side to `resize` pixels, centre crop of `size` x `size`, channels in the order of `channels`
    ("RGB", "BGR", or "L" for one channel of grey), float from 0 to `range` (1.0 or 255.0), less `mean`, divided by
    `std`, both given in the order of `channels`.
    """

    channels: str
    range: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int
    size: int

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Preprocess:
        """From a dict with exactly these keys. Raises PixelwardError for another key or an impossible value."""
        known = [field.name for field in fields(cls)]
        for problem, keys in (
            ("unknown", [key for key in plain if key not in known]),
            ("missing", [key for key in known if key not in plain]),
        ):
            if keys:
                raise PixelwardError(
                    given=f"preprocess with {problem} {', '.join(map(str, keys))}",
                    allowed=f"the keys {', '.join(known)}",
                    next_step="correct the network's preprocess dict",
                )
        for key, (holds, allowed) in _VALUES.items():
            if not holds(plain[key]):
                raise _impossible(key, plain[key], allowed)
        channels = plain["channels"]
        for key in ("mean", "std"):
            if len(plain[key]) != CHANNELS[channels]:
                raise _impossible(key, plain[key], f"a tuple of {CHANNELS[channels]}, for channels {channels}")
        return cls(
            channels=channels,
            range=float(plain["range"]),
            mean=tuple(map(float, plain["mean"])),
            std=tuple(map(float, plain["std"])),
            resize=plain["resize"],
            size=plain["size"],
        )

    def to_dict(self) -> dict[str, Any]:
        """The dict that `from_dict` reads; json turns its tuples into lists, which are read too."""
        return asdict(self)


def _impossible(key: str, value: object, allowed: str) -> PixelwardError:
    return PixelwardError(
        given=f"preprocess with {key} {value!r}", allowed=allowed, next_step="correct the network's preprocess dict"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _are_numbers(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_number, value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


_VALUES: Mapping[str, tuple[Callable[[Any], bool], str]] = MappingProxyType(
    {
        "channels": (lambda value: isinstance(value, str) and value in CHANNELS, ", ".join(CHANNELS)),
        "range": (lambda value: _is_number(value) and value in (1, 255), "1.0 or 255.0"),
        "mean": (_are_numbers, "a tuple of numbers, one a channel"),
        "std": (lambda value: _are_numbers(value) and min(value, default=1) > 0, "a tuple of numbers above 0"),
        "resize": (_is_count, "a whole number of pixels, from 1"),
        "size": (_is_count, "a whole number of pixels, from 1"),
    }
)

IMAGENET = Preprocess("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), resize=256, size=224)


class About(NamedTuple):
    """What the header of a picture file says. mode: Pillow's; turned: whether EXIF asks for it to be turned."""

    width: int
    height: int
    mode: str
    animated: bool
    turned: bool


def about(data: bytes, name: str) -> About:
    """What a picture file says of itself, with none of its pixels decoded.

    Raises PixelwardError where it is no picture of a known format, or has more pixels than Pillow would decode.
    """
    return _readable(lambda: _about(data), name)


def resized(width: int, height: int, preprocess: Preprocess) -> tuple[int, int]:
    """(width, height) after the resize: the shorter side is `resize`, the longer one rounded down."""
    short, long = sorted((width, height))
    longer = int(preprocess.resize * long / max(short, 1))  # a header may say that there are none
    return (preprocess.resize, longer) if width <= height else (longer, preprocess.resize)


def decode(data: bytes, name: str, preprocess: Preprocess | None = None) -> Image.Image:
    """The picture in a file's bytes, upright and in mode RGB, in its full size.

    preprocess: of what `fit` does next; what it would refuse is refused by the header, before anything is decoded.
    Alpha is laid over white, palette and grey are expanded, 16 bits a channel become their upper 8 (as Pillow does
    for colour), CMYK is converted without its profile; of an animation it is the first frame.
    Raises PixelwardError, which names the picture, for anything that is not a whole picture of a known format.
    """
    return _readable(lambda: _person_view(_open(data, name, preprocess)), name)


def fit(image: Image.Image, preprocess: Preprocess, name: str = "given") -> Image.Image:
    """The `size` x `size` pixels that the network sees: shorter side to `resize`, then the centre.

    Bit for bit torchvision's Resize and CenterCrop on Pillow pictures: bilinear with anti-aliasing, the longer side
    rounded down, the crop's corner rounded to even; black where the picture is smaller than the crop. A picture that
    has the size already is not resampled. image: of any size, in mode RGB. name: for the PixelwardError that is raised
    where a very long picture would grow beyond MOST_PIXELS.
    """
    _refuse_long(image.size, preprocess, name)
    size = resized(*image.size, preprocess)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (_centre(side, preprocess.size) for side in size)
    return image.crop((left, top, left + preprocess.size, top + preprocess.size))


def to_tensor(image: Image.Image, preprocess: Preprocess) -> Tensor:
    """The network's input, (C, H, W) float32, from a picture of W x H pixels in mode RGB."""
    pixels = np.asarray(image.convert("L") if preprocess.channels == "L" else image)
    channels = pixels.reshape(image.height, image.width, -1).transpose(2, 0, 1)
    if preprocess.channels == "BGR":
        channels = channels[::-1]
    # In numpy, which does not start threads for so little work. Divided rather than multiplied: the same bits as
    # torchvision's ToTensor for range 1, whole numbers for 255.
    values = np.ascontiguousarray(channels).astype(np.float32)
    values /= np.float32(255.0 / preprocess.range)
    values -= np.array(preprocess.mean, np.float32)[:, None, None]
    values /= np.array(preprocess.std, np.float32)[:, None, None]
    return torch.from_numpy(values)


def to_rgb(picture: Tensor, preprocess: Preprocess) -> NDArray[np.uint8]:
    """What a person sees of a network's input: (H, W, 3) uint8 in RGB, grey three times over for one channel.

    picture: (C, H, W), float, on any device. The exact inverse of `to_tensor`; what leaves 0 ... 255 is clipped.
    Raises PixelwardError if the number of channels is not that of `preprocess`.
    """
    channels = CHANNELS[preprocess.channels]
    if picture.dim() != 3 or len(picture) != channels:
        raise PixelwardError(
            given=f"a picture of shape {tuple(picture.shape)}",
            allowed=f"({channels}, height, width), as preprocess has channels {preprocess.channels}",
            next_step="correct the shape or the network's preprocess dict",
        )
    values = picture.detach().cpu().to(torch.float64).numpy()
    values = values * np.array(preprocess.std)[:, None, None] + np.array(preprocess.mean)[:, None, None]
    colours = (values * (255.0 / preprocess.range)).round().clip(0, 255).astype(np.uint8)
    if preprocess.channels == "BGR":
        colours = colours[::-1]
    return np.ascontiguousarray(np.broadcast_to(colours, (3, *colours.shape[1:])).transpose(1, 2, 0))


def prepare(picture: bytes | Image.Image, preprocess: Preprocess, name: str) -> Tensor:
    """From a picture file's bytes, or any Pillow picture, to the network's input, (C, size, size) float32.

    name: for the errors, which are those of `decode` and `fit`.
    """
    image = (
        decode(picture, name, preprocess)
        if isinstance(picture, bytes)
        else _readable(lambda: _person_view(picture), name)
    )
    return to_tensor(fit(image, preprocess, name), preprocess)


def _refuse_long(size: tuple[int, int], preprocess: Preprocess, name: str) -> None:
    """Raises PixelwardError for a picture of (width, height), turned or not, with too many pixels after the resize."""
    short, long = sorted(resized(*size, preprocess))
    if short * long > MOST_PIXELS:
        raise PixelwardError(
            given=f"picture {name} of {size[0]} x {size[1]} pixels, whose shorter side becomes {short} "
            f"and whose longer {long}",
            allowed=f"up to {MOST_PIXELS:,} pixels after that",
            next_step="cut the picture, or leave it out",
        )


def _centre(side: int, size: int) -> int:
    """Where along one axis the crop begins; below 0 where black is added. Python rounds .5 to even here."""
    return round((side - size) / 2) if side >= size else -((size - side) // 2)


def _readable(look: Callable[[], T], name: str) -> T:
    try:
        return look()
    except PixelwardError:
        raise
    except Exception as error:  # a damaged file makes Pillow's readers raise whatever their parsing runs into
        # Pillow's words for this one hold an address in memory.
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "not a picture of a known format" if unknown else " ".join(str(error).split()) or type(error).__name__
        raise PixelwardError(
            given=f"picture {name}, which cannot be read: {reason}",
            allowed=f"a whole picture file, {', '.join(FORMATS)}",
            next_step="open it in a viewer and save it anew, or leave it out",
        ) from error


def _about(data: bytes) -> About:
    with _quiet(), _header(data) as image:
        animated = bool(getattr(image, "is_animated", False))
        return About(*image.size, image.mode, animated, _orientation(image) in UPRIGHT)


def _header(data: bytes) -> Image.Image:
    Image.init()  # lists the formats that this Pillow was built with
    return Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN])


def _open(data: bytes, name: str, preprocess: Preprocess | None) -> Image.Image:
    with _quiet():
        image = _header(data)
        if preprocess is not None:
            _refuse_long(image.size, preprocess, name)
        if image.format == "TIFF":  # reads more tags, and complains about them, while it loads
            image.load()
    return image


def _person_view(image: Image.Image) -> Image.Image:
    if 0 in image.size:
        raise ValueError("it has no pixels")
    image.load()  # the long part, which threads do side by side
    image = _turned_upright(image)  # by the same name, so that the other one is let go
    seen = _to_rgb_mode(image)
    seen.info = {}  # the EXIF block above all, or it would be turned again when it comes back as a Pillow picture
    return seen


def _turned_upright(image: Image.Image) -> Image.Image:
    with _quiet():
        orientation = _orientation(image)
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a damaged block says nothing against the picture itself
        return None


def _to_rgb_mode(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _upper_byte(image).convert("RGB")
    return _over_white(image) if image.has_transparency_data else image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    """In strips, as each step on the way takes a copy: of large pictures these would be most of the memory."""
    seen = Image.new("RGB", image.size)
    rows = max(STRIP // image.width, 1)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        white = Image.new("RGBA", part.size, "white")
        seen.paste(Image.alpha_composite(white, part).convert("RGB"), (0, top))
    return seen


def _upper_byte(image: Image.Image) -> Image.Image:
    """Numbers of 16 bits, in whatever Pillow mode, as mode L."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"mode {image.mode} with values beyond 16 bits, of which nobody knows what is white")
    return Image.fromarray((values >> 8).astype(np.uint8))


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what Pillow remarks on a file is worth a line. Python's filters are of the whole process, hence a lock
    among our threads, held for headers only."""
    with _speaking, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
