"""A recorder's plan sends hits down as a whole trace of the same pictures does, and runs no more than it has to."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pixelward as pw
from oracles import difference
from pixelward.core import recorder as recorder_of
from pixelward.core.descent import project_hits
from pixelward.core.projector import Chosen, Projector
from pixelward.core.recorder import Recorder
from pixelward.core.rules import DECONVNET, GRADIENT, GUIDED
from pixelward.core.trace import trace

PICTURES = torch.randn(4, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SHARES = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64).view(4, 1, 1, 1)


class Net(nn.Module):
    """A stem with a pool, what is under test, and a convolution that counts its calls."""

    def __init__(self, middle):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.one, self.two = nn.Conv2d(3, 6, 5, 2), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 1)
        self.norm, self.last = nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3)
        self.norm.running_var.uniform_(0.5, 2)
        self.middle, self.calls = middle, 0
        self.double().eval()
        self.last.register_forward_hook(self._count)

    def _count(self, *given):
        self.calls += 1

    def forward(self, x):
        return self.last(self.middle(self, F.relu(self.stem(x))))


MIDDLES = {  # and whether the last convolution has to run for other pictures
    "nothing recorded": lambda net, y: F.relu(net.norm(net.one(y))),
    "a pool": lambda net, y: F.relu(net.one(F.max_pool2d(y, 3, 2))),
    "a pool of another size": lambda net, y: F.relu(net.one(F.adaptive_max_pool2d(y, (9, 10)))),
    "a gate": lambda net, y: F.relu(net.one(y * torch.sigmoid(net.two(y.mean((2, 3), keepdim=True))))),
    "statistics": lambda net, y: F.relu(net.one(F.instance_norm(y))),
    "response norm": lambda net, y: F.relu(net.one(F.local_response_norm(y, 3, alpha=1.0))),
    "maxout": lambda net, y: torch.maximum(net.one(y), net.one(y * 2).mul(0.4)),
    "factors of channels that stand before the pictures, as many as these": lambda net, y: torch.cat(
        [(F.max_pool2d(y, 2)[:, :4].transpose(0, 1) * SHARES).transpose(0, 1), F.max_pool2d(y, 2)[:, 4:]], 1
    ),
    "branches with pools": lambda net, y: torch.cat([net.two(y)[:, :3], F.max_pool2d(net.two(y), 3, 1, 1)[:, 3:]], 1),
    "attention over the channels": lambda net, y: y * torch.softmax(net.two(y.amax((2, 3), keepdim=True)), 1),
    "a pool, and what calls its node": lambda net, y: F.interpolate(F.max_pool2d(y, 2), scale_factor=2).flip(1),
    "a transposed convolution": lambda net, y: F.conv_transpose2d(F.max_pool2d(y, 2), net.one.weight, stride=2),
    "a swish by hand": lambda net, y: F.max_pool2d(y, 2) * torch.sigmoid(F.max_pool2d(y, 2)),
}


def hits(net):
    shape = pw.layers(net, size=(32, 32))[-1].shape
    generator = torch.Generator().manual_seed(1)
    pictures, channels, *place = (torch.randint(0, n, (9,), generator=generator) for n in (1, *shape))
    pictures = torch.arange(9) % 4
    return channels, torch.stack(place, 1), pictures


@pytest.mark.parametrize("at_once", [4, 3, 1])
@pytest.mark.parametrize("rules", [DECONVNET, GUIDED, GRADIENT], ids=["deconvnet", "guided", "gradient"])
@pytest.mark.parametrize("name", MIDDLES)
def test_a_recorders_plan_equals_a_trace_of_the_same_pictures(monkeypatch, name, rules, at_once):
    monkeypatch.setattr(recorder_of, "in_a_block", lambda one, most, device: min(most, at_once))
    net = Net(MIDDLES[name])
    channels, positions, pictures = hits(net)
    recorder = Recorder(net, ["last"], rules, PICTURES[:1])
    assert recorder.needs_all == (rules is not DECONVNET)
    if recorder.needs_all:
        with pytest.raises(LookupError, match="recorded apart"):
            recorder.plan(PICTURES)
        return
    calls = net.calls
    plan = recorder.plan(PICTURES)
    assert net.calls == calls  # nothing above what was recorded ran
    for number in range(len(PICTURES)):
        alone = trace(net, PICTURES[number : number + 1], ["last"], rules)
        own = pictures == number
        given = channels[own], positions[own]
        values = alone.targets["last"].activations[(0, given[0], *given[1].T)]
        expected, boxes = project_hits(alone.plan, alone.targets["last"], *given, pictures[own] * 0, rules)
        got, same = project_hits(plan, recorder.targets["last"], *given, pictures[own], rules, values)
        assert same == boxes
        assert expected.any()
        assert difference(got, expected) < 1e-12


def test_where_nothing_is_recorded_the_network_does_not_run():
    net = Net(MIDDLES["nothing recorded"])
    recorder = Recorder(net, ["last"], DECONVNET, PICTURES[:1])
    net.stem.register_forward_hook(lambda *given: pytest.fail("it ran"))
    assert len(recorder.plan(PICTURES).steps)


def test_a_network_that_takes_another_way_for_other_pictures_is_refused():
    way = [3]
    net = Net(lambda net, y: F.relu(net.one(F.max_pool2d(y, way[0], 2))))
    recorder = Recorder(net, ["last"], DECONVNET, PICTURES[:1])
    way[0] = 2
    with pytest.raises(pw.PixelwardError, match=r"the same way for every picture, at '/max_pool2d#1'"):
        recorder.plan(PICTURES)


@pytest.mark.parametrize(
    "name", ["nothing recorded", "a pool", "a gate", "a pool, and what calls its node", "max unpool"]
)
def test_a_projector_gives_every_hit_its_own_signal(name):
    """In batches of any size, and where each picture has to run all the way."""
    net = Net(MIDDLES.get(name, unpooled))
    channels, positions, pictures = hits(net)
    addresses = ["stem:relu", "last"]
    traced = [trace(net, PICTURES[n : n + 1], addresses) for n in range(4)]
    projector = Projector(net, addresses)
    for batch in (slice(0, 3), slice(3, 4)):
        inside = (pictures >= batch.start) & (pictures < batch.stop)
        given = {}
        for address in addresses:
            place = channels[inside], positions[inside]
            owner = pictures[inside]
            values = [
                traced[n].targets[address].activations[(0, c, *p)]
                for n, c, p in zip(owner.tolist(), *map(torch.Tensor.tolist, place), strict=True)
            ]
            given[address] = Chosen(*place, owner - batch.start, torch.stack(values))
        found = list(projector.project(PICTURES[batch], given))
        for address in addresses:
            rows = torch.cat([sent.rows for sent in found if sent.address == address])
            assert sorted(rows.tolist()) == list(range(int(inside.sum())))
        for sent in found:
            chosen = given[sent.address].part(sent.rows)
            assert difference(sent.values, chosen.values) < 1e-12
            for row, signal in enumerate(sent.signals):
                alone = traced[int(chosen.pictures[row]) + batch.start]
                one = chosen.part(slice(row, row + 1))
                target = alone.targets[sent.address]
                (expected,), (box,) = project_hits(alone.plan, target, one.channels, one.positions, one.pictures * 0)
                assert sent.boxes[row] == box
                assert difference(signal, expected.float()) < 1e-5


def unpooled(net, y):
    """A step that needs its own picture's node."""
    pooled, places = F.max_pool2d(y, 2, return_indices=True)
    return F.max_unpool2d(pooled, places, 2)


def test_nothing_asked_for_runs_nothing():
    assert not list(Projector(None, ["last"]).project(PICTURES, {"last": Chosen(*torch.zeros(4, 0))}))
