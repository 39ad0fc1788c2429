"""Law 9: fields and reaches hold what brute force finds, and are no larger where they need not be."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brute_fields import arrivals, changes, hull, one_thread, picture_of, places, positive, signed, within
from field_graphs import GLOBAL, GRAPHS, INNER, TIGHT
from oracles import difference
from pixelward.core.fields import Box, Extent, Span
from pixelward.core.layers import find_layers
from pixelward.core.project import Unit, project_units
from pixelward.core.rules import RULE_SETS
from random_graphs import random_graphs

EXACT = 1e-10
small = settings(deadline=None, max_examples=25)
every_graph = pytest.mark.parametrize("name", list(GRAPHS))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def boxes(net, picture, chosen):
    """Field and reach of the layer `last` at each chosen place."""
    (layer,) = find_layers(net, ["last"], size=tuple(picture.shape[2:]), channels=picture.shape[1])
    size = tuple(picture.shape[2:])
    return [(layer.field.box(place, size), layer.reach.box(place, size)) for place in chosen]


def edges(box, axis):
    return box[axis], box[axis] + box[axis + 2]


def compare(box, found, expected, size):
    """Words for what is wrong with a box, given the hull of what brute force found (None: nothing), per axis."""
    clipped = hull(within(box, size))
    if found is None or clipped is None:
        return "" if found is None and (clipped is None or TIGHT not in expected) else "one of them is empty"
    wrong = []
    for axis, word in enumerate(expected):
        (start, stop), (first, last) = edges(clipped, axis), edges(found, axis)
        if first < start or last > stop:
            wrong.append(f"axis {axis}: brute force finds {first}:{last} outside {start}:{stop}")
        loose_start, loose_stop = start != first, stop != last
        if word == INNER:
            loose_start &= edges(box, axis)[0] >= 0
            loose_stop &= edges(box, axis)[1] <= size[axis]
        if word in (TIGHT, INNER, GLOBAL) and (loose_start or loose_stop):
            wrong.append(f"axis {axis}: brute force finds {first}:{last} only, in {start}:{stop}")
        if word == GLOBAL and (start, stop) != (0, size[axis]):
            wrong.append(f"axis {axis}: {start}:{stop} is not the whole picture")
    return "; ".join(wrong)


def check(net, picture, field, reach):
    """Every place of a grid: the boxes of a network of positive weights against brute force."""
    chosen, size = places(net, picture), tuple(picture.shape[2:])
    moved, reached = changes(net, picture), arrivals(net, picture, chosen)
    wrong = []
    for place, (own_field, own_reach), arrived in zip(chosen, boxes(net, picture, chosen), reached, strict=True):
        for what, box, mask, expected in (
            ("field", own_field, moved[(..., *place)], field),
            ("reach", own_reach, arrived, reach),
        ):
            said = compare(box, hull(mask), expected, size)
            wrong += [f"{what} at {place}: {box}: {said}"] if said else []
    assert not wrong, "\n" + "\n".join(wrong)


def check_safe(net, picture, seed):
    """The same for weights of any sign, where only nothing outside may matter."""
    chosen, size = places(net, picture), tuple(picture.shape[2:])
    moved = changes(net, picture)
    reached = arrivals(net, picture, chosen, seed=seed)
    for place, (field, reach), arrived in zip(chosen, boxes(net, picture, chosen), reached, strict=True):
        assert not (moved[(..., *place)] & ~within(field, size)).any(), f"field at {place}: {field}"
        assert not (arrived & ~within(reach, size)).any(), f"reach at {place}: {reach}"


@every_graph
def test_boxes_are_as_exact_as_the_table_says(name):
    graph = GRAPHS[name]
    check(positive(graph.build()), picture_of(graph.size), graph.field, graph.reach)


@every_graph
def test_nothing_outside_matters_with_weights_of_any_sign(name):
    graph = GRAPHS[name]
    check_safe(signed(graph.build(), 3), picture_of(graph.size, seed=1), seed=2)


@every_graph
def test_pixels_outside_the_field_change_neither_value_nor_projection(name):
    graph = GRAPHS[name]
    net, picture = signed(graph.build(), 5), picture_of(graph.size, seed=3)
    other = picture_of(graph.size, seed=4) * 100
    for place in places(net, picture):
        (unit,) = project_units(net, picture, "last", [Unit(0, 1, place)])
        outside = ~within(unit.field, graph.size)
        (after,) = project_units(net, torch.where(outside, other, picture), "last", [Unit(0, 1, place)])
        assert after.value == pytest.approx(unit.value, rel=EXACT, abs=1e-12)
        assert difference(after.signal, unit.signal) < EXACT
        assert not unit.signal[:, ~within(unit.reach, graph.size)].any()


@every_graph
def test_layers_and_projections_tell_the_same_boxes(name):
    graph = GRAPHS[name]
    net, picture = positive(graph.build()), picture_of(graph.size)
    (layer,) = find_layers(net, ["last"], size=graph.size, channels=2)
    chosen = places(net, picture)
    for place, (field, reach) in zip(chosen, boxes(net, picture, chosen), strict=True):
        (unit,) = project_units(net, picture, "last", [Unit(0, 0, place)])
        assert (unit.position, unit.field, unit.reach) == (place, field, reach)
        assert hull(within(reach, graph.size) & ~within(field, graph.size)) is None, "a reach leaves its field"
    if layer.field.is_global:
        assert layer.stride is None
    elif layer.field.is_even:  # paths of two strides have no common one
        (here, _), (there, _) = boxes(net, picture, [(0, 0), (1, 1)])
        assert layer.stride == (there.top - here.top, there.left - here.left)


@every_graph
@pytest.mark.parametrize("rules", sorted(set(RULE_SETS) - {"deconvnet"}))
def test_signals_of_the_other_rule_sets_stay_in_their_reach(name, rules):
    graph = GRAPHS[name]
    net, picture = signed(graph.build(), 7), picture_of(graph.size, seed=5)
    chosen = places(net, picture)
    fields = [field for field, _ in boxes(net, picture, chosen)]
    for place, field in zip(chosen, fields, strict=True):
        (unit,) = project_units(net, picture, "last", [Unit(0, 2, place)], rules=rules, seed="one")
        assert unit.field == field
        assert unit.reach == field, (
            "autograd's signal crosses gates and statistics, so it arrives wherever pixels matter"
        )
        assert not unit.signal[:, ~within(unit.reach, graph.size)].any()


@small
@given(random_graphs(), st.integers(0, 9))
def test_nothing_outside_matters_in_random_networks(graph, seed):
    check_safe(signed(graph.build(), seed), picture_of(graph.size, seed=seed), seed)


@small
@given(random_graphs(exact=True))
def test_boxes_of_random_networks_are_as_exact_as_their_steps(graph):
    check(positive(graph.build()), picture_of(graph.size), graph.field, graph.reach)


def test_where_two_strides_meet_the_box_holds_both_paths_and_no_more():
    net, picture = GRAPHS["two strides that meet"].build(), picture_of((17, 17))
    for place, (field, reach) in zip(chosen := places(net.double(), picture), boxes(net, picture, chosen), strict=True):
        (top, bottom), (left, right) = ((min(2 * i - 5, i), max(2 * i + 5, i + 8)) for i in place)
        assert field == reach == Box(top, left, bottom + 1 - top, right + 1 - left)


def test_a_box_is_arithmetic_and_leaves_the_picture():
    extent = Extent(Span(stride=4, start=-3, size=11), Span(stride=2, start=0, size=5))
    assert extent.box((0, 0), (20, 30)) == Box(-3, 0, 11, 5)
    assert extent.box((5, 14), (20, 30)) == Box(17, 28, 11, 5)
    assert Extent(None, Span(1, -1, 3)).box((4, 0), (20, 30)) == Box(0, -1, 20, 3)
    assert Extent(None, None).box((), (20, 30)) == Box(0, 0, 20, 30)
    assert not extent.is_global
    assert Extent(None, Span(1, -1, 3)).is_global
