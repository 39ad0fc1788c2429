"""Faults that random networks once found, each in its smallest form."""

import pytest
import torch
from torch import nn

import pixelward as pw
from oracles import difference
from pixelward.core.project import Unit, project_hits, project_units
from pixelward.core.rules import RULE_SETS
from pixelward.core.trace import trace
from twins import Operation

X = torch.randn(2, 2, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "operation",
    [lambda x: x.mT, lambda x: (x + 1).transpose(2, 3) * 2, lambda x: (x + x).transpose(1, 3)],
    ids=["mT", "rows and columns", "channels and columns"],
)
def test_a_layer_whose_rows_and_columns_changed_places_is_refused_not_turned(operation):
    """Its boxes would be told of the wrong axes. What lies above it projects: see `test_laws_fields.py`."""
    net = Operation(operation)
    with pytest.raises(pw.PixelwardError, match=r"layer 'last' of shape .* allowed: layers of maps \(channels, height"):
        project_units(net, X[:1], "last", [Unit(0, 1, (1, 1))])
    traced = trace(net, X[:1], ["last"])
    one = torch.ones(1, dtype=torch.int64)
    with pytest.raises(pw.PixelwardError, match="layer 'last' of shape"):
        project_hits(traced.plan, traced.targets["last"], one, torch.tensor([[1, 1]]), one - 1)


@pytest.mark.parametrize("rules", sorted(RULE_SETS))
def test_one_picture_equals_a_batch_below_a_channels_last_layer(rules):
    """torch 2.13 itself is wrong here: its batch norm's backward, for one picture and a gradient of channels-last
    memory that went through a view. A signal that is contiguous is not met by it."""
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.InstanceNorm2d(2, affine=True, track_running_stats=True)
            self.norm.running_var = torch.tensor([0.3, 2.0])
            self.linear, self.last = nn.Linear(2, 3), nn.Identity()

        def forward(self, x):
            return self.last(torch.relu(self.linear(self.norm(x).permute(0, 2, 3, 1)).mean((1, 2))))

    net = Net().double().eval()
    (alone,) = project_units(net, X[:1], "last", [Unit(0, 0)], seed="one", rules=rules)
    both = project_units(net, X, "last", [Unit(0, 0), Unit(1, 0)], seed="one", rules=rules)
    assert alone.signal.any() or both[1].signal.any()
    assert difference(alone.signal, both[0].signal) < 1e-10


@pytest.mark.parametrize("operation", [lambda x: x + x.amax(1), lambda x: x * 2 - x.mean(1)], ids=["amax", "mean"])
def test_a_map_that_lost_its_channels_is_not_spread_over_other_pictures(operation):
    """(N, H, W) beside (N, C, H, W): picture n goes to channel n. One picture alone does no harm."""
    with pytest.raises(pw.PixelwardError, match="mixes the pictures of a batch"):
        project_units(Operation(operation), X, "last", [Unit(0, 0), Unit(1, 0)])
    (unit,) = project_units(Operation(operation), X[:1], "last", [Unit(0, 0)])
    assert unit.signal.any()
