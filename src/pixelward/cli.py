"""The command `pixelward`: parse, call, print. Torch and the rest are imported by the commands that need them.

Results go to standard output, notes and progress to standard error. Exit status: 0 done; 1 a message of one line;
2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperGroup

from pixelward.errors import PixelwardError
from pixelward.meter import Meter
from pixelward.options import (
    AtlasFolder,
    BesideFolder,
    Channels,
    InputChannels,
    InputMean,
    InputRange,
    InputResize,
    InputSize,
    InputStd,
    Json,
    LayerNames,
    MaybeModel,
    Memory,
    ModelName,
    Numbers,
    Pair,
    Rules,
    Unpool,
    WeightsFile,
)
from pixelward.report import SHOWN, print_report
from pixelward.tables import described, print_info, print_layers, print_summary
from pixelward.words import counted

if TYPE_CHECKING:
    from torch import nn

    from pixelward.projection import Projection


class Commands(TyperGroup):
    """Turns errors of the user's input into one line and an exit status; takes --debug in any place."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--debug" in args:
            args = ["--debug", *(each for each in args if each != "--debug")]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            note("interrupted")
            raise typer.Exit(130) from None
        except (PixelwardError, OSError) as error:
            if ctx.params["debug"] or getattr(error, "errno", None) == errno.EPIPE:
                raise
            note(str(error if isinstance(error, PixelwardError) else _of_system(error)))
            raise typer.Exit(1) from None


def _of_system(error: OSError) -> PixelwardError:
    return PixelwardError(
        given=f"{error.filename or 'a file'}, at which the system says: {error.strerror or error}",
        allowed="files and folders that may be read and written, on a disk with room",
        next_step="choose another place, or use --debug to see where it failed",
    )


app = typer.Typer(
    name="pixelward",
    help="See what every unit of your convolutional network has learnt, on your own pictures.",
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def note(line: str) -> None:
    """One line beside the results, on standard error."""
    typer.echo(line, err=True)


def _version(asked: bool) -> None:
    if asked:
        from pixelward import __version__

        typer.echo(f"pixelward {__version__}")
        raise typer.Exit


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """See what every unit of your convolutional network has learnt, on your own pictures."""
    # The profiler of torch, by which `--memory` measures, else warns on standard error.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


@app.command()
def layers(
    model: ModelName,
    weights: WeightsFile = None,
    channels: InputChannels = None,
    range_: InputRange = None,
    mean: InputMean = None,
    std: InputStd = None,
    resize: InputResize = None,
    size: InputSize = None,
) -> None:
    """List the layers of a network: addresses, shapes, the pixels that a unit sees and that its signal can reach."""
    import pixelward as pw
    from pixelward.nets.load import preprocess_of

    net = _load(model, weights, channels, range_, mean, std, resize, size)
    preprocess = preprocess_of(net)
    found = pw.layers(net, size=(preprocess.size, preprocess.size), channels=len(preprocess.mean))
    print_layers(found)
    refused = sum(layer.refusal is not None for layer in found)
    if refused:
        note(f"{counted(refused, 'layer')} cannot be projected; to see why: pixelward check {model}")


@app.command()
def check(
    model: ModelName,
    all_layers: Annotated[
        bool, typer.Option("--all", help="Every layer that has an address, not the convolutions alone.")
    ] = False,
    as_json: Json = False,
    weights: WeightsFile = None,
    channels: InputChannels = None,
    range_: InputRange = None,
    mean: InputMean = None,
    std: InputStd = None,
    resize: InputResize = None,
    size: InputSize = None,
) -> None:
    """Say which layers of a network can be projected, by which rules, and what is in the way of others.

    Layers whose units go down in windows are exact there and take no more work than the pixels that they reach.
    """
    import pixelward as pw
    from pixelward.nets.load import preprocess_of

    net = _load(model, weights, channels, range_, mean, std, resize, size)
    preprocess = preprocess_of(net)
    report = pw.check(
        net, size=(preprocess.size, preprocess.size), channels=len(preprocess.mean), all_layers=all_layers
    )
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=1))
        return
    print_report(report, model)
    again = f"{quote(model)}{f' --weights {quote(str(weights))}' if weights else ''}{f' --size {size}' if size else ''}"
    if report.projectable:
        left_out = " (what is refused is left out)" if report.refused else ""
        note(f"scan your pictures with: pixelward scan {again} PICTURES -o ATLAS{left_out}")
    elif report.refused:
        layer = report.refused[0].address
        note(
            f"the gradient goes everywhere: pixelward project {again} IMAGE --layer {layer} --channel 0 "
            "--rules gradient -o OUT.png"
        )
    if len(report.layers) > SHOWN:
        note(f"each layer by itself: pixelward layers {again}, or --json")


@app.command()
def project(
    model: ModelName,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.", show_default=False)],
    layer: Annotated[str, typer.Option("--layer", help="The layer's address.", show_default=False)],
    channel: Annotated[int, typer.Option("--channel", help="The unit: its channel.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.png", help="The picture to write.")],
    position: Annotated[
        Pair | None,
        typer.Option(
            "--position", parser=Pair.parse, metavar="Y,X", help="Place in its map.", show_default="strongest"
        ),
    ] = None,
    rules: Annotated[Rules, typer.Option("--rules", help="How the signal goes down.")] = Rules.DECONVNET,
    unpool: Annotated[Unpool, typer.Option("--unpool", help="And through max-pools.")] = Unpool.SUM,
    walk: Annotated[bool, typer.Option("--walk", help="Show the signal after every step on the way down.")] = False,
    controls: Annotated[bool, typer.Option("--controls", help="Show what it has to be compared with.")] = False,
    weights: WeightsFile = None,
    channels: InputChannels = None,
    range_: InputRange = None,
    mean: InputMean = None,
    std: InputStd = None,
    resize: InputResize = None,
    size: InputSize = None,
) -> None:
    """Draw which pixels of a picture made one unit fire."""
    import pixelward as pw
    from pixelward.projection import save_png
    from pixelward.sheet import unit_sheet

    net = _load(model, weights, channels, range_, mean, std, resize, size)
    found = pw.project(
        net, image, layer=layer, channel=channel, position=position, rules=rules.value, unpool=unpool.value
    )
    projection = cast("Projection", found)  # of one unit, hence one
    sheet = unit_sheet(net, projection, walk=walk, controls=controls)
    typer.echo(save_png(sheet, output, projection.choices()))


@app.command()
def scan(
    model: ModelName,
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURES...", help="Folders, zips, lists (.txt), globs or pictures.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="ATLAS", help="The folder to write.")],
    layer_names: LayerNames = None,
    k: Annotated[int, typer.Option("-k", help="Strongest hits to keep of each unit.")] = 9,
    tiles: Annotated[
        Pair | None,
        typer.Option(
            "--tiles", parser=Pair.parse, metavar="SIZE,STRIDE", help="Cut pictures into tiles.", show_default="whole"
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="CSV", help="Columns file and label; or the word folders.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the source.", show_default="of its path")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Where to run, as cuda or cpu.")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Pictures through the network at once.", show_default="the fastest")
    ] = None,
    memory: Memory = None,
    weights: WeightsFile = None,
    channels: InputChannels = None,
    range_: InputRange = None,
    mean: InputMean = None,
    std: InputStd = None,
    resize: InputResize = None,
    size: InputSize = None,
) -> None:
    """Find the strongest hits of every unit in your pictures. The same command again goes on where it stopped."""
    import pixelward as pw

    net = _load(model, weights, channels, range_, mean, std, resize, size)
    with Meter("scan", "pictures") as meter:
        atlas = pw.scan(
            net,
            pictures,
            output,
            layers=layer_names or None,
            k=k,
            tiles=tiles,
            labels=labels,
            name=name,
            device=_device(device),
            batch=batch,
            memory=memory,
            model=_recorded(model),
            report=meter,
            note=note,
        )
    if meter.idle:
        note("all was done already")
    print_summary(atlas)
    if atlas.drawings is None:
        note(
            f"draw it with: pixelward draw {quote(str(output))} {quote(model)}"
            + (f" --weights {quote(str(weights))}" if weights else "")
        )


@app.command()
def draw(
    atlas_folder: AtlasFolder,
    model: ModelName,
    layer_names: LayerNames = None,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", metavar="WHERE", help="Where the scanned pictures are now.")
    ] = None,
    details: Annotated[
        list[str] | None,
        typer.Option(
            "--detail",
            metavar="LAYER:CHANNEL",
            help="A unit, or all of a LAYER, to tell at length: the way back and what it is worth; again for each.",
            show_default="none",
        ),
    ] = None,
    hits: Annotated[
        list[int] | None,
        typer.Option("--hit", metavar="N", help="Which of its hits to tell of; again for each.", show_default="1"),
    ] = None,
    memory: Memory = None,
    weights: WeightsFile = None,
) -> None:
    """Draw projections and patches for the hits of an atlas, with the network that was scanned."""
    import pixelward as pw
    from pixelward.examine import draw_details, units_asked

    atlas = pw.open(atlas_folder)
    asked = units_asked(atlas, details or ())
    if layer_names:
        layer_names = [*layer_names, *(each.layer.address for each in asked)]
    net = _scanned(atlas_folder, model, weights)
    with Meter("draw", "pictures") as meter:
        pw.draw(atlas, net, layers=layer_names or None, pictures=pictures, memory=memory, report=meter, note=note)
    if details:
        with Meter("details", "hits") as meter:
            draw_details(atlas, net, details, hits=hits or (1,), pictures=pictures, report=meter, note=note)
    print_summary(atlas)
    note(f"make pages of it with: pixelward export {quote(str(atlas_folder))} -o SITE")


@app.command()
def info(
    atlas_folder: AtlasFolder,
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file with its hash.")] = False,
    as_json: Json = False,
) -> None:
    """Say what an atlas holds, and whether its files are whole."""
    import pixelward as pw
    from pixelward.folder import is_drawn, redraw

    atlas = pw.open(atlas_folder)
    damaged = atlas.verify() if verify else []
    if as_json:
        typer.echo(json.dumps({**described(atlas), **({"damaged": damaged} if verify else {})}, indent=1))
    else:
        print_info(atlas)
        for line in damaged:
            typer.echo(line)
    if damaged:
        raise PixelwardError(
            given=f"{atlas_folder}, with {counted(len(damaged), 'file')} not as written",
            allowed="the files of the scan and the drawings, unchanged",
            next_step=redraw(atlas.path)
            if all(map(is_drawn, damaged))
            else "copy it again from where it is whole, or scan again into a new folder",
        )
    if verify:
        note("every file is what was written")


@app.command()
def export(
    atlas_folder: AtlasFolder,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="SITE", help="The folder to write.")],
    beside: BesideFolder = None,
) -> None:
    """Write an atlas as static pages that a browser opens from the disk."""
    import pixelward as pw

    with Meter("export", "pages") as meter:
        index = pw.export(pw.open(atlas_folder), output, beside=beside, report=meter)
    typer.echo(index)
    note(f"open it in a browser, or serve it with: python -m http.server -d {quote(str(output))}")


@app.command()
def serve(
    atlas_folder: AtlasFolder,
    model: MaybeModel = None,
    beside: BesideFolder = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.")] = 8000,
    allow_hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="A name that browsers may call it by; again for each.",
            show_default="this machine",
        ),
    ] = None,
    weights: WeightsFile = None,
) -> None:
    """Browse an atlas: the pages of export, made when they are asked for, until Ctrl-C.

    With MODEL, the network that was scanned, pictures of your own can be tried on it.
    """
    from pixelward.web.serve import serve as run

    net = None if model is None else _scanned(atlas_folder, model, weights)
    run(
        atlas_folder,
        beside=beside,
        host=host,
        port=port,
        allow_hosts=allow_hosts or (),
        model=net,
        say=typer.echo,
        note=note,
    )


@app.command()
def train(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="zfnet64 or zfnet.", show_default=False)],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="A folder or zip with pictures in train/CLASS/ and val/CLASS/.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="RUN", help="The folder to write.")],
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the pictures.")] = 30,
    batch: Annotated[int, typer.Option("--batch", min=2, help="Pictures a step.")] = 128,
    seed: Annotated[int, typer.Option("--seed", help="Of all random numbers.")] = 0,
) -> None:
    """Train a network on your own classes. The same command again goes on where it stopped."""
    from dataclasses import replace

    from pixelward.nets.load import ARCHITECTURES
    from pixelward.train import Recipe, load_labelled
    from pixelward.train import train as run

    if model not in ARCHITECTURES:
        raise PixelwardError(given=f"model {model!r}", allowed=" or ".join(ARCHITECTURES), next_step="name one of them")
    architecture = ARCHITECTURES[model]
    training, validation = (load_labelled(data, part, architecture.size) for part in ("train", "val"))
    count = counted(len(training.labels), "picture")
    note(f"{count} to train on, {len(validation.labels)} to validate, of {data}")
    architecture = replace(architecture, classes=len(training.classes))
    recipe = Recipe(epochs=epochs, batch=batch, seed=seed)
    with Meter("train", "pictures") as meter:
        weights = run(architecture, training, validation, output, recipe, meter.line, meter)
    typer.echo(weights)
    note(f"use it with: pixelward scan {quote(model)} --weights {quote(str(weights))} PICTURES -o ATLAS")


def _load(
    model: str,
    weights: Path | None,
    channels: Channels | None,
    range_: float | None,
    mean: Numbers | None,
    std: Numbers | None,
    resize: int | None,
    size: int | None,
) -> nn.Module:
    from pixelward.nets.load import load

    flags: dict[str, object] = {
        "channels": channels and channels.value,
        "range": range_,
        "mean": mean,
        "std": std,
        "resize": resize,
        "size": size,
    }
    given = {key: value for key, value in flags.items() if value is not None}
    return load(model, weights=weights, preprocess=given, report=note)


def _scanned(atlas_folder: Path, model: str, weights: Path | None) -> nn.Module:
    """The network, prepared as the one of the atlas was."""
    import pixelward as pw
    from pixelward.nets.load import load

    return load(model, weights=weights, preprocess=pw.open(atlas_folder).preprocess.to_dict(), report=note)


def _recorded(model: str) -> str:
    """MODEL as an atlas and its pages name it: without the folder of its file, which says nothing to other people."""
    place, colon, factory = model.rpartition(":")
    return f"{Path(place).name}:{factory}" if colon and place.endswith(".py") else model


def _device(name: str | None) -> str | None:
    if name is not None:
        import torch

        try:
            torch.empty(1, device=name)
        except (RuntimeError, AssertionError) as error:
            raise PixelwardError(
                given=f"device {name} ({str(error).splitlines()[0]})",
                allowed="a device that this torch can use, as cpu, cuda or cuda:1",
                next_step="leave --device away to run on the processor",
            ) from error
    return name
