"""What the deconvnet has no rule for: saturations and products of two signals are refused by it, never a zero picture.

`guided` and `gradient` cross them as autograd does; a product also by naming the factor that stays fixed.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pixelward as pw
from oracles import difference
from pixelward.core.project import Unit, project_units, walk
from pixelward.core.trace import trace
from slow import Chain, Gated, convolved, linear
from twins import Operation, tensor
from twins_activations import RELU

EXACT = 1e-10
random = np.random.default_rng(5)
ONE, TWO = random.standard_normal((2, 4, 4, 1, 1))
X = random.standard_normal((2, 4, 5, 6))
x = tensor(X)


def one(y):
    return F.conv2d(y, tensor(ONE))


def two(y):
    return F.conv2d(y, tensor(TWO))


def places(y):
    return y.flatten(2).transpose(1, 2)


def attention(y):
    t = places(y)
    return (torch.softmax(t @ t.transpose(1, 2), -1) @ t).transpose(1, 2).view_as(y)


def built_in_attention(y):
    return F.scaled_dot_product_attention(places(one(y)), places(two(y)), places(y)).transpose(1, 2).view_as(y)


torch.manual_seed(0)
HEADS = nn.MultiheadAttention(4, 2, batch_first=True).double().eval()

SATURATIONS = {
    "sigmoid": (torch.sigmoid, "sigmoid"),
    "sigmoid module": (nn.Sigmoid(), "sigmoid"),
    "tanh": (lambda y: y.tanh(), "tanh"),
    "softmax over channels": (lambda y: F.softmax(y, 1), "softmax"),
    "log-softmax": (lambda y: F.log_softmax(y, 1), "log_softmax"),
    "hardsigmoid": (F.hardsigmoid, "hardsigmoid"),
    "hardtanh": (nn.Hardtanh(), "hardtanh"),
    "clamp on both sides of 0": (lambda y: y.clamp(-1, 2), "clamp"),
    "clamp from below 0": (lambda y: y.clamp(min=-1), "clamp"),
    "clamp to above 0, of a signed map": (lambda y: y.clamp(max=0.5), "clamp"),
}
PRODUCTS = {
    "tanh times sigmoid": (lambda y: torch.tanh(one(y)) * torch.sigmoid(two(y)), "both factors are gates"),
    "star": (lambda y: one(y) * two(y), "both factors carry the signal"),
    "star with a rectifier": (lambda y: F.relu6(one(y)) * two(y), "both factors carry the signal"),
    "star in place": (lambda y: one(y).mul_(two(y)), "both factors carry the signal"),
    "two halves": (lambda y: torch.mul(*y.chunk(2, 1)), "both factors carry the signal"),
    "a convolution gates the map": (lambda y: y * two(one(y)), "both factors carry the signal"),
    "a rectified convolution gates another": (lambda y: one(y) * F.gelu(two(y)), "both factors carry the signal"),
    "quotient": (lambda y: one(y) / (two(y).abs() + 1), "carry the signal"),
    "square": (lambda y: y * y, "both factors carry the signal"),
}
ATTENTIONS = {
    "by hand": (attention, "both factors carry the signal"),
    "scaled_dot_product_attention": (built_in_attention, "computed from the picture"),
    "heads": (lambda y: HEADS(*[places(y)] * 3)[0].transpose(1, 2).view_as(y), "computed from the picture"),
    "channel attention": (
        lambda y: (torch.softmax(y.flatten(2) @ y.flatten(2).mT, -1) @ y.flatten(2)).view_as(y),
        "both factors carry the signal",
    ),
}


def own_gradient(operation, position):
    leaf = x[:1].clone().requires_grad_(True)
    (down,) = torch.autograd.grad(operation(leaf * 1)[(0, 0, *position)], leaf)
    return down[0]


@pytest.mark.parametrize(("operation", "word"), SATURATIONS.values(), ids=SATURATIONS)
def test_a_saturation_on_the_signals_way_is_refused_and_has_a_gradient(operation, word):
    net = Operation(operation)
    with pytest.raises(
        pw.PixelwardError, match=rf"^given: {word} in 'operation', which the signal has to cross: it .*"
    ):
        project_units(net, x[:1], "last", [Unit(0, 0)])
    for rules in ("guided", "gradient"):
        (unit,) = project_units(net, x[:1], "last", [Unit(0, 0)], rules=rules, seed="one")
        assert difference(unit.signal, own_gradient(operation, unit.position)) < 1e-7


KEEP = r"name the factor to keep fixed: rules=\{\*\*pw.DECONVNET, pw.PRODUCT: pw.keep_fixed\(0\)\}"
OTHER = KEEP + " for one of them, with a rule for the function that made the other"
REFUSALS = {name: (*case, OTHER if "gates" in case[1] else KEEP) for name, case in PRODUCTS.items()} | {
    name: (*case, 'use rules="gradient"') for name, case in ATTENTIONS.items()
}


@pytest.mark.parametrize(("operation", "words", "remedy"), REFUSALS.values(), ids=REFUSALS)
def test_a_product_of_two_signals_is_refused_with_what_helps_and_has_a_gradient(operation, words, remedy):
    told = f"which the signal has to cross: .*{words}.*next step: choose a layer below it, or {remedy}$"
    with pytest.raises(pw.PixelwardError, match=told):
        project_units(Operation(operation), x[:1], "last", [Unit(0, 0)])
    (unit,) = project_units(Operation(operation), x[:1], "last", [Unit(0, 0)], rules="gradient", seed="one")
    assert difference(unit.signal, own_gradient(operation, unit.position)) < EXACT


def test_layers_below_an_attention_project():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(4, 4, 3, padding=1).double(), nn.Identity()

        def forward(self, y):
            return self.last(attention(F.relu(self.conv(y))))

    net = Net()
    assert project_units(net, x[:1], "conv:relu", [Unit(0, 0)])[0].signal.any()
    with pytest.raises(pw.PixelwardError, match="as in attention"):
        project_units(net, x[:1], "last", [Unit(0, 0)])
    assert project_units(net, x[:1], "last", [Unit(0, 0)], rules="gradient")[0].signal.any()


STAR = linear(lambda y: convolved(y, ONE)), linear(lambda y: convolved(y, TWO))


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("rectified", [False, True])
def test_a_named_factor_stays_fixed(kept, rectified):
    """The star product with one factor kept equals a gated feature; the fixed factor's own rectifier is not met."""

    def operation(y):
        return (F.relu(one(y)) if rectified else one(y)) * two(y)

    first = Chain(STAR[0], RELU) if rectified else STAR[0]
    slow = Gated(STAR[1], first) if kept == 0 else Gated(first, STAR[1])
    traced = trace(Operation(operation), x, ["last"])
    signal = random.standard_normal(traced.plan.values[traced.targets["last"].value].shape)
    rules = {**pw.DECONVNET, pw.PRODUCT: pw.keep_fixed(kept)}
    with torch.no_grad():
        got = walk(traced.plan, traced.targets["last"].value, tensor(signal), rules)
    assert difference(got, slow.down(X, signal, "deconvnet")) < EXACT
    (unit,) = project_units(Operation(operation), x[:1], "last", [Unit(0, 2)], rules=rules)
    assert unit.signal.any()


def test_only_the_first_or_the_second_factor_can_be_kept():
    with pytest.raises(pw.PixelwardError, match=r"keep_fixed\(2\).*allowed: 0 or 1"):
        pw.keep_fixed(2)
