"""Keeps what the explorer's measures found, and writes their table into docs/serve.md.

    python -m bench.web --results bench/results-web.json      a measure, kept; likewise bench.live, bench.scroll
    python -m bench.explorer                                  the table, of all that was kept

`make bench-explorer` does all four.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import ROOT
from pixelward.words import number

RESULTS = ROOT / "bench" / "results-web.json"
PAGE = ROOT / "docs" / "serve.md"
BEGIN, END = "<!-- of bench/results-web.json -->\n", "<!-- end -->\n"
MEASURES = ("web", "live", "scroll")


@dataclass(frozen=True)
class Figure:
    """What was measured: its median and its 95th percentile, or one number. goal: what the last of these is to be
    below. usual: what the median is to be below besides."""

    what: str
    typical: float
    most: float | None = None
    goal: float | None = None
    unit: str = "ms"
    usual: float | None = None

    @property
    def met(self) -> bool:
        """Whether the goals are reached, if there are any."""
        last = self.typical if self.most is None else self.most
        return (self.goal is None or last < self.goal) and (self.usual is None or self.typical < self.usual)

    @property
    def goals(self) -> str:
        """They in words, the median's first."""
        usual = "" if self.usual is None else f"median {self.usual:g}, "
        return "" if self.goal is None else f"{usual}{self.goal:g}"

    def __str__(self) -> str:
        values = number(self.typical) if self.most is None else f"p50 {number(self.typical)}, p95 {number(self.most)}"
        goal = "" if self.goal is None else f" ({'below' if self.met else 'ABOVE'} {self.goals})"
        return f"{self.what}: {values} {self.unit}{goal}"


def options(parser: argparse.ArgumentParser) -> None:
    """What every measure takes."""
    parser.add_argument("--results", type=Path, help="keep what is found in this JSON file")


def told(measure: str, figures: Sequence[Figure], results: Path | None) -> int:
    """Say what was found, and on what; keep it where `results` says. 1 if a goal was missed, else 0."""
    from bench.machine import load, machine, now, revision  # at last, for it imports torch

    for figure in figures:
        print(figure)
    on, how = machine(), {"date": now(), "load": load(), "revision": revision()}
    print(f"on {_machine(on)}; load average {how['load']:g}")
    if results is not None:
        kept = json.loads(results.read_text("utf-8")) if results.exists() else {}
        kept[measure] = {"figures": [asdict(each) for each in figures], "machine": on, **how}
        results.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return int(not all(figure.met for figure in figures))


def table(kept: Mapping[str, Any]) -> str:
    """All figures as a table, and below it on what and when they were measured."""
    lines = ["| what | median | 95 of 100 below | goal |", "|---|---|---|---|"]
    for name in MEASURES:
        for plain in kept.get(name, {}).get("figures", ()):
            figure = Figure(**plain)
            most = "" if figure.most is None else f"{number(figure.most)} {figure.unit}"
            goal = "" if figure.goal is None else f"{figure.goals} {figure.unit}{'' if figure.met else ', missed'}"
            lines.append(f"| {figure.what} | {number(figure.typical)} {figure.unit} | {most} | {goal} |")
    told: dict[str, list[str]] = {}
    for name in MEASURES:
        if name in kept:
            one = kept[name]
            code = f", revision {one['revision']}" if one.get("revision") else ""
            told.setdefault(_machine(one["machine"]), []).append(f"`{name}` {one['date']}, load {one['load']:g}{code}")
    return "\n".join([*lines, "", *(f"{on}: {'; '.join(runs)}." for on, runs in told.items())]) + "\n"


def written(page: str, kept: Mapping[str, Any]) -> str:
    """The page with the table of what was kept in its place."""
    return re.sub(rf"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})", lambda _: table(kept), page, flags=re.DOTALL)


def _machine(on: Mapping[str, Any]) -> str:
    return f"{on['processor']}, {on['cores']} cores, {on['memory_gib']:g} GiB, {on['system']}, Python {on['python']}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8"), json.loads(RESULTS.read_text("utf-8"))), encoding="utf-8")
