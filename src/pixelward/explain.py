"""How one projection came to be: the signal after every step on its way back to the pixels.

`way_back` is the data; `walk` and `controls` are the two pictures with words that `project` draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from pixelward.controls import CAUTION, Comparison, as_batch, by_rules, named_rules, sanity
from pixelward.core import rules
from pixelward.core.fields import Box
from pixelward.core.plan import MAPS, Axes, Step
from pixelward.core.project import Unit, project_units
from pixelward.hatch import cleared
from pixelward.pictures import Picture, crop, focus_box, signal_to_picture, square_round, view_box
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
Taken = TypeVar("Taken")


def way_back(net: nn.Module, projection: Projection, take: Callable[[Shown, bool], Taken]) -> list[Taken]:
    """What `take` makes of the seed, of the signal after every step on the way down, and of the one at the pixels.

    take(step, last): the maps are (C, h, w), and only the last ones, which are the projection itself, may be kept in
    great number: those of a deep network do not all fit into memory.
    """
    made: list[Taken] = []
    waiting: list[Shown] = []

    def show(step: Shown) -> None:
        made.extend(take(each, False) for each in waiting)
        waiting[:] = [step]

    def visit(step: Step, above: Tensor, below: Sequence[Tensor | None]) -> None:
        if not waiting:
            show(Shown("seed", projection.layer, _maps(above, step.axes)))
        if step.kind in _TITLES:
            at, signal = next((at, part) for at, part in enumerate(below) if part is not None)
            maps = _maps(signal, step.input_axes[at] if at < len(step.input_axes) else None)
            if maps.any():  # branches that the signal does not take are left out
                show(Shown(_TITLES[step.kind], step.where or step.operation, maps))

    project_units(
        net,
        as_batch(net, projection),
        projection.layer,
        [Unit(0, projection.channel, projection.position)],
        rules=named_rules(projection),
        unpool=projection.unpool,
        seed=projection.seed,
        visit=visit,
    )
    arrived = projection.signal.float().cpu().numpy()
    if not np.array_equal(waiting[0].signal, arrived):  # several branches meet there, or a step without a panel ends it
        show(Shown("arrive", "the pixels", arrived))
    return [*made, *(take(step, True) for step in waiting)]


def walk(net: nn.Module, projection: Projection) -> Image.Image:
    """One strip with the signal after every step on the way down: the paper's figure 1 for a real unit."""
    title = f"The way down from {projection.layer}, unit {projection.channel}"
    place = f" at row {projection.position[0]}, column {projection.position[1]}" if projection.position else ""
    return walk_strip(
        way_back(net, projection, lambda step, _: step),
        order=projection.preprocess.channels,
        title=title,
        lines=(f"It starts with {projection.value:.4g}{place}; all other units of the layer are set to zero.",),
    )


def _maps(signal: Tensor, axes: Axes | None) -> NDArray[np.floating[Any]]:
    """The first signal of a batch as maps, (C, h, w); a vector as maps of one place. axes: of its rows and columns."""
    one = signal[:1]
    if one.dim() == 4 and axes not in (None, MAPS):
        one = one.movedim(axes, MAPS)
    array: NDArray[np.floating[Any]] = one[0].detach().float().cpu().numpy()
    return array if array.ndim == 3 else array.reshape(-1, 1, 1)


def closer(projection: Projection) -> tuple[Box, bool]:
    """The part of the picture in which comparisons are looked at, and whether that is less than the field."""
    view = view_box(projection.shown, *projection.signal.shape[1:])
    focus = focus_box(projection.signal.float().cpu().numpy(), projection.shown)
    return (view, False) if focus is None else (square_round(focus, view), True)


def controls(net: nn.Module, projection: Projection) -> Image.Image:
    """The projection beside what an honest tool must show: how much of it another method, unit or network shows too."""
    order = projection.preprocess.channels
    shown = projection.signal.float().cpu().numpy()
    view, close = closer(projection)

    def drawn(signal: NDArray[np.floating[Any]]) -> Picture:
        picture = signal_to_picture(signal, order, projection.shown).picture
        return cleared(crop(picture, view), view, (picture.shape[0], picture.shape[1]))

    def control(each: Comparison) -> Control:
        picture = None if each.signal is None else drawn(each.signal)
        return Control(each.title, each.sentence, picture, each.likeness)

    others = [each for each in by_rules(net, projection) if not each.is_shown]
    return controls_strip(
        drawn(shown),
        [control(each) for each in (*others, *sanity(net, projection))],
        title=f"{projection.layer}, unit {projection.channel}: how much of the picture is the unit's own?",
        lines=(
            CAUTION,
            "Weights of layers above cannot matter: nothing above the unit runs.",
            *(
                ()
                if shown.any()
                else ("This unit is silent here: its projection is zero, and nothing can be likened to it.",)
            ),
            *(
                ("Close up, where 95 % of the shown signal is; the numbers are those of the whole field.",)
                if close
                else ()
            ),
        ),
    )
