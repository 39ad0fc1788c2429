"""Interleaved repetitions: A B B A ..., every contestant once a round, in a fresh order each round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


def interleaved(contestants: Mapping[str, Callable[[int], T]], rounds: int, seed: int = 0) -> dict[str, list[T]]:
    """Call every contestant with the number of the round, once a round; what they gave, by name and round."""
    random = Random(seed)
    given: dict[str, list[T]] = {name: [] for name in contestants}
    for number in range(rounds):
        order = list(contestants)
        random.shuffle(order)
        for name in order:
            given[name].append(contestants[name](number))
    return given


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def best(work: Callable[[], object], *, at_least: float = 0.2, times: int = 3) -> float:
    """The least seconds of a call, of `times` or more, until `at_least` seconds were spent; after one that warms up."""
    work()
    found: list[float] = []
    while len(found) < times or sum(found) < at_least:
        found.append(seconds(work))
    return min(found)


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> tuple[float, list[float]]:
    """The median of the rounds' ratios, and their smallest and largest."""
    every = [their / our for their, our in zip(theirs, ours, strict=True)]
    return statistics.median(every), [min(every), max(every)]
