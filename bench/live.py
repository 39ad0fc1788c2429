"""How long the live page takes: `make bench-live`, or -m bench.live [ATLAS MODEL] [--picture FILE] [--times 30].

Without ATLAS it is the demo's, with zfnet64. The server runs as the command does, in a process of its own, and is asked
what a browser asks, one after the other: the picture is sent; the maps of a layer, their sheet; a unit, its pictures.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from bench import ROOT, explorer
from bench.explorer import Figure
from bench.web import server
from pixelward.web import links

LIMIT = 1000.0  # milliseconds, of the first answer: classes, maps and a projection


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", nargs="?", type=Path, default=ROOT / "demo" / "atlas")
    parser.add_argument("model", nargs="?", default="zfnet64")
    parser.add_argument("--picture", type=Path, help="a photograph of 12 million pixels is made up without one")
    parser.add_argument("--times", type=int, default=30)
    explorer.options(parser)
    given = parser.parse_args()
    data = given.picture.read_bytes() if given.picture else photograph()
    with (
        server(given.atlas, given.model) as (address, started),
        httpx.Client(base_url=address, headers={"origin": address.rstrip("/")}, timeout=60) as client,
    ):
        steps = 1000 * np.array([visit(client, data) for _ in range(given.times)])
    figures = [
        Figure(f"start with {given.model}, until the first page is there", started * 1000),
        Figure(f"first answer to a picture of {len(data) / 1e6:.1f} MB", float(steps[0].sum()), goal=LIMIT),
    ]
    for name, column in zip(("picture and classes", "maps of a layer", "projection of a unit"), steps.T, strict=True):
        half, most = np.quantile(column, (0.5, 0.95))
        figures.append(Figure(f"{name}, {given.model}", float(half), float(most)))
    return explorer.told("live", figures, given.results)


def visit(client: httpx.Client, data: bytes) -> tuple[float, float, float]:
    """Seconds for the picture, for the maps of its middle layer, and for the projection of a unit of that."""
    times = [time.perf_counter()]
    panel = _json(client.post(links.try_upload(), content=data, headers={"accept": "application/json"}))
    client.get(panel["image"]).raise_for_status()
    times.append(time.perf_counter())
    layer = panel["layers"][len(panel["layers"]) // 2]["slug"]
    maps = _json(client.get(f"{panel['maps']}?layer={layer}", headers={"accept": "application/json"}))
    client.get(maps["sheet"]).raise_for_status()
    times.append(time.perf_counter())
    unit = _json(client.get(maps["maps"][0]["path"], headers={"accept": "application/json"}))
    for image in ("projection", "patch", "drawn_map"):
        client.get(unit[image]).raise_for_status()
    times.append(time.perf_counter())
    first, second, third = np.diff(times).tolist()
    return first, second, third


def _json(answer: httpx.Response) -> Any:
    return answer.raise_for_status().json()


def photograph() -> bytes:
    """A JPEG as a camera makes them: 4000 x 3000 pixels."""
    small = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(small).resize((4000, 3000), Image.Resampling.BICUBIC).save(target, "JPEG", quality=92)
    return target.getvalue()


if __name__ == "__main__":
    sys.exit(main())
