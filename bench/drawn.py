"""Two atlases of a small network over smooth noise, really scanned and drawn, for the server to be measured with.

Each unit has sheets of its own, and all its hits are told at length: those of one unit are worked out, and the others
say the same of their own hits. The other atlas is of the same network with noise on its weights. Imports torch; the
server does not.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import pixelward as pw
from bench.pictures import smooth_noise
from pixelward.atlas import Atlas
from pixelward.details import read_details, write_details
from pixelward.folder import details_file

UNITS, HITS = 512, 9
PICTURES, SIDE = 40, 64
LABELS = 4
PREPROCESS = {"channels": "RGB", "range": 1.0, "mean": [0.5] * 3, "std": [0.25] * 3, "resize": SIDE, "size": SIDE}
NOISE = 0.3  # standard deviations of each weight tensor


def drawn(folder: Path, units: int = UNITS) -> tuple[Atlas, Atlas]:
    """The atlas and the one to stand beside it, in two folders of `folder`. About a minute."""
    for label in range(LABELS):
        smooth_noise(folder / "pictures" / f"label {label}", PICTURES // LABELS, SIDE, seed=label)
    net = network(units)
    one, other = _atlas(folder / "one", net), _atlas(folder / "other", network(units, NOISE))
    return told_at_length(one, net), other


def told_at_length(atlas: Atlas, net: nn.Module) -> Atlas:
    """The atlas with details of every hit of its layer."""
    (record,) = atlas.layers
    units = atlas.units(record)
    first = int((units.picture >= 0).all(1).argmax())
    pw.draw_details(atlas, net, [f"{record.address}:{first}"], hits=range(1, HITS + 1))
    for rank in range(HITS):
        known = read_details(atlas, record, first, rank + 1)
        assert known is not None
        pictures = (atlas.path / details_file(record.slug, first, rank + 1, "webp")).read_bytes()
        for channel in range(record.channels):
            picture, position, value = (part[channel, rank] for part in (units.picture, units.position, units.value))
            if channel != first and picture >= 0:
                own = replace(known, picture=int(picture), position=tuple(position.tolist()), value=float(value))
                write_details(atlas, record, channel, own, pictures)
    assert atlas.drawings is not None
    atlas.write_drawings(atlas.drawings)
    return Atlas.open(atlas.path)


def network(units: int, noise: float = 0.0) -> nn.Module:
    """Two layers of convolutions, the same each time. noise: on its weights, in standard deviations of each tensor."""
    net, random = nn.Sequential(), torch.Generator().manual_seed(0)
    net.conv1, net.relu1, net.pool = nn.Conv2d(3, 16, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    net.conv2, net.relu2 = nn.Conv2d(16, units, 5, 1, 2), nn.ReLU()
    net.preprocess = {
        "channels": "RGB",
        "range": 1.0,
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "resize": SIDE,
        "size": SIDE,
    }
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.zero_()
            if name.endswith("weight"):
                scale = parameter[0].numel() ** -0.5
                for part in (scale, noise * scale):
                    parameter += part * torch.randn(parameter.shape, generator=random)
    return net.eval()


def _atlas(path: Path, net: nn.Module) -> Atlas:
    pictures = path.parent / "pictures"
    atlas = pw.scan(net, pictures, path, layers=["conv2:relu"], k=HITS, labels="folders", model="made up")
    return pw.draw(atlas, net)
