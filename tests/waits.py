"""What would wait for a GPU, refused where there is none: tensors on torch's `meta` device stand for those on it.

A number of theirs cannot be read, for they have none, and shapes that hang on numbers cannot be told: torch refuses
both by itself. Copies to them it makes in silence, also those that a processor waits for; these are refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class WaitError(AssertionError):
    """Here a processor would wait until a GPU has done all that it was given."""


class _Copies(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        keywords = keywords or {}
        made = function(*arguments, **keywords)
        given = [each for each in tree_leaves((arguments, keywords)) if isinstance(each, Tensor)]
        far = [each for each in (*given, *tree_leaves(made)) if isinstance(each, Tensor) and each.is_meta]
        near = [each for each in given if each.device.type == "cpu"]
        if far and near and function in _COPIES:
            if not (keywords.get("non_blocking") or (len(arguments) > 2 and arguments[2])):
                raise WaitError(f"a copy of {tuple(near[0].shape)} that is waited for")
        elif far and any(each.dim() for each in near):  # a single number goes with the command
            raise WaitError(f"{function} on a GPU, with {[tuple(each.shape) for each in near]} of the CPU")
        return made


def _on_the_cpu(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @wraps(make)
    def made(*arguments: Any, **keywords: Any) -> Tensor:
        tensor = make(*arguments, **keywords)
        if tensor.is_meta:
            raise WaitError(f"{make.__name__}, which is a copy that is waited for")
        return tensor

    return made


@contextmanager
def refused() -> Iterator[None]:
    """Raise WaitError for copies that wait, and for tensors of both sides in one operation."""
    with (
        _Copies(),
        patch.object(torch, "tensor", _on_the_cpu(torch.tensor)),  # of which no mode is told
        patch.object(Tensor, "new_tensor", _on_the_cpu(Tensor.new_tensor)),
    ):
        yield
