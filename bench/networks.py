"""The networks that are measured, each the same every time, in float32 and evaluation mode."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from bench.pictures import shared
from pixelward.data.images import IMAGENET, Preprocess
from pixelward.nets.zfnet import zfnet
from zoo.networks import redraw
from zoo.vision import torchvision


class Network(NamedTuple):
    """name: on the command line. title, weights: for a reader. make: raises `Absent` where it is not to be had."""

    name: str
    title: str
    weights: str
    make: Callable[[], nn.Module]


class Absent(Exception):
    """A network that is not there, and why."""


def preprocess_of(net: nn.Module) -> Preprocess:
    plain = vars(net).get("preprocess")
    return IMAGENET if plain is None else Preprocess.from_dict(plain)


def without_response_norms(net: nn.Module) -> nn.Module:
    """A copy in which they do nothing: there Captum and the deconvnet mean the same.

    Captum differentiates them, the deconvnet passes them by; that is a choice, and no mistake of either.
    """
    net = copy.deepcopy(net)
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.LocalResponseNorm):
            owner, _, own = name.rpartition(".")
            setattr(net.get_submodule(owner), own, nn.Identity())
    return net


def _zfnet() -> nn.Module:
    torch.manual_seed(0)
    return _prepared(zfnet())


def _torchvision(name: str) -> nn.Module:
    try:
        package = torchvision()
    except ImportError as error:
        raise Absent(f"needs torchvision, which `make bench` installs ({error})") from error
    torch.manual_seed(0)
    net = package.models.get_model(name, weights=None).eval()
    redraw(net)
    return _prepared(net)


def _googlenet() -> nn.Module:
    for folder in shared():
        file, weights = folder / "googlenet.py", folder / "googlenet.safetensors"
        if file.exists() and weights.exists():
            spec = importlib.util.spec_from_file_location("bench_googlenet", file)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            net: nn.Module = module.googlenet(weights)
            vars(net)["preprocess"] = dict(module.preprocess)
            return net.eval()
    raise Absent("its weights and module are not beside this checkout")


def _prepared(net: nn.Module) -> nn.Module:
    vars(net)["preprocess"] = IMAGENET.to_dict()
    return net.eval()


RANDOM = "random weights, seed 0"
NETWORKS = {
    each.name: each
    for each in (
        Network("zfnet", "ZFNet 224", RANDOM, _zfnet),
        Network("resnet50", "ResNet-50", RANDOM, lambda: _torchvision("resnet50")),
        Network("googlenet", "GoogLeNet", "trained", _googlenet),
        Network("vgg16", "VGG-16", RANDOM, lambda: _torchvision("vgg16")),
    )
}
