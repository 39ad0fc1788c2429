"""Scales taken into the weights of the convolutions below them: signals then cross both at once.

A norm by learnt statistics multiplies each channel of a signal by a number of its own; the convolution below it, by its
weights. Of many signals the norm takes as long as reading and writing them all, and the weights can be scaled once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pixelward.core import rules
from pixelward.core.path import Crossing, sent_to
from pixelward.core.plan import Step

_KINDS = frozenset({rules.BATCH_NORM, rules.SCALE})  # whose factors are the same for every picture
_DTYPES = frozenset({torch.float32, torch.float64})  # a product of weights with fewer digits loses some of these


class Folding:
    """Folds paths through the steps of a plan: each two of these become one once, whichever layers are above."""

    def __init__(self) -> None:
        self._folded: dict[tuple[Step, Step], Step | None] = {}

    def along(self, path: Sequence[Crossing]) -> list[Crossing]:
        """The same path, without scales from which all of a signal goes on to a convolution that gets no other."""
        makers = {number: crossing for crossing in path for number in crossing.step.outputs if number is not None}
        arriving = Counter(number for crossing in path for number in sent_to(crossing))
        replaced: dict[Crossing, Crossing | None] = {}
        for crossing in path:
            for number in sent_to(crossing):
                below = makers.get(number)
                if below is None or arriving[number] > 1:
                    continue
                step = self._step(crossing, below)
                if step is not None:
                    replaced[crossing], replaced[below] = None, replace(below, step=step)
        folded = (replaced.get(crossing, crossing) for crossing in path)
        return [crossing for crossing in folded if crossing is not None]

    def _step(self, scale: Crossing, convolution: Crossing) -> Step | None:
        """What does the same as both; None where one of them is something else, or has a rule of the user's."""
        if scale.rule is not rules.scale or convolution.rule is not rules.filter_down:
            return None
        steps = scale.step, convolution.step
        if steps not in self._folded:
            self._folded[steps] = _folded(*steps)
        return self._folded[steps]


def _folded(scale: Step, convolution: Step) -> Step | None:
    weight, factors = convolution.weight, scale.factors
    if scale.kind not in _KINDS or not factors or weight is None or weight.dtype not in _DTYPES:
        return None
    each = (1, len(weight), 1, 1)
    if any(factor.dim() and (factor.shape != each or factor.dtype != weight.dtype) for factor in factors):
        return None
    factor = math.prod((f.reshape(-1, 1, 1, 1) if f.dim() else f for f in factors), start=weight.new_ones(()))
    scaled = (weight * factor).detach()
    if not _is_whole(scaled, (weight != 0) & (factor != 0)):
        return None
    return replace(convolution, outputs=scale.outputs, output_shapes=scale.output_shapes, weight=scaled, forms={})


def _is_whole(product: Tensor, is_there: Tensor) -> bool:
    """Whether no number of a product became too large, or so small that it lost digits; a signal between both might
    have kept it in range."""
    size = product.abs()
    return bool((((size >= torch.finfo(product.dtype).tiny) == is_there) & size.isfinite()).all())
