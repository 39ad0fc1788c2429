"""Row 4: what one more layer, k = 100 instead of 9, and ten times the pictures cost a scan and a drawing.

Each part runs in a process of its own, which says how long it took and how much memory it had at most.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

from bench import ROOT
from bench.pictures import smooth_noise
from bench.rows import Row, Settings
from pixelward.unit_sheets import WRITERS

SIDE = 64
LAYERS = ("conv1:relu", "conv2:relu", "conv3:relu", "conv4:relu", "conv5:relu")
K, MANY = 9, 100
TEN = 10
FLAT = 1.05  # of memory
NEARLY_FREE = 1.25  # of time


class Part(NamedTuple):
    """One scan and one drawing. more: layers than the base has; times: the base's pictures so often."""

    more: int = 0
    k: int = K
    times: int = 1


PARTS = {"base": Part(), "layer": Part(more=1), "k": Part(k=MANY), "pictures": Part(times=TEN)}
# One more layer where hits fill the batches that they go down in, which are what bounds the memory of a drawing.
DEEP = {"deep": Part(more=2), "deeper": Part(more=3)}
BASES = {"layer": "base", "k": "base", "pictures": "base", "deeper": "deep"}


def measure(settings: Settings, folder: Path) -> list[Row]:
    base = smooth_noise(folder / "small", settings.small, SIDE)
    more = smooth_noise(folder / "large", TEN * settings.small, SIDE)
    rounds = 1 if settings.short else min(3, settings.rounds)
    parts = PARTS if settings.short else PARTS | DEEP
    random, found = Random(settings.seed), {name: [] for name in parts}
    for number in range(rounds):
        for name in random.sample(list(parts), len(parts)):
            part = parts[name]
            given = {
                "layers": LAYERS[: settings.small_layers + part.more],
                "k": part.k,
                "source": str(more if part.times == TEN else base),
                "atlas": str(folder / f"growth-{name}-{number}"),
            }
            drawn = name in ("base", "pictures") or not settings.short  # sheets take minutes
            found[name].append(_apart(given, drawn))
    sheets = None if settings.short else WRITERS * (_sheet(MANY) - _sheet(K))
    return [row for what in ("scan", "draw") for row in rows_of(what, found, settings, rounds, sheets)]


def _sheet(k: int) -> float:
    """MiB that a sheet of k tiles takes until it is written, in processes of their own: the median of three."""
    return statistics.median(_run("sheet", {"k": k})["mebibytes"] for _ in range(3))


def rows_of(
    what: str, found: dict[str, list[dict[str, Any]]], settings: Settings, rounds: int, sheets: float | None = None
) -> list[Row]:
    """sheets: MiB that larger sheets take, of as many as are written at once: what k = 100 cannot do without."""

    def median(name: str, key: str) -> float | None:
        every = [each[what][key] for each in found[name] if what in each]
        return statistics.median(every) if every else None

    parts = PARTS | DEEP
    words = {
        "layer": f"one more layer ({LAYERS[settings.small_layers]})",
        "k": f"k = {MANY}",
        "pictures": f"{TEN} times the pictures",
        "deeper": f"one more layer ({LAYERS[-1]}) than {len(LAYERS) - 1}",
    }
    rows = []
    for name, text in words.items():
        if name not in found:
            continue
        layers = ", ".join(LAYERS[: settings.small_layers + parts[BASES[name]].more])
        samples = (
            f"zfnet64, {settings.small} pictures of noise, {SIDE} pixels a side, layers {layers}, k = {K}, and the "
            f"same with one change; {rounds} round{'s' * (rounds > 1)}, a process each, without its start."
        )
        for key, unit in (("seconds", "times as long"), ("mebibytes", "times the memory")):
            ours, base = median(name, key), median(BASES[name], key)
            if ours is None or base is None:
                continue
            pairs = zip(found[name], found[BASES[name]], strict=True)
            each = [part[what][key] / start[what][key] for part, start in pairs if what in part and what in start]
            own = sheets if (what, name, key) == ("draw", "k", "mebibytes") else None
            reached = None if own is None else (base + own) / ours
            rows.append(
                Row(
                    name=f"growth-{what}-{name}-{'time' if key == 'seconds' else 'memory'}",
                    title=f"{what}: {text}",
                    against="itself without",
                    ratio=statistics.median(each),
                    goal=_goal(what, name, key),
                    unit=unit,
                    lower=True,
                    seconds={"changed": ours, "base": base} if key == "seconds" else {},
                    samples=samples
                    + (f" Peak {base:.0f} MiB, changed {ours:.0f} MiB." if key == "mebibytes" else "")
                    + ("" if own is None else f" Larger sheets, {WRITERS} at once: {own:.0f} MiB."),
                    floor_share=reached,
                    shape_share=reached,
                    spread=[min(each), max(each)],
                )
            )
    return rows


def _goal(what: str, name: str, key: str) -> float | None:
    """Memory within 5 %; time not more than in proportion to the pictures, or to the hits that are drawn; of a scan k
    is to be nearly free. One more layer takes what its maps take, so that its time has no goal."""
    if key == "mebibytes":
        return FLAT
    return {"pictures": float(TEN), "k": NEARLY_FREE if what == "scan" else MANY / K}.get(name)


def _apart(given: dict[str, Any], drawn: bool) -> dict[str, Any]:
    return {what: _run(what, given) for what in (("scan", "draw") if drawn else ("scan",))}


def _run(what: str, given: dict[str, Any]) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "bench.growth", what, json.dumps(given)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def _here(what: str, given: dict[str, Any]) -> dict[str, float]:
    if what == "sheet":
        return {"mebibytes": _one_sheet(given["k"])}
    from pixelward.draw import draw
    from pixelward.nets.zfnet import zfnet64
    from pixelward.scan import scan

    net = zfnet64()
    start = time.perf_counter()
    if what == "scan":
        scan(net, given["source"], given["atlas"], layers=given["layers"], k=given["k"], note=lambda line: None)
    else:
        draw(given["atlas"], net, note=lambda line: None)
    spent = time.perf_counter() - start
    return {"seconds": spent, "mebibytes": peak()}


def _one_sheet(k: int) -> float:
    """MiB by which the peak grows while a sheet of k tiles of noise is made and encoded."""
    from pixelward.pictures import CELL, projection_webp, sheet

    projection_webp(sheet([np.zeros((CELL, CELL, 3), np.uint8)], CELL))  # what libraries set up once
    side = CELL // 4  # as the windows of a second layer: each pixel is shown as a square
    tiles = list(np.random.default_rng(0).integers(96, 160, (k, side, side, 3), dtype=np.uint8))
    before = peak()
    projection_webp(sheet(tiles, CELL))
    return peak() - before


def peak() -> float:
    """The most memory that this program took so far, in MiB, as Linux tells it.

    `ru_maxrss` would not do: it is handed on from the process that started this one.
    """
    return int(Path("/proc/self/status").read_text("ascii").split("VmHWM:")[1].split()[0]) / 2**10


if __name__ == "__main__":
    print(json.dumps(_here(sys.argv[1], json.loads(sys.argv[2]))))
