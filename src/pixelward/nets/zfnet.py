"""ZFNet, the network of Zeiler & Fergus (2013, figure 3), and its small sister for 64x64 pictures.

Both are tables of layers turned into one `nn.Sequential`: convolution, ReLU, max-pool,
normalisation across maps, linear. The paper states no paddings; these are the ones that
give its map sizes 110, 55, 26, 13, 6 (the pools round up).
"""

from __future__ import annotations

import copy
import json
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from pixelward.errors import PixelwardError

# float16, keys conv1.weight ... fc8.bias; beside it a .json record of data, recipe, accuracy and preprocessing.
WEIGHTS = Path(__file__).with_name("zfnet64.safetensors")


@dataclass(frozen=True)
class Convolution:
    """One convolutional layer: convolution, ReLU, then perhaps a 3x3/2 max-pool and a normalisation."""

    maps: int
    kernel: int
    stride: int
    padding: int
    pool: bool = False
    norm: bool = False


@dataclass(frozen=True)
class Architecture:
    """A whole network as data. `size` is the side of its input in pixels."""

    size: int
    classes: int
    convolutions: tuple[Convolution, ...]
    linear: tuple[int, ...]


ZFNET = Architecture(
    size=224,
    classes=1000,
    convolutions=(
        Convolution(96, kernel=7, stride=2, padding=1, pool=True, norm=True),
        Convolution(256, kernel=5, stride=2, padding=0, pool=True, norm=True),
        Convolution(384, kernel=3, stride=1, padding=1),
        Convolution(384, kernel=3, stride=1, padding=1),
        Convolution(256, kernel=3, stride=1, padding=1, pool=True),
    ),
    linear=(4096, 4096),
)
ZFNET64 = Architecture(
    size=64,
    classes=100,
    convolutions=(
        Convolution(48, kernel=7, stride=2, padding=3, pool=True, norm=True),
        Convolution(128, kernel=5, stride=1, padding=2, pool=True, norm=True),
        Convolution(192, kernel=3, stride=1, padding=1),
        Convolution(192, kernel=3, stride=1, padding=1),
        Convolution(128, kernel=3, stride=1, padding=1, pool=True),
    ),
    linear=(512, 512),
)


def build(architecture: Architecture, *, batch_norm: bool = False, dropout: float = 0.5) -> nn.Sequential:
    """The network of a table, freshly initialised, in training mode.

    Modules are named as the paper numbers its layers: conv1 relu1 pool1 norm1 ... fc6 relu6 drop6 ... fc8.
    batch_norm: put one after every convolution (bn1, ...), for training only; `fold_batch_norm` removes it.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, side = 3, architecture.size
    for number, row in enumerate(architecture.convolutions, start=1):
        layers[f"conv{number}"] = nn.Conv2d(
            channels, row.maps, row.kernel, row.stride, row.padding, bias=not batch_norm
        )
        if batch_norm:
            layers[f"bn{number}"] = nn.BatchNorm2d(row.maps)
        layers[f"relu{number}"] = nn.ReLU()
        channels, side = row.maps, (side + 2 * row.padding - row.kernel) // row.stride + 1
        if row.pool:
            layers[f"pool{number}"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
            side = -(-(side - 3) // 2) + 1
        if row.norm:
            # Krizhevsky's constants; torch divides alpha by the size, so his 1e-4 is 5e-4 here.
            layers[f"norm{number}"] = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    layers["flatten"] = nn.Flatten()
    features = channels * side * side
    number = len(architecture.convolutions) + 1
    for width in architecture.linear:
        layers[f"fc{number}"] = nn.Linear(features, width)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"drop{number}"] = nn.Dropout(dropout)
        features, number = width, number + 1
    layers[f"fc{number}"] = nn.Linear(features, architecture.classes)
    return nn.Sequential(layers)


def zfnet() -> nn.Sequential:
    """The paper's network for 224x224 pictures, untrained, in evaluation mode (PAPER C1: 62,357,608 parameters)."""
    return build(ZFNET).eval()


def zfnet64() -> nn.Sequential:
    """The trained network of this package for 64x64 pictures, float32, in evaluation mode.

    Its `preprocess` is a dict of how a picture becomes its input, its `classes` are their names. Raises
    PixelwardError where the package came without its weights.
    """
    from safetensors.torch import load_file

    if not WEIGHTS.exists():
        raise PixelwardError(
            given=f"an installation without {WEIGHTS.name}",
            allowed="a package that holds its trained weights",
            next_step="install pixelward again, or name other weights with --weights",
        )
    net = build(ZFNET64).eval()
    net.load_state_dict(load_file(WEIGHTS))  # float16 in the file, widened as it is copied
    record = json.loads(WEIGHTS.with_suffix(".json").read_text("utf-8"))
    vars(net)["preprocess"] = record["preprocess"]
    vars(net)["classes"] = tuple(record.get("names", ()))
    return net


def fold_batch_norm(net: nn.Sequential) -> nn.Sequential:
    """A copy without batch norm that computes the same function as `net` in evaluation mode; `net` stays as it is.

    Every batch norm must follow a convolution directly; its scale and shift are moved into it.
    """
    net = copy.deepcopy(net).eval()
    folded: OrderedDict[str, nn.Module] = OrderedDict()
    previous = ""
    for name, layer in net.named_children():
        if isinstance(layer, nn.BatchNorm2d):
            folded[previous] = _fold(folded[previous], layer)
            continue
        folded[name] = layer
        previous = name
    return nn.Sequential(folded).eval()


def _fold(convolution: nn.Module, norm: nn.BatchNorm2d) -> nn.Conv2d:
    if not isinstance(convolution, nn.Conv2d):
        raise TypeError(f"batch norm after {type(convolution).__name__}; only one after a convolution can be folded")
    return torch.nn.utils.fuse_conv_bn_eval(convolution, norm)
