"""Law 6: equal to Captum times the seed where Captum is right: `nn.ReLU` only, none reused, one consumer each."""

import warnings

import pytest
import torch
from torch import nn

from oracles import difference
from pixelward.core.project import Unit, project_units

captum = pytest.importorskip("captum.attr", reason="Captum is a test dependency")


def net():
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.BatchNorm2d(8),
        nn.Conv2d(8, 12, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(12, 8, 3, 1, 1), nn.ReLU(),
    ).double().eval()  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "method"), [("deconvnet", "NeuronDeconvolution"), ("guided", "NeuronGuidedBackprop")]
)
@pytest.mark.parametrize("layer", [4, 8])
def test_equal_to_captum_where_captum_is_right(rules, method, layer):
    model = net()
    picture = torch.randn(1, 3, 33, 29, dtype=torch.float64)
    relu = layer if isinstance(model[layer], nn.ReLU) else layer + 1
    for channel in range(3):
        (got,) = project_units(model, picture, str(relu), [Unit(0, channel)], rules=rules)
        if got.value <= 0:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = getattr(captum, method)(model, model[relu]).attribute(picture.clone(), (channel, *got.position))
        assert theirs.abs().max() > 0
        assert difference(got.signal, theirs[0] * got.value) < 1e-10
