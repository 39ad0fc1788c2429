"""Run the zoo: every network in a process of its own, one line of JSON each, so that it can be interrupted and goes on.

    python tools/run_zoo.py                          all networks that this code has not judged yet
    python tools/run_zoo.py --only timm:resnet18     this one again (may be given several times)

Lines are added to build/zoo.jsonl; `tools/zoo_page.py` makes docs/zoo.md of them. `make zoo` does both.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from zoo.networks import Entry, entries, entry  # noqa: E402

LINES = ROOT / "build" / "zoo.jsonl"
PACKAGES = ("torch", "torchvision", "timm", "captum", "zennit")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="PACKAGE:NAME", help="judge this network, done or not")
    parser.add_argument("--jobs", type=int, default=2, help="networks at once, each on one thread (default 2)")
    parser.add_argument("--minutes", type=float, default=30, help="limit for one network (default 30)")
    parser.add_argument("--memory", type=float, default=11, help="limit for one network, in GiB (default 11)")
    parser.add_argument(
        "--lines", type=Path, default=LINES, help="where the lines of JSON go (default build/zoo.jsonl)"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        judge_here(given.one, given.memory)
        return 0
    made = {"code": digest(), "versions": {package: version(package) for package in PACKAGES}}
    done = {line["network"] for line in read(given.lines) if line["code"] == made["code"]}
    wanted = [entry(title) for title in given.only] if given.only else [e for e in entries() if e.title not in done]
    given.lines.parent.mkdir(parents=True, exist_ok=True)
    writing = threading.Lock()

    def judge(each: Entry) -> dict[str, Any]:
        record = {**judge_apart(each, given.minutes, given.memory), **made}
        with writing, given.lines.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")
            print(summary(record), flush=True)
        return record

    pool = ThreadPoolExecutor(given.jobs)
    try:
        records = list(pool.map(judge, wanted))
    except (KeyboardInterrupt, InterruptedError):
        print("interrupted; the same command goes on")
        return 130
    finally:
        pool.shutdown(cancel_futures=True)
    return int(any(record["verdict"] not in ("exact", "refused") for record in records))


def judge_here(title: str, gibibytes: float) -> None:
    """Judge one network in this process; a line when the library is judged, and one for each peer."""
    resource.setrlimit(resource.RLIMIT_AS, (int(gibibytes * 2**30),) * 2)
    import torch

    from zoo.judge import Judged
    from zoo.peers import PEERS, ask

    torch.set_num_threads(1)
    start = time.monotonic()
    judged = Judged(entry(title))
    judged.judge()
    print(json.dumps({**judged.record, "seconds": round(time.monotonic() - start, 1)}), flush=True)
    for peer in PEERS:
        print(json.dumps({peer: ask(judged, peer)}), flush=True)
    print(json.dumps({"gibibytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)}), flush=True)


def judge_apart(each: Entry, minutes: float, gibibytes: float) -> dict[str, Any]:
    """Judge one network in a process of its own; what it had said stands, whatever becomes of it."""
    command = [sys.executable, "-W", "ignore", __file__, "--one", each.title, "--memory", str(gibibytes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    ended = ""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=minutes * 60, env=environment)
        said = run.stdout
        if run.returncode == -signal.SIGINT:
            raise InterruptedError(each.title)  # no verdict: it is judged when the zoo goes on
        if run.returncode:
            last = run.stderr.strip().splitlines()[-1:] or ["nothing said"]
            ended = f"the process ended with status {run.returncode}: {last[0][:300]}"
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        ended = f"not done after {minutes:g} minutes"
    record: dict[str, Any] = {"network": each.title, "attention": each.attention, "size": each.size}
    for line in said.splitlines():
        record |= json.loads(line) if line.startswith("{") else {}
    if "verdict" not in record:
        record |= {"verdict": "failed", "reason": ended}
    for peer in ("captum", "zennit"):
        record.setdefault(peer, {"verdict": "error" if "seconds" in record else "not asked", "reason": ended})
    return record


def summary(record: dict[str, Any]) -> str:
    """One line for a person who waits."""
    difference = record.get("difference")
    return "  ".join(
        [
            f"{record['verdict']:8}{record['network']:44}",
            f"{record.get('projected', 0)}/{record.get('layers', 0)} layers",
            "" if difference is None else f"{difference:.1e}",
            f"captum {record['captum']['verdict']}, zennit {record['zennit']['verdict']}",
            f"{record.get('seconds', '?')} s",
            *record.get("wrong", [])[:3],
            record.get("reason", "") or record.get("refused", {}).get("reason", ""),
        ]
    )


def digest() -> str:
    """Of all code that a verdict hangs on: lines that other code wrote are done again."""
    files: Iterable[Path] = [*(ROOT / "src/pixelward/core").rglob("*.py"), *(ROOT / "tests/zoo").glob("*.py")]
    joint = hashlib.sha256()
    for file in sorted(files):
        joint.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return joint.hexdigest()[:16]


def read(lines: Path) -> list[dict[str, Any]]:
    """The last line of every network. A line that was cut off by an interruption is left out."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines.read_text("utf-8").splitlines() if lines.exists() else []:
        if line.endswith("}"):
            record = json.loads(line)
            found[record["network"]] = record
    return list(found.values())


if __name__ == "__main__":
    sys.exit(main())
