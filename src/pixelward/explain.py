"""How one projection came to be (`--walk`) and what it is worth (`--controls`), as pictures with words."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from pixelward.core import rules
from pixelward.core.plan import Step
from pixelward.core.project import Unit, project_units
from pixelward.core.trace import trace
from pixelward.pictures import correlation, crop, focus_box, signal_to_picture, square_round, view_box
from pixelward.projection import Projection
from pixelward.strips import Control, controls_strip, walk_strip
from pixelward.strips import Step as Shown

# The steps that are worth a panel, in the paper's words.
_TITLES = {
    rules.MAX_POOL: "unpool",
    rules.RECTIFIER: "rectify",
    rules.ACTIVATION: "rectify",
    rules.CONVOLUTION: "filter",
    rules.RESPONSE_NORM: "pass the norm",
    rules.BATCH_NORM: "scale",
    rules.AVERAGE_POOL: "spread",
    rules.LINEAR: "transpose",
}


def walk(net: nn.Module, projection: Projection) -> Image.Image:
    """One strip with the signal after every step on the way down: the paper's figure 1 for a real unit."""
    steps: list[Shown] = []

    def visit(step: Step, above: Tensor, below: Sequence[Tensor | None]) -> None:
        if not steps:
            steps.append(Shown("seed", projection.layer, _maps(above)))
        if step.kind in _TITLES:
            signal = _maps(next(part for part in below if part is not None))
            if signal.any():  # branches that the signal does not take are left out
                steps.append(Shown(_TITLES[step.kind], step.where or step.operation, signal))

    project_units(
        net,
        _batch(net, projection),
        projection.layer,
        [Unit(0, projection.channel, projection.position)],
        rules=_named(projection),
        unpool=projection.unpool,
        seed=projection.seed,
        visit=visit,
    )
    title = f"The way down from {projection.layer}, unit {projection.channel}"
    place = f" at row {projection.position[0]}, column {projection.position[1]}" if projection.position else ""
    return walk_strip(
        steps,
        order=projection.preprocess.channels,
        title=title,
        lines=(f"It starts with {projection.value:.4g}{place}; all other units of the layer are set to zero.",),
    )


def _maps(signal: Tensor) -> NDArray[np.floating[Any]]:
    """The first signal of a batch as maps, (C, h, w); a vector as maps of one place."""
    one = signal[0].detach().float().cpu().numpy()
    return one if one.ndim == 3 else one.reshape(-1, 1, 1)


def controls(net: nn.Module, projection: Projection) -> Image.Image:
    """The projection beside what an honest tool must show: how much of it another method, unit or network shows too."""
    view = view_box(projection.shown, *projection.signal.shape[1:])
    order = projection.preprocess.channels
    shown = projection.signal.cpu().numpy()

    focus = focus_box(shown, projection.shown)
    view = view if focus is None else square_round(focus, view)
    silent = not shown.any()

    def control(title: str, sentence: str, signal: Tensor) -> Control:
        array = signal.cpu().numpy()
        picture = crop(signal_to_picture(array, order, projection.shown).picture, view)
        return Control(title, sentence, picture, None if silent else correlation(array, shown, projection.shown))

    here = crop(signal_to_picture(shown, order, projection.shown).picture, view)
    return controls_strip(
        here,
        [control(*row) for row in _controls(net, projection)],
        title=f"{projection.layer}, unit {projection.channel}: how much of the picture is the unit's own?",
        lines=(
            "A sharp picture is no proof that a unit is selective: where another unit or random weights show nearly "
            "the same (r near 1), it is the photograph's switches that speak, not the unit.",
            *(
                ("This unit is silent here: its projection is zero, and nothing can be likened to it.",)
                if silent
                else ()
            ),
            *(
                ("Close up, where 95 % of the shown signal is; the numbers are those of the whole field.",)
                if focus
                else ()
            ),
        ),
    )


def _controls(net: nn.Module, projection: Projection) -> list[tuple[str, str, Tensor]]:
    """(title, sentence, signal) of each control (PAPER B7)."""
    unit = Unit(0, projection.channel, projection.position)
    batch = _batch(net, projection)

    def signal(model: nn.Module, unit: Unit, **options: object) -> Tensor:
        return project_units(model, batch, projection.layer, [unit], **options)[0].signal  # type: ignore[arg-type]

    other = strongest_other(net, batch, projection)
    return [
        ("guided", "The rectified signal, only where the unit below fired.", signal(net, unit, rules="guided")),
        ("gradient", "How the value changes with each pixel.", signal(net, unit, rules="gradient")),
        ("centre unpooling", "Switches ignored: every window's middle.", signal(net, unit, unpool="centre")),
        (f"unit {other}", "The strongest other unit at the same place.", signal(net, Unit(0, other, unit.position))),
        (
            "permuted weights",
            "The same place, every weight tensor shuffled, seed 1.",
            signal(permuted(net), unit, seed="one"),
        ),
    ]


def strongest_other(net: nn.Module, batch: Tensor, projection: Projection) -> int:
    """The channel that fires most at the projection's place, its own left out."""
    activations = trace(net, batch, [projection.layer]).targets[projection.layer].activations
    maps = activations[0]
    at_place = (maps[:, projection.position[0], projection.position[1]] if projection.position else maps).clone()
    at_place[projection.channel] = -torch.inf
    return int(at_place.argmax())


def permuted(net: nn.Module, seed: int = 0) -> nn.Module:
    """A copy of the network in which every weight tensor holds its own numbers in random order."""
    random = torch.Generator().manual_seed(seed)
    shuffled = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in shuffled.parameters():
            if parameter.dim() > 1:
                order = torch.randperm(parameter.numel(), generator=random).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return shuffled


def _batch(net: nn.Module, projection: Projection) -> Tensor:
    like = next(net.parameters(), torch.zeros(()))
    return projection.picture[None].to(like.device, like.dtype)


def _named(projection: Projection) -> str:
    return projection.rules if projection.rules in rules.RULE_SETS else "deconvnet"
