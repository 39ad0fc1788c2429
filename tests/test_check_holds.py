"""What `check` says is what happens: the layers that it lists, the refusals in its words, the way down."""

import re

import pytest
import torch
from torch import nn

import pixelward as pw
from checked_networks import SIZE, attentive, deep, excited, exponential, plain
from pixelward.core.descent import project_hits
from pixelward.core.trace import trace
from test_laws_closed_world import ACCEPTED, REFUSED, Net


@pytest.mark.parametrize(("middle", "words"), REFUSED.values(), ids=REFUSED)
def test_what_leaves_autograds_graph_is_reported_with_the_words_of_the_refusal(middle, words):
    report = pw.check(Net(middle), size=(12, 12))
    last = report.layers[-1]
    assert re.search(words, last.refusal)
    assert any(last.address in each.blocks and each.remedy in last.refusal for each in report.obstacles)


@pytest.mark.parametrize("middle", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_accepted_is_not_refused_by_the_report(middle):
    assert pw.check(Net(middle), size=(12, 12)).refused == ()


def test_what_is_refused_for_one_reason_is_told_once():
    def read(y, net):
        return torch.relu(y) if y.amax((1, 2, 3)) > -100 else y

    net = nn.Sequential(nn.Conv2d(3, 3, 1).double(), Net(read), nn.ReLU(), nn.Conv2d(2, 2, 1).double())
    report = pw.check(net, size=(12, 12))
    (obstacle,) = report.obstacles
    assert obstacle.reason == "values were read in Python by __bool__ in 1"
    assert obstacle.blocks == ("1.one:relu", "1.last:relu", "3")
    assert str(report).startswith(
        "1 of 4 layers can be projected exactly, in windows of the picture. The signal cannot cross relu and conv2d "
        f"(4 of them, the first in '1'): {obstacle.reason}; 3 layers lie above it."
    )


@pytest.mark.parametrize("make", [plain, excited, attentive, exponential, deep])
def test_the_report_agrees_with_layers_and_with_the_way_down(make):
    net = make()
    report = pw.check(net, size=SIZE)
    known = pw.layers(net, size=SIZE)
    assert len(report.layers) == len(known)
    step = len(known) // 8 + 1  # a few of many
    for checked, layer in zip(report.layers[::-step], known[::-step], strict=True):
        assert (checked.address, checked.shape, checked.field) == (layer.address, layer.shape, layer.field)
        assert (checked.reach, checked.refusal) == (layer.reach, layer.refusal)
        traced = trace(net, torch.randn(1, 3, *SIZE), [layer.address])
        unit = torch.zeros(1, dtype=torch.int64)
        ask = traced.plan, traced.targets[layer.address], unit, torch.zeros(1, 2, dtype=torch.int64), unit
        if checked.refusal:
            with pytest.raises(pw.PixelwardError, match=re.escape(checked.refusal)):
                project_hits(*ask)
            continue
        _, (box,) = project_hits(*ask)
        assert _inside(box) == (_inside(checked.reach.box((0, 0), SIZE)) if checked.windows else (0, 0, *SIZE))


def _inside(box):
    """The part of a box that lies in the picture."""
    top, left = max(box.top, 0), max(box.left, 0)
    bottom, right = (min(end, n) for end, n in zip((box.top + box.height, box.left + box.width), SIZE, strict=True))
    return top, left, bottom - top, right - left
