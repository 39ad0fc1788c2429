"""The plan walked down, from units to pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from pixelward.core.fields import Box, Extent, field_of
from pixelward.core.margins import with_margins
from pixelward.core.path import Crossing, calls_nodes, path, reaches
from pixelward.core.plan import MAPS, Plan, Step
from pixelward.core.precision import full_precision
from pixelward.core.rules import DECONVNET, RuleSet, leaves_signal, resolve
from pixelward.core.trace import trace
from pixelward.errors import PixelwardError

Visitor = Callable[[Step, Tensor, Sequence[Tensor | None]], None]


def walk(plan: Plan, value: int, signal: Tensor, rules: RuleSet = DECONVNET, visit: Visitor | None = None) -> Tensor:
    """Send `signal`, shaped like the plan's value number `value`, down to the picture.

    A batch of signals may be longer than a plan of one picture: each then goes down that picture's way. Returns the
    signal at the picture. `visit(step, signal above, signals below)` is called after every step.
    """
    return follow(plan, path(plan, value, rules), value, signal, visit)


def follow(plan: Plan, crossed: Sequence[Crossing], value: int, signal: Tensor, visit: Visitor | None = None) -> Tensor:
    """Send `signal` along a path; see `walk`."""
    signals = {value: signal}
    follow_part(plan, crossed, signals, visit)
    if 0 in signals:
        return signals[0]
    return signal.new_zeros(len(signal), *plan.values[0].shape[1:])


def follow_part(
    plan: Plan, crossed: Sequence[Crossing], signals: dict[int, Tensor], visit: Visitor | None = None
) -> None:
    """Send signals along a part of a path. signals: by the number of the value where they are; each is taken out there
    when it goes on, and what came out below is put in."""
    with full_precision():
        summed: set[int] = set()  # whose signals are sums made here, so that nobody else holds them
        for crossing in crossed:
            _cross(plan, crossing, signals, summed, visit)


def _cross(plan: Plan, crossing: Crossing, signals: dict[int, Tensor], summed: set[int], visit: Visitor | None) -> None:
    """One step of a path. A function of its own, so that no signal outlives its step."""
    step = crossing.step
    arrived = tuple(None if number is None else signals.pop(number, None) for number in step.outputs)
    if all(part is None for part in arrived):
        return
    several = arrived
    if not leaves_signal(crossing.rule):  # other branches may hold it too
        several = tuple(None if part is None else part.clone() for part in arrived)
    given = several if any(number is not None for number in step.outputs[1:]) else several[0]
    below = _checked(crossing.rule(given, step), step)  # type: ignore[arg-type]
    if visit is not None:
        visit(step, next(part for part in arrived if part is not None), below)
    for index, (number, part) in enumerate(zip(step.inputs, below, strict=True)):
        if number is None or part is None or crossing.sent[index] is None:
            continue
        part = part.to(plan.values[number].dtype)
        if step.widening:
            part = with_margins(part, step.widening[index], plan.values[number].axes or MAPS)
            if number in plan.inside:
                part = part * plan.inside[number]
        if number in summed:
            signals[number] += part
        elif number in signals:
            signals[number] = signals[number] + part
            summed.add(number)
        else:
            signals[number] = part


def _checked(below: Sequence[Tensor | None], step: Step) -> list[Tensor | None]:
    """What a rule gave, one signal per input, or an error that says what it should have given."""
    missing = len(step.inputs) - len(below) if isinstance(below, list | tuple) else -1
    if missing < 0 or any(number is not None for number in step.inputs[len(below) :]):
        what = f"a {type(below).__name__} of {len(below)}" if isinstance(below, list | tuple) else type(below).__name__
        raise PixelwardError(
            given=f"a rule for {step.operation} that gave {what}",
            allowed=f"a list of one signal for each of its {len(step.inputs)} inputs",
            next_step="return [signal], with None for constants",
        )
    for part, shape in zip(below, step.input_shapes, strict=False):
        if part is not None and shape is not None and not step.widening and part.shape[1:] != shape[1:]:
            raise PixelwardError(
                given=f"a rule for {step.operation} that gave a signal of shape {tuple(part.shape[1:])}",
                allowed=f"the shape of its input, {tuple(shape[1:])}",
                next_step="give a signal for every place of the input",
            )
    return [*below, *[None] * missing]


def follow_all(
    plan: Plan, crossed: Sequence[Crossing], value: int, signal: Tensor, visit: Visitor | None = None
) -> Tensor:
    """Like `follow`, for many signals in a plan of one picture, also where its axis does not stay in front."""
    apart = len(signal) > 1 and plan.values[value].shape[0] == 1
    below = (number for crossing in crossed for number in crossing.step.inputs if number is not None)
    if apart and any(plan.values[number].shape[:1] != (1,) for number in below):
        return torch.cat([follow(plan, crossed, value, one, visit) for one in torch.split(signal, 1)])
    return follow(plan, crossed, value, signal, visit)


@dataclass(frozen=True, eq=False)
class Projected:
    """The way down of one unit.

    signal: (C, H, W) float, signed, like the prepared picture. value: the seed, normally the activation. position:
    (y, x) in the layer's map, () in a vector. field: the pixels that can change the value; reach: those that the
    signal can arrive at; both may leave the picture.
    """

    signal: Tensor
    value: float
    channel: int
    position: tuple[int, ...]
    field: Box
    reach: Box

    @property
    def shown(self) -> Box:
        """What to look at: the field, or the reach where the field is the whole picture, as above a gate."""
        whole = Box(0, 0, self.signal.shape[1], self.signal.shape[2])
        return self.reach if self.field == whole else self.field


@dataclass(frozen=True)
class Unit:
    """A place in a layer: picture of the batch, channel, and (y, x); () in a vector; None for its strongest place."""

    picture: int
    channel: int
    position: tuple[int, ...] | None = None


class Below:
    """What lies below a layer: one pass over pictures, whose units go down as often as one likes, each as by a new one.

    After the first of them it holds what pools and gates recorded, and autograd's graph only where a rule calls that.
    """

    def __init__(
        self, net: nn.Module, pictures: Tensor, layer: str, rules: str | RuleSet = "deconvnet", unpool: str = "sum"
    ) -> None:
        """See `project_units`."""
        self._layer, self._rules = layer, resolve(rules, unpool)
        traced = trace(net, pictures, [layer], self._rules)
        self._plan, self._target = traced.plan, traced.targets[layer]
        self._count, self._size = len(pictures), (pictures.shape[2], pictures.shape[3])
        if self._target.unclear is not None:
            raise self._target.unclear

    @property
    def is_light(self) -> bool:
        """Whether nothing of autograd's graph is held, which would be all activations."""
        return not calls_nodes(self._crossed)

    def project(
        self, units: Sequence[Unit], *, seed: str | float = "value", visit: Visitor | None = None
    ) -> list[Projected]:
        """See `project_units`."""
        if self._count not in (1, len(units)):
            raise LookupError(f"{len(units)} units for {self._count} pictures")
        target = self._target
        chosen = [located(target.activations, unit, self._layer) for unit in units]
        seeds = seeded(torch.stack([target.activations[index] for index in chosen]), seed)
        signal = target.activations.new_zeros(len(units), *target.activations.shape[1:])
        for row, index in enumerate(chosen):
            signal[(row, *index[1:])] = seeds[row]
        crossed = self._crossed
        with torch.no_grad():
            down = follow_all(self._plan, crossed, target.value, target.laid_out(signal), visit)
        field, reach = self._extents
        return [
            Projected(
                signal=down[row].clone(memory_format=torch.contiguous_format),  # keeps none of the others alive
                value=float(seeds[row]),
                channel=unit.channel,
                position=tuple(index[2:]),
                field=field.box(index[2:], self._size),
                reach=reach.box(index[2:], self._size),
            )
            for row, (unit, index) in enumerate(zip(units, chosen, strict=True))
        ]

    @cached_property
    def _crossed(self) -> list[Crossing]:
        crossed = path(self._plan, self._target.value, self._rules)
        if calls_nodes(crossed):
            return crossed
        self._plan = self._plan.without_nodes()
        return path(self._plan, self._target.value, self._rules)

    @cached_property
    def _extents(self) -> tuple[Extent, Extent]:
        """Of field and reach."""
        value = self._target.value
        return field_of(self._plan, value), reaches(self._plan, value, self._crossed).get(0, Extent(None, None))


def project_units(
    net: nn.Module,
    pictures: Tensor,
    layer: str,
    units: Sequence[Unit],
    *,
    rules: str | RuleSet = "deconvnet",
    unpool: str = "sum",
    seed: str | float = "value",
    visit: Visitor | None = None,
) -> list[Projected]:
    """Project units of one layer. pictures: (N, C, H, W) float, prepared; with N > 1, unit i must be of picture i.

    Raises PixelwardError for a layer, channel or position that is not there and for what has no rule.
    """
    return Below(net, pictures, layer, rules, unpool).project(units, seed=seed, visit=visit)


def located(activations: Tensor, unit: Unit, layer: str) -> tuple[int, ...]:
    """(picture, channel, y, x) of a unit, (picture, channel) in a vector; its strongest place where none is given."""
    if activations.dim() not in (2, 4):
        raise PixelwardError(
            given=f"layer {layer!r} of shape {tuple(activations.shape[1:])}",
            allowed="layers of maps (channels, height, width) or vectors (channels,)",
            next_step="list the layers with `pixelward layers MODEL`",
        )
    channels, size = activations.shape[1], tuple(activations.shape[2:])
    if not 0 <= unit.channel < channels:
        raise PixelwardError(
            given=f"channel {unit.channel} of layer {layer!r}",
            allowed=f"0 to {channels - 1}",
            next_step="choose a channel that the layer has",
        )
    if not size:
        if unit.position:
            raise PixelwardError(
                given=f"position {unit.position} in layer {layer!r}, which is a vector",
                allowed="no position",
                next_step="leave the position away",
            )
        return unit.picture, unit.channel
    if unit.position is None:
        place = int(activations[unit.picture, unit.channel].flatten().argmax())
        return unit.picture, unit.channel, place // size[1], place % size[1]
    if len(unit.position) != 2 or not all(0 <= p < s for p, s in zip(unit.position, size, strict=False)):
        raise PixelwardError(
            given=f"position {unit.position} in layer {layer!r}",
            allowed=f"rows 0 to {size[0] - 1}, columns 0 to {size[1] - 1}",
            next_step="leave the position away to take the strongest one",
        )
    return unit.picture, unit.channel, *unit.position


def seeded(activations: Tensor, seed: str | float) -> Tensor:
    """The value each signal starts with: the activation itself (the paper's), one, or a number."""
    if not activations.isfinite().all():
        raise PixelwardError(
            given="a unit whose activation is not a finite number",
            allowed="finite activations",
            next_step="look for NaN or infinity in the picture or the weights",
        )
    if seed == "value":
        return activations
    if seed == "one":
        return torch.ones_like(activations)
    if isinstance(seed, str):
        raise PixelwardError(
            given=f"seed={seed!r}", allowed='"value", "one" or a number', next_step='use seed="value", the paper\'s'
        )
    if not isinstance(seed, int | float) or not math.isfinite(seed):
        raise PixelwardError(
            given=f"seed={seed!r}", allowed='"value", "one" or a finite number', next_step='use seed="value"'
        )
    return torch.full_like(activations, seed)
