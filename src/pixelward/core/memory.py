"""How much memory passes take, measured on small ones, and so how much may go at once under a bound."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

from pixelward.errors import PixelwardError
from pixelward.words import amount, enough

T = TypeVar("T")

BLOCK = 32 * 2**20  # bytes: larger ones go back to the system when they are freed, and must be zeroed by it anew
SHARE = 2 / 3  # of what is left, for tensors: libraries take working memory beside these


def refuse_no_bound(memory: object) -> None:
    """Raises PixelwardError for a bound that is no number of bytes; None is no bound."""
    if memory is not None and (isinstance(memory, bool) or not isinstance(memory, int) or memory < 1):
        raise PixelwardError(
            given=f"memory {memory!r}",
            allowed="a whole number of bytes, 1 or more, or None for no bound",
            next_step="write 4G as memory=4 * 2**30",
        )


def in_use(device: torch.device) -> int:
    """Bytes that this process takes now: of a GPU's memory, or of the machine's."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    with suppress(OSError):  # as Linux tells it
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def taken(run: Callable[[], object], device: torch.device) -> int:
    """The most bytes of new tensors that lived at once while `run` ran."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    if torch.autograd.profiler._is_profiler_enabled:  # torch has one for all, and would end the user's
        raise PixelwardError(
            given="a bound on memory while torch's profiler runs, which is what measures memory here",
            allowed="one of both",
            next_step="leave memory away, or profile without it",
        )
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it tells standard error that it began and ended
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        run()
    now = most = 0
    for event in watched.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def taken_by(run: Callable[[], T], device: torch.device) -> tuple[T, int]:
    """What `run` gives, and what it took; see `taken`."""
    given: list[T] = []
    most = taken(lambda: given.append(run()), device)
    return given[0], most


def at_once(left: float, one: int, most: int) -> int:
    """How many things of `one` byte count go into `left` bytes: a power of two, 1 to `most`; so few sizes are met."""
    fitting = int(max(1, min(most, left / max(one, 1))))
    return 1 << (fitting.bit_length() - 1)


def in_a_block(one: int, most: int, device: torch.device) -> int:
    """How many pictures, whose largest tensor takes `one` byte count each, keep that in a block: 1 to `most`."""
    return most if device.type != "cpu" else max(1, min(most, (BLOCK - 1) // max(one, 1)))


def left_of(bound: int, device: torch.device, one: int, what: str) -> float:
    """Bytes for tensors under a bound on all memory. Raises PixelwardError where there is no room for `one` thing."""
    used = in_use(device)
    left = (bound - used) * SHARE
    if left < one:
        needed = used + int(one / SHARE)
        raise PixelwardError(
            given=f"memory {amount(bound)}, of which {amount(used)} are in use before the first picture",
            allowed=f"{enough(needed)} or more, for {what} takes {amount(one)}",
            next_step="give more memory, or smaller pictures",
        )
    return left


def fitting(left: float, one: int, what: str) -> float:
    """`left`, where there is room for `one` thing in it. Raises PixelwardError where there is none."""
    if left < one:
        raise PixelwardError(
            given=f"a bound on memory that leaves {amount(int(left))} for {what}",
            allowed=f"{enough(one)} or more, which that takes",
            next_step="give more memory, or smaller pictures",
        )
    return left
