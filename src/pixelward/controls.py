"""What a projection is worth: the same place by other rules, with shuffled weights, without switches, of another unit.

A sharp picture is no proof that a unit is selective (PAPER B7), so each signal here comes with its likeness to the
shown one. `project --controls` and the pages draw what these functions give.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pixelward.core.passage import unwrapped
from pixelward.core.project import Unit, project_units
from pixelward.core.rules import RULE_SETS
from pixelward.core.trace import trace
from pixelward.errors import PixelwardError
from pixelward.pictures import Correlation, Signal, correlation
from pixelward.projection import Projection
from pixelward.words import listed

CAUTION = (
    "A sharp picture is no proof that a unit is selective: where another unit or random weights show nearly the same "
    "(r near 1), it is the photograph’s switches that speak, not the unit."
)
_CENTRE = "centre unpooling"
_ADDED, _PLACED = "where windows chose one pixel, signals add", "where windows chose one pixel, the largest stands"
_RULES = (  # rules, unpooling, what they do
    ("deconvnet", "sum", f"The paper’s: the signal is rectified; {_ADDED}."),
    ("deconvnet", "place", f"The signal is rectified; {_PLACED}."),
    ("guided", "sum", f"Rectified, and only where the unit below fired; {_ADDED}."),
    ("guided", "place", f"Rectified, and only where the unit below fired; {_PLACED}."),
    ("gradient", "sum", "How the value changes with each pixel; nothing is rectified."),
)


_Make = Callable[[], Signal]


class Comparison(NamedTuple):
    """A signal to compare the shown one with. signal: (C, H, W), None where there is none, which `sentence` explains.

    likeness: None where one of the two does not vary, as a signal of zero. is_shown: whether it is the shown one.
    """

    title: str
    sentence: str
    signal: Signal | None
    likeness: Correlation | None
    is_shown: bool = False


class Weights(NamedTuple):
    """The weights that a unit depends on, as `named_parameters()` names them: its own layer's, and those below.

    Its own are those of the nearest module on the way down that has any. modules: whose they are, likewise.
    """

    own: tuple[str, ...]
    below: tuple[str, ...]
    own_modules: tuple[str, ...]
    below_modules: tuple[str, ...]


def by_rules(net: nn.Module, projection: Projection) -> Iterator[Comparison]:
    """The projection by every rule set and unpooling; the shown one among them where it is by one of these.

    Each is worked out when it is asked for.
    """
    summed: Signal | None = None
    for rules, unpool, sentence in _RULES:
        is_shown = (projection.rules, projection.unpool) == (rules, unpool)
        title = rules if rules == "gradient" else f"{rules}, {unpool}"
        each = _compared(projection, title, sentence, partial(_signal, net, projection, rules, unpool))
        if unpool == "sum":
            summed = each.signal
        elif each.signal is not None and summed is not None and np.array_equal(each.signal, summed):
            each = each._replace(sentence="The same as with sum: no two windows sent a signal to one place.")
        yield each._replace(is_shown=is_shown)


def sanity(net: nn.Module, projection: Projection) -> Iterator[Comparison]:
    """The projection with weights shuffled, with switches ignored, and of another unit that is strong at its place.

    Weights above the layer cannot matter: nothing above it runs. Each is worked out when it is asked for.
    """
    shown = projection.signal.float().cpu().numpy()
    for row in _sanity_rows(net, projection):
        each = _compared(projection, *row)
        if each.title == _CENTRE and each.signal is not None and np.array_equal(each.signal, shown):
            each = each._replace(sentence="The same: there are no switches on the way down.")
        yield each


def _sanity_rows(net: nn.Module, projection: Projection) -> Iterator[tuple[str, str, _Make | None]]:
    rules, unpool = named_rules(projection), projection.unpool
    weights = weights_of(net, as_batch(net, projection), projection.layer)
    own, below = listed(weights.own_modules, 3), listed(weights.below_modules, 3)

    def shuffled(names: Collection[str]) -> _Make:
        return lambda: _signal(permuted(net, names), projection, rules, unpool, seed="one")

    if weights.own:
        kept = "; those below kept" if weights.below else ", and there are none below"
        yield "own weights shuffled", f"Those of {own}{kept}.", shuffled(weights.own)
    if weights.below:
        yield "weights below shuffled", f"Those of {below}; its own kept.", shuffled(weights.below)
    if weights.own and weights.below:
        yield "all of these shuffled", f"Those of {own} and of all below.", shuffled(weights.own + weights.below)
    yield (
        _CENTRE,
        "Switches ignored: every window’s middle.",
        partial(_signal, net, projection, rules, "centre"),
    )
    other, value = strongest_other(net, as_batch(net, projection), projection)
    if other is None:
        yield "another unit", "There is none: the layer has this unit alone.", None
    else:
        yield (
            f"unit {other}",
            f"The strongest other unit at the same place: {value:.3g} there.",
            partial(_signal, net, projection, rules, unpool, channel=other),
        )


def _compared(projection: Projection, title: str, sentence: str, make: _Make | None) -> Comparison:
    if make is None:
        return Comparison(title, sentence, None, None)
    try:
        signal = make()
    except PixelwardError as error:
        return Comparison(title, f"Refused: {error.given}.", None, None)
    shown = projection.signal.float().cpu().numpy()
    return Comparison(title, sentence, signal, correlation(signal, shown, projection.shown))


def _signal(
    net: nn.Module,
    projection: Projection,
    rules: str,
    unpool: str,
    *,
    channel: int | None = None,
    seed: str | float | None = None,
) -> Signal:
    """The signal at the pixels from the projection's place, with some things changed."""
    unit = Unit(0, projection.channel if channel is None else channel, projection.position)
    (done,) = project_units(
        net,
        as_batch(net, projection),
        projection.layer,
        [unit],
        rules=rules,
        unpool=unpool,
        seed=projection.seed if seed is None else seed,
    )
    return done.signal.float().cpu().numpy()


def named_rules(projection: Projection) -> str:
    """The projection's rules, or the paper's where they are the user's own, which it does not hold."""
    return projection.rules if projection.rules in RULE_SETS else "deconvnet"


def strongest_other(net: nn.Module, batch: Tensor, projection: Projection) -> tuple[int | None, float]:
    """The channel that fires most at the projection's place, its own left out, and its value; None of one channel."""
    maps = trace(net, batch, [projection.layer]).targets[projection.layer].activations[0]
    at_place = (maps[:, projection.position[0], projection.position[1]] if projection.position else maps).clone()
    if len(at_place) == 1:
        return None, 0.0
    at_place[projection.channel] = -torch.inf
    other = int(at_place.argmax())
    return other, float(at_place[other])


def weights_of(net: nn.Module, batch: Tensor, layer: str) -> Weights:
    """Which weights a layer depends on, found out on a batch of one picture."""
    net = unwrapped(net)
    traced = trace(net, batch, [layer], RULE_SETS["gradient"])
    parameters = {name: each for name, each in net.named_parameters() if each.dim() > 1}
    names = {each.data_ptr(): name for name, each in parameters.items()}
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    for step in traced.plan.below(traced.targets[layer].value):
        own = [name for name in parameters if _holder(name) == step.where]
        if step.weight is not None and (name := names.get(step.weight.data_ptr())) is not None:
            own.append(name)  # of another module than the one that ran
        for name in own:
            if name not in seen:
                seen.add(name)
                found.setdefault(step.where, []).append(name)
    modules = list(found)
    return Weights(
        own=tuple(found[modules[0]]) if modules else (),
        below=tuple(name for module in modules[1:] for name in found[module]),
        own_modules=tuple(module or "the network itself" for module in modules[:1]),
        below_modules=tuple(module or "the network itself" for module in modules[1:]),
    )


def _holder(parameter: str) -> str:
    """The module that a parameter belongs to: of a parametrised one, the module that uses it."""
    return (
        parameter.partition(".parametrizations.")[0]
        if ".parametrizations." in parameter
        else parameter.rpartition(".")[0]
    )


def permuted(net: nn.Module, names: Collection[str] | None = None, seed: int = 0) -> nn.Module:
    """A copy of the network in which each of these weight tensors holds its own numbers in random order.

    names: as `named_parameters()` gives them; None for all. Tensors of one axis, such as biases and the scales of
    norms, stay. All that is not permuted is the network's own, not a copy. What order a tensor gets depends on its name
    and the seed alone. Raises PixelwardError where the network cannot be copied.
    """
    net, known = unwrapped(net), {}
    for name, parameter in net.named_parameters():
        known[id(parameter)] = parameter
        if parameter.dim() > 1 and (names is None or name in names):
            known[id(parameter)] = _shuffled(parameter, zlib.crc32(name.encode()) + seed)
    try:
        return copy.deepcopy(net, known)
    except Exception as error:  # whatever a network of the user's may hold
        raise PixelwardError(
            given=f"a network that cannot be copied ({error})",
            allowed="networks that copy.deepcopy can copy",
            next_step="compare with the other pictures",
        ) from error


def _shuffled(parameter: nn.Parameter, seed: int) -> nn.Parameter:
    order = torch.randperm(parameter.numel(), generator=torch.Generator().manual_seed(seed)).to(parameter.device)
    fresh = copy.deepcopy(parameter)
    with torch.no_grad():
        fresh.copy_(parameter.flatten()[order].view_as(parameter))
    return fresh


def as_batch(net: nn.Module, projection: Projection) -> Tensor:
    """The projection's picture as the network takes it, (1, C, H, W)."""
    like = next(net.parameters(), torch.zeros(()))
    return projection.picture[None].to(like.device, like.dtype)
