"""Make docs/zoo.md of the lines that `tools/run_zoo.py` wrote."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from run_zoo import LINES, ROOT, digest, read  # first: it finds tests/zoo

from pixelward.core import rules
from zoo.judge import BATCHED, COMPARED, EXACT
from zoo.networks import entries

Record = dict[str, Any]
PAGE = ROOT / "docs" / "zoo.md"
PEERS = {"captum": "Captum", "zennit": "zennit"}
CELLS = {"right": "right", "wrong": "**silently wrong**", "error": "error", "answers": "answers", "not asked": "-"}
PAPER = {rules.CONVOLUTION, rules.RECTIFIER, rules.MAX_POOL, rules.RESPONSE_NORM}
# Linear steps, whose transpose nobody disputes, are not listed as extensions.
PLAIN = {rules.IDENTITY, rules.LINEAR, rules.ADDITION, rules.CONCATENATION, rules.PADDING, rules.SCALE}
SIMPLE = PAPER | PLAIN | {rules.BATCH_NORM, rules.AVERAGE_POOL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=Path, default=LINES)
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    given.page.write_text(page(read(given.lines)), encoding="utf-8")


def page(lines: Iterable[Record]) -> str:
    """The whole page, in the order of the zoo's own tables."""
    found = {record["network"]: record for record in lines}
    everyone = list(entries())
    records = [found[each.title] for each in everyone if each.title in found]
    missing = [each.title for each in everyone if each.title not in found]
    convolutional = [record for record in records if not record["attention"]]
    attention = [record for record in records if record["attention"]]
    parts = [
        introduction(records),
        counts(convolutional, attention),
        unhappy(records, missing),
        "## Networks of convolutions\n",
        table(
            ["network", "verdict", "layers", "worst relative difference", "extensions", *PEERS.values()],
            [exact_row(record) for record in convolutional],
        ),
        "## Refused, and why\n",
        "The layers below the one that is named project, and were compared too.\n",
        table(
            ["network", "layers that project", "first that does not", "reason"],
            [refused_row(record) for record in convolutional if record["verdict"] == "refused"],
        ),
        "## Networks with attention\n",
        "Attention multiplies two tensors that are both computed from the picture, so there is no constant to send a\n"
        "signal through. Mixers of places, recurrent layers and state spaces stand here as well.\n",
        table(
            [
                "network",
                "verdict",
                "layers that project",
                "worst relative difference",
                "extensions",
                "what is refused",
                *PEERS.values(),
            ],
            [attention_row(record) for record in attention],
        ),
    ]
    return "\n".join(part for part in parts if part)


def code_of(records: Sequence[Record]) -> str:
    """Whether the code that stands here judged the networks, or an earlier state of it."""
    current = sum(record["code"] == digest() for record in records)
    if current == len(records):
        return f"All {current} networks were judged by the code that stands here."
    return (
        f"{current} of {len(records)} networks were judged by the code that stands here, the others by an earlier "
        "state of it; `make zoo` judges those again."
    )


def introduction(records: Sequence[Record]) -> str:
    versions = "; ".join(
        sorted({", ".join(f"{name} {number}" for name, number in record["versions"].items()) for record in records})
    )
    minutes = sum(record.get("seconds", 0) for record in records) / 60
    others = [record["network"] for record in records if record.get("other_kernel")]
    kernels = ", ".join(others) or "none of these networks"
    silent, compared = (sum(record.get(key, 0) for record in records) for key in ("silent", "compared"))
    memory = max((record.get("gibibytes", 0) for record in records), default=0)
    return f"""# The zoo

Other people's networks, each projected by Pixelward and by an oracle that shares no code with it. `make zoo` runs them
(a process for each; it goes on where it was interrupted) and writes this page.
Versions: {versions}. {code_of(records)}

One process on one thread took {minutes:.0f} minutes for all, on cores that other work shared, and at most {memory:.0f}
GiB for one network.

**What ran.** Every classification network of torchvision, and of timm at least one small member of every model file;
random weights (seed 0), random norm statistics, layer scales and zero-initialised weights drawn anew at order 1, one
random picture of 64 pixels a side unless a network wants more, float64, evaluation mode.

**Exact** means all of this: the network's output is the same bits with and without tracing; every default layer
projects; in {COMPARED} layers from the first to the last, and in the output, the strongest unit whose signal is not
zero projects as the oracle says, within {EXACT:.0e} of the largest number; three units of each of these layers project
in their windows as on the whole picture; in {BATCHED} layers a picture projects in a batch as alone; a scan sees the
same bits as a trace; no hook, flag, gradient, buffer, parameter or module of the network is another than before. Torch
runs some layers by another kernel where a gradient is asked for; there the same bits as with a gradient are asked for
(of {kernels}). In {silent} of {compared} comparisons the unit, as rectified ones may be, and its reference were zero.

**The oracle** (`tests/zoo/oracle.py`) runs the unchanged network under a mode that computes each function of torch as
it is, but puts the deconvnet's backward under activations, and none under gates and statistics; then autograd's plain
gradient is the projection. It reads no graph and no table of Pixelward's.

**Extensions** are the rules used beyond the paper's convolution, ReLU, max-pool and response norm; sums, slices,
scales, averages, batch norm in evaluation mode and other linear steps, which have one transpose only, are not listed.

**The other columns.** Captum's `Deconvolution` and zennit's `DeconvNet` were asked for the strongest class, seed 1, and
held against the same oracle. *Right*: equal to 1e-9. *Silently wrong*: another picture, without an error or
a word of what was left out. Both document a rule for ReLU alone; a network with other activations, gates or norms of
the picture lies beyond that, and gets an answer all the same. *Answers*: Pixelward refuses the output, the other
returns a picture for which there is no reference.
"""


def counts(convolutional: Sequence[Record], attention: Sequence[Record]) -> str:
    rows = []
    for name, records in (("convolutions", convolutional), ("attention", attention)):
        verdicts = Counter(record["verdict"] for record in records)
        rows.append([name, len(records), verdicts["exact"], verdicts["refused"], verdicts["WRONG"], verdicts["failed"]])
    text = table(["networks of", "run", "exact", "refused", "wrong", "failed to run"], rows)
    exact = [record for record in (*convolutional, *attention) if record["verdict"] == "exact"]
    simple = [record for record in exact if set(record["kinds"]) <= SIMPLE]
    for key, name in PEERS.items():
        wrong = sum(record[key]["verdict"] == "wrong" for record in exact)
        plainly = sum(record[key]["verdict"] == "wrong" for record in simple)
        errors = sum(record[key]["verdict"] == "error" for record in exact)
        text += (
            f"\nOf the {len(exact)} networks that Pixelward projects exactly, {name} is silently wrong on {wrong} and"
            f" fails with an error on {errors};\nof the {len(simple)} among them that have no rectifier but ReLU, no"
            f" gate and no norm of the picture, it is silently wrong on {plainly}.\n"
        )
    return text


def unhappy(records: Sequence[Record], missing: Sequence[str]) -> str:
    """What should not be there: wrong, failed, not run. Empty when all is well."""
    rows = [
        [record["network"], record["verdict"], "; ".join(record.get("wrong", [])) or record.get("reason", "")]
        for record in records
        if record["verdict"] not in ("exact", "refused")
    ]
    text = "## Wrong or failed\n\n" + table(["network", "verdict", "what"], rows) if rows else ""
    if missing:
        text += f"\nNot run yet ({len(missing)}): {', '.join(missing)}.\n"
    return text


def extensions(record: Record) -> str:
    return ", ".join(kind for kind in record.get("kinds", ()) if kind not in SIMPLE) or "none"


def exact_row(record: Record) -> list[object]:
    used = extensions(record)
    verdict = record["verdict"]
    fixed = record.get("fixed")
    if verdict == "refused" and record.get("output"):
        verdict = f"exact but for {record['layers'] - record['projected']} layers"
    elif verdict == "refused" and fixed and not fixed["refused"]:
        verdict = f"refused; exact with `keep_fixed({fixed['factor']})` ({small(fixed['difference'])})"
    return [
        record["network"],
        verdict,
        layers(record),
        small(record.get("difference")),
        used,
        *(CELLS[record[peer]["verdict"]] for peer in PEERS),
    ]


def refused_row(record: Record) -> list[object]:
    return [record["network"], layers(record), record["refused"]["layer"] or "all", reason(record)]


def attention_row(record: Record) -> list[object]:
    return [
        record["network"],
        record["verdict"],
        layers(record),
        small(record.get("difference")),
        extensions(record),
        f"{record['refused']['layer'] or 'all'}: {reason(record)}" if "refused" in record else "nothing",
        *(CELLS[record[peer]["verdict"]] for peer in PEERS),
    ]


def layers(record: Record) -> str:
    return f"{record.get('projected', 0)} of {record.get('layers', '?')}"


def reason(record: Record) -> str:
    """What was refused, of an error that says: given, allowed, next step."""
    return str(record["refused"]["reason"]).removeprefix("given: ").partition(" - allowed: ")[0]


def small(number: float | None) -> str:
    return "-" if number is None else "0" if number == 0 else f"{number:.0e}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    main()
