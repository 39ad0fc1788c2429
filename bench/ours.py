"""A gallery's projections as Pixelward draws them, without tiles and sheets: `draw.py`'s batches and sizes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from bench.hits import Gallery, Hit
from bench.networks import preprocess_of
from pixelward.core.descent import project_hits
from pixelward.core.projector import PICTURES, Chosen, Projector
from pixelward.core.recorder import Recorder
from pixelward.core.rules import DECONVNET
from pixelward.core.trace import trace

SOME = 16  # hits of a layer in a batch, where all would take hours


@dataclass
class Spent:
    """Seconds of a round. layers: by number, seconds and hits of the way down. forward: seconds of `pictures`."""

    forward: float = 0.0
    pictures: int = 0
    layers: dict[int, tuple[float, int]] = field(default_factory=dict)

    def add(self, layer: int, seconds: float, hits: int) -> None:
        before = self.layers.get(layer, (0.0, 0))
        self.layers[layer] = before[0] + seconds, before[1] + hits


def draw(gallery: Gallery, pictures: Sequence[int], *, most: bool = True) -> Spent:
    """Project the hits of these pictures, batch by batch. Pictures are decoded before the clock runs.

    most: all hits; else `SOME` of each layer and batch.
    """
    spent = Spent()
    by_picture, preprocess = gallery.by_picture(), preprocess_of(gallery.net)
    projector = Projector(gallery.net, [layer.address for layer in gallery.layers], DECONVNET)
    with _forward_timed(spent):
        for at in range(0, len(pictures), PICTURES):
            numbers = pictures[at : at + PICTURES]
            batch = torch.stack([gallery.pictures.tensor(number, preprocess) for number in numbers])
            chosen = [(row, hit) for row, number in enumerate(numbers) for hit in by_picture[number]]
            _batch(gallery, projector, batch, sorted(chosen, key=lambda pair: pair[1].layer), spent, most)
    return spent


@contextmanager
def _forward_timed(spent: Spent) -> Iterator[None]:
    """Counts the time of forward passes apart, wherever the projector lets them run."""
    plan, init = Recorder.plan, Recorder.__init__

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*given)
            finally:
                spent.forward += time.perf_counter() - start

        return call

    Recorder.plan, Recorder.__init__ = timed(plan), timed(init)  # type: ignore[method-assign]
    try:
        yield
    finally:
        Recorder.plan, Recorder.__init__ = plan, init  # type: ignore[method-assign]


def _batch(
    gallery: Gallery,
    projector: Projector,
    batch: Tensor,
    chosen: Sequence[tuple[int, Hit]],
    spent: Spent,
    most: bool,
) -> None:
    """One batch through the network and its hits down."""
    hits = {}
    layers = {}
    for layer, some in groupby(chosen, key=lambda pair: pair[1].layer):
        pairs = list(some)
        if not most:
            pairs = pairs[:SOME]
        numbers = torch.tensor([[row, hit.channel, *hit.position] for row, hit in pairs])
        values = torch.tensor([hit.value for _, hit in pairs])
        hits[gallery.layers[layer].address] = Chosen(numbers[:, 1], numbers[:, 2:], numbers[:, 0], values)
        layers[gallery.layers[layer].address] = layer
    spent.pictures += len(batch)
    start, forward = time.perf_counter(), spent.forward
    for sent in projector.project(batch, hits):
        now = time.perf_counter()
        spent.add(layers[sent.address], now - start - (spent.forward - forward), len(sent.rows))
        start, forward = time.perf_counter(), spent.forward


def project(gallery: Gallery, hit: Hit) -> tuple[Tensor, float]:
    """One hit's signal in the whole picture, (C, H, W), and its value, for comparing."""
    picture = gallery.pictures.tensor(hit.picture, preprocess_of(gallery.net))[None]
    address = gallery.layers[hit.layer].address
    traced = trace(gallery.net, picture, [address], DECONVNET)
    target = traced.targets[address]
    activation = target.activations[(0, hit.channel, *hit.position)]
    (signal,), (box,) = project_hits(
        traced.plan,
        target,
        torch.tensor([hit.channel]),
        torch.tensor([hit.position]),
        torch.tensor([0]),
        DECONVNET,
    )
    height, width = picture.shape[2:]
    whole = signal.new_zeros(len(signal), height, width)
    top, left = max(box.top, 0), max(box.left, 0)
    bottom, right = min(box.top + box.height, height), min(box.left + box.width, width)
    whole[:, top:bottom, left:right] = signal[:, top - box.top : bottom - box.top, left - box.left : right - box.left]
    return whole, float(activation)
