"""The transpose of a convolution is torch's in every form that it is computed in, also of a signal that is nearly all
zeros."""

from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oracles import difference
from pixelward.core import rules, sparse, transposed
from pixelward.core.plan import Geometry, Step

EXACT = {torch.float32: 1e-5, torch.float64: 1e-12}  # of the largest number


def pairs(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@settings(deadline=None, max_examples=200)
@given(
    kernel=pairs(1, 6),
    stride=st.one_of(st.just((1, 1)), pairs(1, 4)),
    dilation=st.one_of(st.just((1, 1)), pairs(1, 3)),
    groups=st.sampled_from([1, 1, 2, 3]),
    channels=st.sampled_from([1, 3, 8, 9]),
    size=st.one_of(pairs(1, 5), st.just((17, 19))),  # few places and many
    margins=st.tuples(*[st.integers(-4, 2)] * 4),
    last=st.booleans(),
    few=st.booleans(),
    at_once=st.sampled_from([0, 1, 2, 4]),
    dtype=st.sampled_from(list(EXACT)),
)
def test_the_transpose_of_a_convolution_is_torchs(
    kernel, stride, dilation, groups, channels, size, margins, last, few, at_once, dtype
):
    """In whatever form it is computed, its margins added or cut. few: most numbers of the signal are zero. at_once: of
    the four signals, those whose products are made together; 0 where one is too large for it."""
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(4, 5 * groups, *size, dtype=dtype, generator=generator)
    if few:
        signal *= torch.rand(signal.shape, generator=generator) < 0.1
    weight = torch.randn(5 * groups, channels, *kernel, dtype=dtype, generator=generator)
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    whole = F.conv_transpose2d(signal.double(), weight.double(), **options)
    top, bottom, left, right = margins
    assume(whole.shape[2] + top + bottom > 0 and whole.shape[3] + left + right > 0)
    assume(-min(top, bottom) < whole.shape[2] and -min(left, right) < whole.shape[3])
    step = Step(
        rules.CONVOLUTION,
        "conv2d",
        "",
        (0,),
        (1,),
        (None,),
        (None,),
        geometry=Geometry(kernel, stride, (0, 0), dilation),
    )
    step = replace(step, weight=weight, groups=groups, margins=margins)
    lying = signal.contiguous(memory_format=torch.channels_last) if last else signal
    one = weight[0].numel() * size[0] * size[1]
    for _ in range(2):  # the second time with the forms of the weight that were kept
        with patch.object(sparse, "is_quicker", lambda *_: few), patch.object(transposed, "NUMBERS", at_once * one):
            got = transposed.transposed(lying, step)
        expected = F.pad(whole, (left, right, top, bottom))
        assert (got.shape, got.dtype) == (expected.shape, dtype)
        assert (got - expected).abs().max() <= EXACT[dtype] * whole.abs().max()


@settings(deadline=None, max_examples=200)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    width=st.integers(1, 300),  # some of a processor's registers, and what is left beside them
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    turned=st.booleans(),
    dtype=st.sampled_from(list(EXACT)),
)
def test_a_product_of_few_numbers_is_the_product(rows, columns, width, share, turned, dtype):
    """Of rows and matrices without a number, too, and of a matrix that does not lie row by row."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(rows, columns, dtype=dtype, generator=generator)
    matrix *= torch.rand(rows, columns, generator=generator) < share
    dense = torch.randn(columns, width, dtype=dtype, generator=generator)
    got = sparse.product(matrix.t().contiguous().t() if turned else matrix, dense)
    assert (got.shape, got.dtype) == ((rows, width), dtype)
    assert difference(got.double(), matrix.double() @ dense.double()) < EXACT[dtype]


def test_a_product_without_rows_has_none():
    assert sparse.product(torch.zeros(0, 4), torch.ones(4, 3)).shape == (0, 3)


def test_what_is_no_number_goes_on():
    """In the matrix; and in the other, where a number meets it."""
    nan, inf = float("nan"), float("inf")
    got = sparse.product(torch.tensor([[0, nan], [inf, 0], [0, 2.0]]), torch.ones(2, 3))
    assert got[0].isnan().all()
    assert got[1].isinf().all()
    assert (got[2] == 2).all()
    got = sparse.product(torch.tensor([[0, 2.0], [1, 0]]), torch.tensor([[nan], [1.0]]))
    assert got[0].item() == 2
    assert got[1].isnan().all()


def few(share: float, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < share)


@pytest.mark.parametrize(
    ("rows", "width", "quicker"),
    [
        (few(0.1, 900, 128), 1000, True),
        (few(0.1, 4, 15, 15, 128), 1000, True),
        (few(0.2, 900, 128), 1000, False),
        (few(0.1, 900, 128), 700, False),
        (few(0.1, 900, 127), 1000, False),
        (few(0.1, 900, 128).double(), 1000, False),
        (few(0.1, 900, 128).half(), 1000, False),
        (few(0.1, 900, 128).to("meta"), 1000, False),  # elsewhere, where looking at a number would wait
        (torch.eye(1, 256), 1000, True),  # a unit's own place
        (torch.zeros(0, 256), 1000, True),
    ],
)
def test_when_it_is_quicker(monkeypatch, rows, width, quicker):
    monkeypatch.setattr(sparse, "QUICK", True)
    assert sparse.is_quicker(rows, width) == quicker
    monkeypatch.setattr(sparse, "QUICK", False)
    assert not sparse.is_quicker(rows, width)


@pytest.mark.parametrize("number", [1, 2, 16, 64])
@pytest.mark.parametrize("side", [2, 3, 4, 7, 13, 14, 15, 16, 27, 30, 56])
@pytest.mark.parametrize("full", ["odd columns", "odd rows", "inside"])
def test_some_rows_tell_of_maps_of_any_size(monkeypatch, number, side, full):
    """They are taken in step with no size. Three of ten places are full, or more, and often all but those at the edge
    are, where steps of a map's size would look."""
    monkeypatch.setattr(sparse, "QUICK", True)
    maps = torch.zeros(number, side, side, 128)
    where = {"odd columns": maps[:, :, 1::2], "odd rows": maps[:, 1::2], "inside": maps[:, 1:, 1:]}[full]
    where.fill_(1)
    assert not sparse.is_quicker(maps, 1000)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_signal_of_few_numbers_goes_down_as_few(monkeypatch, stride):
    monkeypatch.setattr(sparse, "QUICK", True)
    weight = few(1.0, 256, 16, 5, 5)  # as many numbers as it takes
    step = Step(
        rules.CONVOLUTION, "conv2d", "", (0,), (1,), (None,), (None,), geometry=Geometry((5, 5), (stride, stride))
    )
    signal = few(0.07, 3, 256, 15, 15)
    with patch.object(sparse, "product", wraps=sparse.product) as product:
        got = transposed.transposed(signal, replace(step, weight=weight))
        assert product.call_count == 1
        transposed.transposed(few(1.0, 3, 256, 15, 15), replace(step, weight=weight))
        assert product.call_count == 1
    expected = F.conv_transpose2d(signal.double(), weight.double(), stride=stride)
    assert difference(got.double(), expected) < 1e-6


@pytest.mark.parametrize("channels", [3, 16])
def test_no_signal_gives_none(channels):
    step = Step(rules.CONVOLUTION, "conv2d", "", (0,), (1,), (None,), (None,), geometry=Geometry((3, 3), (2, 2)))
    got = transposed.transposed(torch.zeros(0, 5, 4, 4), replace(step, weight=torch.ones(5, channels, 3, 3)))
    assert got.shape == (0, channels, 9, 9)
