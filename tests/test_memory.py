"""Memory does not grow with the number of pictures: peaks of whole processes, as the operating system tells them."""

import json
import subprocess
import sys
import zipfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

resource = pytest.importorskip("resource")

FEW, MANY = 1_000, 10_000
PROGRAM = """
import json, resource, sys
import torch
from torch import nn
import pixelward as pw

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

torch.manual_seed(0)
torch.set_num_threads(1)
net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU()).eval()
net.preprocess = dict(channels="RGB", range=1.0, mean=[0.5] * 3, std=[0.5] * 3, resize=16, size=16)
before = peak()
atlas = pw.scan(net, sys.argv[1], sys.argv[2])
scanned = peak()
pw.draw(atlas, net)
print(json.dumps([before, scanned, peak()]))
"""


def pictures(path, number):
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for at in range(number):
            data = BytesIO()
            Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(data, "PNG")
            archive.writestr(f"{at:05d}.png", data.getvalue())
    return path


def test_ten_times_the_pictures_take_no_more_memory(tmp_path):
    found = {}
    for number in (FEW, MANY):
        source = pictures(tmp_path / f"{number}.zip", number)
        command = [sys.executable, "-c", PROGRAM, str(source), str(tmp_path / f"atlas-{number}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[number] = json.loads(done.stdout.splitlines()[-1])
    before, *few = found[FEW]
    assert before > 0
    for what, one, other in zip(("scan", "draw"), few, found[MANY][1:], strict=True):
        assert other < 1.05 * one, f"{what}: {other} against {one}, in the units of ru_maxrss"
