"""A refusal that names the line which would add a rule: that very line, evaluated, lets the signal pass.

With autograd's own rule where the line says `my_rule`, everything else here being linear, what comes down is the
gradient. Every spelling of a function is offered a key that meets it.
"""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pixelward as pw
import test_any_network
import test_laws_closed_world
from oracles import difference
from pixelward.core import rules
from pixelward.core.project import Unit, project_units
from test_laws_closed_world import Net, X, named

Cube = named("Cube")
TENTH = torch.tensor(0.1, dtype=torch.float64)
ONE = torch.ones((), dtype=torch.float64)


def in_place(change):
    """Of a copy, the result dropped."""

    def operation(y):
        y = y * 1
        change(y)
        return y

    return operation


def along(reduce):
    """A reduction over channels, spread over them again."""
    return lambda y: reduce(y).expand_as(y)


SPELLINGS = {
    "sigmoid": [
        torch.sigmoid, lambda y: y.sigmoid(), F.sigmoid, nn.Sigmoid(), lambda y: (y * 1).sigmoid_(),
        in_place(lambda y: y.sigmoid_()), in_place(torch.sigmoid_), torch.special.expit,
    ],
    "tanh": [torch.tanh, lambda y: y.tanh(), F.tanh, nn.Tanh(), lambda y: (y * 1).tanh_(), in_place(torch.tanh_)],
    "softmax": [
        lambda y: torch.softmax(y, 1), lambda y: y.softmax(1), lambda y: F.softmax(y, dim=1), nn.Softmax(1),
        nn.Softmax2d(), lambda y: torch.special.softmax(y, 1), lambda y: F.softmin(y, 1),
    ],
    "log_softmax": [
        lambda y: torch.log_softmax(y, 1), lambda y: y.log_softmax(1), lambda y: F.log_softmax(y, 1), nn.LogSoftmax(1),
    ],
    "hardsigmoid": [F.hardsigmoid, lambda y: F.hardsigmoid(y * 1, inplace=True), nn.Hardsigmoid()],
    "logsigmoid": [F.logsigmoid, nn.LogSigmoid()],
    "shrinking": [F.tanhshrink, nn.Tanhshrink(), F.hardshrink, torch.hardshrink, F.softshrink, nn.Softshrink()],
    "exp": [torch.exp, lambda y: y.exp(), lambda y: (y * 1).exp_(), in_place(torch.exp_), lambda y: y.expm1()],
    "power": [
        lambda y: y**2, lambda y: y**3, lambda y: y.pow(3), lambda y: torch.pow(y, 3), lambda y: (y * 1).pow_(3),
        torch.square, lambda y: y.square(), lambda y: 2**y, lambda y: torch.pow(2.0, y), lambda y: y.float_power(3),
    ],
    "elementary": [
        torch.sin, lambda y: y.cos(), torch.erf, torch.special.erf, lambda y: (y * 1).erf_(), torch.special.erfc,
        torch.atan, torch.arctan, torch.sinh, torch.asinh, torch.sinc, torch.frac, lambda y: torch.hypot(y, ONE),
    ],
    "abs": [torch.abs, lambda y: y.abs(), abs, torch.absolute, lambda y: (y * 1).abs_()],
    "clamp": [
        lambda y: y.clamp(-1, 1), lambda y: torch.clamp(y, -1, 1), lambda y: torch.clip(y, -1, 1),
        lambda y: (y * 1).clamp_(-1, 1), lambda y: y.clamp(max=0.1), lambda y: y.clamp_max(0.1), F.hardtanh,
        nn.Hardtanh(), lambda y: F.hardtanh_(y * 1), lambda y: torch.minimum(y, TENTH),
    ],
    "smaller": [lambda y: torch.minimum(y, y.flip(3)), lambda y: torch.fmin(y, y.flip(3))],
    "reduction": [
        along(lambda y: y.amin(1, keepdim=True)), along(lambda y: y.min(1, keepdim=True)[0]),
        along(lambda y: y.logsumexp(1, keepdim=True)), along(lambda y: y.var(1, keepdim=True)),
        along(lambda y: y.norm(dim=1, keepdim=True)), along(lambda y: torch.linalg.vector_norm(y, dim=1, keepdim=True)),
        along(lambda y: y.prod(1, keepdim=True)), along(lambda y: y.median(1, keepdim=True)[0]),
        lambda y: y.sort(1)[0], lambda y: y.topk(4, 1)[0], lambda y: y.cumprod(1), lambda y: y.cummax(3)[0],
    ],
    "several in a row": [
        lambda y: (y.abs() + 1).log1p(), lambda y: y.exp().sqrt(), lambda y: torch.logit(y.sigmoid()),
        lambda y: torch.fft.fft2(y).real,
    ],
    "autograd function": [Cube.apply],
}  # fmt: skip
CASES = [(f"{name} {number}", f) for name, spelled in SPELLINGS.items() for number, f in enumerate(spelled)]


def unit(net, picture, table):
    (found,) = project_units(net, picture, "last", [Unit(0, 1, (2, 3))], seed="one", rules=table)
    return found.signal


def by_the_lines(net, picture):
    """The signal, with every line added that a refusal names, and these lines; no signal where one names none."""
    table, lines = dict(pw.DECONVNET), []
    for _ in range(6):
        try:
            return unit(net, picture, table), lines
        except pw.PixelwardError as refusal:
            line = re.search(r"(add a rule|keep fixed): (rules=\{\*\*pw\.DECONVNET, .*?\})", refusal.next_step)
        if line is None:
            return None, lines
        lines.append(line[2])
        names = {"pw": pw, "torch": torch, "my_rule": rules.autograd, "Cube": Cube}
        table |= eval(f"dict({line[2]})", names)["rules"]
    raise AssertionError(f"still refused after {lines}")


@pytest.mark.parametrize(("name", "function"), CASES, ids=[name for name, _ in CASES])
def test_the_line_of_a_refusal_is_the_rule_that_it_asks_for(name, function):
    net = Net(lambda y, net: function(y))
    got, lines = by_the_lines(net, X)
    assert lines
    assert all("my_rule" in line for line in lines)
    assert len(lines) == 1 or name.startswith("several")
    assert got is not None
    assert got.any()
    assert difference(got, unit(net, X, "gradient")) < 1e-12


KEPT = {
    "a square": lambda y: y * y,
    "softsign": F.softsign,
    "a reciprocal": lambda y: (y * y + 1).reciprocal(),
    "one divided": lambda y: 1 / (y.flip(1) + 3),
    "divided by another": lambda y: y / (y.flip(1) + 3),
    "slopes from the picture": lambda y: F.prelu(y, y.mean((2, 3))[0]),
}


@pytest.mark.parametrize("function", KEPT.values(), ids=KEPT)
def test_the_line_of_a_refused_product_sends_the_signal_somewhere(function):
    """A remedy after which the picture is zero, whatever the unit sees, is none."""
    got, lines = by_the_lines(Net(lambda y, net: function(y)), X)
    assert lines
    assert got is not None
    assert got.any()
    assert got.isfinite().all()


ELSEWHERE = {
    **{name: (Net, middle, X) for name, (middle, _) in test_laws_closed_world.REFUSED.items()},
    **{name: (test_any_network.Sampled, f, X) for name, (f, _) in test_any_network.REFUSED.items()},
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_every_line_that_other_refusals_name_is_met(name):
    make, function, picture = ELSEWHERE[name]
    net = test_any_network.seeded(lambda: make(function))
    got, lines = by_the_lines(net, picture)
    if got is None or not all("my_rule" in line for line in lines):
        return  # no line, or one that keeps a factor
    assert difference(got, unit(net, picture, "gradient")) < 1e-12
