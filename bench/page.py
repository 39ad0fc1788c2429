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

- **Gallery.** The strongest hits of every unit of every convolutional layer go down to the pixels, the way up
  included. Pixelward runs each picture through the network once, as far as something has to be recorded of it (the
  activations are known from the scan), and sends all hits that chose it down together, each in the window that it can
  reach of the picture, in the batches of `pixelward draw`'s projector; reading pictures, tiles and sheets are left out
  on both sides. Of the deep networks some hits a layer and batch of pictures stand for all, and all layers go at once,
  where `draw` takes a group of layers after the other, each of which runs its pictures again. Captum's
  `NeuronDeconvolution` is called as its users do (one unit, one picture a call) on random hits of every layer, and
  for ZFNet also in batches of several sizes, with channels first and last, of which the best counts. Response norms,
  which the deconvnet passes by, Captum differentiates, and on the way up it meets torch's own form of them, which takes
  five times as long as ours: of ZFNet's and GoogLeNet's ratio a part is that. Weights are random but for GoogLeNet's,
  so that hits lie in fewer pictures than those of a trained network would, and more of them share one way up.
- **Pass.** A scan, from the files to the finished atlas, beside the bare forward pass of the same network over the same
  pictures, decoded ahead by the same loader; and beside zennit-crp's search on the same network, layers and pictures,
  which also runs backwards, for relevance, and decodes between its batches. The bare pass is as users write it, its
  pictures with their channels first, in batches of 32 or of the scan's own size, whichever is faster: the goal is for
  this one. A scan lays its pictures with their channels last where the network gives the same, at which the same
  convolutions are faster, and has a quicker response norm: so it can take less time than that bare pass. Nearer to like
  for like is the bare pass with network and batches in `channels_last`, {alike}.
- **Growth.** The time and the peak memory of a process with one thing changed, as Linux tells it of that process alone.
  Tiles of a drawing wait for their sheets on the disk; what still grows are the sheets themselves (of k = 100 ten by
  ten tiles), the batches of hits, which are full only where there are enough, and the windows of a deeper layer.
- **Reading.** One unit's hits, from a folder that was not opened before.
- **Floor.** The multiply-adds of the convolutions that a gallery needs (the way up of every picture once, to its last
  pool, gate or norm; for every hit the convolutions of its dense cone, in windows as far as these lie on the maps, the
  first a slice of the weights), divided by the best rate reached in the same run, by torch's own convolutions, forward,
  transposed and by the phases of the stride, with channels first and last, in several batch sizes, or by the form that
  is used here: once for any shape of that network, once for each shape (the most expensive of each way; the others at
  the best of all), since small maps and few channels go at a fraction of the best rate. The share of the floor is the
  floor's time over ours: at 100 % nothing but these multiply-adds is left, no unpooling, rectifying or adding. The
  ratio at a floor is the one that nothing but these multiply-adds would reach, and so the most that any dense way
  could at such rates. Zeros after unpooling are counted, so a way that leaves them out may exceed 100 %.
- **Goals and floors.** A goal that is missed may stand as met where more than 80 % of the floor is reached. That floor
  is each shape's: it asks for the rate that torch's convolutions reach on this machine *for such shapes*. The other one
  takes the best rate of any shape for all, for windows of a few cells and few channels too.

Contestants take turns, every round in a fresh order. A ratio is the median of the rounds' ratios; its spread is the
smallest and largest of them.
"""

TRIED = """## What was tried

All of it gives the same hits and projections; the tests held that while it was changed.

In use, for the galleries:

- Windows of recorded switches, walked without autograd: no activations are kept, and a hit costs its own cone.
- Work sorted by picture: one way up serves all units of all layers that chose it, and ends at the last step of which
  something differs from picture to picture. Values are known from the scan.
- Signals, pictures and switches with their channels last. Weights are turned once for the ordinary convolution that is
  the transpose where the stride is 1, and kept.
- A step to few channels, as the first convolution's to the pixels: earlier as one convolution for all phases of the
  stride, put side by side; now as one product of all places with all weights, added up by these phases. A step from few
  places, as a unit's first, and one of single pixels: a product likewise.
- Unpooling in one pass, by flat places; switches read off autograd's record by a table of differences in the place of
  divisions.
- A response norm as a sum of slices of its channels, a few pictures at a time, in the place of torch's pool over three
  axes: a fifth of the time, where it took a third of a way up through ZFNet.
- Pictures run up so few at once that no map takes more than 32 MiB. Larger blocks of memory go back to the system when
  they are freed, and have to be zeroed by it when they are asked for again.
- Windows cut where they leave the picture. Along each axis a map is split in up to three runs of places, and full
  batches of hits of one region have windows of one, smaller size. 64 pictures' hits go together, so that batches fill.
- Masks only at values where signals can leave their maps. The way down of a layer (which steps, which windows, their
  batch) worked out once for all batches.
- Hits at once by the size of their largest signal, in powers of two, since kernels are set up anew for other lengths.

In use, for the pass: the same response norm; batches of 16; maxima without places for all units, places only for
those that enter the strongest; a thread that decodes ahead; pictures with their channels last; the network stopped
after the last layer.

Not in use:

- Leaving out the zeros after unpooling and rectifying, by torch's sparse product, whose rows have to be sorted out anew
  for every signal.
- The first step down as a slice of the weights. It is a product with all channels of the layer, all but one of them
  zero, at a single place; floors count the slice.
- Lower precision: the numbers would not be the same.

"""

HOW = """## How to run it

```sh
make bench
make bench-short
make bench BENCH='--only gallery-zfnet'
```

The first measures all rows and takes an hour or more; the second the same rows with small samples, in under three
minutes on two free cores, and says how long it took; the third some measures anew, and keeps the other rows with their
own date and load (`--only` takes beginnings of names; `--list` names them). The peers are installed into an environment
of their own, `.venv-bench`. Let nothing else run meanwhile. Results stand in `bench/results.json`: per row `name`,
`ratio`, `goal`, `floor_share`, `seconds`, and when, on what and how it was measured. No test asserts a time.

The short mode tells whether something broke, not by how much. It has one round, so no spread, and absolute times that
one hiccup doubles. Its galleries take as many hits a picture as the full ones, so that one way up serves as many; but
of the deep networks only a first, a middle and a last layer stand for all, and these are cheap, middling and dear out
of proportion. Its scans have a single batch, so that their start (reading the network, trying the layout, writing the
atlas) weighs on the ratio, which is smaller than over many pictures. Its floors time fewer shapes at one size of batch:
the best rate found is lower, and so the shares of the floor are higher.

## What is not measured

- A GPU. The code path was never run on one, and so nothing is known of its speed there, nor whether its projections and
  hits agree with a processor's. It takes its device from the network's parameters; batches of a scan are pinned and
  copied without blocking, and TF32 is off. The loops still wait for the device: at every batch of a scan, at the masks
  of windows, and at every piece of signals that comes back.
- Reading and decoding pictures for the galleries, and writing their sheets (the growth rows include both).
- The system's own cache of files is not emptied.
"""


TRIED_MEASURE = "tried"  # whose rows stand under what was tried
ALIKE = {True: "in rows of its own, of the same rounds", False: "which is not measured here yet"}
STANDS = 0.8  # of a floor, above which a goal stands as met

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
        table(["row", "seconds", "measured", "load before, after"], map(time_row, measured)),
        layer_tables(measured),
        WHAT.replace("{alike}", ALIKE[any(row["name"].endswith("-last") for row in measured)]),
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
        at_floor(row["ratio"], row["floor_share"]),
        at_floor(row["ratio"], row.get("shape_share")),
    ]


def verdict(row: Result) -> str:
    """Whether a goal was met, or stands as met by what is reached of each shape's floor."""
    told = {None: "-", True: "yes", False: "no"}[row["met"]]
    if row["met"] is False and (row.get("shape_share") or 0.0) > STANDS:
        told = f"stands, at {share(row['shape_share'])} of each shape's floor"
    if row["goal"] is not None and row["spread"] is not None and _straddles(row):
        told += ", within the spread"
    return told


def at_floor(ratio: float | None, reached: float | None) -> str:
    """The ratio that would be reached at a floor, of which a share is."""
    return "-" if ratio is None or reached is None else number(ratio / reached)


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
    return TRIED + (f"Timed by themselves, single steps:\n\n{table(head, lines)}" if timed else "")


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
