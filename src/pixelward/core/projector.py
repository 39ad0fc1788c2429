"""Hits of many pictures sent down: batch after batch, those of a layer together.

Each picture runs through the network once at most, and only as far as something has to be recorded of it
(`recorder.py`); where that cannot be told, one by one and as far as the layers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pixelward.core import sparse
from pixelward.core.descent import Descent
from pixelward.core.devices import is_near, moved, returning
from pixelward.core.fields import Box
from pixelward.core.folding import Folding
from pixelward.core.memory import at_once, fitting, taken
from pixelward.core.plan import Plan
from pixelward.core.recorder import Recorder
from pixelward.core.rules import DECONVNET, RuleSet
from pixelward.core.trace import Target, trace

PICTURES = 64  # whose hits go down together, at most: the more they are, the more batches are full
FEW = 16  # likewise, however large they are
PIXELS = 10_000_000  # numbers in the pictures of more than a few
NUMBERS = 5_000_000  # in the largest signals of a batch: larger batches are seldom filled by the hits of one region
MOST = 32  # hits of one batch: of more the memory grows, and their time is the same


def together(shape: Sequence[int]) -> int:
    """How many pictures of a shape, (C, H, W), are taken together where nothing bounds memory."""
    return max(FEW, min(PICTURES, PIXELS // max(1, math.prod(shape))))


class Chosen(NamedTuple):
    """Hits of one layer: channels and numbers of their pictures in the batch, (n,) int64; positions, (n, 2) int64,
    which a vector does not look at; values, (n,) float, with which they start down."""

    channels: Tensor
    positions: Tensor
    pictures: Tensor
    values: Tensor

    def part(self, rows: slice | Tensor) -> Chosen:
        return Chosen(*(tensor[rows] for tensor in self))


class Sent(NamedTuple):
    """Hits of one layer at the pixels.

    rows: their numbers among those asked for, (n,) int64. signals: (n, C, h, w), on the CPU; boxes: where they lie in
    their pictures. values: what the network gave for them now; where it did not run as far, those asked for.
    """

    address: str
    rows: Tensor
    signals: Tensor
    boxes: Sequence[Box]
    values: Tensor


class Projector:
    """Projects hits of the layers at some addresses, by one table of rules, while the weights stay as they are.

    memory: bytes that the tensors may take in all; None for sizes that suit the caches of a processor.
    """

    def __init__(
        self, net: nn.Module, addresses: Sequence[str], table: RuleSet = DECONVNET, memory: float | None = None
    ) -> None:
        self._net, self._addresses, self._table = net, list(addresses), table
        self._half = None if memory is None else memory / 2  # for the way up; the other for the way down
        self._recorder: Recorder | None = None
        self._shape: torch.Size | None = None  # of the pictures that it serves
        self._pictures = PICTURES  # whose hits go down together
        self._descents: dict[str, Descent] = {}
        self._folding: Folding | None = None  # of the recorder's plan
        self._hits: dict[tuple[str, int | None], int] = {}  # that go down at once, by layer and region

    def project(self, pictures: Tensor, hits: Mapping[str, Chosen]) -> Iterator[Sent]:
        """Project hits of a batch, (N, C, H, W) float on the network's device, layer by layer in the order given."""
        asked = {address: chosen for address, chosen in hits.items() if len(chosen.channels)}
        if not asked:
            return
        traced = None
        if self._recorder is None or self._shape != pictures.shape[1:]:
            self._shape, self._hits, self._descents = pictures.shape[1:], {}, {}
            traced = min(int(chosen.pictures.min()) for chosen in asked.values())
            self._recorder = self._begun(pictures[traced : traced + 1])
        for start in range(0, len(pictures), self._pictures):
            stop = min(start + self._pictures, len(pictures))
            rows = {a: ((c.pictures >= start) & (c.pictures < stop)).nonzero()[:, 0] for a, c in asked.items()}
            own = {address: asked[address].part(found) for address, found in rows.items() if len(found)}
            own = {a: chosen._replace(pictures=chosen.pictures - start) for a, chosen in own.items()}
            if not own:
                continue
            plan, targets = self._plan(self._recorder, pictures[start:stop])
            known = None if traced is None else traced - start
            if self._recorder.needs_all:  # each picture has a plan of its own
                known, self._descents = 0, {}
            yield from map(partial(_renumbered, rows), self._down(plan, targets, own, known))

    def _begun(self, picture: Tensor) -> Recorder:
        """A recorder that has seen its first picture, and how many may be recorded at once."""
        recorder = Recorder(self._net, self._addresses, self._table, picture)
        most = together(picture.shape[1:])
        self._pictures = 1 if recorder.needs_all else most
        # Scaled weights take as much memory as the network's own, and serve one plan, not each picture's.
        self._folding = None if recorder.needs_all or self._half is not None else Folding()
        if not recorder.needs_all and self._half is not None:
            one = taken(lambda: recorder.plan(picture), picture.device)
            self._pictures = at_once(fitting(self._half, one, "the pass of a picture"), one, most)
        return recorder

    def _plan(self, recorder: Recorder, pictures: Tensor) -> tuple[Plan, Mapping[str, Target]]:
        if not recorder.needs_all:
            return recorder.plan(pictures), recorder.targets
        traced = trace(self._net, pictures, self._addresses, self._table)
        return traced.plan, traced.targets

    def _down(
        self, plan: Plan, targets: Mapping[str, Target], hits: Mapping[str, Chosen], traced: int | None
    ) -> Iterator[Sent]:
        """traced: the number of the picture whose activations `targets` holds, or None."""
        coming: deque[Callable[[], Sent]] = deque()
        for address, chosen in hits.items():
            target = targets[address]
            if address not in self._descents:
                self._descents[address] = Descent(plan, target, self._table, self._folding)
            descent = self._descents[address]
            values = _held(target, chosen, traced)
            for rows in self._batches(plan, descent, address, chosen):
                coming.append(_sent(address, rows, *descent.project(plan, *chosen.part(rows)), values))
                # A GPU is given its next batch before one is waited for.
                if is_near(descent.device) or len(coming) > 1:
                    yield coming.popleft()()
        yield from (arrived() for arrived in coming)

    def _batches(self, plan: Plan, descent: Descent, address: str, chosen: Chosen) -> Iterator[Tensor]:
        """The numbers of hits that go down at once: full batches of a region each, and then what is left of all."""
        regions = descent.regions(chosen.positions)
        left = []
        for region in sorted(set(regions.tolist())):
            rows = (regions == region).nonzero()[:, 0]
            most = self._most(plan, descent, address, region, chosen.part(rows))
            full = len(rows) // most * most
            yield from torch.split(rows[:full], most) if full else ()
            left.append(rows[full:])
        rest = torch.cat(left)
        if len(rest):
            most = self._most(plan, descent, address, None, chosen.part(rest))
            yield from (rest[piece] for piece in _pieces(len(rest), most))

    def _most(self, plan: Plan, descent: Descent, address: str, region: int | None, chosen: Chosen) -> int:
        """How many hits of a layer go down at once: of a region, or of all together where that is None."""
        if (address, region) not in self._hits:
            most = at_once(NUMBERS, descent.largest(plan, region), MOST)
            if self._half is not None:
                run = partial(descent.project, plan, *chosen.part(slice(0, 1)), cut=region is not None)
                needed = taken(run, descent.device)
                with sparse.assumed():  # as later hits may go down
                    needed = max(needed, taken(run, descent.device))
                most = at_once(fitting(self._half, needed, f"the way down of a hit of {address}"), needed, most)
            self._hits[address, region] = most
        return self._hits[address, region]


def _sent(
    address: str, rows: Tensor, signals: Tensor, boxes: Sequence[Box], values: Callable[[], Tensor]
) -> Callable[[], Sent]:
    """Begin to bring the signals to the CPU; what is returned waits for them."""
    arrived = returning(signals.float())
    return lambda: Sent(address, rows, arrived(), boxes, values()[rows])


def _renumbered(rows: Mapping[str, Tensor], sent: Sent) -> Sent:
    """With the hits' numbers among all, given the numbers, by address, of those that were sent together."""
    return sent._replace(rows=rows[sent.address][sent.rows])


def _held(target: Target, chosen: Chosen, traced: int | None) -> Callable[[], Tensor]:
    """The values of hits as the network gave them for its one traced picture; of others, those asked for.

    Begins to bring them to the CPU; what is returned waits for them.
    """
    if traced is None:
        return lambda: chosen.values
    own = (chosen.pictures == traced).nonzero()[:, 0]
    part, device = chosen.part(own), target.activations.device
    place = [part.channels, *(() if target.activations.dim() == 2 else part.positions.unbind(1))]
    there = returning(target.activations[0][tuple(moved(each, device) for each in place)])
    return lambda: chosen.values.index_put((own,), there().to(chosen.values))


def _pieces(number: int, most: int) -> Iterator[slice]:
    """Runs of hits, of `most` and of smaller powers of two: kernels are set up anew for every other length."""
    start, length = 0, most
    while start < number:
        while length > number - start:
            length //= 2
        yield slice(start, start + length)
        start += length
