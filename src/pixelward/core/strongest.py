"""The k strongest hits of every unit of one layer over a stream of pictures, and the units' statistics.

A hit is the spatial maximum of one unit's map in one picture, where it is above zero. Hits are in total order:
value descending, then the picture's number, then y, then x. So there is at most one hit a picture and unit, the
result does not depend on how the stream was cut into batches or parts, and partial results can be merged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pixelward.core.devices import is_near
from pixelward.core.fields import Extent, Span
from pixelward.core.peaks import Peaks, are_finite

HALF_OCTAVES = 80
LOWEST = -20  # the histogram's first edge is 2^-20, its last 2^20
OVERLAP = 0.25  # hits of one photograph that share more of the smaller box than this are in conflict
_NOBODY = torch.iinfo(torch.int64).max  # the picture with a number that is not finite, where there is none


def histogram_edges() -> Tensor:
    """The 81 edges of the histogram's bins, float32: bin i holds edge i <= value < edge i + 1.

    Made of a square root and powers of two, which every machine computes alike.
    """
    halves = range(2 * LOWEST, 2 * LOWEST + HALF_OCTAVES + 1)
    edges = [math.ldexp(math.sqrt(2.0) if half % 2 else 1.0, half // 2) for half in halves]
    return torch.tensor(edges, dtype=torch.float32)


class NotFiniteError(ValueError):
    """NaN or infinity in the maps of a picture. `picture`: its number; of several the lowest."""

    def __init__(self, picture: int) -> None:
        super().__init__(f"NaN or infinity in the maps of picture {picture}")
        self.picture = picture


@dataclass
class Hits:
    """k hits of each of C units, in order; missing ones stand last as value 0, picture -1, position -1.

    value: (C, k) float32. picture: (C, k) int64. position: (C, k, 2) int32, y and x; (0, 0) in a vector layer.
    """

    value: Tensor
    picture: Tensor
    position: Tensor

    @classmethod
    def none(cls, units: int, k: int, device: torch.device | str = "cpu") -> Hits:
        return cls(
            torch.zeros(units, k, dtype=torch.float32, device=device),
            torch.full((units, k), -1, dtype=torch.int64, device=device),
            torch.full((units, k, 2), -1, dtype=torch.int32, device=device),
        )

    def best(self, k: int) -> Hits:
        """The first k of each unit, out of hits in any order."""
        chosen = _order(self.value, self.picture)[:, :k]
        place = chosen.unsqueeze(2).expand(-1, -1, 2)
        return Hits(self.value.gather(1, chosen), self.picture.gather(1, chosen), self.position.gather(1, place))

    def beside(self, other: Hits) -> Hits:
        """Both one after the other, (C, k + other's k)."""
        return Hits(
            torch.cat([self.value, other.value], 1),
            torch.cat([self.picture, other.picture], 1),
            torch.cat([self.position, other.position], 1),
        )


class Strongest:
    """Running hits and statistics of the units of one layer. Everything is kept on `device`.

    hits: `Hits`, (C, k). seen: number of pictures. positive: (C,) int64, pictures whose maximum is above zero.
    histogram: (C, 82) int64, those maxima by bin: below the first edge, 80 half octaves from 2^-20 to 2^20 that are
    open on the right, at or above the last edge. maximum: (C,) float32, also where negative; -inf before any picture.
    """

    def __init__(self, channels: int, k: int, device: torch.device | str = "cpu") -> None:
        self.k = k
        self.hits = Hits.none(channels, k, device)
        self.seen = 0
        self.positive = torch.zeros(channels, dtype=torch.int64, device=device)
        self.histogram = torch.zeros(channels, HALF_OCTAVES + 2, dtype=torch.int64, device=device)
        self.maximum = torch.full((channels,), -torch.inf, dtype=torch.float32, device=device)
        self._edges = histogram_edges().to(device)
        self._is_near = is_near(torch.device(device))
        self._broken = torch.tensor(_NOBODY, device=device)

    def update(self, maps: Tensor, pictures: Tensor) -> None:
        """Take the maps of some pictures. maps: (N, C, h, w) or (N, C), float; pictures: (N,) int64, all different.

        A picture may be given once only, in any order. Raises NotFiniteError, before anything has changed; on a GPU,
        which would have to be waited for, `refuse_broken` does.
        """
        peaks = self.measure(maps, pictures)
        rows = self._entered(peaks.value, pictures)
        if not len(rows):
            return
        new = peaks.value[:, rows].T
        value = torch.cat([self.hits.value[rows], new.clamp(min=0)], 1)  # (R, k + N)
        picture = torch.cat([self.hits.picture[rows], torch.where(new > 0, pictures, -1)], 1)
        chosen = _order(value, picture)[:, : self.k]
        value, picture = value.gather(1, chosen), picture.gather(1, chosen)
        kept = chosen.clamp(max=self.k - 1).unsqueeze(2).expand(-1, -1, 2)
        is_new = (chosen >= self.k) & (picture >= 0)
        found = peaks.position((chosen - self.k).clamp(min=0), rows.unsqueeze(1).expand_as(chosen), is_new)
        position = torch.where(is_new.unsqueeze(2), found, self.hits.position[rows].gather(1, kept))
        self._replace(rows, Hits(value, picture, torch.where((picture >= 0).unsqueeze(2), position, -1)))

    def measure(self, maps: Tensor, pictures: Tensor) -> Peaks:
        """Count the pictures in the statistics. Returns their maxima; refuses as `update` does."""
        maps = maps.to(torch.float32)
        peaks = Peaks.of(maps)
        if self._is_near:
            # A sum over everything is one cheap pass and is not finite wherever a part of it is not; where only the
            # sum overflowed, the lowest numbers are looked at too.
            if not maps.sum(tuple(range(1, maps.dim()))).isfinite().all():
                self._mark_broken(maps, peaks, pictures)
                self.refuse_broken()
        else:
            self._mark_broken(maps, peaks, pictures)
        value = peaks.value
        above = value > 0
        self.seen += len(value)
        self.positive += above.sum(0)
        self.histogram.T.scatter_add_(0, torch.bucketize(value, self._edges, right=True), above.to(torch.int64))
        self.maximum = torch.maximum(self.maximum, value.amax(0))
        return peaks

    def refuse_broken(self) -> None:
        """Raise NotFiniteError if a picture since the beginning had NaN or infinity in its maps."""
        picture = int(self._broken)
        if picture != _NOBODY:
            self._broken.fill_(_NOBODY)
            raise NotFiniteError(picture)

    def _mark_broken(self, maps: Tensor, peaks: Peaks, pictures: Tensor) -> None:
        broken = torch.where(are_finite(maps, peaks.value), _NOBODY, pictures).amin(0)
        self._broken = torch.minimum(self._broken, broken)

    def _entered(self, peaks: Tensor, pictures: Tensor) -> Tensor:
        """Units with a new hit, (R,) int64; on a GPU all units, since telling which would wait for it."""
        if not self._is_near:
            return torch.arange(len(self.positive), device=peaks.device)
        return self.beats(peaks, pictures).any(0).nonzero().squeeze(1)

    def beats(self, peaks: Tensor, pictures: Tensor) -> Tensor:
        """Which maxima, (N, C), go before the last of the k strongest so far: booleans (N, C); never at or below 0."""
        value, picture = self.hits.value[:, -1], self.hits.picture[:, -1]
        return (peaks > value) | ((peaks == value) & (pictures.unsqueeze(1) < picture))

    def fold(self, rows: Tensor, hits: Hits) -> None:
        """Take hits found elsewhere of the units `rows`, (R,) int64. Their pictures must be new to those units."""
        own = Hits(self.hits.value[rows], self.hits.picture[rows], self.hits.position[rows])
        self._replace(rows, own.beside(hits).best(self.k))

    def merge(self, other: Strongest) -> None:
        """Take all of `other`, a result of the same layer over other pictures; pictures are numbered jointly."""
        self.hits = self.hits.beside(other.hits).best(self.k)
        self.seen += other.seen
        self.positive += other.positive
        self.histogram += other.histogram
        self.maximum = torch.maximum(self.maximum, other.maximum)

    def state(self) -> dict[str, Tensor]:
        """Everything that `load` needs, on the CPU."""
        tensors = {
            "value": self.hits.value,
            "picture": self.hits.picture,
            "position": self.hits.position,
            "seen": torch.tensor([self.seen]),
            "positive": self.positive,
            "histogram": self.histogram,
            "maximum": self.maximum,
        }
        return {name: tensor.cpu() for name, tensor in tensors.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state()` of the same layer and k."""
        device = self.positive.device
        value, picture, position = (state[name].to(device) for name in ("value", "picture", "position"))
        self.hits = Hits(value, picture, position)
        self.seen = int(state["seen"])
        self.positive, self.histogram, self.maximum = (
            state[name].to(device) for name in ("positive", "histogram", "maximum")
        )

    def _replace(self, rows: Tensor, hits: Hits) -> None:
        self.hits.value[rows] = hits.value
        self.hits.picture[rows] = hits.picture
        self.hits.position[rows] = hits.position


class Apart:
    """Takes the tiles of photographs for a `Strongest`, so that no two hits of a unit are one spot of a photograph.

    The tiles of one photograph are reduced together: hits of a unit are kept greedily in their order, and one is left
    out if its box and the box of one kept before share more than OVERLAP of the smaller. The box of a hit is its
    field, clipped to the tile and mapped to the photograph's own pixels. Call `settle` after a photograph's last tile.

    field: of the layer. size: (height, width) of every tile as the network sees it, in pixels.
    """

    def __init__(self, strongest: Strongest, field: Extent, size: tuple[int, int]) -> None:
        self.strongest = strongest
        self._field, self._size = field, size
        self._found: list[tuple[Tensor, ...]] = []

    def update(self, maps: Tensor, pictures: Tensor, tiles: Tensor) -> None:
        """Take the maps of some tiles of one photograph; maps, pictures and the error are those of `Strongest.update`.

        tiles: (N, 4) float64 on the CPU: top, left, height, width in the photograph's own pixels.
        """
        peaks = self.strongest.measure(maps, pictures)
        # What does not beat the last of the hits so far can neither be kept nor stand in the way of one that is.
        row, channel = self.strongest.beats(peaks.value, pictures).nonzero(as_tuple=True)
        position = peaks.position(row, channel, torch.ones_like(row, dtype=torch.bool)).cpu()
        tile = tiles[row.cpu()]
        found = (channel, peaks.value[row, channel], pictures[row])
        self._found.append((*(each.cpu() for each in found), position, self._boxes(position, tile)))

    def settle(self) -> None:
        """Choose among the tiles taken since the last call, all of one photograph, and fold the choice in."""
        if not self._found:
            return
        channel, value, picture, position, box = (torch.cat(parts) for parts in zip(*self._found, strict=True))
        self._found = []
        if not len(channel):
            return
        order = picture.argsort(stable=True)  # the least of three keys first
        order = order[value[order].argsort(stable=True, descending=True)]
        order = order[channel[order].argsort(stable=True)]
        channel, value, picture, position, box = (each[order] for each in (channel, value, picture, position, box))
        units, counts = torch.unique_consecutive(channel, return_counts=True)
        row = torch.repeat_interleave(counts)
        slot = torch.arange(len(channel)) - (counts.cumsum(0) - counts)[row]
        boxes = box.new_zeros(len(units), int(counts.max()), 4)
        boxes[row, slot] = box
        chosen, there = _greedy(boxes, torch.arange(boxes.shape[1]) < counts.unsqueeze(1), self.strongest.k)
        index = (counts.cumsum(0) - counts).unsqueeze(1) + torch.where(there, chosen, 0)
        hits = Hits(
            torch.where(there, value[index], 0),
            torch.where(there, picture[index], -1),
            torch.where(there.unsqueeze(2), position[index], -1),
        )
        device = self.strongest.positive.device
        self.strongest.fold(units.to(device), Hits(*(t.to(device) for t in (hits.value, hits.picture, hits.position))))

    def _boxes(self, position: Tensor, tile: Tensor) -> Tensor:
        """Fields in the photograph's pixels, (M, 4) float64: top, left, bottom, right."""
        ends: list[Tensor] = []
        for axis, span in enumerate((self._field.rows, self._field.columns)):
            start, stop = _interval(span, position[:, axis], self._size[axis])
            scale = tile[:, 2 + axis] / self._size[axis]
            ends += [tile[:, axis] + start * scale, tile[:, axis] + stop * scale]
        top, bottom, left, right = ends
        return torch.stack([top, left, bottom, right], 1)


def _order(value: Tensor, picture: Tensor) -> Tensor:
    """For each row, the columns in the order of hits: value descending, then picture ascending. (R, M) int64."""
    by_picture = picture.argsort(dim=1, stable=True)
    by_value = value.gather(1, by_picture).argsort(dim=1, stable=True, descending=True)
    return by_picture.gather(1, by_value)


def _interval(span: Span | None, position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First pixel and the one after the last that units see along one axis, within the picture; (M,) float64."""
    if span is None:
        whole = torch.zeros(len(position), dtype=torch.float64)
        return whole, whole + size
    start = position.to(torch.float64) * span.stride + span.start
    return start.clamp(0, size), (start + span.size).clamp(0, size)


def _greedy(boxes: Tensor, alive: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """For each unit, walk its boxes in order and keep up to k that are not in conflict with one kept before.

    boxes: (U, M, 4). alive: (U, M), which of them are there. Returns the kept columns, (U, k) int64, and which of
    those are there, (U, k) bool. Units go in step: each round keeps one box of every unit.
    """
    every = torch.arange(len(boxes))
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    chosen, there = [], []
    for _ in range(k):
        first = alive.to(torch.uint8).argmax(1)
        chosen.append(first)
        there.append(alive[every, first])
        kept = boxes[every, first].unsqueeze(1)
        inner = torch.minimum(boxes[..., 2:], kept[..., 2:]) - torch.maximum(boxes[..., :2], kept[..., :2])
        shared = inner.clamp(min=0).prod(2)
        alive = alive & ~(shared > OVERLAP * torch.minimum(area, area[every, first].unsqueeze(1)))
        alive[every, first] = False  # also where a field lies in the padding alone and so shares nothing with itself
    return torch.stack(chosen, 1), torch.stack(there, 1)
