"""The response norm in its quicker form is torch's own, and it is what runs inside of a pass."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pixelward as pw
from pixelward.core import response_norm
from pixelward.core.layers import layers, observe
from pixelward.core.response_norm import local_response_norm

CLOSE = 1e-12
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def maps(number, channels, side, seed=0):
    return torch.randn(number, channels, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(
    number=st.integers(1, 5),
    channels=st.integers(1, 9),
    size=st.integers(1, 12),
    beta=st.sampled_from([0.75, 0.5, 1.3]),
    layout=st.sampled_from(LAYOUTS),
    at_once=st.sampled_from([1, 60, 300_000]),
)
def test_it_gives_and_differentiates_as_torch_does(number, channels, size, beta, layout, at_once):
    x, signal = (maps(number, channels, 3, seed).contiguous(memory_format=layout) for seed in (0, 1))
    x.requires_grad_()
    before, response_norm.NUMBERS = response_norm.NUMBERS, at_once
    try:
        made = local_response_norm(x, size, alpha=0.7, beta=beta, k=1.5)
    finally:
        response_norm.NUMBERS = before
    expected = F.local_response_norm(x, size, alpha=0.7, beta=beta, k=1.5)
    assert torch.allclose(made, expected, rtol=CLOSE, atol=CLOSE)
    assert made.stride() == expected.stride()
    down, expected_down = (torch.autograd.grad(each, x, signal)[0] for each in (made, expected))
    assert torch.allclose(down, expected_down, rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -float("inf")])
def test_what_is_not_a_number_stays_among_its_neighbours_as_with_torch(value):
    x = maps(2, 7, 3)
    x[1, 3, 1, 1] = value
    assert torch.allclose(local_response_norm(x, 3), F.local_response_norm(x, 3), rtol=CLOSE, equal_nan=True)


@pytest.mark.parametrize(
    "x",
    [maps(2, 5, 4)[:, :, 0], maps(2, 5, 4)[..., None], maps(0, 5, 4), maps(2, 5, 4).mT],
    ids=["of sequences", "of volumes", "of no picture", "turned"],
)
def test_other_tensors_are_served_too(x):
    assert torch.allclose(local_response_norm(x, 3), F.local_response_norm(x, 3))


def test_it_may_be_mapped_over():
    x = maps(2, 5, 4)
    mapped = torch.vmap(lambda each: local_response_norm(each[None], 3)[0])(x)
    assert torch.allclose(mapped, F.local_response_norm(x, 3))


def test_it_runs_in_every_pass_and_a_users_rule_finds_it_by_torchs_name(monkeypatch):
    """The network is asked for torch's function, as a module and by name; nothing of torch's own form runs."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.norm, self.two = nn.Conv2d(3, 4, 3), nn.LocalResponseNorm(3), nn.Conv2d(4, 4, 3)

        def forward(self, x):
            return self.two(F.local_response_norm(self.norm(F.relu(self.one(x))), 3))

    torch.manual_seed(0)
    net, x = Net().double().eval(), maps(1, 3, 12)
    expected, shown, met = net(x), [], []
    with monkeypatch.context() as patch:
        patch.setattr(F, "avg_pool3d", None)
        (found,) = layers(net, size=(12, 12))[-1:]
        observe(net, x, [found], lambda number, tensor: shown.append(tensor.clone()))
        twice = {F.local_response_norm: lambda signal, step: met.append(step.operation) or [signal * 2]}
        (plain,), (doubled,) = (
            pw.project(net, x, layer="two", channel=1, rules=table)
            for table in ("deconvnet", {**pw.DECONVNET, **twice})
        )
    assert torch.allclose(shown[0], expected, rtol=CLOSE)
    assert met == ["local_response_norm"] * 2
    assert torch.allclose(doubled.signal, 4 * plain.signal, rtol=CLOSE)
