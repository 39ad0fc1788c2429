"""The table: how a signal crosses each kind of step, one row a kind, one column a rule set.

A rule takes the signals at the outputs of a step (usually one) and the step, and gives one signal per input
(None for a constant). What has no row is refused by name. Convolution, rectifier, max-pool and local response
normalisation are the paper's (section 2.1); the other rows of `DECONVNET` are stated extensions of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelward.core import unpooling
from pixelward.core.plan import Geometry, Margins, Step
from pixelward.errors import PixelwardError

Rule = Callable[[Tensor, Step], Sequence[Tensor | None]]
RuleSet = Mapping[Any, Rule]

# Kinds of steps, as `nodes.py` gives them.
CONVOLUTION = "convolution"
RECTIFIER = "ReLU"
ACTIVATION = "other rectifier"
MAX_POOL = "max-pool"
RESPONSE_NORM = "local response norm"
BATCH_NORM = "batch norm"
SCALE = "constant scale"
AVERAGE_POOL = "average pool"
PADDING = "zero padding"
IDENTITY = "identity"
ADDITION = "addition"
CONCATENATION = "concatenation"
LINEAR = "linear"
SATURATION = "saturating activation"
PRODUCT = "product of two signals"

ANY = "any"  # key of the rule that a set uses for every kind without a row of its own


def autograd(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """Autograd's own transpose of the step, whatever it is."""
    if step.node is None:
        raise LookupError(f"{step.operation} has no node left to call")
    signals: tuple[Tensor | None, ...] = signal if isinstance(signal, tuple) else (signal,)
    arrived = next(s for s in signals if s is not None)
    made = next(shape for s, shape in zip(signals, step.output_shapes, strict=True) if s is not None)
    one_each = made is None or tuple(arrived.shape) == tuple(made)
    try:
        down = step.node(*signals) if one_each else _call_for_each(step.node, signals)
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        raise PixelwardError(
            given=f"{step.operation} in {step.where or 'the network'!r}, whose result was overwritten in place later",
            allowed="operations that autograd can still differentiate",
            next_step='use rules="deconvnet", which needs no results, or inplace=False in what follows',
        ) from error
    down = down if isinstance(down, tuple) else (down,)
    return [_fit(part, shape, one_each) for part, shape in zip(down, step.input_shapes, strict=False)]


def _call_for_each(node: Callable[..., object], signals: tuple[Tensor | None, ...]) -> object:
    """Many signals through a node that met one picture: the node sees each as a batch of one."""
    present = [index for index, signal in enumerate(signals) if signal is not None]
    kept: list[int] = []

    def call(*given: Tensor) -> tuple[Tensor, ...]:
        arguments: list[Tensor | None] = [None] * len(signals)
        for index, signal in zip(present, given, strict=True):
            arguments[index] = signal
        down = node(*arguments)
        parts = down if isinstance(down, tuple) else (down,)
        kept[:] = [index for index, part in enumerate(parts) if part is not None]
        return tuple(parts[index] for index in kept)

    given = [signals[index].unsqueeze(1) for index in present]  # type: ignore[union-attr]
    down = torch.vmap(call)(*given)
    parts: list[Tensor | None] = [None] * (max(kept) + 1)
    for index, part in zip(kept, down, strict=True):
        parts[index] = part.squeeze(1)
    return tuple(parts)


def _fit(part: Tensor | None, shape: tuple[int, ...] | None, one_each: bool) -> Tensor | None:
    """What autograd's engine does between nodes: sum what was broadcast on the way up."""
    if part is None or shape is None:
        return None
    if one_each:
        return part if tuple(part.shape) == tuple(shape) else part.sum_to_size(shape)
    wanted = (len(part), *shape[1:])
    return part if tuple(part.shape) == wanted else part.sum_to_size(wanted)


def filter_down(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """The paper's filtering: transposed convolution with the layer's own weights, no bias, to the recorded size."""
    geometry, weight = step.geometry, step.weight
    if geometry is None or weight is None:
        return autograd(signal, step)
    down = F.conv_transpose2d(signal, weight, stride=geometry.stride, dilation=geometry.dilation, groups=step.groups)
    return [with_margins(down, step.margins)]


def with_margins(signal: Tensor, margins: Margins) -> Tensor:
    """Add rows and columns of zeros at top, bottom, left and right; negative numbers cut."""
    top, bottom, left, right = margins
    return F.pad(signal, (left, right, top, bottom)) if any(margins) else signal


def rectify(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """The paper's rectification: of the signal itself; the forward sign plays no part."""
    return [None if index is None else signal.clamp(min=0) for index in step.inputs]


def guided(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """Guided backpropagation (Springenberg et al. 2015): rectified signal, where the input passed on the way up."""
    slopes = autograd(torch.ones_like(signal), step)
    return [None if slope is None else signal.clamp(min=0) * slope.clamp(min=0) for slope in slopes]


def unchanged(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """Nothing on the way down: what the paper does for contrast normalisation."""
    return [None if index is None else signal for index in step.inputs]


def scale(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """Multiply by the constant that the input was multiplied by."""
    if step.factor is None:
        return autograd(signal, step)
    return [None if index is None else signal * step.factor for index in step.inputs]


def add(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """The whole signal to each summand (times -1 or alpha where it was subtracted or scaled)."""
    if step.factor is None:
        return autograd(signal, step)
    factors = step.factor.tolist()
    return [
        None if index is None else (signal if factor == 1 else signal * factor)
        for index, factor in zip(step.inputs, factors, strict=True)
    ]


def split(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """To each of the concatenated maps its own channels."""
    if step.geometry is None:
        return autograd(signal, step)
    parts = torch.split(signal, [shape[1] if shape else 0 for shape in step.input_shapes], dim=1)
    return [None if index is None else part for index, part in zip(step.inputs, parts, strict=True)]


def crop_padding(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """Zero padding: the signal of the border is dropped."""
    return autograd(signal, step) if step.geometry is None else [with_margins(signal, step.margins)]


def spread(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """Average pooling: an equal share to every place under the window."""
    geometry = step.geometry
    if geometry is None or step.factor is None:
        return autograd(signal, step)
    share = signal * step.factor
    ones = share.new_ones(share.shape[1], 1, *geometry.kernel)
    down = F.conv_transpose2d(share, ones, stride=geometry.stride, groups=share.shape[1])
    return [with_margins(down, step.margins)]


def unpool_sum(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """The paper's unpooling: each signal to its switch; where windows chose one place, signals add."""
    if step.switches is None:
        return autograd(signal, step)
    return [_unpool(unpooling.added, signal, step.switches, step)]


def unpool_place(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """Unpooling by placing: of signals that meet, the largest magnitude stands (of equal ones the positive)."""
    return [_unpool(unpooling.placed, signal, step.switches, step)]


def unpool_centre(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """A control: to the middle of each window, switches ignored; signals add."""
    return [_unpool(unpooling.added, signal, step.middles, step)]


def _unpool(
    send: Callable[[Tensor, Tensor, Geometry], Tensor], signal: Tensor, places: Tensor | None, step: Step
) -> Tensor:
    if places is None or step.geometry is None:
        raise PixelwardError(
            given=f"{step.operation} in {step.where or 'the network'}, whose windows have no common size",
            allowed='unpool="sum"',
            next_step='project with unpool="sum"',
        )
    return with_margins(send(signal, places, step.geometry), step.margins)


def table(*rows: tuple[str, Rule]) -> RuleSet:
    """Rows to an immutable rule set; a kind that occurs twice is a mistake in the table."""
    kinds = [kind for kind, _ in rows]
    if len(set(kinds)) < len(kinds):
        raise LookupError(f"a kind stands twice in the table: {kinds}")
    return MappingProxyType(dict(rows))


DECONVNET: RuleSet = table(
    (CONVOLUTION, filter_down),
    (RECTIFIER, rectify),
    (MAX_POOL, unpool_sum),
    (RESPONSE_NORM, unchanged),
    # stated extensions of the paper
    (ACTIVATION, rectify),
    (BATCH_NORM, scale),
    (SCALE, scale),
    (AVERAGE_POOL, spread),
    (PADDING, crop_padding),
    (IDENTITY, unchanged),
    (ADDITION, add),
    (CONCATENATION, split),
    (LINEAR, autograd),
)
GUIDED: RuleSet = MappingProxyType(
    {**DECONVNET, RECTIFIER: guided, ACTIVATION: guided, RESPONSE_NORM: autograd, SATURATION: autograd}
)
GRADIENT: RuleSet = table((ANY, autograd))

RULE_SETS: Mapping[str, RuleSet] = MappingProxyType({"deconvnet": DECONVNET, "guided": GUIDED, "gradient": GRADIENT})
UNPOOLING: Mapping[str, Rule] = MappingProxyType({"sum": unpool_sum, "place": unpool_place, "centre": unpool_centre})

# Rules that need no node, so that they work on windows as well as on whole maps.
LOCAL: frozenset[Rule] = frozenset(
    {filter_down, rectify, unchanged, scale, add, split, crop_padding, spread, unpool_sum, unpool_place, unpool_centre}
)


def resolve(rules: str | RuleSet, unpool: str) -> RuleSet:
    """The rule set of that name (or the user's own) with the asked unpooling in its max-pool row."""
    named = RULE_SETS.get(rules) if isinstance(rules, str) else rules
    if named is None:
        raise PixelwardError(
            given=f"rules={rules!r}",
            allowed=f"{', '.join(RULE_SETS)} or a dict of rules",
            next_step='use rules="deconvnet", the paper\'s',
        )
    if unpool not in UNPOOLING:
        raise PixelwardError(
            given=f"unpool={unpool!r}", allowed=", ".join(UNPOOLING), next_step='use unpool="sum", the default'
        )
    if unpool == "sum":
        return named
    if ANY in named:
        raise PixelwardError(
            given=f'unpool={unpool!r} with rules="gradient"',
            allowed='unpool="sum", which is what a gradient does',
            next_step='leave unpool away, or use rules="guided"',
        )
    return MappingProxyType({**named, MAX_POOL: UNPOOLING[unpool]})


def rule_for(step: Step, rules: RuleSet) -> Rule:
    """The row of a step: by its function, its kind, or any. Raises PixelwardError where there is none."""
    rule = rules.get(step.function) or rules.get(step.kind) or rules.get(ANY)
    if rule is None or (step.refusal is not None and ANY not in rules):
        raise PixelwardError(
            given=f"{step.operation} in {step.where or 'the network'!r}, which the signal has to cross"
            + (f": {step.refusal}" if step.refusal else ""),
            allowed="operations that are linear in the signal, or that the table of rules names",
            next_step="choose a layer below it, or "
            + (
                'use rules="gradient"'
                if step.refusal
                else f"add a rule: rules={{**pw.DECONVNET, {rule_key(step)}: my_rule}}"
            ),
        )
    return rule


def rule_key(step: Step) -> str:
    """How a user's own rule set would name this step."""
    function = step.function
    if isinstance(function, type):
        return function.__name__
    return f"torch.{step.operation}" if hasattr(torch, step.operation) else repr(step.kind)
