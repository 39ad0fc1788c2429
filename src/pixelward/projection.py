"""Project units of somebody's network on somebody's picture: `pw.project`, and what it gives back."""

from __future__ import annotations

import json
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor, nn

from pixelward import cards
from pixelward.core.project import Projected, Unit, project_units
from pixelward.core.rules import RuleSet
from pixelward.data.images import Preprocess, prepare, to_rgb
from pixelward.errors import PixelwardError
from pixelward.folder import write_file
from pixelward.nets.load import preprocess_of
from pixelward.strips import beside

OnePicture = str | Path | Image.Image | Tensor
Pictures = OnePicture | Sequence[OnePicture]
Position = tuple[int, int] | tuple[()]


@dataclass(frozen=True, eq=False)
class Projection(Projected):
    """What made one unit fire.

    signal, value, position, field, reach, shown: see `Projected`. layer, channel, rules, unpool, seed: what was chosen.
    picture: (C, H, W), as the network took it.
    """

    layer: str
    rules: str
    unpool: str
    seed: str | float
    picture: Tensor
    preprocess: Preprocess

    def __repr__(self) -> str:
        """What it is of, without the tensors."""
        shown = ("layer", "channel", "value", "position", "field")
        return f"Projection({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def _repr_html_(self) -> str:
        """For notebooks: `to_image`, and its words as text."""
        return cards.card(
            f"{self.layer}, unit {self.channel}",
            [
                cards.line(f"{self._told()}; field {self.field.height} × {self.field.width} px"),
                cards.row([cards.Figure([cards.picture(self.to_image(), "The picture, and the projection")], "")]),
            ],
        )

    def to_image(self) -> Image.Image:
        """The picture with the field marked, beside the projection, whole and in its field."""
        return beside(
            to_rgb(self.picture.cpu(), self.preprocess),
            self.signal.float().cpu().numpy(),
            self.shown,
            order=self.preprocess.channels,
            title=f"{self.layer}, unit {self.channel}",
            lines=(
                self._told(),
                *(
                    ("The whole picture can change its value; shown is what its signal reaches.",)
                    if self.shown != self.field
                    else ()
                ),
                *(("This unit is silent here, so its projection is zero.",) if self.value == 0 else ()),
                *(() if self.position else ("Starting from a fully connected layer is a step beyond the paper.",)),
            ),
        )

    def _told(self) -> str:
        place = f" at row {self.position[0]}, column {self.position[1]}" if self.position else ""
        return f"{self.value:.4g}{place}; rules {self.rules}, unpooling {self.unpool}, seed {self.seed}"

    def save(self, path: str | Path) -> Path:
        """Write `to_image` as a PNG file that also holds every choice that was made, as JSON under "pixelward"."""
        return save_png(self.to_image(), Path(path), self.choices())

    def choices(self) -> dict[str, object]:
        """Everything that decided this projection, as plain data."""
        names = ("layer", "channel", "position", "value", "field", "reach", "rules", "unpool", "seed")
        return {name: getattr(self, name) for name in names}


def save_png(image: Image.Image, path: Path, choices: dict[str, object]) -> Path:
    """Write an image whole or not at all, with the choices that made it."""
    import io

    if path.suffix.lower() != ".png":
        raise PixelwardError(given=f"{path}", allowed="a file name that ends in .png", next_step=f"use {path}.png")
    note = PngInfo()
    note.add_text("pixelward", json.dumps(choices))
    target = io.BytesIO()
    image.save(target, "PNG", pnginfo=note)
    try:
        write_file(path, target.getvalue())
    except OSError as error:
        raise PixelwardError(
            given=f"{path}, which cannot be written ({error.strerror})",
            allowed="a place that you may write to",
            next_step="choose another file",
        ) from error
    return path


def project(
    net: nn.Module,
    picture: Pictures,
    *,
    layer: str,
    channel: int | Sequence[int],
    position: Position | Sequence[Position] | None = None,
    rules: str | RuleSet = "deconvnet",
    unpool: str = "sum",
    seed: str | float = "value",
) -> Projection | list[Projection]:
    """Project units of a layer down to the pixels: one picture, channel and position, or lists of them (broadcast).

    picture: a path, a PIL image, or a prepared float tensor (C, H, W) or (N, C, H, W). channel: the unit. position:
    (y, x) in the layer's map; None for the strongest one. rules: "deconvnet" (Zeiler & Fergus), "guided", "gradient"
    or a dict of rules. unpool: "sum", "place", or the control "centre". seed: "value" (the paper's), "one", a number.
    All single gives a Projection, otherwise a list. Raises PixelwardError for bad input and for what has no rule.
    """
    # Tensors are prepared already: how the network's pictures are prepared need not be said.
    preprocess = preprocess_of(net, _quiet) if _is_prepared(picture) else preprocess_of(net)
    prepared, many = _prepared(picture, preprocess)
    channels, positions = _channels(channel), _positions(position)
    count = max(len(prepared), len(channels), len(positions))
    single = count == 1 and not (many or isinstance(channel, Sequence) or isinstance(position, list))
    lengths = {"pictures": len(prepared), "channels": len(channels), "positions": len(positions)}
    if any(length not in (1, count) for length in lengths.values()):
        raise PixelwardError(
            given=", ".join(f"{length} {name}" for name, length in lengths.items()),
            allowed="one of each, or equal numbers",
            next_step="give every list the same length",
        )
    units = [
        Unit(n if len(prepared) > 1 else 0, channels[n % len(channels)], positions[n % len(positions)])
        for n in range(count)
    ]
    like = next(net.parameters(), torch.zeros(()))
    done = project_units(net, prepared.to(like.device, like.dtype), layer, units, rules=rules, unpool=unpool, seed=seed)
    named = rules if isinstance(rules, str) else "your own"
    found = [
        _projection(each, prepared[unit.picture], layer, named, unpool, seed, preprocess)
        for each, unit in zip(done, units, strict=True)
    ]
    return found[0] if single else found


def _projection(
    done: Projected, picture: Tensor, layer: str, rules: str, unpool: str, seed: str | float, preprocess: Preprocess
) -> Projection:
    return Projection(
        **vars(done),
        layer=layer,
        rules=rules,
        unpool=unpool,
        seed=seed,
        picture=picture,
        preprocess=preprocess,
    )


def _quiet(_: str) -> None:
    """Takes what preprocessing had to be assumed, and says nothing."""


def _is_prepared(picture: Pictures) -> bool:
    if isinstance(picture, Sequence) and not isinstance(picture, str):
        return all(isinstance(one, Tensor) for one in picture)
    return isinstance(picture, Tensor)


def _prepared(picture: Pictures, preprocess: Preprocess) -> tuple[Tensor, bool]:
    """Pictures as one (N, C, H, W) tensor, and whether several were meant."""
    if isinstance(picture, Tensor):
        if picture.dim() not in (3, 4) or not picture.is_floating_point():
            raise PixelwardError(
                given=f"a picture tensor of shape {tuple(picture.shape)}, {picture.dtype}",
                allowed="float tensors (C, H, W) or (N, C, H, W), prepared as the network wants them",
                next_step="hand over the path or the PIL image, and it is prepared for you",
            )
        return (picture, True) if picture.dim() == 4 else (picture[None], False)
    if isinstance(picture, Sequence) and not isinstance(picture, str):
        each = [_prepared(one, preprocess)[0] for one in picture]
        if len({one.shape[1:] for one in each}) != 1:
            raise PixelwardError(
                given=f"{len(each)} pictures" + (" of several sizes" if each else ""),
                allowed="one picture or more, all of one size once prepared",
                next_step="project them one by one",
            )
        return torch.cat(each), True
    if isinstance(picture, Image.Image):
        return prepare(picture, preprocess, "given")[None], False
    if not isinstance(picture, str | Path):
        raise PixelwardError(
            given=f"a picture of type {type(picture).__name__}",
            allowed="a path, a PIL image, a float tensor, or a list of these",
            next_step="hand over the path of a picture file",
        )
    path = Path(picture)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PixelwardError(
            given=f"picture {path}, which cannot be read ({error.strerror})",
            allowed="a picture file",
            next_step="check the path",
        ) from error
    return prepare(data, preprocess, path.name)[None], False


def _channels(channel: int | Sequence[int]) -> list[int]:
    try:
        return [operator.index(each) for each in (channel if isinstance(channel, Sequence) else [channel])]
    except TypeError:
        raise PixelwardError(
            given=f"channel {channel!r}", allowed="whole numbers, one or a list", next_step="count channels from 0"
        ) from None


def _positions(position: Position | Sequence[Position] | None) -> list[tuple[int, ...] | None]:
    if position is None:
        return [None]
    try:
        every: list[Any] = position if isinstance(position, list) else [position]
        return [tuple(operator.index(number) for number in each) for each in every]
    except TypeError:
        raise PixelwardError(
            given=f"position {position!r}",
            allowed="(row, column) in the layer's map, or a list of such pairs",
            next_step="leave the position away to take the strongest one",
        ) from None
