"""A scan in float32, in batches of any size and layout, is that of single pictures in float64 but for ties.

The design's tolerance for float32 is a ten-thousandth of the largest number; a tenth of it is held here. Every change
of rank or of place is between hits whose float64 values are no further apart than that.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from exact_scans import hits, scanning
from near_ties import unexplained
from pixelward.data.images import Preprocess, to_tensor
from pixelward.scan import scan

TOLERANCE = 1e-5  # of a layer's largest number
STORED = 2.0**-23  # the same of a scan in float64, whose values are kept, and compared, as float32
SIDE, CHANNELS, K = 24, 8, 5
SEEDS = range(4)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.GroupNorm(2, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.conv(x)))


def batch_norm() -> nn.Module:
    norm = nn.BatchNorm2d(CHANNELS)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


def convolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU())


BLOCKS = [
    convolution,
    Residual,
    Residual,
    batch_norm,
    lambda: nn.MaxPool2d(3, 2, 1),
    lambda: nn.AvgPool2d(2),
    lambda: nn.LocalResponseNorm(5, alpha=0.5),
]


def network(seed: int) -> nn.Sequential:
    """All blocks, in a random order, between two convolutions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        order = torch.randperm(len(BLOCKS)).tolist()
        first, last = nn.Conv2d(3, CHANNELS, 3, padding=1), nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        net = nn.Sequential(first, *(BLOCKS[at]() for at in order), last).eval()
    half = (0.5,) * 3
    vars(net)["preprocess"] = Preprocess("RGB", 1.0, half, half, SIDE, SIDE).to_dict()
    return net


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spots on grey at places between which maps only shift, so that exact values of many hits are equal or nearly."""
    folder, rng = tmp_path_factory.mktemp("spots"), np.random.default_rng(0)
    for spot in range(4):
        pixels = rng.integers(0, 256, (6, 6, 3), np.uint8)
        for number, places in enumerate([[(8, 8)], [(8, 12)], [(12, 8)], [(4, 4), (12, 12)], [(12, 12), (4, 4)]]):
            picture = np.full((SIDE, SIDE, 3), 128, np.uint8)
            for y, x in places:
                picture[y : y + 6, x : x + 6] = pixels
            picture[-1, -1] += number == 2  # beside the border, by the least
            Image.fromarray(picture).save(folder / f"{spot}-{number}.png")
    return folder


@pytest.fixture(scope="module", params=SEEDS)
def exact(request: pytest.FixtureRequest, photographs: Path) -> tuple[nn.Sequential, list[np.ndarray]]:
    """A network, and by layer its maps of all pictures, each by itself in float64: (pictures, channels, h, w)."""
    net = network(request.param)
    precise = copy.deepcopy(net).double()
    pictures = [
        to_tensor(Image.open(file), Preprocess.from_dict(net.preprocess)) for file in sorted(photographs.iterdir())
    ]
    found: list[list[np.ndarray]] = [[] for _ in net]
    with torch.no_grad():
        for picture in pictures:
            maps = picture[None].double()
            for number, block in enumerate(precise):
                maps = block(maps)
                found[number].append(maps[0].numpy())
    return net, [np.stack(maps) for maps in found]


def compare(net: nn.Sequential, exact: list[np.ndarray], photographs: Path, atlas: Path, batch: int, of: float) -> None:
    layers = [str(number) for number in range(len(net))]
    found = scan(net, photographs, atlas, layers=layers, batch=batch, k=K)
    for layer, maps in zip(layers, exact, strict=True):
        within = of * float(np.abs(maps).max())
        for channel, own in enumerate(hits(found, layer)):
            assert unexplained(own, maps[:, channel], K, within) == [], f"layer {layer}, unit {channel}"


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("batch", [1, 3, 16, 32])
def test_hits_of_float32_are_those_of_float64_but_for_ties(exact, photographs, tmp_path, monkeypatch, batch, last):
    net, maps = exact
    laid: list[bool] = []
    handle = net.register_forward_pre_hook(lambda module, given: laid.append(given[0].is_contiguous()))
    if not last:
        monkeypatch.setattr(scanning, "shows_the_same", lambda *given: False)
    try:
        compare(net, maps, photographs, tmp_path / "atlas", batch, TOLERANCE)
    finally:
        handle.remove()
    assert laid[-1] is not last


def test_hits_of_weights_with_their_channels_last_are_those_of_float64_but_for_ties(exact, photographs, tmp_path):
    net, maps = exact
    turned = copy.deepcopy(net).to(memory_format=torch.channels_last)
    compare(turned, maps, photographs, tmp_path / "atlas", 7, TOLERANCE)


def test_a_scan_in_float64_is_rounded_once(exact, photographs, tmp_path):
    net, maps = exact
    compare(copy.deepcopy(net).double(), maps, photographs, tmp_path / "atlas", 1, STORED)


# What the check itself notices

MAPS = np.array([[[4.0, 1.0]], [[3.0, 2.99]], [[3.02, 0.0]], [[-1.0, -2.0]]])
RIGHT = [(4.0, 0, 0, 0), (3.02, 2, 0, 0), (3.0, 1, 0, 0)]


def swapped(one: int, other: int, change: dict[int, float]) -> list[tuple[float, int, int, int]]:
    """RIGHT with two ranks swapped, at values by rank that put them so."""
    order = list(RIGHT)
    order[one], order[other] = order[other], order[one]
    return [(change.get(rank, hit[0]), *hit[1:]) for rank, hit in enumerate(order)]


@pytest.mark.parametrize(
    ("found", "k", "within", "told"),
    [
        (RIGHT, 3, 0.0, 0),
        (RIGHT, 4, 0.0, 0),  # the last picture has nothing above zero
        (RIGHT[:2], 2, 0.0, 0),
        (swapped(1, 2, {1: 3.02}), 3, 0.03, 0),  # a tie
        (swapped(1, 2, {1: 3.01, 2: 3.01}), 3, 0.015, 1),  # values within it, their exact ones not
        ([RIGHT[0], RIGHT[2]], 2, 0.03, 0),  # a tie at the end
        ([RIGHT[0], RIGHT[2]], 2, 0.01, 1),
        ([*RIGHT[:2], (2.99, 1, 0, 1)], 3, 0.03, 0),  # a tie of places
        ([*RIGHT[:2], (2.99, 1, 0, 1)], 3, 0.001, 1),
        ([*RIGHT[:2], (3.01, 1, 0, 0)], 3, 0.001, 1),  # another value
        (RIGHT[:2], 3, 0.03, 1),  # one is left out
        ([*RIGHT, (-1.0, 3, 0, 0)], 4, 0.03, 1),  # not above zero
        ([RIGHT[0], RIGHT[0], RIGHT[1]], 3, 0.03, 1),  # twice
        (swapped(1, 2, {}), 3, 0.03, 1),  # a tie, not in the order of its own values
    ],
)
def test_what_ties_do_not_explain_is_told(found, k, within, told):
    assert len(unexplained(found, MAPS, k, within)) == told
