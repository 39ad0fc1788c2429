"""What a measure gives: rows for results.json. And how much is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Settings:
    """How much is measured. The full mode's numbers are the default.

    pictures: of 224 pixels, for ZFNet's gallery. rounds: interleaved repetitions. hits: that Captum is asked for, per
    layer and round. deep_pictures, deep_hits: likewise for the networks of many layers. layers: of those, evenly
    spaced; None for all. sizes: of Captum's batches, of which each layer's best counts. batches: of ours a round,
    where a round does not take all pictures. some: of each layer's hits in such a batch, so many; most hits go down in
    full batches then, as where there are all. checked: hits that are compared with Captum before anything is timed.
    shapes: of convolutions, each way, that are timed apart for the floor, in batches of `floor_batches`. passed:
    pictures of the passes. small: pictures of 64 pixels for the growth rows; ten times as many in its largest
    part. small_layers: that they scan. units: of the atlas that is read from. reads: of it.
    """

    short: bool = False
    pictures: int = 1000
    deep_pictures: int = 1000
    rounds: int = 5
    hits: int = 4
    deep_hits: int = 2
    layers: int | None = None
    sizes: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    batches: int = 1
    some: int = 64
    checked: int = 4
    shapes: int = 16
    floor_batches: tuple[int, ...] = (1, 8, 32, 128)
    passed: int = 512
    small: int = 1000
    small_layers: int = 2
    units: int = 100_000
    reads: int = 300
    seed: int = 0


FULL = Settings()
SHORT = Settings(
    short=True,
    pictures=64,
    deep_pictures=16,
    rounds=1,
    hits=2,
    deep_hits=1,
    layers=3,
    sizes=(8,),
    some=16,
    checked=2,
    shapes=2,
    floor_batches=(8,),
    passed=32,
    small=100,
    small_layers=1,
    reads=60,
)


@dataclass
class Row:
    """One line of the table.

    ratio: how many times faster than the peer; or ours over a base where `lower` says that less is better.
    spread: smallest and largest ratio of the rounds. seconds: by who took them. floor_share: arithmetic floor over our
    time, everything at the best rate of any shape; shape_share: each shape at the best rate of its own. samples: what
    was measured and what was extrapolated, for a reader. layers: rows of the table of layers.
    """

    name: str
    title: str
    against: str
    ratio: float | None
    goal: float | None
    seconds: Mapping[str, float]
    samples: str
    unit: str = "times"
    lower: bool = False
    floor_share: float | None = None
    shape_share: float | None = None
    spread: Sequence[float] | None = None
    layers: Sequence[Mapping[str, Any]] = field(default_factory=list)
    notes: Sequence[str] = field(default_factory=list)

    @property
    def met(self) -> bool | None:
        if self.goal is None or self.ratio is None:
            return None
        return self.ratio <= self.goal if self.lower else self.ratio >= self.goal

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


def missing(name: str, title: str, why: str) -> Row:
    """A row that could not be measured here, and why."""
    return Row(name, title, "", None, None, {}, f"not measured: {why}")
