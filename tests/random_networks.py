"""Random small networks, drawn from every operation of the table of twins, each with its slow twin.

A network is a list of layers: an operation alone, with its input added to it, or beside another one. Each layer's
output is scaled by a power of two to values of order 1. The slow way down takes each layer's input from torch's own
forward pass, so that ties and signs are decided on the same bits.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from all_twins import CASES
from oracles import difference
from slow import SAME, Joined, Sum
from twins import SINGLE, Case, Maker, Plain, Unfit, tensor

LARGEST = 700  # samples of a tensor
SMALLEST = 1e-6  # largest value of a tensor, whose input is of order 1: below lies rounding


def _is_drawn(case):
    """Left out: what needs pictures of its own, what is refused, and rectifiers whose slope at 0 is not 0."""
    if case.picture == "positive" or case.refused or case.exact == SINGLE:
        return False
    if case.kinds[0] != "RECTIFIER":
        return True
    zero = torch.zeros(1, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    out = case.make(Maker(0, (1, 1, 1)))[0](zero)
    return bool(torch.autograd.grad(out.sum(), zero)[0] == 0)


DRAWN = {}
for case in filter(_is_drawn, CASES):
    DRAWN.setdefault(case.kinds[0], []).append(case)
LINEAR_KINDS = (
    *("CONVOLUTION", "BATCH_NORM", "SCALE", "AVERAGE_POOL", "PADDING"),
    *("IDENTITY", "ADDITION", "CONCATENATION", "LINEAR"),
)


@dataclass(frozen=True)
class Layer:
    """An operation, the seed of its constants, and how it is built in: "plain", "residual" or "beside"."""

    case: Case
    seed: int
    form: str

    @property
    def kind(self):
        return self.case.kinds[0]

    def __str__(self):
        return f"{self.form} {self.kind}: {self.case.name} ({self.seed})"


class Network(nn.Module):
    """The layers' operations one after the other; `last` names the tensor that comes out."""

    def __init__(self, layers, factors):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.factors, self.last = factors, nn.Identity()

    def steps(self, x):
        """The input of every layer, and the output."""
        yield x
        for layer, factor in zip(self.layers, self.factors, strict=True):
            x = layer(x) * factor
            yield x

    def forward(self, x):
        *_, x = self.steps(x)
        return self.last(x)


class Residual(Plain):
    """Its input is added, if the shapes agree: what is broadcast onto its own input is a statistic, not a residual."""

    def forward(self, x):
        out = self.function(x)
        if out.shape != x.shape:
            raise ValueError("another shape")
        return x + out


class Drawn:
    """A network, its twins (one a layer), and pictures."""

    def __init__(self, net, twins, x, layers):
        self.net, self.twins, self.x, self.layers = net, twins, x, layers

    def __repr__(self):
        return f"{' | '.join(map(str, self.layers))} on {tuple(self.x.shape)}"

    def meets(self, words):
        """Whether the name of one of its operations holds these words."""
        return any(words in layer.case.name for layer in self.layers)

    def down(self, signal, rules):
        """The slow way down of a signal, numpy, shaped like the output."""
        with torch.no_grad():
            inputs = [x.numpy() for x in self.net.steps(self.x)][:-1]
        with np.errstate(all="ignore"):  # a root of 0 has no slope
            for twin, factor, x in zip(reversed(self.twins), reversed(self.net.factors), reversed(inputs), strict=True):
                signal = twin.down(x, signal * factor, rules)
        return signal


def _made(layer, shape):
    """The layer's torch operation and its twin, for maps of this shape."""
    if layer.kind == "STATISTIC" and (shape[0] == 1 or shape[1] * shape[2] == 1):
        raise Unfit  # a deviation from the mean of one sample is 0, and what comes down is rounding
    operation, slow = layer.case.make(Maker(layer.seed, shape))
    if slow is None:
        raise Unfit
    if layer.form == "residual":
        if layer.kind in ("MAXIMUM", "AVERAGE_POOL"):
            raise Unfit  # what is reduced and added again is a statistic, also where it reduces one sample
        return Residual(operation), Sum(SAME, slow)
    if layer.form == "beside":
        return Plain(lambda x: torch.cat([operation(x), x], 1)), Joined(slow, SAME)
    return operation if isinstance(operation, nn.Module) else Plain(operation), slow


@torch.no_grad()
def _fits(operation, x, largest):
    """The operation's output, or None where it does not take this input or gives no maps of a small size."""
    try:
        out = operation(x.clone())
    except (RuntimeError, IndexError, ValueError, TypeError, UserWarning):  # a warning: too few samples for a deviation
        return None
    if out.dim() != 4 or len(out) != len(x) or min(out.shape[1:]) < 1 or out[0].numel() > largest:
        return None
    return out if out.isfinite().all() and out.abs().max() > SMALLEST else None


def built(layers, x, depth, largest=LARGEST):
    """A network of the first `depth` layers that fit the maps that they get."""
    operations, twins, factors, built_in, start = [], [], [], [], x
    for layer in layers:
        try:
            operation, slow = _made(layer, tuple(x.shape[1:]))
            out = _fits(operation, x, largest)
            if out is None:
                continue
            with np.errstate(all="ignore"):
                expected = slow.up(x.numpy())
        except (Unfit, IndexError, ValueError):  # the twin, too, may need larger maps
            continue
        if not np.isfinite(expected).all():  # a map of zeros, whose length is held away from 0 in torch
            continue
        if difference(tensor(expected), out) > 1e-8:
            raise AssertionError(f"the twin of {layer} gives another output on {tuple(x.shape)}")
        factor = 2.0 ** -round(math.log2(out.abs().max().item()))
        operations.append(operation)
        twins.append(slow)
        factors.append(factor)
        built_in.append(layer)
        x = out * factor
        if len(built_in) == depth:
            break
    return Drawn(Network(operations, factors).eval(), twins, start, built_in)


def drawn_layer(seed, kinds):
    """Every kind is as likely as the others, and within it every case."""
    random = np.random.default_rng(seed)
    kind = str(random.choice(kinds))
    form = str(random.choice(["plain", "plain", "residual", "beside"]))
    return Layer(DRAWN[kind][random.integers(len(DRAWN[kind]))], seed, form)


def random_network(seed, depth, kinds=tuple(DRAWN), sides=(4, 9), largest=LARGEST, count=2):
    """A `Drawn` network of at most `depth` layers over `count` pictures; one of lower depth is its beginning."""
    random = np.random.default_rng(seed)
    shape = int(random.choice([1, 2, 3, 4, 4, 6])), *(int(side) for side in random.integers(*sides, 2, endpoint=True))
    x = tensor(random.standard_normal((count, *shape)))
    layers = (drawn_layer(int(s), kinds) for s in random.integers(2**32, size=4 * depth))
    return built(layers, x, depth, largest)


def networks(depth=5, **options):
    """Networks as a strategy. Hypothesis draws a seed and the depth alone: of longer draws it repeats the parts."""
    seeds, depths = st.integers(0, 2**32 - 1), st.integers(1, depth)
    return st.builds(lambda seed, depth: random_network(seed, depth, **options), seeds, depths)
