"""Windows cut at the picture's edges: no place inside is lost, and every hit of a layer is in a run of its own."""

import itertools
import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import pixelward as pw
from oracles import difference
from pixelward.core import projector as projecting
from pixelward.core.descent import Descent
from pixelward.core.fields import Extent, Span
from pixelward.core.plan import MAPS, Plan, Value
from pixelward.core.projector import Chosen, Projector
from pixelward.core.regions import FINE, Regions
from pixelward.core.trace import trace

spans = st.builds(Span, st.integers(1, 8), st.integers(-40, 8), st.integers(1, 80))


@given(
    st.tuples(spans, spans),
    st.tuples(st.integers(1, 3 * FINE), st.integers(1, 3)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_a_cut_window_holds_all_that_its_hits_reach_of_the_picture(spans, size, picture):
    reach = Extent(*spans)
    found = Regions(size, reach, picture)
    places = torch.tensor(list(itertools.product(*map(range, size))))
    numbers = found.of(places)
    plan = Plan((Value((1, 3, *picture), torch.float64, MAPS),), ())
    for place, number in zip(places.tolist(), numbers.tolist(), strict=True):
        box, cut = (e.box(tuple(place), picture) for e in (reach, found.cut(number, {0: reach}, plan)[0]))
        for axis in (0, 1):
            inside = set(range(box[axis], box[axis] + box[axis + 2])) & set(range(picture[axis]))
            kept = set(range(cut[axis], cut[axis] + cut[axis + 2]))
            assert inside <= kept
            assert kept <= set(range(box[axis], box[axis] + box[axis + 2]))
            assert cut[axis + 2] >= 1


def net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 6, 5, 1, 2), nn.ReLU()]
    return nn.Sequential(*layers).double().eval()


def test_hits_at_the_border_go_down_in_smaller_windows():
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    traced = trace(net(), x, ["4"])
    descent = Descent(traced.plan, traced.targets["4"])
    corner, middle = torch.tensor([[0, 0]]), torch.tensor([[4, 4]])
    zero = torch.zeros(1, dtype=torch.int64)
    sizes = [descent.project(traced.plan, zero, place, zero)[1][0][2:] for place in (corner, middle)]
    assert math.prod(sizes[0]) < 0.7 * math.prod(sizes[1])
    both = torch.cat([corner, middle])
    assert len(set(descent.regions(both).tolist())) == 2
    assert {box[2:] for box in descent.project(traced.plan, zero.repeat(2), both, zero.repeat(2))[1]} == {sizes[1]}


def test_every_hit_goes_down_once_in_full_batches_of_its_region_or_with_what_is_left(monkeypatch):
    """Hits of all places of the map, some places several times; each as from a trace of its picture."""
    monkeypatch.setattr(projecting, "MOST", 4)
    pictures = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    places = torch.tensor([place for place in itertools.product(range(8), range(8)) for _ in range(1 + place[0] // 4)])
    channels = torch.arange(len(places)) % 6
    owners = torch.arange(len(places)) % 3
    chosen = Chosen(channels, places, owners, torch.ones(len(places), dtype=torch.float64))
    found = list(Projector(net(), ["4"]).project(pictures, {"4": chosen}))
    assert sorted(torch.cat([sent.rows for sent in found]).tolist()) == list(range(len(places)))
    assert len({sent.signals.shape[1:] for sent in found}) == 9  # nine regions; what is left of all goes as the middle
    assert all(len(sent.rows) <= 4 for sent in found)
    for sent in found:
        for row, signal, box in zip(sent.rows.tolist(), sent.signals, sent.boxes, strict=True):
            channel, place, owner = int(channels[row]), tuple(places[row].tolist()), int(owners[row])
            (one,) = pw.project(
                net(), pictures[owner : owner + 1], layer="4", channel=channel, position=place, seed="one"
            )
            whole = torch.zeros(3, 232, 232)
            whole[:, 100 + box.top :, 100 + box.left :][:, : box.height, : box.width] = signal
            assert difference(whole[:, 100:-100, 100:-100], one.signal.float()) < 1e-6
            whole[:, 100:-100, 100:-100] = 0
            assert not whole.any()


def test_a_bound_on_memory_measures_whole_windows_for_hits_of_all_regions(monkeypatch):
    measured = []

    def taken(run, device):
        found = run()
        measured.append(found[0].shape[2:].numel() if isinstance(found, tuple) else 1)
        return measured[-1]

    monkeypatch.setattr(projecting, "taken", taken)
    places = torch.tensor([[0, 0], [7, 7]])
    zeros = torch.zeros(2, dtype=torch.int64)
    chosen = Chosen(zeros, places, zeros, torch.ones(2, dtype=torch.float64))
    list(Projector(net(), ["4"], memory=1e4).project(torch.randn(1, 3, 32, 32, dtype=torch.float64), {"4": chosen}))
    one, two, all_together = measured[1::2]
    assert measured[2::2] == [one, two, all_together]  # once more, as signals of few numbers
    assert max(one, two) < all_together == 25 * 25


def test_a_map_whose_windows_lie_in_the_picture_is_one_region():
    found = Regions((20, 20), Extent(Span(4, -3, 7), Span(4, -3, 7)), (80, 80))
    assert set(found.of(torch.tensor([[0, 0], [19, 19], [7, 12]])).tolist()) == {0}
