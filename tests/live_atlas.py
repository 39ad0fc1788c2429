"""A small atlas of a small network, scanned and drawn, for tests of the live part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import pixelward as pw
from pixelward.atlas import Atlas

SIZE = 32
PREPROCESS = {"channels": "RGB", "range": 1.0, "mean": [0.5] * 3, "std": [0.25] * 3, "resize": SIZE, "size": SIZE}
LAYERS = ("conv1:relu", "conv2", "fc")


def network(seed: int = 4) -> nn.Sequential:
    """Rectified maps, signed maps, and a vector of three classes."""
    net = nn.Sequential()
    net.conv1, net.relu, net.pool = nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)
    net.conv2, net.flat, net.fc = nn.Conv2d(4, 6, 3, 1, 1), nn.Flatten(), nn.Linear(6 * 64, 3)
    # By a generator of its own: a server beside this thread puts the common one back after each pass.
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            width = parameter[0].numel() if parameter.dim() > 1 else 64
            parameter.uniform_(-(width**-0.5), width**-0.5, generator=generator)
    net.preprocess = PREPROCESS
    return net.eval()


def pictures(folder: Path, count: int = 5) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(random.integers(0, 256, (6, 9, 3), dtype=np.uint8))
        small.resize((48 + number, 40), Image.Resampling.BICUBIC).save(folder / f"{number} <b>.png")
    return folder


def live_atlas(folder: Path) -> Atlas:
    """An atlas in `folder`/atlas over pictures in `folder`/pictures."""
    net = network()
    atlas = pw.scan(
        net, pictures(folder / "pictures"), folder / "atlas", layers=list(LAYERS), k=4, model="tiny", note=print
    )
    return pw.draw(atlas, net)
