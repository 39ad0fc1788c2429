"""What was tried: forms of single steps that are in use, beside others. For the page, without goals."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.rows import Row, Settings
from bench.timing import best, interleaved, ratios
from pixelward.core import rules
from pixelward.core.layout import laid_out
from pixelward.core.peaks import Peaks
from pixelward.core.response_norm import local_response_norm
from pixelward.core.sparse import product
from pixelward.core.trace import trace
from pixelward.core.transposed import transposed
from pixelward.nets.zfnet import zfnet

# How many of a batch's maxima enter a unit's nine strongest: as many as 9 in a number of pictures.
ENTERING = (("maxima", "after 1000 pictures", 9 / 1000), ("maxima-first", "in the first batch", 1.0))


class Pair(NamedTuple):
    """Two forms of one step, which give the same numbers: the one in use, and the other."""

    name: str
    title: str
    against: str
    sizes: str
    used: Callable[[], Tensor]
    other: Callable[[], Tensor]


def measure(settings: Settings, folder: Path) -> list[Row]:
    rows = []
    for pair in pairs(settings.seed):
        ways = {"used": pair.used, "other": pair.other}
        with torch.no_grad():
            timed = {who: lambda round_, way=way: best(way, at_least=0.05) for who, way in ways.items()}
            given = interleaved(timed, settings.rounds, settings.seed)
        ratio, spread = ratios(given["other"], given["used"])
        spent = {who: statistics.median(every) for who, every in given.items()}
        samples = f"{pair.sizes}, random numbers; each the best of several calls."
        rows.append(Row(f"tried-{pair.name}", pair.title, pair.against, ratio, None, spent, samples, spread=spread))
    return rows


def _sparse(matrix: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it a beta
        return matrix.to_sparse_csr()


def pairs(seed: int, hits: int = 8, cells: int = 26) -> list[Pair]:
    """hits: signals in a batch. cells: a side of their maps."""
    random = torch.Generator().manual_seed(seed)
    maps = torch.randn(hits, 256, cells, cells, generator=random).relu()
    pooled, switches = F.max_pool2d(maps, 3, 2, return_indices=True)
    above = torch.randn(pooled.shape, generator=random)
    unpooled = F.max_unpool2d(above, switches, 3, 2, output_size=maps.shape[2:]).relu()
    places = laid_out(unpooled).permute(0, 2, 3, 1).flatten(0, 2)
    by_place = torch.randn(256, 96 * 25, generator=random)
    net = zfnet().eval()
    plan = trace(net, torch.zeros(1, 3, 224, 224), ["conv1:relu"]).plan
    first = next(step for step in plan.steps if step.kind == rules.CONVOLUTION)
    first = replace(first, margins=(0, 0, 0, 0))
    assert first.weight is not None
    assert first.geometry is not None
    signal = laid_out(torch.randn(hits, 96, cells, cells, generator=random))
    weight, turned = torch.randn(256, 256, 3, 3, generator=random), laid_out(maps)
    left = float((places != 0).float().mean())
    some = f"{len(places)} x 256 numbers, {left:.0%} of them not zero, by 256 x {by_place.shape[1]}"
    without_zeros = "an unpooled and rectified signal times weights, without its zeros, as bags of rows"
    return [
        Pair(
            "zeros",
            without_zeros,
            "a product with them",
            some,
            partial(product, places, by_place),
            lambda: places @ by_place,
        ),
        Pair(
            "sparse",
            without_zeros,
            "torch's sparse matrix",
            some,
            partial(product, places, by_place),
            lambda: _sparse(places) @ by_place,
        ),
        Pair(
            "first",
            "conv1's transpose as a convolution along rows, added up in slices",
            "torch's transposed convolution",
            f"signals of {tuple(signal.shape)}",
            lambda: transposed(signal, first),
            partial(F.conv_transpose2d, signal, first.weight, stride=first.geometry.stride),
        ),
        Pair(
            "layout",
            "a convolution of 3 x 3 with its channels last",
            "with its channels first",
            f"signals of {tuple(maps.shape)}",
            partial(F.conv2d, turned, laid_out(weight)),
            partial(F.conv2d, maps, weight),
        ),
        Pair(
            "norm",
            "a response norm as a sum of slices of channels, with its channels last",
            "torch's response norm, with its channels first",
            f"maps of {tuple(maps.shape)}",
            partial(local_response_norm, turned, 5),
            partial(F.local_response_norm, maps, 5),
        ),
        *(_maxima(turned, *entering) for entering in ENTERING),
    ]


def _maxima(maps: Tensor, name: str, when: str, share: float) -> Pair:
    """share: of the maps, whose maxima enter the strongest, so that their places are wanted."""
    units = maps.shape[1]
    chosen = torch.linspace(0, len(maps) * units - 1, max(1, round(share * len(maps) * units))).long()
    rows, channels, wanted = chosen // units, chosen % units, torch.ones_like(chosen, dtype=torch.bool)

    def found(peaks: Peaks) -> Tensor:
        return torch.cat([peaks.value.flatten(), peaks.position(rows, channels, wanted).flatten()])

    return Pair(
        name,
        f"maxima of maps with their channels last, and the places of those that enter, {when}: by torch's pool over "
        "whole maps",
        "the maxima alone, then a search of the maps whose maxima enter",
        f"maps of {tuple(maps.shape)}, {len(chosen)} of which enter",
        lambda: found(Peaks.of(maps)),
        lambda: found(Peaks(maps.amax((2, 3)), maps, None)),
    )
