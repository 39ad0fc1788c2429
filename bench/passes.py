"""Row 2: the pass over the pictures beside the bare forward pass of the same network, pictures and loader.

The bare pass decodes in the same thread ahead of the network, in batches of the same size, and keeps nothing. It is run
twice: through the whole network, and stopped, as the scan is, after the last layer that is scanned.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import torch
from torch import Tensor, nn

from bench import networks
from bench.hits import default_layers
from bench.pictures import Pictures
from bench.rows import Row, Settings, missing
from bench.timing import interleaved, ratios
from pixelward.core.layers import Layer, observe
from pixelward.data.images import Preprocess
from pixelward.scan import ahead, scan

BATCH = 32
AHEAD = 2 * BATCH  # pictures that may wait, as in a scan
GOAL = 0.95


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
    numbers = count()

    def scanned(round_: int) -> float:
        atlas = folder / f"pass-{name}-{next(numbers)}"
        start = time.perf_counter()
        scan(net, copied, atlas, batch=BATCH, note=lambda line: None)
        spent = time.perf_counter() - start
        shutil.rmtree(atlas)
        return spent

    first = torch.stack(list(islice(pictures.tensors(preprocess), BATCH)))
    with torch.no_grad():
        net(first)  # warm up
    given = interleaved(
        {
            "pixelward": scanned,
            "bare": lambda round_: bare(net, pictures, preprocess, None),
            "stopped": lambda round_: bare(net, pictures, preprocess, last),
        },
        settings.rounds,
        settings.seed,
    )
    samples = f"{len(pictures)} pictures ({pictures.told}), batches of {BATCH}, {settings.rounds} rounds."
    rows = []
    for against, suffix, words, goal in (
        ("bare", "", "the bare forward pass, same loader", GOAL),
        ("stopped", "-stopped", "the same, stopped after the last layer scanned", None),
    ):
        ratio, spread = ratios(given[against], given["pixelward"])
        rows.append(
            Row(
                name=f"pass-{name}{suffix}",
                title=title,
                against=words,
                ratio=ratio,
                goal=goal,
                unit="of its throughput",
                seconds={
                    "pixelward": statistics.median(given["pixelward"]),
                    against: statistics.median(given[against]),
                },
                samples=samples,
                spread=spread,
            )
        )
    return rows


def bare(net: nn.Module, pictures: Pictures, preprocess: Preprocess, last: Layer | None) -> float:
    """Seconds of all pictures through the network, up to `last`."""
    start = time.perf_counter()
    for batch in batches(pictures, preprocess):
        if last is None:
            with torch.no_grad():
                net(batch)
        else:
            observe(net, batch, [last], lambda number, maps: None)
    return time.perf_counter() - start


def batches(pictures: Pictures, preprocess: Preprocess) -> Iterator[Tensor]:
    """Batches decoded ahead, the last one padded as a scan's."""
    loaded = ahead(pictures.tensors(preprocess), AHEAD)
    while some := list(islice(loaded, BATCH)):
        batch = torch.stack(some)
        yield torch.cat([batch, batch.new_zeros(BATCH - len(some), *batch.shape[1:])])
