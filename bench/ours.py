"""A gallery's projections as Pixelward draws them, without tiles and sheets: `draw.py`'s batches and sizes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from bench.hits import Gallery, Hit
from bench.networks import preprocess_of
from pixelward.core.descent import project_hits
from pixelward.core.projector import Chosen, Projector, together
from pixelward.core.recorder import Recorder
from pixelward.core.rules import DECONVNET
from pixelward.core.trace import trace


@dataclass
class Spent:
    """Seconds of a round. layers: by number, seconds and hits of the way down. forward: seconds of `pictures`."""

    forward: float = 0.0
    pictures: int = 0
    layers: dict[int, tuple[float, int]] = field(default_factory=dict)

    def add(self, layer: int, seconds: float, hits: int) -> None:
        before = self.layers.get(layer, (0.0, 0))
        self.layers[layer] = before[0] + seconds, before[1] + hits


def draw(gallery: Gallery, pictures: Sequence[int], *, some: int | None = None) -> Spent:
    """Project the hits of these pictures, batch by batch. Pictures are decoded before the clock runs.

    some: so many hits of each layer and batch; None for all. The way up runs inside of the projector, before the first
    hits come down: it is timed once more by itself, afterwards, and the time until these hits less that is their way
    down; so the sum of both is what the projector took. The deepest layer goes first, beside whose way down the noise
    of a difference is small.
    """
    spent = Spent()
    by_picture, preprocess = gallery.by_picture(), preprocess_of(gallery.net)
    addresses = [layer.address for layer in gallery.layers]
    projector = Projector(gallery.net, addresses, DECONVNET)
    recorder: Recorder | None = None
    at_once = together((len(preprocess.mean), preprocess.size, preprocess.size))
    for at in range(0, len(pictures), at_once):
        numbers = pictures[at : at + at_once]
        batch = torch.stack([gallery.pictures.tensor(number, preprocess) for number in numbers])
        chosen = [(row, hit) for row, number in enumerate(numbers) for hit in by_picture[number]]
        deepest_first = sorted(chosen, key=lambda pair: -pair[1].layer)
        took = _batch(gallery, projector, batch, deepest_first, some)
        start = time.perf_counter()
        if recorder is None:  # as in the projector, which does so for its first batch
            recorder = Recorder(gallery.net, addresses, DECONVNET, batch[:1])
        recorder.plan(batch)
        up = time.perf_counter() - start
        spent.pictures += len(batch)
        spent.forward += up
        for number, (layer, seconds, hits) in enumerate(took):
            spent.add(layer, seconds if number else seconds - up, hits)
    return spent


def _batch(
    gallery: Gallery, projector: Projector, batch: Tensor, chosen: Sequence[tuple[int, Hit]], most: int | None
) -> list[tuple[int, float, int]]:
    """One batch through the network and its hits down: layer, seconds since the hits before, number of hits."""
    hits = {}
    layers = {}
    for layer, some in groupby(chosen, key=lambda pair: pair[1].layer):
        pairs = list(some)[:most]
        numbers = torch.tensor([[row, hit.channel, *hit.position] for row, hit in pairs])
        values = torch.tensor([hit.value for _, hit in pairs])
        hits[gallery.layers[layer].address] = Chosen(numbers[:, 1], numbers[:, 2:], numbers[:, 0], values)
        layers[gallery.layers[layer].address] = layer
    took = []
    start = time.perf_counter()
    for sent in projector.project(batch, hits):
        now = time.perf_counter()
        took.append((layers[sent.address], now - start, len(sent.rows)))
        start = time.perf_counter()
    return took


def picture_of(gallery: Gallery, hit: Hit) -> Tensor:
    """The picture that holds a hit, (1, C, H, W), in the numbers that the network computes with."""
    like = next(gallery.net.parameters())
    return gallery.pictures.tensor(hit.picture, preprocess_of(gallery.net))[None].to(like)


def project(gallery: Gallery, hit: Hit) -> tuple[Tensor, float]:
    """One hit's signal in the whole picture, (C, H, W), and its value, for comparing; as precise as the network is."""
    picture = picture_of(gallery, hit)
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
