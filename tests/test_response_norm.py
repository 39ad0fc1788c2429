"""The response norm in its quicker form gives what torch's own does, and runs where many pictures do."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pixelward as pw
from pixelward.core import response_norm
from pixelward.core.graph import read
from pixelward.core.layers import layers, observe
from pixelward.core.project import walk
from pixelward.core.recorder import Recorder
from pixelward.core.response_norm import local_response_norm
from pixelward.core.rules import DECONVNET, GRADIENT, RESPONSE_NORM
from pixelward.core.trace import Pass, trace

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


class Net(nn.Module):
    """The norm as a module and by its name."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.norm, self.two = nn.Conv2d(3, 4, 3), nn.LocalResponseNorm(3), nn.Conv2d(4, 4, 3)
        self.double().eval()

    def forward(self, x):
        y = F.max_pool2d(F.local_response_norm(self.norm(F.relu(self.one(x))), 3), 2)
        return self.two(y)


def test_it_runs_in_the_passes_over_many_pictures_and_nowhere_else(monkeypatch):
    """A network that asks for torch's function gets it, but in a scan and in a drawing, once its first picture showed
    the same."""
    net, x, shown = Net(), maps(3, 3, 12), []
    expected = net(x)
    (found,) = layers(net, size=(12, 12))[-1:]
    recorder = Recorder(net, ["two"], DECONVNET, x[:1])
    plan = recorder.plan(x)
    switches = [step.switches for step in trace(net, x, ["two"]).plan.steps if step.switches is not None]
    assert torch.equal(next(step.switches for step in plan.steps if step.switches is not None), switches[0])
    with monkeypatch.context() as patch:
        patch.setattr(F, "avg_pool3d", None)
        recorder.plan(x)
        observe(net, x, [found], lambda number, tensor: shown.append(tensor.clone()), quick=True)
        for ask in (lambda: observe(net, x, [found], print), lambda: pw.project(net, x[:1], layer="two", channel=1)):
            with pytest.raises(pw.PixelwardError, match="NoneType"):
                ask()
    assert torch.allclose(shown[0], expected, rtol=CLOSE)
    assert torch.equal(trace(net, x, ["two"]).targets["two"].activations, expected)


def test_in_a_quick_pass_too_it_is_one_step_under_torchs_name_that_the_gradient_crosses():
    net, x = Net(), maps(1, 3, 12)
    found = {}
    with Pass(net, x, GRADIENT, quick=True) as forward:
        forward.run(lambda address, tensor: found.update({str(address): tensor}))
        top = found["two"]
        plan, numbers = read([(top.grad_fn, top.output_nr)], forward.picture, forward.notes())
    norms = [step for step in plan.steps if step.kind == RESPONSE_NORM]
    assert [(step.operation, step.function) for step in norms] == [("local_response_norm", F.local_response_norm)] * 2
    signal = maps(1, 4, 3, seed=1)
    picture = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(picture), picture, signal)
    assert torch.allclose(walk(plan, numbers[(top.grad_fn, 0)], signal, GRADIENT), expected, rtol=CLOSE, atol=CLOSE)
    several = torch.cat([signal, -2 * signal])
    assert torch.allclose(
        walk(plan, numbers[(top.grad_fn, 0)], several, GRADIENT), torch.cat([expected, -2 * expected]), atol=CLOSE
    )
