"""Functions of torch that a network calls, in forms that take less time and give the same but for rounding.

They run where many pictures do, once the first of these showed the same (`recorder.py`, `scan.py`); a trace of single
pictures gives the network's own bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from pixelward.core.response_norm import local_response_norm

_QUICKER: Mapping[Callable[..., Any], Callable[..., Any]] = {F.local_response_norm: local_response_norm}


def quicker(function: Any) -> Any:
    """The form of a function that takes less time: often itself."""
    return _QUICKER.get(function, function)


class Quicker(TorchFunctionMode):
    """Runs functions in their quicker form; use it as a context round one forward pass."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        return quicker(function)(*arguments, **(keywords or {}))
