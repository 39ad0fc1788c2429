"""The table of twins: for every kind of step, operations in torch, each paired with its second writing in numpy.

`@twin(kind, name)` over a function of a `Maker` pairs the two: it returns the torch operation, a callable on pictures
(N, C, H, W), and its slow twin (`slow.py`), both with the same random constants. A twin of None says: the operation is
linear, torch's own forward is the witness, and the law <Ax, y> = <x, A'y> decides.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

# Kinds of steps, by the names that `pixelward.core.rules` gives them.
CONVOLUTION, RECTIFIER, ACTIVATION = "CONVOLUTION", "RECTIFIER", "ACTIVATION"
MAX_POOL, MAXIMUM, AVERAGE_POOL, LP_POOL = "MAX_POOL", "MAXIMUM", "AVERAGE_POOL", "LP_POOL"
RESPONSE_NORM, BATCH_NORM, STATISTIC = "RESPONSE_NORM", "BATCH_NORM", "STATISTIC"
GATE, SCALE = "GATE", "SCALE"
PADDING, IDENTITY, ADDITION, CONCATENATION, LINEAR = "PADDING", "IDENTITY", "ADDITION", "CONCATENATION", "LINEAR"

SINGLE = 1e-7  # torch's slope of hardsigmoid is one sixth as float32 has it, also in float64
SHAPE = (4, 6, 8)  # channels, height, width of the pictures


class Unfit(Exception):
    """The picture is of another form than the operation takes."""


class Maker:
    """Random constants for an operation on pictures of this shape, the same ones for torch and numpy."""

    def __init__(self, seed, shape=SHAPE):
        self.random = np.random.default_rng(seed)
        self.shape = self.channels, self.height, self.width = shape

    def normal(self, *shape):
        return self.random.standard_normal(shape)

    def positive(self, *shape):
        return self.random.uniform(0.5, 2.0, shape)

    def batch_norm(self):
        """weight, bias, running mean, running variance."""
        return *self.normal(3, self.channels), self.positive(self.channels)

    def need(self, fits):
        if not fits:
            raise Unfit


@dataclass(frozen=True)
class Case:
    """kinds: at least one step of them must be met. make: Maker -> (torch operation, slow twin).

    picture: "normal", "whole numbers" (ties) or "positive". exact: the tolerance, max |a - b| / max |b|.
    refused: words of the reason for which the deconvnet must refuse it; empty for what it crosses.
    """

    kinds: tuple[str, ...]
    name: str
    make: object
    picture: str = "normal"
    exact: float = 1e-10
    refused: str = ""

    def pictures(self, seed, count=2, shape=SHAPE):
        drawn = np.random.default_rng(seed).standard_normal((count, *shape))
        return {"normal": drawn, "whole numbers": np.round(drawn), "positive": np.abs(drawn) + 0.1}[self.picture]


TWINS: dict[str, list[Case]] = {}


def twin(kinds, name, picture="normal", exact=1e-10, refused=""):
    """Pair a torch operation with its twin under a kind of step (the first of `kinds`)."""
    kinds = (kinds,) if isinstance(kinds, str) else kinds

    def register(make):
        cases = TWINS.setdefault(kinds[0], [])
        if any(case.name == name for case in cases):
            raise LookupError(f"{kinds[0]} has a twin {name!r} already")
        cases.append(Case(kinds, name, make, picture, exact, refused))
        return make

    return register


def pair(kinds, name, operation, slow, picture="normal", exact=1e-10, refused=""):
    """A twin that needs no random constants."""
    twin(kinds, name, picture, exact, refused)(lambda m: (operation, slow))


def tensor(array):
    return torch.from_numpy(np.array(array, order="C"))


def filled(module, **arrays):
    """A torch module in float64 and eval mode whose parameters and buffers are these arrays."""
    module = module.double().eval()
    for name, array in arrays.items():
        getattr(module, name).data = tensor(array)
    return module


class Operation(nn.Module):
    """A torch callable as a module, with a name for the tensor that it gives: `last`."""

    def __init__(self, operation):
        super().__init__()
        self.operation = operation if isinstance(operation, nn.Module) else Plain(operation)
        self.last = nn.Identity()

    def forward(self, x):
        return self.last(self.operation(x) * 1)


class Plain(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)
