"""How long pages take at 50 requests a second: `make bench-web`, or -m bench.web [ATLAS] [--seconds 8] [--rate 50].

Without ATLAS one is made up, a layer of 512 units, all drawn, whose sheets are one file; then two more are scanned and
drawn (some two minutes), which are served alone and side by side. The server runs as the command does, in a process of
its own. Requests leave at their appointed times, whether or not earlier ones were answered, and a request's time runs
from its appointment to the last byte, so that waiting counts. (A tool that repeats one address would measure a page
that is kept; here each unit is asked for once before any is asked for again.)
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
from PIL import Image

from bench import explorer
from bench.explorer import Figure
from fake_atlas import Spec, fake_atlas
from pixelward.atlas import Atlas, Drawings, LayerRecord
from pixelward.folder import sheet_file, write_file
from pixelward.pictures import GAP, photo_webp
from pixelward.web import links

UNITS = 512
START = 2000.0  # milliseconds from the command to the first page
UNIT, LAYER = 50.0, 150.0  # milliseconds, of the 95th percentile


class Kind(NamedTuple):
    """Pages that are asked for in turn. limit: milliseconds, of the 95th percentile; None where no goal is set."""

    name: str
    addresses: list[str]
    limit: float | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=8, help="for each kind of page")
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    explorer.options(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pixelward-bench-") as work:
        folder = given.atlas or made_up(Path(work) / "atlas")
        layer = largest(folder)
        print(f"{layer.address} with {layer.channels} units; {given.rate:g} requests a second for {given.seconds:g} s")
        with server(folder) as (address, started):
            figures = [Figure("start of `serve`, until the first page is there", started * 1000, goal=START)]
            figures += measured(address, plain(layer), given.rate, given.seconds)
        if given.atlas is None:
            figures += of_drawn(Path(work) / "drawn", given.rate, given.seconds)
    return explorer.told("web", figures, given.results)


def of_drawn(work: Path, rate: float, seconds: float) -> Iterator[Figure]:
    """Pages of atlases that were drawn, served alone and side by side."""
    from bench.drawn import drawn  # at last, for it imports torch

    one, other = (atlas.path for atlas in drawn(work))
    layer = largest(one)
    with server(one) as (address, _):
        yield from measured(address, plain(layer, ", all drawn and told at length"), rate, seconds)
    with server(one, "--beside", str(other)) as (address, _):
        kinds = [*plain(layer, ", the same beside another atlas")]
        kinds.append(Kind(f"comparison of a layer of {layer.channels} units", [links.compare_layer(layer.slug)], None))
        yield from measured(address, kinds, rate, seconds)


def largest(folder: Path) -> LayerRecord:
    """The layer of an atlas with the most units."""
    return max(Atlas.open(folder).layers, key=lambda record: record.channels)


def plain(layer: LayerRecord, how: str = "") -> list[Kind]:
    """The pages of a layer's units, and its own."""
    units = [links.unit(layer.slug, channel) for channel in range(layer.channels)]
    return [
        Kind(f"unit pages of {layer.channels} units{how}", units, UNIT),
        Kind(f"layer page of {layer.channels} units{how}", [links.layer(layer.slug)], LAYER),
    ]


def measured(address: str, kinds: Sequence[Kind], rate: float, seconds: float) -> Iterator[Figure]:
    """How long pages of each kind take: the first, which is not kept yet, and at so many requests a second."""
    with httpx.Client(base_url=address, timeout=60) as client:
        for kind in kinds:
            began = time.perf_counter()
            size = len(client.get(kind.addresses[-2 % len(kind.addresses)]).raise_for_status().content)
            first = 1000 * (time.perf_counter() - began)
            half, most = np.quantile(load(client, kind.addresses, rate, seconds), (0.5, 0.95)) * 1000
            name = f"{kind.name}, {size / 1000:,.0f} kB"
            yield Figure(f"{name}, {rate:g} a second", float(half), float(most), kind.limit)
            yield Figure(f"{name}, the first, which is not kept yet", first)


def load(client: httpx.Client, addresses: Sequence[str], rate: float, seconds: float) -> list[float]:
    """Seconds from each request's appointment to its last byte."""
    start = time.perf_counter() + 0.1

    def ask(number: int, address: str) -> float:
        appointed = start + number / rate
        time.sleep(max(appointed - time.perf_counter(), 0))
        client.get(address).raise_for_status().read()
        return time.perf_counter() - appointed

    numbers = range(int(rate * seconds))
    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(ask, numbers, itertools.islice(itertools.cycle(addresses), len(numbers))))


@contextmanager
def server(folder: Path, *words: str) -> Iterator[tuple[str, float]]:
    """`pixelward serve` as a process: its address, and the seconds until it gave its first page. words: more of it."""
    began = time.perf_counter()
    command = [
        sys.executable,
        "-c",
        "from pixelward.cli import app; app()",
        "serve",
        str(folder),
        *words,
        "--port",
        "0",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        httpx.get(address).raise_for_status()
        yield address, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def made_up(path: Path, units: int = UNITS) -> Path:
    """An atlas with one layer of so many units, whose drawings are one picture many times."""
    spec = Spec("conv5:relu", units, 13, 16, 163, dead=8)
    atlas = fake_atlas(path, [spec], drawn=False)
    side = 3 * 112 + 2 * GAP
    noise = np.random.default_rng(0).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    picture = photo_webp(Image.fromarray(noise).resize((side, side)))
    (record,) = atlas.layers
    first = path / sheet_file(record.slug, 0, "projections")
    write_file(first, picture)
    for channel, kind in itertools.product(range(units), ("projections", "patches")):
        file = path / sheet_file(record.slug, channel, kind)
        if file != first:
            os.link(first, file)
    atlas.write_drawings(Drawings("deconvnet", "sum", "value", (record.address,)))
    return path


if __name__ == "__main__":
    sys.exit(main())
