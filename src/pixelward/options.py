"""What the commands take: the values, and the arguments and options that several of them share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pixelward.words import bytes_of


class Pair(tuple[int, int]):
    """Two whole numbers, as in 64,32."""

    @classmethod
    def parse(cls, text: str) -> Pair:
        first, second = text.split(",")
        return cls((int(first), int(second)))


class Numbers(tuple[float, ...]):
    """Numbers with commas between, as in 104,117,123."""

    @classmethod
    def parse(cls, text: str) -> Numbers:
        return cls(float(part) for part in text.split(","))


class Channels(StrEnum):
    """The order of colours that a network takes."""

    RGB = "RGB"
    BGR = "BGR"
    L = "L"


class Rules(StrEnum):
    """The rule sets by name."""

    DECONVNET = "deconvnet"
    GUIDED = "guided"
    GRADIENT = "gradient"


class Unpool(StrEnum):
    """The ways to go down through a max-pool."""

    SUM = "sum"
    PLACE = "place"
    CENTRE = "centre"


OF_NETWORK = "Network"  # the panel of the help that these options stand in
_MODEL = typer.Argument(
    metavar="MODEL",
    help="zfnet64, zfnet, file.py:factory, package.module:factory, torchvision:NAME or timm:NAME.",
    show_default=False,
)
ModelName = Annotated[str, _MODEL]
MaybeModel = Annotated[str | None, _MODEL]
Memory = Annotated[
    int | None,
    typer.Option(
        "--memory", parser=bytes_of, metavar="AMOUNT", help="Take no more than this, as 4G.", show_default="no bound"
    ),
]
AtlasFolder = Annotated[
    Path, typer.Argument(metavar="ATLAS", help="The folder of a finished scan.", show_default=False)
]
BesideFolder = Annotated[
    Path | None, typer.Option("--beside", metavar="OTHER", help="Another atlas, to compare it with.")
]
WeightsFile = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", help="Weights: .safetensors or a pickle.", rich_help_panel=OF_NETWORK),
]
InputChannels = Annotated[
    Channels | None, typer.Option("--channels", help="Order of its input's channels.", rich_help_panel=OF_NETWORK)
]
InputRange = Annotated[
    float | None, typer.Option("--range", help="What white becomes: 1 or 255.", rich_help_panel=OF_NETWORK)
]
InputMean = Annotated[
    Numbers | None,
    typer.Option("--mean", parser=Numbers.parse, metavar="A,B,C", help="Subtracted.", rich_help_panel=OF_NETWORK),
]
InputStd = Annotated[
    Numbers | None,
    typer.Option("--std", parser=Numbers.parse, metavar="A,B,C", help="Divided by.", rich_help_panel=OF_NETWORK),
]
InputResize = Annotated[
    int | None,
    typer.Option("--resize", help="Pixels of the shorter side; goes along with --size.", rich_help_panel=OF_NETWORK),
]
InputSize = Annotated[
    int | None, typer.Option("--size", help="Pixels of the centre crop that it sees.", rich_help_panel=OF_NETWORK)
]
LayerNames = Annotated[
    list[str] | None,
    typer.Option("--layers", metavar="LAYER", help="An address; again for each layer.", show_default="all there are"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
