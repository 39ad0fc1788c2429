"""The pictures that everything is measured on: photographs beside the checkout, else smooth noise, always the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from bench import ROOT
from pixelward.data.images import Preprocess, decode, fit, to_tensor
from pixelward.data.sources import Picture, Source, open_sources

PHOTOGRAPHS = "imagenet1000.zip"
SIDE = 256  # of noise, before the network's crop


def photographs() -> Path | None:
    """The photographs' archive, beside this checkout or the one that it belongs to."""
    found = [place / PHOTOGRAPHS for place in shared() if (place / PHOTOGRAPHS).exists()]
    return found[0] if found else None


def shared() -> list[Path]:
    """Folders that may hold the photographs and trained networks."""
    return [parent / "shared" / "data" for parent in ROOT.parents if (parent / "shared" / "data").is_dir()]


def smooth_noise(folder: Path, count: int, side: int, seed: int = 0) -> Path:
    """`count` JPEGs of smooth noise in `folder`, the same every time."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        picture = np.zeros((side, side, 3), np.float32)
        for cells in (4, 16, 64):
            coarse = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
            picture += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32) / 3
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{number:06d}.jpg", quality=90)
    return folder


class Pictures:
    """The first `count` pictures, as files for a scan and as tensors for a network.

    told: what they are, for a reader. folder: where noise may be written.
    """

    def __init__(self, count: int, folder: Path) -> None:
        archive = photographs()
        self.told = f"the first {count} photographs of {PHOTOGRAPHS}" if archive else f"{count} pictures of noise"
        self.path = archive or smooth_noise(folder / f"noise-{count}", count, SIDE)
        (source,) = open_sources([self.path])
        self.files: list[tuple[Source, Picture]] = [(source, each) for each in islice(source.pictures(), count)]

    def __len__(self) -> int:
        return len(self.files)

    def tensor(self, number: int, preprocess: Preprocess) -> Tensor:
        source, picture = self.files[number]
        image = decode(source.read(picture.name), picture.name)
        return to_tensor(fit(image, preprocess, picture.name), preprocess)

    def tensors(self, preprocess: Preprocess) -> Iterator[Tensor]:
        return (self.tensor(number, preprocess) for number in range(len(self)))

    def copied(self, folder: Path) -> Path:
        """A folder with just these pictures, for what takes a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for source, picture in self.files:
            place = folder / Path(picture.name).name
            if not place.exists():
                place.write_bytes(source.read(picture.name))
        return folder
