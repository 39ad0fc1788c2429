"""Trained networks over real pictures: projections against hooks on autograd's nodes, an atlas against brute force.

The data lies beside the checkout and is not part of the project; without it these tests are skipped.
"""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pixelward as pw
from oracles import difference, hooked, without_norms
from pixelward.core.layers import find_layers
from pixelward.core.project import Unit, project_units
from pixelward.core.trace import trace

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs the trained networks and pictures of ../shared/data")


def network(name):
    return pw.load(f"{DATA / name}.py:{name}", weights=DATA / f"{name}.safetensors", report=lambda line: None)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("googlenet", ["inception_4b.conv_3x3:relu"]),
        ("squeezenet", ["fire4.expand_3x3:relu", "fire9.expand_1x1:relu"]),
    ],
)
def test_projections_equal_hooks_on_autograds_nodes(name, layers):
    net = network(name).double()
    size = net.preprocess["size"]
    picture = torch.randn(1, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 50
    watched = without_norms(network(name).double())
    for layer in layers:
        (found,) = find_layers(net, [layer], size=(size, size))
        module = watched.get_submodule(found.location.module)
        channel = int(trace(net, picture, [layer]).targets[layer].activations[0].amax((1, 2)).argmax())
        (got,) = project_units(net, picture, layer, [Unit(0, channel)])
        assert got.value > 0
        expected = hooked(watched, picture, module, channel, got.position, "deconvnet", got.value)
        assert difference(got.signal, expected) < 1e-10
        for rules in ("guided", "gradient"):
            (other,) = project_units(net, picture, layer, [Unit(0, channel)], rules=rules)
            module = net.get_submodule(found.location.module)
            expected = hooked(net, picture, module, channel, got.position, rules, got.value)
            assert difference(other.signal, expected) < 1e-10


def test_an_atlas_equals_a_brute_force_top_nine(tmp_path):
    """SqueezeNet, three layers, 40 pictures: every activation of every picture, sorted."""
    net = network("squeezenet")
    layers = {"conv1:relu": net.relu1, "fire4.expand_3x3:relu": net.fire4.relu_3x3, "conv10:relu": net.relu10}
    folder = tmp_path / "pictures"
    with zipfile.ZipFile(DATA / "imagenet1000.zip") as archive:
        rows = list(csv.DictReader(io.TextIOWrapper(archive.open("labels.csv"), "utf-8")))
        names = sorted(row["file"] for row in rows[::25])
        archive.extractall(folder, names)
    found = {address: [] for address in layers}
    handles = [
        module.register_forward_hook(lambda _m, _i, out, address=address: found[address].append(out[0].numpy()))
        for address, module in layers.items()
    ]
    with torch.no_grad():
        for name in names:
            image = Image.open(folder / name).convert("RGB")
            top, left = (round((side - 227) / 2) for side in (image.height, image.width))
            pixels = np.asarray(image)[top : top + 227, left : left + 227, ::-1].astype(np.float32)
            net(torch.from_numpy(pixels - np.float32([104, 117, 123])).permute(2, 0, 1)[None])
    for handle in handles:
        handle.remove()
    atlas = pw.scan(net, folder, tmp_path / "atlas", layers=list(layers))
    assert atlas.pictures_seen == len(names)
    for address, maps in found.items():
        units = atlas.units(atlas.layer(address))
        largest = np.stack([each.reshape(len(each), -1).max(1) for each in maps])  # (pictures, C)
        for channel in range(largest.shape[1]):
            order = sorted(range(len(names)), key=lambda n: (-largest[n, channel], n))[:9]
            best = np.array([largest[n, channel] for n in order])
            alive = best > 0
            np.testing.assert_allclose(units.value[channel], np.where(alive, best, 0), rtol=1e-4, atol=1e-4)
            for rank, number in enumerate(order):
                id = int(units.picture[channel, rank])
                if not alive[rank]:
                    assert id == -1
                    continue
                # another order is only right between values that lie within rounding of each other
                assert id == number or abs(largest[id, channel] - best[rank]) <= 1e-4 * best[rank]
                y, x = units.position[channel, rank]
                assert maps[id][channel, y, x] == pytest.approx(best[rank], rel=1e-4)
