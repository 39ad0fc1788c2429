"""A network of whole numbers and pictures full of ties, so that scans are exact; what they found; ways to end them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pixelward.atlas import Atlas
from pixelward.data.images import Preprocess, to_tensor
from pixelward.draft import Draft
from pixelward.scan import scan

scanning = sys.modules[scan.__module__]  # `pixelward.scan` is the function
SIDE = 12
LAYERS = {"conv1:relu": 2, "conv2:relu": 5, "fc": 7}  # and after how many modules of the network each stands


def network(channels: str = "RGB", first: nn.Module | None = None) -> nn.Sequential:
    """A small network of small whole numbers: its results are exact, whatever the batch."""
    depth = 1 if channels == "L" else 3
    net = nn.Sequential()
    if first is not None:
        net.first = first
    net.conv1, net.relu1, net.pool1 = nn.Conv2d(depth, 4, 3), nn.ReLU(), nn.MaxPool2d(2)
    net.conv2, net.relu2 = nn.Conv2d(4, 5, 3, padding=1), nn.ReLU()
    net.flat, net.fc = nn.Flatten(), nn.Linear(125, 6)
    generator = torch.Generator().manual_seed(3)
    for parameter in net.parameters():
        parameter.data = torch.randint(-1, 2, parameter.shape, generator=generator).float()
    zeros, ones = (0.0,) * depth, (1.0,) * depth
    net.preprocess = Preprocess(channels, 255.0, zeros, ones, SIDE, SIDE).to_dict()
    return net.eval()


def pictures(folder: Path, number: int, *, side: int = SIDE, seed: int = 0) -> Path:
    """Pictures of few colours, among them equal ones, so that there are ties."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for name in range(number):
        pixels = rng.integers(0, 3, (side, side + 4 * (side > SIDE), 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name:03d}.png")
        if name % 4 == 3:
            (folder / f"{name:03d}.png").write_bytes((folder / f"{name - 1:03d}.png").read_bytes())
    return folder


def maps_of(net: nn.Sequential, image: Image.Image) -> dict[str, np.ndarray]:
    """The layers' activations on one picture by itself, without anything of the scan."""
    with torch.no_grad():
        pixels = to_tensor(image, Preprocess.from_dict(net.preprocess)).unsqueeze(0)
        found = {name: net[:depth](pixels)[0].numpy() for name, depth in LAYERS.items()}
    found["fc"] = found["fc"][:, None, None]
    return found


def hits(atlas: Atlas, layer: str) -> list[list[tuple[float, int, int, int]]]:
    view = atlas[layer]
    return [[(hit.value, hit.picture, *(hit.position or (0, 0))) for hit in view[c].hits] for c in range(len(view))]


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture(name="short_shards")
def shards_cut_short(monkeypatch):
    monkeypatch.setattr(scanning, "SHARD", 4)
    monkeypatch.setattr(scanning, "SHARD_OF_PHOTOGRAPHS", 2)


def interrupted_when_saved(monkeypatch, shards: int) -> list[set[str]]:
    """Let a scan end with its `shards`-th shard. Returns what fills with the names of each shard's pictures."""
    save, saved = Draft.save, []

    def save_and_stop(draft, arrays, rows):
        save(draft, arrays, rows)
        saved.append({row.name for row in rows})
        if len(saved) == shards:
            raise KeyboardInterrupt

    monkeypatch.setattr(Draft, "save", save_and_stop)
    return saved
