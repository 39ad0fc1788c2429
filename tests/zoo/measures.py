"""How two results are compared, what a network looks like before and after, and which units are tried."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pixelward.core.fields import Box

Item = TypeVar("Item")
Place = tuple[int, ...]  # picture, channel, and row and column in maps


def difference(a: Tensor, b: Tensor) -> float:
    """Largest |a - b| / largest |b|; not a number where one of them holds such."""
    largest = b.abs().max().item()
    return (a - b).abs().max().item() / largest if largest else a.abs().max().item()


def equal(a: Any, b: Any) -> bool:
    """The same tensors bit for bit, in whatever the network returns."""
    ones, others = tree_leaves(a), tree_leaves(b)
    return len(ones) == len(others) and all(
        torch.equal(x, y) if isinstance(x, Tensor) else x == y for x, y in zip(ones, others, strict=True)
    )


def close(a: Any, b: Any) -> bool:
    """The same tensors to 1e-12 of their largest number."""
    return all(difference(x, y) <= 1e-12 for x, y in zip(tree_leaves(a), tree_leaves(b), strict=True))


def strongest(activations: Tensor) -> Place:
    """The place of the largest value of the first picture."""
    return next(by_strength(activations))


def by_strength(activations: Tensor) -> Iterator[Place]:
    """The strongest place of every unit of the first picture, the strongest unit first."""
    units = activations[0].flatten(1) if activations.dim() > 2 else activations[0][:, None]
    for channel in units.amax(1).argsort(descending=True, stable=True).tolist():
        size = activations.shape[2:]
        place = torch.unravel_index(units[channel].argmax(), size) if size else ()
        yield 0, channel, *(int(index) for index in place)


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """`count` of the items from the first to the last, evenly; all where there are fewer."""
    if len(items) <= count:
        return list(items)
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]


def pasted(signal: Tensor, box: Box, whole: Tensor) -> Tensor:
    """A window's signal in a picture of zeros, shaped like `whole`; what leaves the picture is cut off."""
    height, width = whole.shape[-2:]
    top, left = max(box.top, 0), max(box.left, 0)
    bottom, right = min(box.top + box.height, height), min(box.left + box.width, width)
    picture = torch.zeros_like(whole)
    picture[:, top:bottom, left:right] = signal[:, top - box.top : bottom - box.top, left - box.left : right - box.left]
    return picture


def fingerprint(net: nn.Module) -> dict[str, object]:
    """All that a user could find changed on a network, as things that can be compared."""
    found: dict[str, object] = {}
    for name, module in net.named_modules(remove_duplicate=False):
        found[f"{name} itself"] = id(module)
        found[f"{name}.training"] = module.training
        for key, value in vars(module).items():
            # Hooks and modules by identity, tensors below by their bits; other attributes by what they print.
            if key.endswith("_hooks") or key in ("_modules", "_parameters", "_buffers"):
                found[f"{name}.{key}"] = [(k, id(v)) for k, v in value.items()]
            elif not isinstance(value, Tensor):
                found[f"{name}.{key}"] = id(value)
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        data = tensor.detach().contiguous().flatten().view(torch.uint8)
        bits = hashlib.blake2b(data.numpy().data, digest_size=16).hexdigest()
        found[f"{name} numbers"] = bits, tensor.dtype, tuple(tensor.shape), tensor.stride()
        found[f"{name} gradient"] = tensor.requires_grad, tensor.grad is None, tensor.is_leaf
    return found


def left_behind(before: dict[str, object], after: dict[str, object]) -> str:
    """What differs between two fingerprints, in words; empty where nothing does."""
    changed = [key for key in {**before, **after} if before.get(key, "none") != after.get(key, "none")]
    return ", ".join(changed[:5])
