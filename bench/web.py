"""How long pages take at 50 requests a second: `make bench-web`, or bench/web.py [ATLAS] [--seconds 8] [--rate 50].

Without ATLAS one is made up: a layer of 512 units, all drawn. The server runs as the command does, in a process of its
own. Requests leave at their appointed times, whether or not earlier ones were answered, and a request's time runs from
its appointment to the last byte, so that waiting counts. (A tool that repeats one address would measure a page that is
kept; here each unit is asked for once before any is asked for again.)
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

import httpx
import numpy as np
from PIL import Image

from pixelward.atlas import Atlas, Drawings, LayerRecord
from pixelward.folder import sheet_file, write_file
from pixelward.pictures import GAP, photo_webp
from pixelward.web import links

ROOT = Path(__file__).resolve().parents[1]
UNITS = 512
LIMITS = {"unit pages": 50.0, "layer page": 150.0}  # milliseconds, of the 95th percentile


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=8, help="for each kind of page")
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pixelward-bench-") as work:
        folder = given.atlas or made_up(Path(work) / "atlas")
        atlas = Atlas.open(folder)
        layer = max(atlas.layers, key=lambda record: record.channels)
        print(f"{layer.address} with {layer.channels} units; {given.rate:g} requests a second for {given.seconds:g} s")
        with server(folder) as (address, started):
            print(f"start-up to the first page: {started * 1000:.0f} ms")
            with httpx.Client(base_url=address) as client:
                return max(measured(client, layer, given.rate, given.seconds))


def measured(client: httpx.Client, layer: LayerRecord, rate: float, seconds: float) -> Iterator[int]:
    """1 for each kind of page that takes longer than it may, else 0."""
    pages = {
        "unit pages": [links.unit(layer.slug, channel) for channel in range(layer.channels)],
        "layer page": [links.layer(layer.slug)],
    }
    for kind, addresses in pages.items():
        began = time.perf_counter()
        size = len(client.get(addresses[-2 % len(addresses)]).raise_for_status().content)
        first = 1000 * (time.perf_counter() - began)
        taken = load(client, addresses, rate, seconds)
        half, most, worst = (1000 * float(np.quantile(taken, share)) for share in (0.5, 0.95, 1))
        met = most < LIMITS[kind]
        print(
            f"{kind}: {len(taken)} requests of {size / 1000:,.0f} kB, p50 {half:.1f} ms, p95 {most:.1f} ms "
            f"({'below' if met else 'ABOVE'} {LIMITS[kind]:g}), longest {worst:.1f} ms; "
            f"the first, not yet kept, {first:.1f} ms"
        )
        yield int(not met)


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
    sys.path.append(str(ROOT / "tests"))
    from fake_atlas import Spec, fake_atlas

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
