"""The weights of units that read the pixels directly: what a first layer's unit looks for needs no picture."""

from __future__ import annotations

from torch import Tensor

from pixelward.core import rules
from pixelward.core.plan import Plan, Step

# What may stand between such a convolution and the layer, or the pixels: each place and channel for itself.
_BETWEEN = frozenset({rules.RECTIFIER, rules.ACTIVATION, rules.BATCH_NORM, rules.SCALE, rules.IDENTITY})


def kernels(plan: Plan, value: int) -> Tensor | None:
    """What each unit of a layer multiplies the pixels with, (C, C_in / groups, h, w); None where others stand between.

    value: the layer's number in the plan. A norm's scale behind the convolution is multiplied in, its shift is not.
    """
    made = {number: step for step in plan.steps for number in step.outputs if number is not None}
    factors: list[Tensor] = []
    step = made.get(value)
    while step is not None and step.kind in _BETWEEN:
        factors += step.factors or ()
        step = _below(step, made)
    if step is None or step.kind != rules.CONVOLUTION or step.weight is None or not _reads_pixels(step, made):
        return None
    weight = step.weight
    for factor in factors:
        if factor.dim() > 1 and factor.numel() not in (1, len(weight)):
            return None  # by place: no unit has one kernel
        weight = weight * factor.reshape(-1, 1, 1, 1)
    channels = plan.values[value].shape[1:2]
    return weight.detach() if channels == (len(weight),) else None


def _below(step: Step, made: dict[int, Step]) -> Step | None:
    """The step that made the one live input of another; None where there are several, or it is the picture."""
    live = [number for number in step.inputs if number is not None]
    return made.get(live[0]) if len(live) == 1 else None


def _reads_pixels(step: Step, made: dict[int, Step]) -> bool:
    live = [number for number in step.inputs if number is not None]
    while live != [0]:
        below = made.get(live[0]) if len(live) == 1 else None
        if below is None or below.kind not in (rules.IDENTITY, rules.SCALE, rules.PADDING):
            return False
        live = [number for number in below.inputs if number is not None]
    return True
