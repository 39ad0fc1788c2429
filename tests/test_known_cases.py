"""The cases in which other tools are silently wrong, each a network of 1x1 weights that can be checked by hand.

Weights 1, no bias, the picture one number x; "right" is the deconvnet's rule with seed 1, or with the activation.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pixelward.core.project import Unit, project_units


def number(factor=1.0):
    conv = nn.Conv2d(1, 1, 1, bias=False).double()
    nn.init.constant_(conv.weight, factor)
    return conv


class Net(nn.Module):
    """`a`, `b`: weights of 1; `act`: a rectifier; `rule`: what to make of them."""

    def __init__(self, rule, act=None):
        super().__init__()
        self.a, self.b, self.act, self.last, self.rule = number(), number(), act or nn.ReLU(), nn.Identity(), rule

    def forward(self, x):
        return self.last(self.rule(self, x))


def downward(net, x, layer="last", seed=1.0, rules="deconvnet"):
    picture = torch.full((1, 1, 1, 1), float(x), dtype=torch.float64)
    return project_units(net, picture, layer, [Unit(0, 0)], seed=seed, rules=rules)[0].signal.item()


def skip_after_in_place(net, x):
    h = net.a(x)
    return net.act(h) + 3 * h


CASES = [
    ("1 functional rectifier, negative signal", lambda n, x: -F.relu(n.a(x)), None, 1, 0, -1),
    ("1' functional rectifier, silent", lambda n, x: F.relu(n.a(x)), None, -1, 1, 0),
    ("1b functional and module mixed", lambda n, x: F.relu(n.a(x) - 2) - n.act(n.b(x)), None, 1, 1, -1),
    ("2 ReLU6", lambda n, x: -n.act(n.a(x)), nn.ReLU6(), 1, 0, -1),
    ("2 SiLU", lambda n, x: -n.act(n.a(x)), nn.SiLU(), 1, 0, -0.9277),
    ("2 GELU", lambda n, x: -n.act(n.a(x)), nn.GELU(), 1, 0, -1.0833),
    ("2 Hardswish", lambda n, x: -n.act(n.a(x)), nn.Hardswish(), 1, 0, -0.8333),
    ("3 input of the rectifier used twice", lambda n, x: (lambda h: n.act(h) - 3 * h)(n.a(x)), None, -1, -2, -3),
    (
        "4 one rectifier in two branches",
        lambda n, x: (lambda h, g: n.act(h) - 5 * n.act(g))(n.a(x), n.b(x)),
        None,
        1,
        1,
        -4,
    ),
    ("5 in place, input read again", skip_after_in_place, nn.ReLU(inplace=True), -1, 4, 0),
]


@pytest.mark.parametrize(
    ("rule", "act", "x", "right", "gradient"), [row[1:] for row in CASES], ids=[r[0] for r in CASES]
)
def test_the_deconvnet_is_right_where_others_are_not(rule, act, x, right, gradient):
    net = Net(rule, act)
    assert downward(net, x) == pytest.approx(right, abs=1e-12)
    assert downward(net, x, rules="gradient") == pytest.approx(gradient, abs=1e-4)


def test_case_5_leaves_the_forward_value_as_it_is():
    net = Net(skip_after_in_place, nn.ReLU(inplace=True))
    assert net(torch.full((1, 1, 1, 1), -1.0, dtype=torch.float64)).item() == 0


@pytest.mark.parametrize(("x", "picture"), [(-1, 0), (3, 3)])
def test_case_6_a_silent_unit_has_no_picture_and_the_seed_is_the_activation(x, picture):
    assert downward(Net(lambda n, x: n.act(n.a(x))), x, seed="value") == picture


def test_a_negative_activation_seeds_as_it_is():
    assert downward(Net(lambda n, x: n.a(x)), -2, layer="a", seed="value") == -2
