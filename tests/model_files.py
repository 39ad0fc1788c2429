"""A file of small models, what `load` reports and how it refuses. Test modules import the fixtures that they use."""

from pathlib import Path

import pytest

from pixelward.errors import PixelwardError
from pixelward.nets.load import load

MODEL = """
import torch
from torch import nn
{imports}

class Small(nn.Module):
    def __init__(self, channels=2):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x, scale=1.0):
        return self.norm(self.conv(x)) * scale

def small():
    return Small()

def wide(channels, depth):
    return Small(channels)

def number():
    return 7

class Two(Small):
    def forward(self, left, right):
        return left + right

def broken():
    raise ValueError("no\\nluck")

made = Small()
{rest}
"""
PREPROCESS = 'preprocess = dict(channels="BGR", range=255.0, mean=(104, 117, 123), std=(1, 1, 1), resize=40, size=32)'


class Lines(list):
    """What `load` reports, one string a line."""

    def __call__(self, line: str) -> None:
        assert "\n" not in line
        self.append(line)

    def having(self, words: str) -> str:
        (line,) = [line for line in self if words in line]
        return line


@pytest.fixture(name="lines")
def lines_reported() -> Lines:
    return Lines()


@pytest.fixture(name="file")
def file_of_models(tmp_path: Path) -> Path:
    path = tmp_path / "models.py"
    path.write_text(MODEL.format(imports="", rest=PREPROCESS))
    return path


def refused(model: str, **keywords: object) -> str:
    with pytest.raises(PixelwardError) as caught:
        load(model, report=Lines(), **keywords)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("given: ")
    return message
