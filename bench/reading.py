"""Row 5: reading one unit from an atlas of many units, with objects that were never used before."""

from __future__ import annotations

import statistics
from pathlib import Path
from random import Random

import pixelward as pw
from bench.rows import Row, Settings
from bench.timing import seconds
from fake_atlas import Spec, fake_atlas

NAME = "reading"
UNITS = 1000  # of each layer
LIMIT = 1e-3


def measure(settings: Settings, folder: Path) -> list[Row]:
    layers = max(1, settings.units // UNITS)
    specs = [Spec(f"layer{number}:relu", UNITS, 16, 4, 7) for number in range(layers)]
    path = folder / "atlas"
    fake_atlas(path, specs, drawn=False)
    random = Random(settings.seed)
    units = [(random.choice(specs).address, random.randrange(UNITS)) for _ in range(settings.reads)]
    anew = [seconds(lambda layer=layer, unit=unit: pw.open(path)[layer][unit].hits) for layer, unit in units]
    opening = [seconds(lambda: pw.open(path)) for _ in units]
    atlas = pw.open(path)
    opened = [seconds(lambda layer=layer, unit=unit: atlas[layer][unit].hits) for layer, unit in units]
    title = f"Reading one unit of an atlas of {layers * UNITS} units"
    number = f"{settings.reads} random units of {layers} layers"
    cached = "the files may be in the system's own cache."
    return [
        Row(
            name=NAME,
            title=f"{title}, opened anew for it",
            against=f"{1e3 * LIMIT:g} ms",
            ratio=LIMIT / statistics.median(anew),
            goal=1.0,
            unit="times faster",
            seconds={"pixelward": statistics.median(anew), "of which opening": statistics.median(opening)},
            samples=f"{number}, every one from an atlas that was opened for it; {cached}",
            spread=[LIMIT / max(anew), LIMIT / min(anew)],
        ),
        Row(
            name=f"{NAME}-opened",
            title=f"{title}, which is open",
            against=f"{1e3 * LIMIT:g} ms",
            ratio=LIMIT / statistics.median(opened),
            goal=1.0,
            unit="times faster",
            seconds={"pixelward": statistics.median(opened)},
            samples=f"{number}, one after the other from one open atlas; {cached}",
            spread=[LIMIT / max(opened), LIMIT / min(opened)],
        ),
    ]
