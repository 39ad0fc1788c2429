"""Row 3: the scan beside zennit-crp's `FeatureVisualization.run`, on the same network, layers, pictures and loader.

zennit-crp finds the strongest pictures of every channel by activation and by relevance, so it also runs backwards; it
takes the modules' own names, and its own composite of rules for relevance.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor

from bench import networks
from bench.hits import default_layers
from bench.passes import BATCH, floor, scanned
from bench.pictures import Pictures
from bench.rows import Row, Settings, missing
from bench.timing import interleaved, ratios, seconds
from zoo.vision import torchvision

NAME = "crp-zfnet"
GOAL = 5.0


class _Dataset:
    """What zennit-crp asks for: a prepared picture and its class, by number."""

    def __init__(self, pictures: Pictures, network: torch.nn.Module) -> None:
        self._pictures, self._preprocess = pictures, networks.preprocess_of(network)

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self._pictures.tensor(int(number), self._preprocess), 0


def measure(settings: Settings, folder: Path) -> list[Row]:
    network = networks.NETWORKS["zfnet"]
    title = f"The pass over the pictures, {network.title}, all default layers"
    try:
        torchvision()  # which crp imports, and which needs a little help
        from crp.attribution import CondAttribution
        from crp.concepts import ChannelConcept
        from crp.visualization import FeatureVisualization
        from zennit.composites import EpsilonPlusFlat
    except ImportError as error:
        return [missing(NAME, title, f"needs zennit-crp, which `make bench` installs ({error})")]
    net = network.make()
    pictures = Pictures(settings.passed, folder)
    copied = pictures.copied(folder / f"copied-{settings.passed}")
    names = [layer.location.module for layer in default_layers(net)]

    def theirs(round_: int) -> float:
        with (
            tempfile.TemporaryDirectory(dir=folder) as place,
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            return seconds(lambda: searched(place))

    def searched(place: str) -> None:
        concepts = {name: ChannelConcept() for name in names}
        visualization = FeatureVisualization(CondAttribution(net), _Dataset(pictures, net), concepts, path=place)
        visualization.run(EpsilonPlusFlat(), 0, len(pictures), batch_size=BATCH)

    given = interleaved(
        {"pixelward": lambda round_: scanned(net, copied, folder), "zennit-crp": theirs},
        settings.rounds,
        settings.seed,
    )
    ratio, spread = ratios(given["zennit-crp"], given["pixelward"])
    least, ours = floor(net, pictures, settings), statistics.median(given["pixelward"])
    return [
        Row(
            name=NAME,
            title=title,
            against="zennit-crp's run (EpsilonPlusFlat)",
            ratio=ratio,
            goal=GOAL,
            seconds={name: statistics.median(every) for name, every in given.items()},
            samples=f"{len(pictures)} pictures ({pictures.told}), {len(names)} layers, theirs in batches of {BATCH}, "
            f"{settings.rounds} round{'s' * (settings.rounds > 1)}.",
            floor_share=least.seconds(len(pictures), []) / ours,
            shape_share=least.own_seconds(len(pictures), []) / ours,
            spread=spread,
            notes=[str(least)],
        )
    ]
