"""One name for a torch function in whatever spelling it is called."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

_ONE_NAME: dict[Any, str] = {
    F.threshold: "threshold",
    F.max_pool1d: "max_pool1d",
    F.max_pool2d: "max_pool2d",
    F.max_pool3d: "max_pool3d",
    F.adaptive_max_pool1d: "adaptive_max_pool1d",
    F.adaptive_max_pool2d: "adaptive_max_pool2d",
    F.adaptive_max_pool3d: "adaptive_max_pool3d",
}


def function_name(function: Any) -> str:
    """One name for every spelling: `F.relu`, `torch.relu_`, `Tensor.relu` are all `relu`."""
    name = str(_ONE_NAME.get(function) or getattr(function, "__name__", type(function).__name__))
    if name == "__get__":  # an attribute of a tensor, such as .data
        name = str(getattr(getattr(function, "__self__", None), "__name__", name))
    return name if name.startswith("_") else name.rstrip("_")
