"""Row 2: the pass over the pictures beside the bare forward pass of the same network, pictures and loader.

The bare pass decodes in the same thread ahead of the network, in batches of the same size, and keeps nothing. It is run
three times: as users write it, with network and batches in channels_last (as a scan lays its batches where the network
gives the same), and stopped, as the scan is, after the last layer that is scanned.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from bench import networks
from bench.hits import default_layers
from bench.pictures import Pictures
from bench.rows import Row, Settings, missing
from bench.timing import interleaved, ratios, seconds
from pixelward.core.layers import observe
from pixelward.data.images import Preprocess
from pixelward.scan import ahead, scan

BATCH = 32
AHEAD = 2 * BATCH  # pictures that may wait, as in a scan
GOAL = 0.95
WARM = 4  # pictures

# By contestant: what its row's name ends with, what a reader is told, and the goal.
AGAINST: dict[str, tuple[str, str, float | None]] = {
    "bare": ("", "the bare forward pass, same loader", GOAL),
    "channels last": ("-last", "the same, network and batches in channels_last", GOAL),
    "stopped": ("-stopped", "the bare forward pass, stopped after the last layer scanned", None),
}


def measure(name: str, settings: Settings, folder: Path) -> list[Row]:
    network = networks.NETWORKS[name]
    title = f"The pass over the pictures, {network.title}, all default layers"
    try:
        net = network.make()
    except networks.Absent as absent:
        return [missing(f"pass-{name}", title, str(absent))]
    pictures = Pictures(settings.passed, folder)
    copied = pictures.copied(folder / f"copied-{settings.passed}")
    preprocess = networks.preprocess_of(net)
    last = default_layers(net)[-1]
    turned = in_channels_last(net)

    def stopped(batch: Tensor) -> None:
        observe(net, batch, [last], lambda number, maps: None)

    ways: dict[str, Callable[[Tensor], object]] = {"bare": net, "channels last": turned, "stopped": stopped}
    first = torch.stack(list(islice(pictures.tensors(preprocess), WARM)))
    for way in ways.values():
        with torch.no_grad():
            way(first)
    given = interleaved(
        {
            "pixelward": lambda round_: scanned(net, copied, folder),
            **{who: lambda round_, way=way: bare(way, pictures, preprocess) for who, way in ways.items()},
        },
        settings.rounds,
        settings.seed,
    )
    samples = (
        f"{len(pictures)} pictures ({pictures.told}), batches of {BATCH}, {settings.rounds} "
        f"round{'s' * (settings.rounds > 1)}."
    )
    rows = []
    for who, (suffix, words, goal) in AGAINST.items():
        ratio, spread = ratios(given[who], given["pixelward"])
        rows.append(
            Row(
                name=f"pass-{name}{suffix}",
                title=title,
                against=words,
                ratio=ratio,
                goal=goal,
                unit="of its throughput",
                seconds={"pixelward": statistics.median(given["pixelward"]), who: statistics.median(given[who])},
                samples=samples,
                spread=spread,
            )
        )
    return rows


def scanned(net: nn.Module, pictures: Path, folder: Path) -> float:
    """Seconds of a scan of a folder of pictures, from the files to the finished atlas, which is not kept."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        return seconds(lambda: scan(net, pictures, Path(place) / "atlas", batch=BATCH, note=lambda line: None))


def in_channels_last(net: nn.Module) -> Callable[[Tensor], object]:
    """The network as torch's guide to channels_last has it: its weights laid once, every batch before it goes in."""
    turned = copy.deepcopy(net).to(memory_format=torch.channels_last)
    return lambda batch: turned(batch.to(memory_format=torch.channels_last))


def bare(way: Callable[[Tensor], object], pictures: Pictures, preprocess: Preprocess) -> float:
    """Seconds of all pictures through a network."""

    def run() -> None:
        with torch.no_grad():
            for batch in batches(pictures, preprocess):
                way(batch)

    return seconds(run)


def batches(pictures: Pictures, preprocess: Preprocess) -> Iterator[Tensor]:
    """Batches decoded ahead, the last one padded as a scan's."""
    loaded = ahead(pictures.tensors(preprocess), AHEAD)
    while some := list(islice(loaded, BATCH)):
        batch = torch.stack(some)
        yield torch.cat([batch, batch.new_zeros(BATCH - len(some), *batch.shape[1:])])
