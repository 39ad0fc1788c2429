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

from pixelward.core import rules
from pixelward.core.path import Crossing, sent_to
from pixelward.core.plan import MAPS, Step

_CONSTANT = frozenset({rules.BATCH_NORM, rules.SCALE})  # kinds whose factors are the same for every picture
_DTYPES = frozenset({torch.float32, torch.float64})  # a product of weights with fewer digits, or less range, loses some


class Folding:
    """Folds paths through the steps of a plan: each two of these become one once, whichever layers are above."""

    def __init__(self) -> None:
        self._folded: dict[tuple[Step, Step], Step] = {}

    def along(self, path: Sequence[Crossing]) -> list[Crossing]:
        """The same path, without scales from which all of a signal goes on to a convolution that gets no other."""
        makers = {number: crossing for crossing in path for number in crossing.step.outputs if number is not None}
        arriving = Counter(number for crossing in path for number in sent_to(crossing))
        above: dict[Crossing, Crossing] = {}  # of convolutions, the scale
        for crossing in path:
            numbers = list(sent_to(crossing))
            below = makers.get(numbers[0]) if len(numbers) == 1 and arriving[numbers[0]] == 1 else None
            if below is not None and _fold(crossing, below):
                above[below] = crossing
        gone = set(above.values())
        return [self._below(above.get(crossing), crossing) for crossing in path if crossing not in gone]

    def _below(self, scale: Crossing | None, crossing: Crossing) -> Crossing:
        if scale is None:
            return crossing
        both = scale.step, crossing.step
        if both not in self._folded:
            self._folded[both] = _one(*both)
        return replace(crossing, step=self._folded[both])


def _fold(scale: Crossing, convolution: Crossing) -> bool:
    """Whether one step can do what both do."""
    above, below = scale.step, convolution.step
    ruled = scale.rule is rules.scale and convolution.rule is rules.filter_down
    if not ruled or above.kind not in _CONSTANT or above.factors is None or above.undo is not None:
        return False
    weight, maps = below.weight, above.axes == below.axes == MAPS and len(above.made) == 4
    if weight is None or below.geometry is None or weight.dtype not in _DTYPES or not maps:
        return False
    each = (1, len(weight), 1, 1)
    return all(factor.dtype == weight.dtype and factor.shape in (each, ()) for factor in above.factors)


def _one(scale: Step, convolution: Step) -> Step:
    if convolution.weight is None or scale.factors is None:
        raise LookupError("no scale over a convolution")
    factor = math.prod((f.reshape(-1, 1, 1, 1) for f in scale.factors), start=convolution.weight.new_ones(()))
    weight = (convolution.weight * factor).detach()
    return replace(convolution, outputs=scale.outputs, output_shapes=scale.output_shapes, weight=weight, forms={})
