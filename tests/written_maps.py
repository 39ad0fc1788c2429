"""Maps for tests of steps.py: drawn at random or written out as tables; and how exactly results must agree."""

import numpy as np
import torch
from hypothesis import settings

EXACT = {"rtol": 0, "atol": 1e-12}
small = settings(deadline=None, max_examples=25)


def randn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def grid(rows):
    """A table of numbers as one map, (1, 1, h, w)."""
    return torch.tensor(rows, dtype=torch.float64)[None, None]
