"""ZFNet's receptive fields (PAPER C5), and its projections against hooks on autograd's nodes (law 7)."""

import pytest
import torch

import pixelward as pw
from oracles import difference, hooked, without_norms
from pixelward.core.layers import find_layers
from pixelward.core.project import Unit, project_units

# address: receptive field, jump, and the padding that row 0 starts with; recipe 1 of PAPER C2
FIELDS = {
    "conv1": (7, 2, 1),
    "pool1": (11, 4, 1),
    "conv2": (27, 8, 1),
    "pool2": (43, 16, 1),
    "conv3": (75, 16, 17),
    "conv4": (107, 16, 33),
    "conv5": (139, 16, 49),
    "pool5": (171, 32, 49),
}


def test_receptive_fields_are_the_papers():
    net = pw.load("zfnet", report=lambda line: None)
    found = find_layers(net, list(FIELDS), size=(224, 224))
    assert [layer.address for layer in found] == list(FIELDS)
    for layer, (size, jump, start) in zip(found, FIELDS.values(), strict=True):
        for span in (layer.field.rows, layer.field.columns):
            assert (span.size, span.stride, -span.start) == (size, jump, start), layer.address


@pytest.mark.parametrize("layer", ["conv2", "conv4", "conv5", "fc6"])
def test_zfnet64_equals_hooks_on_autograds_nodes(layer):
    net = pw.load("zfnet64", report=lambda line: None).double()
    watched = without_norms(pw.load("zfnet64", report=lambda line: None).double())
    picture = torch.randn(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for channel in (0, 31):
        (got,) = project_units(net, picture, f"{layer}:relu", [Unit(0, channel)], seed="one")
        relu = watched.get_submodule(layer.replace("conv", "relu").replace("fc", "relu"))
        expected = hooked(watched, picture, relu, channel, got.position, "deconvnet", 1.0)
        assert difference(got.signal, expected) < 1e-10
        for rules in ("guided", "gradient"):
            (other,) = project_units(net, picture, f"{layer}:relu", [Unit(0, channel)], rules=rules, seed="one")
            module = net.get_submodule(layer.replace("conv", "relu").replace("fc", "relu"))
            expected = hooked(net, picture, module, channel, got.position, rules, 1.0)
            assert difference(other.signal, expected) < 1e-10
