"""Projections in float32 are those of float64: what differs beyond rounding does so because of ties within it.

The design's tolerance for float32 is a ten-thousandth of the projection's largest number. A pool that chooses another
place, or a rectifier that meets another sign, on the way up changes all that comes down: each such choice is looked at,
has to be between numbers no further apart than that, and is then made in float64 as it was made in float32.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from torch import nn

from oracles import Small, difference, small_networks
from pixelward.core import rules, sparse
from pixelward.core.project import walk
from pixelward.core.rules import resolve
from pixelward.core.trace import trace

TOLERANCE = 1e-4  # of the largest number: of a projection, or of a tensor among whose numbers was chosen
CHOOSING = (rules.MAX_POOL, rules.RECTIFIER)


class Named(nn.Module):
    """Gives the last tensor of a network a name: `last`."""

    def __init__(self, net):
        super().__init__()
        self.net, self.last = net, nn.Identity()

    def forward(self, x):
        return self.last(self.net(x) * 1)


def cast(net, dtype):
    """A copy of the network with its numbers of another type."""
    net = copy.deepcopy(net)
    for tensor in (*net.parameters(), *net.buffers()):
        tensor.data = tensor.data.to(dtype if tensor.is_floating_point() else tensor.dtype)
    return net


def planned(net, picture, table):
    found = trace(net, picture, ["last"], table)
    return found.plan, found.targets["last"]


def chosen(step):
    """What a step chose on the way up, and the numbers among which it did, in float64.

    Of a pool: flat places of maxima, and its input. Of a rectifier: where it lets a gradient through, and what is kept
    of its input, or comes out.
    """
    node = step.node
    if step.kind == rules.MAX_POOL:
        return node._saved_result1, node._saved_self.detach().double()
    numbers = node._saved_result if hasattr(node, "_saved_result") else node._saved_self
    return node(torch.ones(step.made, dtype=numbers.dtype)), numbers.detach().double()


def told_apart(one, other):
    """Between which numbers two passes chose otherwise: how far apart each pair is, (n,), and the largest number."""
    (picked, single), (others, numbers) = chosen(one), chosen(other)
    if one.kind == rules.MAX_POOL:
        flat, differ = numbers.flatten(2), (picked != others).flatten(2)
        gaps = flat.gather(2, others.flatten(2)) - flat.gather(2, picked.flatten(2))
    else:
        gaps, differ = torch.maximum(single.abs(), numbers.abs()), (picked != 0) != (others != 0)
    return gaps[differ], float(numbers.abs().max())


def in_float32(node):
    def called(*signals):
        down = node(*(signal.float() for signal in signals))
        return down.double() if isinstance(down, torch.Tensor) else tuple(p if p is None else p.double() for p in down)

    return called


def chosen_alike(exact, single):
    """The plan of float64 with the choices of float32, and how many of these were others; all of them ties."""
    steps, ties = [], 0
    for one, other in zip(single.steps, exact.steps, strict=True):
        assert one.kind == other.kind
        if other.kind in CHOOSING:
            gaps, largest = told_apart(one, other)
            assert (gaps <= TOLERANCE * largest).all(), f"{other.operation} chose among {gaps}, of {largest}"
            ties += len(gaps)
            other = replace(other, switches=one.switches, node=in_float32(one.node))
        steps.append(other)
    return replace(exact, steps=tuple(steps)), ties


def spread(picture, how):
    """A picture as drawn, or equal columns, or one colour, but for the least: rounding may order what maps hold."""
    if how == "as drawn":
        return picture
    base = picture[..., :1] if how == "columns" else picture[..., :1, :1]
    return base + picture * 2.0**-24


def compare(rows, picture, table, channel):
    single = cast(Named(Small(rows)).eval(), torch.float32)
    exact = cast(single, torch.float64)
    picture = torch.from_numpy(picture).float()
    plan, target = planned(single, picture, table)
    precise, wanted = planned(exact, picture.double(), table)
    alike, ties = chosen_alike(precise, plan)
    signal = torch.zeros(wanted.activations.shape, dtype=torch.float64)
    signal[0, channel % signal.shape[1]].flatten()[int(wanted.activations[0, channel % signal.shape[1]].argmax())] = 1
    with torch.no_grad():
        found = walk(plan, target.value, signal.float(), table)
        expected = walk(alike, wanted.value, signal, table)
        own = walk(precise, wanted.value, signal, table)
    assert found.dtype == torch.float32
    assert expected.dtype == torch.float64
    assert difference(found, expected) < TOLERANCE
    if not ties:
        assert difference(found, own) < TOLERANCE
    return ties


@settings(deadline=None, max_examples=60)
@given(
    small_networks(in_place=False),
    st.sampled_from(["as drawn", "columns", "one colour"]),
    st.sampled_from([("deconvnet", "sum"), ("deconvnet", "place"), ("guided", "sum"), ("gradient", "sum")]),
    st.integers(0, 1),
    st.booleans(),
)
def test_projections_of_float32_are_those_of_float64_but_for_ties(case, how, ways, channel, without_zeros):
    """without_zeros: every product leaves out the zeros of its signal, which else only large ones do, in float32."""
    rows, picture = case
    with patch.multiple(sparse, QUICK=without_zeros, COLUMNS=1, DENSE=1, SHARE=1):
        ties = compare(rows, spread(picture, how), resolve(*ways), channel)
    event(f"{'ties' if ties else 'no tie'}, {how}")


# What is explained, and what is not

# What a third number is above the sum of two, which is rounded before.
ABOVE = [
    ("conv", np.array([1.0, 1, 0, 0, 0, 1]).reshape(2, 3, 1, 1), np.zeros(2), 1, 0, 1, 1),
    ("conv", np.array([-1.0, 1]).reshape(1, 2, 1, 1), np.zeros(1), 1, 0, 1, 1),
]
CHOICES = {"relu": ("relu", "torch"), "max_pool2d": ("pool", 2, 2, 0, False)}
LEAST = (0.1, 0.2, 0.3)  # nothing in float32, and in float64 the same numbers of float32 leave something


def of_pixels(*pixels):
    return np.array(pixels, dtype=np.float64).reshape(1, -1, 2, 3).transpose(0, 3, 1, 2).copy()  # rows of two pixels


@pytest.mark.parametrize("name", CHOICES)
def test_choices_within_rounding_are_explained(name):
    picture = of_pixels((0, 0, 0), LEAST, (0, 0, 2 if name == "relu" else -2), (1, 1, 0))
    assert compare([*ABOVE, CHOICES[name]], picture, resolve("guided", "sum"), 0) == 1


@pytest.mark.parametrize("name", CHOICES)
def test_other_choices_are_told(name):
    table, net = resolve("guided", "sum"), Named(Small([*ABOVE, CHOICES[name]])).eval()
    picture = torch.from_numpy(of_pixels((0, 0, 0.3), (0, 0, -0.29), (0, 0, -2), (0, 0, -1)))
    (plan, _), (other, _) = planned(net, picture, table), planned(net, picture.flip(3), table)
    with pytest.raises(AssertionError, match=f"{name} chose among"):
        chosen_alike(plan, other)
