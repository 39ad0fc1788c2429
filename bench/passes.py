"""Row 2: the pass over the pictures beside the bare forward pass of the same network, pictures and loader.

The bare pass decodes in the same thread ahead of the network and keeps nothing. It is run three times: as users write
it, with network and batches in channels_last (as a scan lays its batches where the network gives the same), and
stopped, as the scan is, after the last layer that is scanned. Each in batches of 32 or of the scan's own size,
whichever is faster for it.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from bench import floors, networks
from bench.hits import default_layers
from bench.pictures import Pictures
from bench.rows import Row, Settings, missing
from bench.timing import interleaved, ratios, seconds
from pixelward.batch import quickest_batch
from pixelward.core.layers import observe
from pixelward.core.rules import DECONVNET
from pixelward.core.trace import trace
from pixelward.data.images import Preprocess
from pixelward.incoming import ahead
from pixelward.scan import scan

BATCH = 32
AHEAD = 2 * BATCH  # pictures that may wait
GOAL = 0.95
WARM = 3  # passes of each size, before they are timed

# By contestant: what its row's name ends with, what a reader is told, and the goal.
AGAINST: dict[str, tuple[str, str, float | None]] = {
    "bare": ("", "the bare forward pass, same loader", GOAL),
    "channels last": ("-last", "the same, network and batches in channels_last", None),
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
    first = torch.stack(list(islice(pictures.tensors(preprocess), BATCH)))
    sizes = sorted({BATCH, quickest_batch(net)})
    # The short mode does not try which size is faster: that takes as long as all that it measures.
    own = quickest_batch(net)
    at_once = {who: own if settings.short else faster(way, first, sizes) for who, way in ways.items()}
    given = interleaved(
        {
            "pixelward": lambda round_: scanned(net, copied, folder),
            **{who: lambda round_, who=who: bare(ways[who], pictures, preprocess, at_once[who]) for who in ways},
        },
        settings.rounds,
        settings.seed,
    )
    least, ours = floor(net, pictures, settings), statistics.median(given["pixelward"])
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
                seconds={"pixelward": ours, who: statistics.median(given[who])},
                samples=f"{len(pictures)} pictures ({pictures.told}), in batches of {sizes[0]}, beside it of "
                f"{at_once[who]}, {settings.rounds} round{'s' * (settings.rounds > 1)}.",
                floor_share=least.seconds(len(pictures), []) / ours,
                shape_share=least.own_seconds(len(pictures), []) / ours,
                spread=spread,
                notes=[str(least)],
            )
        )
    return rows


def floor(net: nn.Module, pictures: Pictures, settings: Settings) -> floors.Floor:
    """The floor of a pass: every picture's way up to the last layer that is scanned, and nothing else."""
    picture = pictures.tensor(0, networks.preprocess_of(net))[None]
    plan = trace(net, picture, [layer.address for layer in default_layers(net)], DECONVNET).plan
    return floors.floor(floors.up(plan), [], [], len(pictures), settings.shapes, settings.floor_batches)


def scanned(net: nn.Module, pictures: Path, folder: Path) -> float:
    """Seconds of a scan of a folder of pictures, from the files to the finished atlas, which is not kept."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        return seconds(lambda: scan(net, pictures, Path(place) / "atlas", note=lambda line: None))


def in_channels_last(net: nn.Module) -> Callable[[Tensor], object]:
    """The network as torch's guide to channels_last has it: its weights laid once, every batch before it goes in."""
    turned = copy.deepcopy(net).to(memory_format=torch.channels_last)
    return lambda batch: turned(batch.to(memory_format=torch.channels_last))


def faster(way: Callable[[Tensor], object], pictures: Tensor, sizes: Sequence[int]) -> int:
    """Which size of batches takes the least time; the first call of each sets kernels up."""

    def run(size: int) -> None:
        with torch.no_grad():
            for batch in torch.split(pictures, size):
                way(batch)

    return min(sizes, key=lambda size: sorted(seconds(lambda: run(size)) for _ in range(WARM))[0])


def bare(way: Callable[[Tensor], object], pictures: Pictures, preprocess: Preprocess, size: int) -> float:
    """Seconds of all pictures through a network."""

    def run() -> None:
        with torch.no_grad():
            for batch in batches(pictures, preprocess, size):
                way(batch)

    return seconds(run)


def batches(pictures: Pictures, preprocess: Preprocess, size: int) -> Iterator[Tensor]:
    """Batches decoded ahead, the last one padded as a scan's."""
    loaded = ahead(pictures.tensors(preprocess), AHEAD)
    while some := list(islice(loaded, size)):
        batch = torch.stack(some)
        yield torch.cat([batch, batch.new_zeros(size - len(some), *batch.shape[1:])])
