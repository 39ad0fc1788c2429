"""Networks of another type than float32: scanned, drawn and told at length as such, with the same hits."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import pixelward as pw


def net_of(dtype):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3), nn.ReLU()).eval().to(dtype)
    net.preprocess = {"channels": "RGB", "range": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3, "resize": 32, "size": 32}
    return net


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(12):
        small = Image.fromarray(generator.integers(0, 256, (6, 6, 3), np.uint8))
        small.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("memory", [None, 4 << 30])
def test_a_network_of_another_type_is_scanned_and_drawn(pictures, tmp_path, dtype, memory):
    net = net_of(dtype)
    atlas = pw.draw(pw.scan(net, pictures, tmp_path / "atlas", k=3, memory=memory), net, memory=memory)
    assert atlas.drawings.layers == ("0:relu", "3:relu")
    for layer in atlas.drawings.layers:
        for unit in atlas[layer]:
            if unit.hits:
                seen = np.asarray(Image.open(unit.projections).convert("RGB"))
                assert (seen != 128).any()
    assert atlas.verify() == []


def test_drawings_of_float64_are_those_of_float32(pictures, tmp_path):
    """Tiles are rounded to levels: where all values agree within rounding, nearly all levels do."""
    found = []
    for dtype in (torch.float32, torch.float64):
        net = net_of(torch.float32).to(dtype)
        atlas = pw.draw(pw.scan(net, pictures, tmp_path / str(dtype), k=3), net)
        sheets = [unit.projections for layer in atlas.layers for unit in atlas[layer.address] if unit.hits]
        found.append([np.asarray(Image.open(sheet).convert("RGBA")).astype(int) for sheet in sheets])
    for one, other in zip(*found, strict=True):
        assert one.shape == other.shape
        assert np.mean(np.abs(one - other) > 8) < 1e-3


def test_half_precision_is_told_at_length(pictures, tmp_path):
    net = net_of(torch.bfloat16)
    atlas = pw.draw(pw.scan(net, pictures, tmp_path / "atlas", k=3), net)
    unit = next(unit for unit in atlas["3:relu"] if unit.hits)
    pw.draw_details(atlas, net, [f"3:relu:{unit.channel}"])
    (file,) = (atlas.path / "drawings").glob("*/*.details-1.json")
    assert json.loads(file.read_text())["value"] == pytest.approx(unit.hits[0].value)
