"""Makes docs/performance.md of the results. Every number on the page comes from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]

INTRODUCTION = """# Performance

How fast Pixelward is beside its peers, and how far from what the processor can do. `make bench` measures this and
writes this page; nothing here is written by hand. Ratios come first: absolute times are one machine's, and other work
on it stretches both sides.
"""

WHAT = """## What is measured

- **Gallery.** The strongest hits of every unit of every convolutional layer go down to the pixels, the way up included.
  Pixelward runs each picture through the network once, as far as something has to be recorded of it (the activations
  are known from the scan), and sends all hits that chose it down together, each in the window that it can reach, in
  the batches that `pixelward draw` uses; reading pictures, tiles and sheets are left out on both sides. Captum's
  `NeuronDeconvolution` is called as its users do (one unit, one picture a call) on random hits of every layer, and for
  ZFNet also in batches of several sizes, of which the best counts.
- **Pass.** A scan, from the files to the finished atlas, beside the bare forward pass of the same network over the same
  pictures, decoded ahead by the same loader; and beside zennit-crp's search on the same network, layers and pictures,
  which also runs backwards, for relevance, and decodes between its batches. The bare pass is as users write it, its
  pictures with their channels first. A scan lays them with their channels last, at which the same convolutions are
  faster: so it can take less time than the bare pass.
- **Growth.** The time and the peak memory of a process with one thing changed.
- **Reading.** One unit's hits, from a folder that was not opened before.
- **Floor.** The multiply-adds of the convolutions that a gallery needs (the way up of every picture once, to its last
  pool, gate or norm; for every hit the convolutions of its dense cone, in windows no larger than the maps, the first a
  slice of the weights), divided by the best rate that torch's own convolutions, forward and transposed, with channels
  first and last, in several batch sizes, reached in the same run: once for any shape of that network, once for each
  shape (the most expensive of each way; the others at the best of all), since small maps and few channels go at a
  fraction of the best rate. Matrix products, which some steps use instead, may beat both. The share of the floor is the
  floor's time over ours: at 100 % nothing but these multiply-adds is left, no unpooling, rectifying or adding. The
  ratio at the floor is the one that nothing but these multiply-adds would reach, and so the most that any dense way
  could. Zeros after unpooling are counted, so a way that leaves them out may exceed 100 %.

Contestants take turns, every round in a fresh order. A ratio is the median of the rounds' ratios; its spread is the
smallest and largest of them.
"""

HOW = """## How to run it

```sh
make bench
make bench-short
make bench BENCH='--only gallery-zfnet'
```

The first measures all rows and takes an hour or more; the second the same rows with small samples, in a few minutes;
the third some measures anew, and keeps the other rows with their own date and load (`--only` takes beginnings of
names; `--list` names them). The peers are installed into an environment of their own, `.venv-bench`. Let nothing else
run meanwhile. Results stand in `bench/results.json`: per row `name`, `ratio`, `goal`, `floor_share`, `seconds`, and
when, on what and how it was measured. No test asserts a time.

## What is not measured

- A GPU: all numbers here are of processors' cores. The code runs on one, its speed there is not known from this page.
- Reading and decoding pictures for the galleries, and writing their sheets (the growth rows include both).
- The system's own cache of files is not emptied.
"""


RATIOS = [
    *("what", "against", "ratio", "spread", "goal", "met"),
    *("share of the floor", "of each shape's floor", "ratio at the floor"),
]


def page(results: Mapping[str, Any]) -> str:
    """The whole page."""
    rows: list[Result] = list(results["rows"])
    measured = [row for row in rows if row["ratio"] is not None]
    parts = [
        INTRODUCTION,
        machines(rows),
        "## Ratios\n",
        table(RATIOS, map(ratio_row, measured)),
        absent(rows),
        "## Times\n",
        table(["row", "seconds", "measured", "load before, after"], map(time_row, measured)),
        layer_tables(measured),
        WHAT,
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
    spread = "-" if row["spread"] is None else f"{number(row['spread'][0])} to {number(row['spread'][1])}"
    goal = "-" if row["goal"] is None else f"{'at most ' if row['lower'] else ''}{number(row['goal'])}"
    met = {None: "-", True: "yes", False: "no"}[row["met"]]
    if row["goal"] is not None and row["spread"] is not None and _straddles(row):
        met += ", within the spread"
    return [
        row["title"] + short,
        row["against"],
        f"**{number(row['ratio'])}** {row['unit']}",
        spread,
        goal,
        met,
        share(row["floor_share"]),
        share(row.get("shape_share")),
        "-" if row["floor_share"] is None else number(row["ratio"] / row["floor_share"]),
    ]


def _straddles(row: Result) -> bool:
    """Whether some rounds reached the goal and others did not."""
    low, high = row["spread"]
    return bool(low < row["goal"] < high)


def time_row(row: Result) -> list[object]:
    how = row["measured"]
    return [
        f"`{row['name']}`",
        ", ".join(f"{who} {seconds(spent)}" for who, spent in row["seconds"].items()) or "-",
        f"{how['date']}, {how['mode']}",
        ", ".join(f"{load:g}" for load in how["load"]),
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
    ]


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
