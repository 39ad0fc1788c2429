"""Hits of many pictures go down as those of each picture alone, wherever a network keeps the axis of its pictures."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pixelward as pw
from oracles import difference
from pixelward.core import memory
from pixelward.core.project import Unit, project_units
from pixelward.core.projector import Chosen, Projector
from pixelward.core.trace import trace

PICTURES = torch.randn(5, 3, 16, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

NONE = Chosen(torch.zeros(1).long(), torch.zeros(1, 2).long(), torch.zeros(1).long(), torch.ones(1))


class Net(nn.Module):
    def __init__(self, middle):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.two, self.line = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 1), nn.Linear(6, 6)
        self.last, self.norm, self.middle = nn.Conv2d(6, 4, 3, padding=1), nn.LayerNorm(6), middle
        self.double().eval()

    def forward(self, x):
        return self.last(self.middle(self, F.relu(self.stem(x))))


def gated(net, y):
    return y * torch.sigmoid(net.two(y.mean((2, 3), keepdim=True)))


def sequence_first(net, y):
    """Pixels, pictures, channels, and back."""
    return net.line(y.flatten(2).permute(2, 0, 1)).permute(1, 2, 0).reshape(y.shape)


def normed_in_sequence(net, y):
    return net.norm(y.flatten(2).permute(2, 0, 1)).permute(1, 2, 0).reshape(y.shape)


def folded(net, y):
    """Groups of channels beside the pictures."""
    number, channels, height, width = y.shape
    pooled = F.max_pool2d(y.reshape(2 * number, channels // 2, height, width), 2)
    return pooled.reshape(number, channels, *pooled.shape[2:])


def channels_first(net, y):
    return (y.transpose(0, 1) * torch.sigmoid(net.two(y)).transpose(0, 1)).transpose(0, 1)


def mixed(net, y):
    return torch.einsum("nchw,dc->ndhw", y, net.line.weight)


ELSEWHERE = {
    "pools in a loop": lambda net, y: torch.cat([F.max_pool2d(one[None], 2) for one in y]),
    "gates in a loop": lambda net, y: torch.cat([gated(net, one[None]) for one in y]),
    "pixels in front": lambda net, y: sequence_first(net, gated(net, y)),
    "pixels in front, of pooled maps": lambda net, y: sequence_first(net, F.max_pool2d(y, 2)),
    "einsum of gated maps": lambda net, y: mixed(net, gated(net, y)),
    "einsum of pooled maps": lambda net, y: mixed(net, F.max_pool2d(y, 2)),
    "einsum of maxima": lambda net, y: mixed(net, torch.maximum(y, net.two(y))),
    "a norm with the pixels in front": normed_in_sequence,
    "groups folded into the batch": folded,
    "channels in front": channels_first,
    "a scale as long as the batch": lambda net, y: y * net.line.bias.view(6, 1, 1)[:, :, :1],
}


def chosen(net, pictures, each=4):
    """Hits of a layer in every picture, in no order, and each one's signal as its picture alone gives it."""
    generator = torch.Generator().manual_seed(1)
    targets = [trace(net, picture[None], ["last"]).targets["last"] for picture in pictures]
    shape = targets[0].activations.shape
    number = each * len(pictures)
    channels, rows, columns = (torch.randint(0, most, (number,), generator=generator) for most in shape[1:])
    owners = torch.randperm(number, generator=generator) % len(pictures)
    positions = torch.stack([rows, columns], 1)
    places = list(zip(owners.tolist(), channels.tolist(), map(tuple, positions.tolist()), strict=True))
    values = torch.stack([targets[owner].activations[(0, channel, *place)] for owner, channel, place in places])
    expected = [
        project_units(net, pictures[owner : owner + 1], "last", [Unit(0, channel, place)])[0].signal
        for owner, channel, place in places
    ]
    return Chosen(channels, positions, owners, values), expected


def compare(projector, pictures, hits, expected):
    seen = 0
    for sent in projector.project(pictures, {"last": hits}):
        for row, signal, box in zip(sent.rows.tolist(), sent.signals, sent.boxes, strict=True):
            whole = torch.zeros(3, *(2 * side + 2 * max(pictures.shape[2:]) for side in pictures.shape[2:]))
            edge = max(pictures.shape[2:])
            inside = whole[:, edge : edge + pictures.shape[2], edge : edge + pictures.shape[3]]
            top, left = edge + box.top, edge + box.left
            whole[:, top : top + box.height, left : left + box.width] = signal
            assert difference(inside, expected[row].float()) < 1e-5
            seen += 1
    assert seen == len(expected)


@pytest.mark.parametrize("number", [1, 5, 6])  # six: as many as there are channels
@pytest.mark.parametrize("name", ELSEWHERE)
def test_hits_of_many_pictures_go_down_as_those_of_each_alone(name, number):
    net = Net(ELSEWHERE[name])
    pictures = torch.cat([PICTURES, PICTURES[:1].flip(3)])[:number]
    compare(Projector(net, ["last"]), pictures, *chosen(net, pictures))


@pytest.mark.parametrize(
    "middle",
    [
        lambda net, y: y * torch.sigmoid(y[:1].mean((2, 3), keepdim=True)),
        lambda net, y: F.max_pool2d(y - 0.5 * y[:1], 2),
        lambda net, y: F.max_pool2d(y - y.mean(0, keepdim=True), 2),
    ],
    ids=["a gate of the first", "less the first", "less the mean"],
)
def test_pictures_that_meet_are_refused_though_one_alone_does_not_show_it(middle):
    with pytest.raises(pw.PixelwardError, match="mixes the pictures"):
        list(Projector(Net(middle), ["last"]).project(PICTURES, {"last": NONE}))


def test_a_projector_takes_pictures_of_another_size():
    net = Net(lambda net, y: F.relu(net.two(y)))
    projector = Projector(net, ["last"])
    for side in (17, 18, 17):  # whose maps are of one size
        pictures = PICTURES[:2, :, :, :side]
        compare(projector, pictures, *chosen(net, pictures))


def test_a_bound_on_memory_does_not_end_a_profile_of_the_users():
    with torch.profiler.profile() as watched:
        torch.ones(3) + 1
        with pytest.raises(pw.PixelwardError, match="while torch's profiler runs"):
            memory.taken(lambda: None, torch.device("cpu"))
    assert any(event.key == "aten::add" for event in watched.key_averages())


@pytest.mark.parametrize("made", ["view", "gate that reads memory"])
def test_a_network_that_looks_at_how_its_pictures_lie_gets_them_as_they_are(made):
    seen = []

    def middle(net, y):
        seen.append(y.is_contiguous())
        if made == "view":
            return F.max_pool2d(y.view(len(y), -1).view(y.shape), 2)
        pooled = F.max_pool2d(y, 2)
        flat = torch.as_strided(pooled, (len(y), 6, 1, 1), (pooled[0].numel(), pooled[0, 0].numel(), 1, 1))
        return pooled * torch.sigmoid(flat)

    net = Net(middle)
    compare(Projector(net, ["last"]), PICTURES, *chosen(net, PICTURES))
    assert seen[-1]  # not with the channels last
