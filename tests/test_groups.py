"""Hits go down together where their signals are small, and in smaller groups as these grow."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pixelward.core import groups, project
from pixelward.core.descent import Descent
from pixelward.core.memory import taken
from pixelward.core.rules import DECONVNET
from pixelward.core.trace import trace
from pixelward.errors import PixelwardError

HITS = 32
WINDOWS = ("4", 14 * 14)  # of conv2: the reach is smaller than the picture
WHOLE = ("8", 48 * 48)  # of the linear layer


@pytest.fixture(autouse=True)
def _down_to_one(monkeypatch):
    monkeypatch.setattr(groups, "FEWEST", 1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(16, 8, 5), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    ).eval()


def descended(layer):
    """The way down of some hits of a layer, to be run again and again."""
    traced = trace(network(), torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(1)), [layer])
    plan, target = traced.plan.without_nodes(), traced.targets[layer]
    descent, zeros = Descent(plan, target), torch.zeros(HITS, dtype=torch.int64)
    positions = torch.stack([torch.arange(HITS) % 5 + 4, torch.arange(HITS) // 5 + 4], 1)
    channels = torch.arange(HITS) % 4
    return lambda: descent.project(plan, channels, positions, zeros, torch.ones(HITS))[0]


@pytest.mark.parametrize(("layer", "pixels"), [WINDOWS, WHOLE])
def test_signals_at_once_have_a_bound(layer, pixels, monkeypatch):
    """Beside those at the pixels, which are what was asked for."""
    run = descended(layer)
    pixels *= 3 * HITS * 4
    most = {}
    for numbers in (10**9, 5_000):
        monkeypatch.setattr(groups, "TOGETHER", numbers)
        run()
        most[numbers] = taken(run, torch.device("cpu")) - pixels
    assert most[5_000] < most[10**9] / 4


@pytest.mark.parametrize("layer", [WINDOWS[0], WHOLE[0]])
def test_few_hits_go_on_together_however_large_they_are(layer, monkeypatch):
    met, cross = [], project._cross

    def seen(plan, crossing, signals, *others):
        met.append(len(next(iter(signals.values()))))
        cross(plan, crossing, signals, *others)

    monkeypatch.setattr(groups, "FEWEST", 16)
    monkeypatch.setattr(groups, "TOGETHER", 1)
    monkeypatch.setattr(project, "_cross", seen)
    descended(layer)()
    assert set(met) == {16}


@pytest.mark.parametrize("layer", [WINDOWS[0], WHOLE[0]])
def test_groups_grow_smaller_on_their_way(layer, monkeypatch):
    met = []
    monkeypatch.setattr(groups, "TOGETHER", 20_000)
    cross = project._cross

    def seen(plan, crossing, signals, *others):
        met.append((crossing.step.operation, len(next(iter(signals.values())))))
        cross(plan, crossing, signals, *others)

    monkeypatch.setattr(project, "_cross", seen)
    signals = descended(layer)()
    first, last = met[0][1], met[-1][1]
    assert (first, len(signals)) == (HITS, HITS)
    assert 1 <= last < first
    for operation in {operation for operation, _ in met}:
        assert sum(number for name, number in met if name == operation) % HITS == 0  # every hit crosses all of them


class Gated(nn.Module):
    """By a gate with a place for every place, which is kept fixed, and a whole map also where hits go in windows."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.gate, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3)

    def forward(self, pictures):
        maps = self.a(pictures)
        return self.b(maps * self.gate(maps).sigmoid())


def test_what_is_kept_fixed_makes_no_group_smaller(monkeypatch):
    traced = trace(Gated().eval(), torch.randn(1, 3, 64, 64), ["b"])
    descent, zeros = Descent(traced.plan, traced.targets["b"]), torch.zeros(HITS, dtype=torch.int64)
    assert descent.largest(traced.plan, None) == 3 * 5 * 5  # the pixels' window
    crossed, cross = [], project._cross

    def seen(plan, crossing, signals, *others):
        crossed.append(len(next(iter(signals.values()))))
        cross(plan, crossing, signals, *others)

    monkeypatch.setattr(project, "_cross", seen)
    monkeypatch.setattr(groups, "TOGETHER", HITS * 3 * 5 * 5)  # of the pixels' windows, the largest
    descent.project(traced.plan, zeros, torch.full((HITS, 2), 30), zeros)
    assert set(crossed) == {HITS}


def test_a_rule_that_loses_hits_is_refused_and_no_signal_taken_for_those_of_all(monkeypatch):
    traced = trace(network(), torch.randn(1, 3, 48, 48), ["4"])

    def averaged(signal, step):
        return [None if part is None else part.mean(0, keepdim=True) for part in DECONVNET["convolution"](signal, step)]

    rules = {**DECONVNET, "convolution": averaged}
    descent, zeros = Descent(traced.plan, traced.targets["4"], rules), torch.zeros(8, dtype=torch.int64)
    monkeypatch.setattr(groups, "TOGETHER", 70_000)
    with pytest.raises(PixelwardError, match=r"a rule that gave . signals for 2 hits"):
        descent.project(traced.plan, zeros, torch.full((8, 2), 9), zeros)


def test_a_signal_that_ends_on_its_way_gives_nothing(monkeypatch):
    net = network()
    picture = torch.randn(1, 3, 48, 48)
    for numbers in (10**9, 1):
        monkeypatch.setattr(groups, "TOGETHER", numbers)
        traced = trace(net, picture, ["4"])
        zeros = torch.zeros(4, dtype=torch.int64)
        rules = dict.fromkeys((step.kind for step in traced.plan.steps), lambda signal, step: [None] * len(step.inputs))
        descent = Descent(traced.plan, traced.targets["4"], rules)
        signals, _ = descent.project(traced.plan, zeros, torch.zeros(4, 2, dtype=torch.int64), zeros)
        assert signals.shape[:2] == (4, 3)
        assert not signals.any()
