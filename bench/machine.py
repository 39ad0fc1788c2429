"""On what was measured, of which code, and how busy it was."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from bench import ROOT

PACKAGES = ("torch", "torchvision", "captum", "zennit", "zennit-crp", "numpy", "pillow")


def machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "convolutions": torch.backends.cpu.get_cpu_capability(),
    }


def load() -> float:
    """Processes that ran or wanted to, averaged over the last minute."""
    return round(os.getloadavg()[0], 2)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


@cache
def revision(checkout: Path = ROOT) -> str | None:
    """The commit of the code that is measured, shortened, and a + where `src/` or `bench/` hold what no commit does.

    None outside a git checkout. Looked up once: what is measured is the code as it was when the process began.
    """

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(checkout), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != checkout.resolve():  # a copy inside of another project's
            return None
        commit = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--", "src", "bench", ":!bench/results*.json")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+" if changed else commit


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text("utf-8").splitlines() if information.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
