"""On a GPU no pass and no way down uses TF32, and the user's own settings come back, in either of torch's spellings."""

import subprocess
import sys

import pytest


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
