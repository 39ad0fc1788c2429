"""Run the benchmark and write bench/results.json and docs/performance.md.

    python -m bench.run                              everything, which takes an hour or more
    python -m bench.run --short                      all rows with small samples, in under three minutes
    python -m bench.run --only gallery-zfnet pass    these measures; the other rows stay as they were measured
    python -m bench.run --list                       the measures

Rows that were not measured anew keep their own date, load and revision of the code. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import ROOT, STARTED, crp_peer, gallery, growth, passes, reading, tried
from bench.machine import load, machine, now, revision
from bench.page import PAGE, RESULTS, page
from bench.rows import FULL, SHORT, Row, Settings

BUSY = 2.5  # processes: more than the benchmark's own threads on a small machine

TRIED = ("pictures", "deep_pictures", "rounds", "passed", "small")

Measure = Callable[[Settings, Path], Sequence[Row]]
MEASURES: dict[str, Measure] = {
    "gallery-zfnet": lambda settings, folder: gallery.measure("zfnet", settings, folder),
    "gallery-resnet50": lambda settings, folder: gallery.measure("resnet50", settings, folder),
    "gallery-googlenet": lambda settings, folder: gallery.measure("googlenet", settings, folder),
    "gallery-vgg16": lambda settings, folder: gallery.measure("vgg16", settings, folder),
    "pass-zfnet": lambda settings, folder: passes.measure("zfnet", settings, folder),
    "pass-resnet50": lambda settings, folder: passes.measure("resnet50", settings, folder),
    "crp": crp_peer.measure,
    "growth": growth.measure,
    "reading": reading.measure,
    "tried": tried.measure,
}


# Small samples take no row's place that was measured in full.
SHORT_RESULTS, SHORT_PAGE = ROOT / "build" / "bench-short.json", ROOT / "build" / "bench-short.md"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="small samples")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measures whose names begin so")
    parser.add_argument("--list", action="store_true", help="name the measures and stop")
    parser.add_argument("--results", type=Path, help="of the short mode build/bench-short.json, if not said otherwise")
    parser.add_argument("--page", type=Path, help="of the short mode build/bench-short.md, if not said otherwise")
    for name in TRIED:
        parser.add_argument(
            f"--{name.replace('_', '-')}", dest=name, type=int, help=f"other than the mode's {name}, for a try"
        )
    given = parser.parse_args(arguments)
    chosen = [name for name in MEASURES if given.only is None or name.startswith(tuple(given.only))]
    if given.list or not chosen:
        print("\n".join(MEASURES))
        return 0 if given.list else 2
    changed = {n: getattr(given, n) for n in TRIED if getattr(given, n) is not None}
    settings = replace(SHORT if given.short else FULL, **changed)
    results, words = given.results or SHORT_RESULTS, given.page or SHORT_PAGE
    if not given.short:
        results, words = given.results or RESULTS, given.page or PAGE
    for file in (results, words):
        file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name in chosen:
            measured = run(name, settings, Path(folder), changed)
            store(results, name, measured)
    words.write_text(page(json.loads(results.read_text("utf-8"))), encoding="utf-8")
    minutes, seconds = divmod(round(time.monotonic() - STARTED), 60)
    print(f"{len(chosen)} of {len(MEASURES)} measures took {minutes} min {seconds} s, imports included", flush=True)
    return 0


def run(name: str, settings: Settings, folder: Path, changed: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
    """One measure's rows as they stand in the results, with when, on what and of which code they were measured.

    changed: what of the settings is not the mode's.
    """
    before, started, code = load(), time.monotonic(), revision()
    busy = f", while the load is {before:g}: other work makes this worthless" if before > BUSY else ""
    print(f"{name} ...{busy}", flush=True)
    rows = MEASURES[name](settings, folder)
    how = {
        "measure": name,
        "mode": "short" if settings.short else "full",
        "changed": dict(changed or {}),
        "date": now(),
        "load": [before, load()],
        "took": round(time.monotonic() - started, 1),
        "machine": machine(),
        **({} if code is None else {"revision": code}),
    }
    gc.collect()
    for row in rows:
        print("   ", told(row), flush=True)
    print(f"    {how['took']} s", flush=True)
    return [{**row.to_json(), "measured": how} for row in rows]


def told(row: Row) -> str:
    """One line for a person who waits."""
    if row.ratio is None:
        return f"{row.name}: {row.samples}"
    spread = "" if row.spread is None else f" ({row.spread[0]:.2f} .. {row.spread[1]:.2f})"
    goal = "" if row.goal is None else f", goal {row.goal:g}"
    floor = "" if row.floor_share is None else f", {row.floor_share:.0%} of the floor"
    return f"{row.name}: {row.ratio:.2f}{spread}{goal}{floor}"


def store(results: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Put a measure's rows in the place of those that it gave before, in the order of the measures."""
    before = json.loads(results.read_text("utf-8"))["rows"] if results.exists() else []
    kept = [row for row in before if row["measured"]["measure"] != name and row["measured"]["measure"] in MEASURES]
    order = list(MEASURES)
    every = sorted([*kept, *rows], key=lambda row: order.index(row["measured"]["measure"]))
    results.write_text(json.dumps({"rows": every}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
