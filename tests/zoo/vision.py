"""torchvision and timm, importable beside a torch without CUDA. For tests only.

The wheel of torchvision on the package index holds operators that are linked to CUDA's libraries and do not load
beside a CPU build of torch. Its Python part then fails at import, where it adds to two operators that are not there.
Declared, they let everything through that needs none of them: all classification networks, and timm with them.
"""

from __future__ import annotations

import sys
from types import ModuleType

import torch

_DECLARED: list[torch.library.Library] = []  # a library lives as long as its object


def torchvision() -> ModuleType:
    """The package torchvision. Raises ImportError where it is not installed."""
    try:
        import torchvision as package
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _DECLARED.append(library)
        import torchvision as package
    return package


def timm() -> ModuleType:
    """The package timm, which imports torchvision. Raises ImportError where either is not installed."""
    torchvision()
    import timm as package

    return package
