"""Hits of many pictures sent down: batch after batch, those of a layer together.

Each picture runs through the network once at most, and only as far as something has to be recorded of it
(`recorder.py`); where that cannot be told, one by one and as far as the layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pixelward.core.fields import Box
from pixelward.core.plan import Plan
from pixelward.core.project import project_hits, signal_size
from pixelward.core.recorder import Recorder
from pixelward.core.rules import DECONVNET, RuleSet
from pixelward.core.trace import Target, trace

PICTURES = 16  # through the network at once
PIXELS = 1_000_000  # of signals that go down at once, counted at the picture: what the caches of a processor hold


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
    """Projects hits of the layers at some addresses, by one table of rules."""

    def __init__(self, net: nn.Module, addresses: Sequence[str], table: RuleSet = DECONVNET) -> None:
        self._net, self._addresses, self._table = net, list(addresses), table
        self._recorder: Recorder | None = None

    def project(self, pictures: Tensor, hits: Mapping[str, Chosen]) -> Iterator[Sent]:
        """Project hits of a batch, (N, C, H, W) float on the network's device, layer by layer in the order given."""
        asked = {address: chosen for address, chosen in hits.items() if len(chosen.channels)}
        if not asked:
            return
        first = None
        if self._recorder is None:
            first = min(int(chosen.pictures.min()) for chosen in asked.values())
            self._recorder = Recorder(self._net, self._addresses, self._table, pictures[first : first + 1])
        if not self._recorder.needs_all:
            yield from self._down(self._recorder.plan(pictures), self._recorder.targets, asked, first)
            return
        for number in range(len(pictures)):
            rows = {address: (chosen.pictures == number).nonzero()[:, 0] for address, chosen in asked.items()}
            own = {address: asked[address].part(found) for address, found in rows.items() if len(found)}
            if own:
                traced = trace(self._net, pictures[number : number + 1], self._addresses, self._table)
                alone = {a: chosen._replace(pictures=torch.zeros_like(chosen.pictures)) for a, chosen in own.items()}
                for sent in self._down(traced.plan, traced.targets, alone, 0):
                    yield sent._replace(rows=rows[sent.address][sent.rows])

    def _down(
        self, plan: Plan, targets: Mapping[str, Target], hits: Mapping[str, Chosen], traced: int | None
    ) -> Iterator[Sent]:
        """traced: the number of the picture whose activations `targets` holds, or None."""
        for address, chosen in hits.items():
            target = targets[address]
            values = _held(target, chosen, traced)
            height, width = signal_size(plan, target, self._table)
            for rows in _pieces(len(chosen.channels), max(1, PIXELS // (height * width * 3))):
                part = chosen.part(rows)
                signals, boxes = project_hits(plan, target, *part[:3], self._table, part.values)
                yield Sent(address, torch.arange(rows.start, rows.stop), signals.float().cpu(), boxes, values[rows])


def _held(target: Target, chosen: Chosen, traced: int | None) -> Tensor:
    """The values of hits as the network gave them for its one traced picture; of others, those asked for."""
    values = chosen.values.clone()
    if traced is not None:
        own = (chosen.pictures == traced).nonzero()[:, 0]
        place = (
            (chosen.channels[own],)
            if target.activations.dim() == 2
            else (chosen.channels[own], *chosen.positions[own].T)
        )
        values[own] = target.activations[(0, *place)].to(values)
    return values


def _pieces(number: int, most: int) -> Iterator[slice]:
    """Runs of hits as long as powers of two: few lengths in all, since kernels are set up anew for every length."""
    start, length = 0, 1 << (most.bit_length() - 1)
    while start < number:
        while length > number - start:
            length //= 2
        yield slice(start, start + length)
        start += length
