"""The table: how a signal crosses each kind of step, one row a kind, one column a rule set.

A rule takes the signals at the outputs of a step (usually one) and the step, and gives one signal per input
(None for a constant). What has no row is refused by name. Convolution, rectifier, max-pool and local response
normalisation are the paper's (section 2.1); the other rows of `DECONVNET` are stated extensions of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelward.core import remedies, unpooling
from pixelward.core.engine import call_node, fit, input_shapes, of_outputs
from pixelward.core.functions import function_name
from pixelward.core.margins import stretched, with_margins
from pixelward.core.plan import MAPS, Geometry, Step
from pixelward.core.transposed import transposed
from pixelward.errors import PixelwardError

Rule = Callable[[Tensor, Step], Sequence[Tensor | None]]
RuleSet = Mapping[Any, Rule]

# Kinds of steps, as `nodes.py` and `patterns.py` give them.
CONVOLUTION = "convolution"
RECTIFIER = "ReLU"
ACTIVATION = "other rectifier"
MAX_POOL = "max-pool"
MAXIMUM = "maximum"
RESPONSE_NORM = "local response norm"
BATCH_NORM = "batch norm"
STATISTIC = "norm by the picture's own statistics"
GATE = "gate"
SCALE = "constant scale"
AVERAGE_POOL = "average pool"
LP_POOL = "Lp pool"
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
    signals = of_outputs(signal, step)
    arrived = next(s for s in signals if s is not None)
    down = call_node(step, signals)
    return [fit(part, index, arrived, step) for index, part in enumerate(down[: len(step.inputs)])]


def _is_sent(step: Step, index: int) -> bool:
    """Whether a rule that keeps gates and statistics fixed sends a signal to this input."""
    return step.inputs[index] is not None and step.reaches[index] is not None


def filter_down(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """The paper's filtering: transposed convolution with the layer's own weights, no bias, to the recorded size."""
    if step.geometry is None or step.weight is None:
        return autograd(signal, step)
    return [transposed(signal, step)]


def rectify(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """The paper's rectification: of the signal itself; the forward sign plays no part."""
    for factor in step.factors or ():  # x * relu6(x + 3) is six times the activation
        signal = signal * factor
    down = _laid_out(signal.clamp(min=0), step)
    return [None if number is None else fit(down, at, signal, step) for at, number in enumerate(step.inputs)]


def _laid_out(signal: Tensor, step: Step) -> Tensor:
    """The signal as the input lies, where a step also turned axes."""
    laid_out = signal if step.undo is None else step.undo([signal], input_shapes(signal, step))[0]
    if laid_out is None:
        raise LookupError(f"{step.operation} lost its signal")
    return laid_out


def guided(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """Guided backpropagation (Springenberg et al. 2015): rectified signal, where the input passed on the way up."""
    for factor in step.factors or ():
        signal = signal * factor.sign()
    down = _laid_out(signal.clamp(min=0), step)
    slopes = autograd(torch.ones_like(signal), step)
    for factor in step.factors or ():
        slopes = [None if slope is None else slope * factor.sign() for slope in slopes]
    below: list[Tensor | None] = []
    for index, slope in enumerate(slopes):
        part = None if slope is None else fit(down, index, signal, step)
        # Where one input was broadcast to many places, the slopes came summed over these.
        below.append(
            part if slope is None or part is None else part * slope.clamp(min=0) * (slope.numel() / down.numel())
        )
    return below


def unchanged(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """Nothing on the way down: what the paper does for contrast normalisation."""
    return [fit(signal, index, signal, step) if _is_sent(step, index) else None for index in range(len(step.inputs))]


def scale(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """Multiply by what the input was multiplied by: a constant, a gate, or a statistic, which gets no signal itself."""
    if step.factors is None:
        return autograd(signal, step)
    down = signal
    for factor in step.factors:
        down = down * factor
    down = _laid_out(down, step)
    return [fit(down, index, signal, step) if _is_sent(step, index) else None for index in range(len(step.inputs))]


def add(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """The whole signal to each summand (times -1 or alpha where it was subtracted or scaled)."""
    if step.coefficients is None:
        return autograd(signal, step)
    return [
        fit(signal if number == 1 else signal * number, index, signal, step)
        for index, number in enumerate(step.coefficients)
    ]


def transpose(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """The exact transpose of a step that is linear in the signal."""
    signals = of_outputs(signal, step)
    if step.geometry is not None and step.axes is not None:
        return [with_margins(stretched(signal, step.geometry, step.axes), step.margins, step.axes)]
    if step.undo is not None:
        some = next(part for part in signals if part is not None)
        return step.undo(signals, input_shapes(some, step))
    return autograd(signal, step)


def spread(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """Average pooling: an equal share to every place under the window."""
    geometry = step.geometry
    if geometry is None or step.factors is None:
        return transpose(signal, step)
    (share,) = step.factors
    ones = signal.new_ones(signal.shape[1], 1, *geometry.kernel)
    down = F.conv_transpose2d(signal * share, ones, stride=geometry.stride, groups=signal.shape[1])
    return [with_margins(down, step.margins, MAPS)]


def to_maximum(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """To the largest of several values, over axes or of two tensors; of equal ones to the first in row-major order."""
    if step.winners is None:
        return autograd(signal, step)
    spread_out = step.undo([signal], input_shapes(signal, step))[0] if step.undo else signal
    return [
        None if winner is None or spread_out is None else fit(spread_out * winner, index, signal, step)
        for index, winner in enumerate(step.winners)
    ]


def unpool_sum(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """The paper's unpooling: each signal to its switch; where windows chose one place, signals add."""
    if step.switches is None:
        return autograd(signal, step)
    return [_unpool(False, signal, step.switches, step)]


def unpool_place(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """Unpooling by placing: of signals that meet, the largest magnitude stands (of equal ones the positive)."""
    return [_unpool(True, signal, step.switches, step)]


def unpool_centre(signal: Tensor, step: Step) -> Sequence[Tensor | None]:
    """A control: to the middle of each window, switches ignored; signals add."""
    return [_unpool(False, signal, step.middles, step)]


def _unpool(keep_larger: bool, signal: Tensor, places: Tensor | None, step: Step) -> Tensor:
    (shape,) = input_shapes(signal, step)
    if places is None or shape is None:
        raise PixelwardError(
            given=f"{step.operation} in {step.where or 'the network'!r}, on maps without an axis of pictures",
            allowed='unpool="sum"',
            next_step='project with unpool="sum"',
        )
    if step.geometry is None:
        return (unpooling.placed_flat if keep_larger else unpooling.added_flat)(signal, places, shape)
    send = unpooling.placed if keep_larger else unpooling.added
    return with_margins(send(signal, places, step.geometry), step.margins, MAPS)


@dataclass(frozen=True)
class KeepFixed:
    """For a product of two signals: keep one factor as it was recorded, and send the signal to the other."""

    index: int

    def __call__(self, signal: Tensor, step: Step) -> Sequence[Tensor | None]:
        return [part if index != self.index else None for index, part in enumerate(autograd(signal, step))]


def keep_fixed(factor: int) -> KeepFixed:
    """A rule for products of two signals: factor 0 (the first) or 1 is kept as recorded, the other gets the signal.

    Use it as `rules={**pw.DECONVNET, pw.PRODUCT: pw.keep_fixed(0)}`. Raises PixelwardError for another number.
    """
    if factor not in (0, 1):
        raise PixelwardError(given=f"keep_fixed({factor!r})", allowed="0 or 1", next_step="name the factor to keep")
    return KeepFixed(factor)


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
    (MAXIMUM, to_maximum),
    (BATCH_NORM, scale),
    (STATISTIC, scale),
    (GATE, scale),
    (SCALE, scale),
    (AVERAGE_POOL, spread),
    (LP_POOL, autograd),
    (PADDING, transpose),
    (IDENTITY, unchanged),
    (ADDITION, add),
    (CONCATENATION, transpose),
    (LINEAR, transpose),
)
_DIFFERENTIATED = (RESPONSE_NORM, STATISTIC, GATE, SATURATION, PRODUCT)
GUIDED: RuleSet = MappingProxyType(
    {**DECONVNET, RECTIFIER: guided, ACTIVATION: guided, **dict.fromkeys(_DIFFERENTIATED, autograd)}
)
GRADIENT: RuleSet = table((ANY, autograd))

RULE_SETS: Mapping[str, RuleSet] = MappingProxyType({"deconvnet": DECONVNET, "guided": GUIDED, "gradient": GRADIENT})
UNPOOLING: Mapping[str, Rule] = MappingProxyType({"sum": unpool_sum, "place": unpool_place, "centre": unpool_centre})

PAPERS_OWN = frozenset({CONVOLUTION, RECTIFIER, MAX_POOL, RESPONSE_NORM})
EXTENSIONS = frozenset({ACTIVATION, MAXIMUM, STATISTIC, GATE, LP_POOL})  # the other rows are exact transposes

# Rules that can do without autograd's node, so that they work on windows, and what a step must hold for that.
_NODELESS: Mapping[Rule, tuple[str, ...]] = MappingProxyType(
    {
        filter_down: ("weight",),
        rectify: (),
        unchanged: (),
        scale: ("factors",),
        add: ("coefficients",),
        transpose: ("geometry", "undo"),
        spread: ("factors", "undo"),
        to_maximum: ("winners",),
        unpool_sum: ("switches",),
        unpool_place: ("switches",),
        unpool_centre: ("middles",),
    }
)
_KEEPING: frozenset[Rule] = frozenset({scale, unchanged})
_INSIDE: frozenset[Rule] = frozenset({unpool_sum, unpool_place, unpool_centre})


def needs_node(step: Step, rule: Rule) -> bool:
    """Whether a rule has to call the step's node."""
    needed = _NODELESS.get(rule)
    return needed is None or (bool(needed) and all(getattr(step, name) is None for name in needed))


def leaves_signal(rule: Rule) -> bool:
    """Whether a rule is known to leave the signal that it is given as it was; a user's own may change it in place."""
    return rule in _NODELESS or rule in (autograd, guided) or isinstance(rule, KeepFixed)


def sends_inside(rule: Rule) -> bool:
    """Whether a rule sends what lies on the map above to places of the map below only, none beside it."""
    return rule in _INSIDE


def sent(step: Step, rule: Rule) -> tuple[Geometry | None, ...]:
    """Where a rule sends the signal: per input, the geometry along which it spreads, or None for nowhere."""
    if isinstance(rule, KeepFixed):
        return tuple(None if index == rule.index else seen for index, seen in enumerate(step.sees))
    return step.reaches if rule in _KEEPING else step.sees


def resolve(rules: str | RuleSet, unpool: str) -> RuleSet:
    """The rule set of that name (or the user's own) with the asked unpooling in its max-pool row."""
    named = RULE_SETS.get(rules) if isinstance(rules, str) else rules
    if named is None:
        raise PixelwardError(
            given=f"rules={rules!r}",
            allowed=f"{', '.join(RULE_SETS)} or a dict of rules",
            next_step='use rules="deconvnet", the paper\'s',
        )
    _refuse_no_rules(named)
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


def _refuse_no_rules(rules: RuleSet) -> None:
    for key, rule in rules.items():
        if not (isinstance(key, str) or callable(key)) or not callable(rule):
            raise PixelwardError(
                given=f"{key!r}: {rule!r} among the rules",
                allowed="kinds of steps, torch functions and autograd functions, each with a rule to call",
                next_step="begin with {**pw.DECONVNET, torch.exp: my_rule}",
            )


def is_function(key: object) -> bool:
    """Whether a key of a rule set is a torch function, which goes by its name; an autograd function is a class."""
    return callable(key) and not isinstance(key, type)


def _own_row(step: Step, rules: RuleSet) -> Rule | None:
    """The rule for the function that made a step, in whatever spelling it was called."""
    if step.function is None or isinstance(step.function, type):
        return rules.get(step.function)
    named = (rule for key, rule in rules.items() if is_function(key) and function_name(key) == step.operation)
    return next(named, None)


def _row(step: Step, rules: RuleSet) -> Rule | None:
    return _own_row(step, rules) or rules.get(step.kind) or rules.get(ANY)


def lacks(step: Step, rules: RuleSet) -> bool:
    """Whether a rule set has no row for a step, which autograd could cross all the same."""
    return step.refusal is None and _row(step, rules) is None


def rule_for(step: Step, rules: RuleSet) -> Rule:
    """The row of a step: by its function, its kind, or any. Raises PixelwardError where there is none."""
    rule = _row(step, rules)
    refusal = step.unfit or step.refusal
    if rule is None or (refusal is not None and ANY not in rules):
        where = f"{step.operation} in {step.where or 'the network'!r}"
        crossed = f"{where}, which lies below the layer" if step.unfit else f"{where}, which the signal has to cross"
        raise PixelwardError(
            given=crossed + "".join(f": {why}" for why in (refusal or step.reason,) if why),
            allowed="operations that are linear in the signal, or that the table of rules names",
            next_step=f"choose a layer below it, or {_remedy(step)}",
        )
    return rule


def _remedy(step: Step) -> str:
    refusal = step.unfit or step.refusal
    if (known := remedies.remedy(refusal or step.reason)) or refusal:
        return known or remedies.GRADIENT
    live = sum(number is not None for number in step.inputs)
    if step.kind == PRODUCT and live > 1 and getattr(F, step.operation, None) is not step.function:
        return "name the factor to keep fixed: rules={**pw.DECONVNET, pw.PRODUCT: pw.keep_fixed(0)}"
    return f"add a rule: rules={{**pw.DECONVNET, {rule_key(step)}: my_rule}}"


def rule_key(step: Step) -> str:
    """How a user's own rule set would name this step."""
    function = step.function
    if isinstance(function, type):
        return function.__name__
    if hasattr(torch, step.operation):
        return f"torch.{step.operation}"
    known = function is not None and getattr(F, step.operation, None) is function
    return f"torch.nn.functional.{step.operation}" if known else repr(step.kind)
