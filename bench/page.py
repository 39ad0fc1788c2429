"""Makes docs/performance.md of the results: `python -m bench.page`. Every number on the page comes from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench import ROOT
from bench.prose import ALIKE, FACTS, HOW, INTRODUCTION, REVISIONS, STANDS, TRIED, WHAT

Result = Mapping[str, Any]

RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs" / "performance.md"

TRIED_MEASURE = "tried"  # whose rows stand under what was tried

RATIOS = [
    *("what", "against", "ratio", "spread", "goal", "met"),
    *("share of the floor", "of each shape's floor", "ratio at the floor", "ratio at each shape's floor"),
]


def page(results: Mapping[str, Any]) -> str:
    """The whole page."""
    rows: list[Result] = list(results["rows"])
    measured = [row for row in rows if row["ratio"] is not None]
    compared = [row for row in measured if row["measured"]["measure"] != TRIED_MEASURE]
    parts = [
        INTRODUCTION,
        machines(rows),
        "## Ratios\n",
        table(RATIOS, map(ratio_row, compared)),
        absent(rows),
        "## Times\n",
        table(["row", "seconds", "measured", "load before, after", "revision"], map(time_row, measured)),
        REVISIONS,
        layer_tables(measured),
        WHAT.format(alike=ALIKE[any(row["name"].endswith("-last") for row in measured)], **FACTS),
        tried(measured),
        samples(measured),
        HOW,
    ]
    return "\n".join(part for part in parts if part)


def machines(rows: Iterable[Result]) -> str:
    """On what the rows were measured; several where they were measured on several."""
    told: dict[str, list[Result]] = {}
    for row in rows:
        told.setdefault(json.dumps(row["measured"]["machine"], sort_keys=True), []).append(row)
    parts = []
    for text, own in told.items():
        machine = json.loads(text)
        versions = ", ".join(f"{name} {number}" for name, number in sorted(machine["versions"].items()) if number)
        dates = sorted(row["measured"]["date"] for row in own)
        loads = [load for row in own for load in row["measured"]["load"]]
        short = sum(row["measured"]["mode"] == "short" for row in own)
        modes = "in the full mode" if not short else "in the short mode" if short == len(own) else "in both modes"
        parts.append(
            f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, "
            f"{machine['memory_gib']:g} GiB, {machine['convolutions']}; {machine['system']}, Python "
            f"{machine['python']}; {versions}.\n{len(own)} rows, {modes}, measured {dates[0]} to {dates[-1]}; load "
            f"average {min(loads):g} to {max(loads):g}.\n"
        )
    return "\n".join(parts)


def ratio_row(row: Result) -> list[object]:
    short = " (short)" if row["measured"]["mode"] == "short" else ""
    alone = row["spread"] is None or row["spread"][0] == row["spread"][1]  # one round has none
    spread = "-" if alone else f"{number(row['spread'][0])} to {number(row['spread'][1])}"
    goal = "-" if row["goal"] is None else f"{'at most ' if row['lower'] else ''}{number(row['goal'])}"
    return [
        row["title"] + short,
        row["against"],
        f"**{number(row['ratio'])}** {row['unit']}",
        spread,
        goal,
        verdict(row),
        share(row["floor_share"]),
        share(row.get("shape_share")),
        at_floor(row["ratio"], row["floor_share"], lower=row["lower"]),
        at_floor(row["ratio"], row.get("shape_share"), lower=row["lower"]),
    ]


def verdict(row: Result) -> str:
    """Whether a goal was met, or stands as met by what is reached of its floor, of a time of each shape's."""
    told = {None: "-", True: "yes", False: "no"}[row["met"]]
    if row["met"] is False and (row.get("shape_share") or 0.0) > STANDS:
        whose = "its" if row["lower"] else "each shape's"
        told = f"stands, at {share(row['shape_share'])} of {whose} floor"
    if row["goal"] is not None and row["spread"] is not None and _straddles(row):
        told += ", within the spread"
    return told


def at_floor(ratio: float | None, reached: float | None, *, lower: bool = False) -> str:
    """The ratio that would be reached at a floor, of which a share is."""
    if ratio is None or reached is None:
        return "-"
    return number(ratio * reached if lower else ratio / reached)


def _straddles(row: Result) -> bool:
    """Whether some rounds reached the goal and others did not."""
    low, high = row["spread"]
    return bool(low < row["goal"] < high)


def time_row(row: Result) -> list[object]:
    how = row["measured"]
    return [
        f"`{row['name']}`",
        ", ".join(f"{who} {seconds(spent)}" for who, spent in row["seconds"].items()) or "-",
        ", ".join([how["date"], how["mode"], *(f"{name} {n}" for name, n in how.get("changed", {}).items())]),
        ", ".join(f"{load:g}" for load in how["load"]),
        how.get("revision") or "-",
    ]


def layer_tables(rows: Iterable[Result]) -> str:
    parts = []
    for row in rows:
        if row["layers"]:
            head = [
                "layer",
                "hits",
                "ratio",
                "ms a hit",
                "of it down",
                "Captum's ms",
                "million multiply-adds down",
                "share of the floor",
                "of each shape's",
                "down only",
                "ratio at each shape's floor",
            ]
            parts.append(f"### {row['title']}, by layer\n\nThe way up is shared equally by all hits.\n")
            parts.append(table(head, map(layer_row, row["layers"])))
    return "\n".join(["## Layers\n", *parts]) if parts else ""


def layer_row(layer: Result) -> list[object]:
    return [
        layer["layer"],
        layer["hits"],
        number(layer["ratio"]),
        number(layer["ms"]),
        number(layer["down_ms"]),
        number(layer["peer_ms"]),
        number(layer["million_adds"]),
        share(layer["floor_share"]),
        share(layer.get("shape_share")),
        share(layer["down_floor_share"]),
        at_floor(layer["ratio"], layer.get("shape_share")),
    ]


def tried(rows: Iterable[Result]) -> str:
    """What was tried, with the alternatives that were timed in the same way."""
    timed = [row for row in rows if row["measured"]["measure"] == TRIED_MEASURE]
    head = ["what is in use", "in the place of", "ratio"]
    lines = ([row["title"], row["against"], f"{number(row['ratio'])} {row['unit']}"] for row in timed)
    return TRIED.format(**FACTS) + (f"Timed by themselves, single steps:\n\n{table(head, lines)}" if timed else "")


def samples(rows: Iterable[Result]) -> str:
    lines = [f"- `{row['name']}`: {' '.join([row['samples'], *row['notes']])}" for row in rows]
    return "## Samples\n\n" + "\n".join(lines) + "\n" if lines else ""


def absent(rows: Iterable[Result]) -> str:
    lines = [f"- {row['title']}: {row['samples']}" for row in rows if row["ratio"] is None]
    return "\n".join(lines) + "\n" if lines else ""


def number(value: float | None) -> str:
    if value is None:
        return "-"
    if value == 0:
        return "0"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def seconds(value: float) -> str:
    return f"{1e3 * value:.2g} ms" if value < 0.1 else f"{value:.3g} s" if value < 1000 else f"{value:.0f} s"


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}" if value >= 0.005 else f"{value:.1%}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(RESULTS.read_text("utf-8"))), encoding="utf-8")
