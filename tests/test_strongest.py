"""The k strongest hits and the statistics equal what sorting everything gives, however the stream is cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelward.core.fields import Extent, Span
from pixelward.core.strongest import Apart, Hits, NotFiniteError, Strongest, histogram_edges

SIZES = {"pictures": st.integers(1, 12), "side": st.integers(1, 4), "seed": st.integers(0, 9999)}


def sorted_hits(maps: dict[int, np.ndarray], k: int) -> list[list[tuple[float, int, int, int]]]:
    """Of each unit the first k of all hits: (value, picture, y, x). maps: (C, h, w) by picture."""
    units = next(iter(maps.values())).shape[0]
    found: list[list[tuple[float, int, int, int]]] = []
    for unit in range(units):
        one_a_picture = []
        for picture, each in maps.items():
            places = [(-value, picture, y, x) for (y, x), value in np.ndenumerate(each[unit])]
            one_a_picture.append(min(places))
        found.append([(-v, p, y, x) for v, p, y, x in sorted(one_a_picture)[:k] if v < 0])
    return found


def as_lists(hits: Hits) -> list[list[tuple[float, int, int, int]]]:
    """Hits as plain numbers; checks that missing ones stand last and are marked as missing."""
    found = []
    for value, picture, position in zip(
        hits.value.tolist(), hits.picture.tolist(), hits.position.tolist(), strict=True
    ):
        rows = [(v, p, y, x) for v, p, (y, x) in zip(value, picture, position, strict=True)]
        there = [row for row in rows if row[1] >= 0]
        assert rows[len(there) :] == [(0.0, -1, -1, -1)] * (len(rows) - len(there))
        found.append(there)
    return found


def whole_numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Small whole numbers, so that there are many ties."""
    return rng.integers(-2, 4, shape).astype(np.float32)


def fed(maps: dict[int, np.ndarray], k: int, rng: np.random.Generator) -> Strongest:
    """A result of all pictures in any order, in batches of any size that lie in memory in one way or the other."""
    reducer = Strongest(next(iter(maps.values())).shape[0], k)
    order = rng.permutation(list(maps))
    while len(order):
        batch, order = np.split(order, [rng.integers(1, 6)])
        stacked = torch.tensor(np.stack([maps[id] for id in batch]))
        layout = torch.channels_last if rng.integers(2) else torch.contiguous_format
        reducer.update(stacked.contiguous(memory_format=layout), torch.tensor(batch))
    return reducer


@contextmanager
def far_away() -> Iterator[None]:
    """As on a device that is waited for when a number of it is looked at."""
    with (
        patch("pixelward.core.strongest.is_near", lambda device: False),
        patch("pixelward.core.peaks.is_near", lambda device: False),
    ):
        yield


@settings(deadline=None, max_examples=60)
@given(**SIZES, k=st.integers(1, 5))
def test_any_order_and_any_batches_give_the_first_k_of_all_hits_sorted(pictures, side, seed, k):
    rng = np.random.default_rng(seed)
    maps = {id: whole_numbers(rng, 3, side, side + 1) for id in rng.permutation(40)[:pictures].tolist()}
    assert as_lists(fed(maps, k, rng).hits) == sorted_hits(maps, k)


@settings(deadline=None, max_examples=40)
@given(**SIZES, k=st.integers(1, 5))
def test_the_way_of_a_gpu_gives_the_same_of_everything(pictures, side, seed, k):
    rng = np.random.default_rng(seed)
    maps = {id: whole_numbers(rng, 3, side, side + 1) for id in rng.permutation(40)[:pictures].tolist()}
    near = fed(maps, k, rng).state()
    with far_away():
        far = fed(maps, k, rng).state()
    assert near.keys() == far.keys()
    for name, tensor in near.items():
        assert torch.equal(tensor, far[name]), name


@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (4, 3)])
def test_nothing_is_looked_at_on_a_gpu_before_the_end(shape):
    """Numbers on torch's `meta` device cannot be looked at, and what depends on them fails."""
    reducer = Strongest(3, 2, "meta")
    for start in (0, 4):
        reducer.update(torch.empty(shape, device="meta"), torch.arange(start, start + 4, device="meta"))
    assert reducer.seen == 8
    with pytest.raises(RuntimeError):
        reducer.refuse_broken()


@settings(deadline=None, max_examples=40)
@given(**SIZES, k=st.integers(1, 5))
def test_partial_results_merge_into_the_whole_in_any_grouping(pictures, side, seed, k):
    rng = np.random.default_rng(seed)
    maps = {id: whole_numbers(rng, 3, side, side) for id in range(pictures + 2)}
    cuts = np.array_split(rng.permutation(list(maps)), 3)
    parts = [[fed({int(id): maps[int(id)] for id in cut} or {99: maps[0] * 0}, k, rng) for cut in cuts] for _ in "ab"]
    left, right = parts
    left[0].merge(left[1])
    left[0].merge(left[2])
    right[1].merge(right[2])
    right[1].merge(right[0])
    whole = sorted_hits(maps, k)
    assert as_lists(left[0].hits) == as_lists(right[1].hits) == whole
    for name, tensor in left[0].state().items():
        assert torch.equal(tensor, right[1].state()[name]), name


def test_of_equal_values_the_earlier_picture_goes_first_then_the_upper_then_the_left_place():
    reducer = Strongest(1, 2)
    late = torch.tensor([[[[0.0, 5.0], [5.0, 0.0]]]])
    reducer.update(late, torch.tensor([7]))
    reducer.update(late.mT.flip(2), torch.tensor([3]))  # [[5, 0], [0, 5]]
    reducer.update(late, torch.tensor([9]))
    assert as_lists(reducer.hits) == [[(5.0, 3, 0, 0), (5.0, 7, 0, 1)]]


def test_a_unit_that_is_never_above_zero_is_dead():
    reducer = Strongest(2, 3)
    reducer.update(torch.tensor([[[[-1.0]], [[0.0]]]]), torch.tensor([0]))
    assert as_lists(reducer.hits) == [[], []]
    assert reducer.positive.tolist() == [0, 0]
    assert reducer.maximum.tolist() == [-1.0, 0.0]


def test_a_vector_layer_has_one_place():
    reducer = Strongest(2, 2)
    reducer.update(torch.tensor([[1.0, 2.0], [3.0, -1.0]]), torch.tensor([0, 1]))
    assert as_lists(reducer.hits) == [[(3.0, 1, 0, 0), (1.0, 0, 0, 0)], [(2.0, 0, 0, 0)]]


def test_memory_layout_makes_no_difference():
    maps = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    plain, other = Strongest(3, 2), Strongest(3, 2)
    plain.update(maps, torch.arange(4))
    other.update(maps.contiguous(memory_format=torch.channels_last), torch.arange(4))
    assert as_lists(plain.hits) == as_lists(other.hits)


def test_a_result_goes_on_from_its_state():
    rng = np.random.default_rng(1)
    maps = torch.tensor(whole_numbers(rng, 8, 3, 4, 4))
    whole, first, second = (Strongest(3, 4) for _ in range(3))
    whole.update(maps, torch.arange(8))
    first.update(maps[:5], torch.arange(5))
    second.load(first.state())
    second.update(maps[5:], torch.arange(5, 8))
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, second.state()[name]), name


# Statistics


def test_edges_are_half_octaves_from_two_to_the_minus_twenty_to_two_to_the_twenty():
    edges = histogram_edges()
    assert edges.dtype == torch.float32
    assert len(edges) == 81
    assert (edges[0].item(), edges[40].item(), edges[80].item()) == (2.0**-20, 1.0, 2.0**20)
    np.testing.assert_array_equal(edges.numpy(), np.exp2(np.arange(-40, 41) / 2.0).astype(np.float32))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 9999))
def test_statistics_equal_numpy(seed):
    rng = np.random.default_rng(seed)
    edges = np.exp2(np.arange(-40, 41) / 2.0).astype(np.float32)
    maps = (rng.choice([-1, 1, 1], (15, 4, 3, 3)) * np.exp2(rng.uniform(-24, 24, (15, 4, 3, 3)))).astype(np.float32)
    maps[:, 1] = rng.choice(edges, (15, 3, 3))  # right on the edges
    maps[:, 2] *= 0
    reducer = Strongest(4, 2)
    for start in range(0, 15, 4):
        reducer.update(torch.tensor(maps[start : start + 4]), torch.arange(15)[start : start + 4])
    peaks = maps.max((2, 3))
    assert reducer.seen == 15
    np.testing.assert_array_equal(reducer.positive, (peaks > 0).sum(0))
    np.testing.assert_array_equal(reducer.maximum, peaks.max(0))
    bins = np.concatenate([[0], edges, [np.inf]])
    for unit in range(4):
        above = peaks[peaks[:, unit] > 0, unit]
        counts = [((low <= above) & (above < high)).sum() for low, high in pairwise(bins)]
        np.testing.assert_array_equal(reducer.histogram[unit], counts)


# Values that are no numbers


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_found_wherever_they_are_and_nothing_is_counted(value):
    maps = torch.ones(4, 3, 5, 5)
    maps[2, 1, 3, 4] = maps[3, 0, 0, 0] = value
    reducer = Strongest(3, 2)
    before = {name: tensor.clone() for name, tensor in reducer.state().items()}
    with pytest.raises(NotFiniteError, match="NaN or infinity in the maps of picture 2") as caught:
        reducer.update(maps, torch.arange(4))
    assert caught.value.picture == 2
    for name, tensor in reducer.state().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_on_a_gpu_nan_and_infinity_are_told_when_asked_for(value):
    maps = torch.ones(4, 3, 5, 5)
    maps[2, 1, 3, 4] = maps[3, 0, 0, 0] = value
    with far_away():
        reducer = Strongest(3, 2)
        reducer.update(torch.ones(2, 3, 5, 5), torch.arange(2))
        reducer.refuse_broken()
        reducer.update(maps, torch.arange(20, 24))
        reducer.update(torch.ones(2, 3, 5, 5), torch.arange(30, 32))
    with pytest.raises(NotFiniteError, match="picture 22"):
        reducer.refuse_broken()


def test_large_numbers_whose_sum_overflows_are_no_error():
    reducer = Strongest(1, 1)
    reducer.update(torch.full((2, 1, 4, 4), 3e38), torch.arange(2))
    assert reducer.hits.picture.tolist() == [[0]]


# Tiles of photographs


def slow_apart(photographs, field, size, k):
    """Every tile's hit, walked in order within its photograph; then the first k over all of them.

    photographs: lists of (id, tile box, map (C, h, w)). Exact fractions throughout.
    """

    def box(y, x, tile):
        ends = []
        for at, span, start, length in ((y, field.rows, *tile[0::2]), (x, field.columns, *tile[1::2])):
            first, stop = (0, size) if span is None else (at * span.stride + span.start, 0)
            stop = stop or first + span.size
            scale = Fraction(length, size)
            ends.append((start + min(max(first, 0), size) * scale, start + min(max(stop, 0), size) * scale))
        return ends

    def in_conflict(one, other):
        shared, smaller = 1, min(np.prod([b - a for a, b in one]), np.prod([b - a for a, b in other]))
        for (a, b), (c, d) in zip(one, other, strict=True):
            shared *= max(min(b, d) - max(a, c), 0)
        return shared > Fraction(1, 4) * smaller

    units = photographs[0][0][2].shape[0]
    result = []
    for unit in range(units):
        kept_in_all = []
        for tiles in photographs:
            hits = []
            for id, tile, maps in tiles:
                (hit,) = sorted_hits({id: maps[unit : unit + 1]}, 1)
                hits += [(-v, p, y, x, tile) for v, p, y, x in hit]
            kept = []
            for hit in sorted(hits):
                here = box(*hit[2:4], hit[4])
                if not any(in_conflict(here, box(*other[2:4], other[4])) for other in kept):
                    kept.append(hit)
            kept_in_all += kept
        result.append([(-v, p, y, x) for v, p, y, x, _ in sorted(kept_in_all)[:k]])
    return result


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 9999),
    k=st.integers(1, 4),
    span=st.sampled_from([None, Span(2, -1, 3), Span(2, 0, 2), Span(2, -9, 2), Span(2, -3, 8)]),
    both=st.booleans(),
)
def test_hits_of_one_photograph_lie_apart_as_a_slow_walk_has_them(seed, k, span, both):
    rng = np.random.default_rng(seed)
    field = Extent(span, span if both else Span(2, -1, 4))
    size, photographs, ids = 8, [], iter(range(99))
    for _ in range(rng.integers(1, 4)):
        tiles = []
        for _ in range(rng.integers(1, 7)):
            length = int(rng.choice([8, 12, 16]))
            box = (int(rng.integers(0, 9)), int(rng.integers(0, 9)), length, length)
            tiles.append((next(ids), box, whole_numbers(rng, 2, 4, 4)))
        photographs.append(tiles)
    apart = Apart(Strongest(2, k), field, (size, size))
    for tiles in photographs:
        start = 0
        while start < len(tiles):  # a photograph's tiles come in any number of batches
            some = tiles[start : start + int(rng.integers(1, 4))]
            start += len(some)
            apart.update(
                torch.tensor(np.stack([maps for _, _, maps in some])),
                torch.tensor([id for id, _, _ in some]),
                torch.tensor([box for _, box, _ in some], dtype=torch.float64),
            )
        apart.settle()
    assert as_lists(apart.strongest.hits) == slow_apart(photographs, field, size, k)
    assert apart.strongest.seen == sum(map(len, photographs))


def test_hits_that_share_a_quarter_are_kept_and_more_than_a_quarter_are_not():
    field = Extent(None, None)  # the whole tile
    for left, kept in ((6, [0, 1]), (5, [0])):  # tiles 8 wide: 2 and 3 of 8 columns shared
        apart = Apart(Strongest(1, 2), field, (8, 8))
        boxes = torch.tensor([[0, 0, 8, 8], [0, left, 8, 8]], dtype=torch.float64)
        apart.update(torch.tensor([[[[2.0]]], [[[1.0]]]]), torch.tensor([0, 1]), boxes)
        apart.settle()
        assert [id for id in apart.strongest.hits.picture[0].tolist() if id >= 0] == kept
