"""Twins of rectifiers and of every other activation of one argument, in every spelling."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from slow import Chain, Rectifier, Sum, between, linear, sigmoid
from twins import ACTIVATION, RECTIFIER, SINGLE, pair, tensor, twin

ZERO = torch.zeros((), dtype=torch.float64)


def assigned(change):
    """A change in place, of a copy, whose result is dropped."""

    def operation(x):
        y = x * 1
        change(y)
        return y

    return operation


def set_where_negative(y):
    y[y < 0] = 0


def set_to_a_tensor(y):
    y[y < 0] = ZERO


reused = nn.ReLU()

RELUS = {
    "module": nn.ReLU(),
    "module in place": assigned(nn.ReLU(inplace=True)),
    "functional": F.relu,
    "functional in place": lambda x: F.relu(x * 1, inplace=True),
    "F.relu_": lambda x: F.relu_(x * 1),
    "F.relu_, result dropped": assigned(F.relu_),
    "torch": torch.relu,
    "torch.relu_": lambda x: torch.relu_(x * 1),
    "method": lambda x: x.relu(),
    "method in place, result dropped": assigned(lambda y: y.relu_()),
    "clamp": lambda x: x.clamp(min=0),
    "clamp by position": lambda x: torch.clamp(x, 0),
    "clamp to infinity": lambda x: x.clamp(0, math.inf),
    "clamp by a tensor": lambda x: x.clamp(min=ZERO),
    "clamp_": lambda x: (x * 1).clamp_(min=0),
    "clip": lambda x: torch.clip(x, min=0.0),
    "clamp_min": lambda x: x.clamp_min(0),
    "clamp_min_": assigned(lambda y: y.clamp_min_(0)),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "threshold module": nn.Threshold(0, 0),
    "threshold_": assigned(lambda y: F.threshold_(y, 0, 0)),
    "maximum with 0": lambda x: torch.maximum(x, ZERO),
    "0 on the left of maximum": lambda x: torch.maximum(ZERO, x),
    "maximum with zeros": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "max with zeros": lambda x: torch.max(x, torch.zeros_like(x)),
    "method max with zeros": lambda x: x.max(x.new_zeros(())),
    "times mask": lambda x: x * (x > 0),
    "mask times": lambda x: (x > 0) * x,
    "times mask with equal": lambda x: x * (x >= 0),
    "times gt": lambda x: x * x.gt(0),
    "times zero below": lambda x: x * (0 < x),  # noqa: SIM300
    "times mask to dtype": lambda x: x * (x > 0).to(x.dtype),
    "times mask type_as": lambda x: x * (x > 0).type_as(x),
    "times float mask": lambda x: x * (x > 0).float(),
    "times double mask": lambda x: x * (x > 0).double(),
    "times inverted mask": lambda x: x * ~(x <= 0),
    "torch.mul by mask": lambda x: torch.mul(x, x > 0),
    "mul_ by its mask": lambda x: (lambda y: y.mul_(y > 0))(x * 1),
    "*= mask, result dropped": assigned(lambda y: y.mul_((y > 0).double())),
    "where": lambda x: torch.where(x > 0, x, 0),
    "where 0.0": lambda x: torch.where(x > 0, x, 0.0),
    "where turned round": lambda x: torch.where(x <= 0, 0, x),
    "where with zeros_like": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "where with a zero": lambda x: torch.where(x < 0, ZERO, x),
    "method where": lambda x: x.where(x > 0, ZERO),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0),
    "torch.masked_fill": lambda x: torch.masked_fill(x, x <= 0, 0.0),
    "masked_fill_": assigned(lambda y: y.masked_fill_(y < 0, 0)),
    "mask assignment": assigned(set_where_negative),
    "mask assignment of a tensor": assigned(set_to_a_tensor),
}

RELU = Rectifier(lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0))

for name, operation in RELUS.items():
    pair(RECTIFIER, name, operation, RELU)
pair(
    RECTIFIER, "one module, two calls", lambda x: reused(reused(x) - 0.5), Chain(RELU, linear(lambda x: x - 0.5), RELU)
)
pair(
    RECTIFIER,
    "two readers of its input",
    lambda x: F.relu(x) + 0.5 * x,
    Sum(RELU, linear(lambda x: x), weights=[1.0, 0.5]),
)
pair(
    RECTIFIER,
    "concatenated with its mirror",
    lambda x: F.relu(x) - F.relu(-x),
    Sum(RELU, Chain(linear(lambda x: -x), RELU), weights=[1.0, -1.0]),
)


# ---------------------------------------------------------------- other activations


def above(x, low):
    """x where it is positive, `low` elsewhere; also for complex numbers."""
    return np.where(x.real > 0, x, low)


def below(x):
    """x where it is negative, 0 elsewhere."""
    return np.where(x.real > 0, 0, x)


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def softplus(x):
    return np.log1p(np.exp(x))


def tanh_gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


erf = np.vectorize(math.erf)
GELU = Rectifier(
    lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    lambda x: 0.5 * (1 + erf(x / math.sqrt(2))) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi),
)
SLOW = {
    "relu6": Rectifier(lambda x: between(x, 0, 6)),
    "to 1": Rectifier(lambda x: between(x, 0, 1)),
    "leaky": Rectifier(lambda x: above(x, 0.1 * x)),
    "elu": Rectifier(lambda x: above(x, np.exp(below(x)) - 1)),
    "elu 2": Rectifier(lambda x: above(x, 2 * (np.exp(below(x)) - 1))),
    "selu": Rectifier(lambda x: SELU_SCALE * above(x, SELU_ALPHA * (np.exp(below(x)) - 1))),
    "celu": Rectifier(lambda x: above(x, 1.5 * (np.exp(below(x) / 1.5) - 1))),
    "silu": Rectifier(lambda x: x * sigmoid(x)),
    "silu 1.5": Rectifier(lambda x: x * sigmoid(1.5 * x)),
    "gelu": GELU,
    "tanh gelu": Rectifier(tanh_gelu),
    "quick gelu": Rectifier(lambda x: x * sigmoid(1.702 * x)),
    "mish": Rectifier(lambda x: x * np.tanh(softplus(x))),
    "hardswish": Rectifier(lambda x: x * between(x + 3, 0, 6) / 6),
    "softplus": Rectifier(softplus),
    "softplus 2": Rectifier(lambda x: softplus(2 * x) / 2),
    "squared relu": Rectifier(lambda x: above(x, 0) ** 2),
}


def swish_in_place(x):
    y = x * 1
    return y.mul_(y.sigmoid())


def squared(x):
    y = F.relu(x)
    return y * y


ROOT = math.sqrt(2 / math.pi)
SPELLINGS = {
    "relu6": {
        "functional": F.relu6,
        "module": nn.ReLU6(),
        "in place": lambda x: F.relu6(x * 1, inplace=True),
        "hardtanh": lambda x: F.hardtanh(x, 0, 6),
        "hardtanh in place": assigned(nn.Hardtanh(0.0, 6.0, inplace=True)),
        "clamp": lambda x: x.clamp(0, 6),
        "clamp_": lambda x: (x * 1).clamp_(0, 6),
        "minimum": lambda x: torch.minimum(F.relu(x), torch.tensor(6.0, dtype=x.dtype)),
        "clamp max": lambda x: F.relu(x).clamp(max=6),
    },
    "to 1": {"hardtanh": nn.Hardtanh(0, 1), "clamp": lambda x: torch.clamp(x, 0, 1)},
    "leaky": {
        "functional": lambda x: F.leaky_relu(x, 0.1),
        "module": nn.LeakyReLU(0.1),
        "in place": lambda x: F.leaky_relu_(x * 1, 0.1),
        "where": lambda x: torch.where(x > 0, x, 0.1 * x),
        "where turned round": lambda x: torch.where(x < 0, x * 0.1, x),
        "rrelu in eval": lambda x: F.rrelu(x, 0.05, 0.15, training=False),
    },
    "elu": {
        "functional": F.elu,
        "module": nn.ELU(),
        "in place": lambda x: F.elu_(x * 1),
        "where and exp": lambda x: torch.where(x > 0, x, torch.exp(x) - 1),
        "where and expm1": lambda x: torch.where(x > 0, x, torch.expm1(x)),
    },
    "elu 2": {"module": nn.ELU(2.0), "where": lambda x: torch.where(x > 0, x, 2 * torch.expm1(x))},
    "selu": {"functional": F.selu, "module": nn.SELU(), "in place": lambda x: F.selu_(x * 1)},
    "celu": {"functional": lambda x: F.celu(x, 1.5), "module": nn.CELU(1.5)},
    "silu": {
        "functional": F.silu,
        "module": nn.SiLU(),
        "in place": lambda x: F.silu(x * 1, inplace=True),
        "by hand": lambda x: x * torch.sigmoid(x),
        "by hand, gate first": lambda x: x.sigmoid() * x,
        "by a quotient": lambda x: x / (1 + torch.exp(-x)),
        "by a reciprocal": lambda x: x * (torch.exp(-x) + 1).reciprocal(),
        "by one over": lambda x: x * (1 / (1 + (-x).exp())),
        "by hand in place": swish_in_place,
    },
    "silu 1.5": {"by hand": lambda x: x * torch.sigmoid(1.5 * x)},
    "gelu": {
        "functional": F.gelu,
        "module": nn.GELU(),
        "by hand": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
        "by hand, x first": lambda x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))),
        "by hand, halved at the end": lambda x: x * (1.0 + torch.erf(x / math.sqrt(2.0))) / 2,
        "by hand, half at the front": lambda x: 0.5 * (x * (1.0 + torch.erf(x / math.sqrt(2.0)))),
    },
    "tanh gelu": {
        "functional": lambda x: F.gelu(x, approximate="tanh"),
        "module": nn.GELU("tanh"),
        "by hand": lambda x: 0.5 * x * (1 + torch.tanh(ROOT * (x + 0.044715 * torch.pow(x, 3)))),
        "by hand, powers": lambda x: 0.5 * x * (1 + torch.tanh(x * ROOT * (1 + 0.044715 * x * x))),
    },
    "quick gelu": {
        "by hand": lambda x: x * torch.sigmoid(1.702 * x),
        "gate first": lambda x: (1.702 * x).sigmoid() * x,
    },
    "mish": {
        "functional": F.mish,
        "module": nn.Mish(),
        "by hand": lambda x: x * torch.tanh(F.softplus(x)),
        "by hand, logarithm": lambda x: x * torch.tanh(torch.log1p(torch.exp(x))),
        "by hand in place": lambda x: (x * 1).mul_(F.softplus(x).tanh()),
    },
    "hardswish": {
        "functional": F.hardswish,
        "module": nn.Hardswish(),
        "in place": lambda x: F.hardswish(x * 1, inplace=True),
        "by hand": lambda x: x * F.relu6(x + 3) / 6,
        "by hand, factor": lambda x: x * (F.relu6(x + 3.0) * (1 / 6)),
        "by hand, clamp": lambda x: x * (x + 3).clamp(0, 6) / 6,
        "by hand in place": lambda x: (x * 1).mul_(F.relu6(x + 3.0).div_(6.0)),
        "by hardsigmoid": lambda x: x * F.hardsigmoid(x),
    },
    "softplus": {
        "functional": F.softplus,
        "module": nn.Softplus(),
        "logarithm": lambda x: torch.log1p(torch.exp(x)),
        "logarithm of a sum": lambda x: torch.log(1 + x.exp()),
    },
    "softplus 2": {"module": nn.Softplus(beta=2)},
    "squared relu": {
        "power": lambda x: F.relu(x) ** 2,
        "square": lambda x: F.relu(x).square(),
        "times itself": squared,
        "torch.square": lambda x: torch.square(torch.relu(x)),
    },
}
for kind, spellings in SPELLINGS.items():
    for name, operation in spellings.items():
        full = f"{kind}: {name}"
        exact = SINGLE if "hardsigmoid" in name else 1e-10
        pair(ACTIVATION, full, operation, SLOW[kind], exact=exact)


@twin(ACTIVATION, "prelu: one slope")
def _prelu(m):
    slope = m.random.uniform(-0.5, 0.5, 1)
    return lambda x: F.prelu(x, tensor(slope)), Rectifier(lambda x: above(x, slope * x))


@twin(ACTIVATION, "prelu: a slope a channel")
def _prelu_of_channels(m):
    slopes = m.random.uniform(-0.5, 0.5, m.channels)
    module = nn.PReLU(m.channels).double()
    module.weight.data = tensor(slopes)
    return module, Rectifier(lambda x: above(x, slopes[:, None, None] * x))


@twin(ACTIVATION, "swish: a factor a channel")
def _learned_swish(m):
    factors = m.positive(m.channels, 1, 1)
    return lambda x: x * torch.sigmoid(tensor(factors) * x), Rectifier(lambda x: x * sigmoid(factors * x))
