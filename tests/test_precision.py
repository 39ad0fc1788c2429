"""On a GPU no pass and no way down uses TF32, nor anywhere the caller's autocast; the user's own settings come back."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import pixelward as pw


@pytest.mark.parametrize(
    "before",
    [
        "pass",
        "torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False",
        "torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True",
        "torch.set_float32_matmul_precision('medium')",
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
        "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
        "torch.backends.fp32_precision = 'tf32'",
    ],
)
def test_no_pass_and_no_way_down_uses_tf32(before):
    """Each in a process of its own: torch does not take all of them back."""
    run = subprocess.run([sys.executable, "-c", PROGRAM.format(before=before)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["ieee"] * 3 * (len(run.stdout.split()) // 3) != []


def test_the_callers_autocast_changes_nothing(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3)).eval()
    net.preprocess = {"channels": "RGB", "range": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3, "resize": 16, "size": 16}
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")

    def all_of(name):
        atlas = pw.draw(pw.scan(net, tmp_path / "one.png", tmp_path / name), net)
        found = pw.project(net, tmp_path / "one.png", layer="2", channel=1, position=(3, 3))
        sheets = {file.name: file.read_bytes() for file in sorted((atlas.path / "drawings").rglob("*.webp"))}
        return np.asarray(atlas.units(atlas.layers[-1]).value), found.signal, sheets

    plain = all_of("plain")
    with torch.autocast("cpu", torch.bfloat16):
        cast = all_of("cast")
        assert torch.is_autocast_enabled("cpu")
    assert np.array_equal(plain[0], cast[0])
    assert torch.equal(plain[1], cast[1])
    assert plain[2] == cast[2]


PROGRAM = """
import torch
import pixelward as pw
from pixelward.core import precision

precision.has_gpu = lambda: True
{before}
settings = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn
before = [each.fp32_precision for each in settings]

def old_spelling():
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # torch's own, after the new spelling was used
        return None

products = old_spelling()

def note(*given):
    print(*(each.fp32_precision for each in settings))

def rule(signal, step):
    note()
    return pw.DECONVNET["convolution"](signal, step)

net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
net[0].register_forward_hook(lambda module, given, output: note())
pw.project(net, torch.rand(3, 8, 8), layer="1", channel=0, rules={{**pw.DECONVNET, "convolution": rule}})
assert [each.fp32_precision for each in settings] == before
assert old_spelling() == products
"""
