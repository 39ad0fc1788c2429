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
from pixelward.core.path import calls_nodes, path
from pixelward.core.project import project_hits, signal_size
from pixelward.core.rules import DECONVNET
from pixelward.core.trace import trace
from pixelward.draw import PICTURES, PIXELS


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

    most: all hits; else of each layer as many of a batch as go down at once, where all would take hours.
    """
    spent = Spent()
    by_picture, preprocess = gallery.by_picture(), preprocess_of(gallery.net)
    size = PICTURES
    at = 0
    while at < len(pictures):
        numbers = pictures[at : at + size]
        batch = torch.stack([gallery.pictures.tensor(number, preprocess) for number in numbers])
        chosen = [(row, hit) for row, number in enumerate(numbers) for hit in by_picture[number]]
        size = _batch(gallery, batch, sorted(chosen, key=lambda pair: pair[1].layer), spent, most)
        at += len(numbers)
    return spent


def _batch(gallery: Gallery, batch: Tensor, chosen: Sequence[tuple[int, Hit]], spent: Spent, most: bool) -> int:
    """One batch through the network and its hits down. Returns how many pictures the next batch may have."""
    start = time.perf_counter()
    addresses = [layer.address for layer in gallery.layers]
    traced = trace(gallery.net, batch, addresses, DECONVNET)
    plan, targets = traced.plan, traced.targets
    del traced
    calls = any(calls_nodes(path(plan, target.value, DECONVNET)) for target in targets.values())
    if calls and len(batch) > 1:
        raise NotImplementedError("networks whose steps call nodes of autograd are not measured")
    if not calls:
        plan = plan.without_nodes()
    spent.forward += time.perf_counter() - start
    spent.pictures += len(batch)
    for layer, some in groupby(chosen, key=lambda pair: pair[1].layer):
        pairs = list(some)
        start = time.perf_counter()
        target = targets[addresses[layer]]
        height, width = signal_size(plan, target, DECONVNET)
        at_once = max(1, PIXELS // (height * width * 3))
        if not most:
            pairs = pairs[:at_once]
        for first in range(0, len(pairs), at_once):
            part = pairs[first : first + at_once]
            numbers = torch.tensor([[row, hit.channel, *hit.position] for row, hit in part])
            signals, _ = project_hits(plan, target, numbers[:, 1], numbers[:, 2:], numbers[:, 0], DECONVNET)
            signals.float().cpu()
        spent.add(layer, time.perf_counter() - start, len(pairs))
    return PICTURES


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
