"""Which hits a gallery shows: found by Pixelward's own search, which is not timed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import torch
from torch import nn

from bench.networks import preprocess_of
from bench.pictures import Pictures
from pixelward.core.layers import Layer, layers, observe
from pixelward.core.strongest import Strongest

BATCH = 32


class Hit(NamedTuple):
    """A unit's place in a picture. layer: number in the gallery's layers."""

    layer: int
    picture: int
    channel: int
    position: tuple[int, int]
    value: float


@dataclass(frozen=True)
class Gallery:
    """Hits of the units of some layers of a network, over some pictures."""

    net: nn.Module
    layers: Sequence[Layer]
    pictures: Pictures
    hits: Sequence[Hit]

    def by_picture(self) -> dict[int, list[Hit]]:
        """All hits by the picture that holds them, each picture's in the order of the layers."""
        found: dict[int, list[Hit]] = {}
        for hit in sorted(self.hits):
            found.setdefault(hit.picture, []).append(hit)
        return dict(sorted(found.items()))

    def counts(self) -> list[int]:
        """How many hits each layer has."""
        counts = [0] * len(self.layers)
        for hit in self.hits:
            counts[hit.layer] += 1
        return counts


def default_layers(net: nn.Module) -> list[Layer]:
    preprocess = preprocess_of(net)
    side = preprocess.size
    return [each for each in layers(net, size=(side, side), channels=len(preprocess.mean)) if each.refusal is None]


def evenly(every: Sequence[Layer], number: int | None) -> list[Layer]:
    """`number` layers, evenly spaced from the first to the last; None for all."""
    if number is None or number >= len(every):
        return list(every)
    return [every[round(at * (len(every) - 1) / max(1, number - 1))] for at in range(number)]


def share_of_units(every: Sequence[Layer], chosen: Sequence[Layer], pictures: int) -> float:
    """Of the chosen layers' units, so many that a picture has as many hits as in a gallery of all layers from 1000.

    One way up serves as many hits then, however few pictures and layers are measured.
    """
    units = sum(layer.channels for layer in every) / sum(layer.channels for layer in chosen)
    return min(1.0, pictures / 1000 * units)


def find(net: nn.Module, chosen: Sequence[Layer], pictures: Pictures, *, k: int, share: float, seed: int) -> Gallery:
    """The k strongest hits of a random share of the units of every layer, at least one unit each."""
    preprocess = preprocess_of(net)
    strongest = [Strongest(layer.channels, k) for layer in chosen]
    for start in range(0, len(pictures), BATCH):
        numbers = range(start, min(start + BATCH, len(pictures)))
        batch = torch.stack([pictures.tensor(number, preprocess) for number in numbers])
        ids = torch.tensor(list(numbers))
        observe(net, batch, chosen, lambda index, maps, ids=ids: strongest[index].update(maps, ids))
    random, hits = Random(seed), []
    for number, (layer, found) in enumerate(zip(chosen, strongest, strict=True)):
        units = random.sample(range(layer.channels), max(1, round(share * layer.channels)))
        value, picture, position = (each.tolist() for each in vars(found.hits).values())
        hits += [
            Hit(number, picture[unit][rank], unit, tuple(position[unit][rank]), value[unit][rank])
            for unit in units
            for rank in range(k)
            if picture[unit][rank] >= 0
        ]
    return Gallery(net, chosen, pictures, hits)
