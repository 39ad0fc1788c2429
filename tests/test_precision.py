"""On a GPU no pass and no way down uses TF32, and the user's own settings come back."""

import pytest
import torch
from torch import nn

import pixelward as pw

SETTINGS = torch.backends.cudnn, torch.backends.cuda.matmul


@pytest.mark.parametrize("before", [True, False])
def test_no_pass_and_no_way_down_uses_tf32(monkeypatch, before):
    seen = []

    def note(*given):
        seen.append([each.allow_tf32 for each in SETTINGS])

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    net[0].register_forward_hook(lambda module, given, output: note())
    monkeypatch.setattr("pixelward.core.precision.has_gpu", lambda: True)
    old = [each.allow_tf32 for each in SETTINGS]
    for each in SETTINGS:
        each.allow_tf32 = before

    def rule(signal, step):
        note()
        return pw.DECONVNET["convolution"](signal, step)

    try:
        pw.project(net, torch.rand(3, 8, 8), layer="1", channel=0, rules={**pw.DECONVNET, "convolution": rule})
        assert [each.allow_tf32 for each in SETTINGS] == [before, before]
    finally:
        for each, setting in zip(SETTINGS, old, strict=True):
            each.allow_tf32 = setting
    assert len(seen) >= 2
    assert not any(any(each) for each in seen)
