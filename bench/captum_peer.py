"""Captum's `NeuronDeconvolution`, asked for a gallery's hits: as its users do, and in batches.

It always runs the whole network, takes one unit for all pictures of a batch or a function that picks one number for
each, and starts from 1; the hit's value times its map is the deconvnet's where it is right.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bench.hits import Gallery, Hit
from bench.networks import preprocess_of
from bench.timing import seconds
from pixelward.core.layers import Layer


class Modules:
    """The module that a user gives Captum for each layer: the one that put it out, in its last call.

    Where one rectifier serves several layers, only its last call can be asked for; for the others it is the module in
    front of that call, where a unit above zero has the same value and the same map.
    """

    def __init__(self, net: nn.Module, picture: Tensor) -> None:
        self._modules = dict(net.named_modules())
        self._calls: dict[str, list[str]] = {}  # for every call of a leaf, the leaf that ran before
        last = ""
        handles = []

        def note(name: str) -> Callable[..., None]:
            def ran(*_: object) -> None:
                nonlocal last
                self._calls.setdefault(name, []).append(last)
                last = name

            return ran

        for name, module in net.named_modules():
            if not any(module.children()):
                handles.append(module.register_forward_hook(note(name)))
        with torch.no_grad():
            net(picture)
        for handle in handles:
            handle.remove()

    def of(self, layer: Layer) -> nn.Module | None:
        """None where no module puts the layer out."""
        where = layer.location
        if where.function is not None:
            return None
        calls = self._calls.get(where.module, [""])
        if where.call == len(calls):
            return self._modules[where.module]
        return self._modules[calls[where.call - 1]]


def one(net: nn.Module, module: nn.Module, picture: Tensor, hit: Hit) -> Tensor:
    """A user's call: one unit, one picture, (1, C, H, W)."""
    from captum.attr import NeuronDeconvolution

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Tensor = NeuronDeconvolution(net, module).attribute(picture, (hit.channel, *hit.position))
    return found


def several(net: nn.Module, module: nn.Module, pictures: Tensor, hits: Sequence[Hit]) -> Tensor:
    """A batch of pictures, one hit of each."""
    from captum.attr import NeuronDeconvolution

    numbers = torch.tensor([[hit.channel, *hit.position] for hit in hits])

    def chosen(output: Tensor) -> Tensor:
        return output[torch.arange(len(output)), numbers[:, 0], numbers[:, 1], numbers[:, 2]]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Tensor = NeuronDeconvolution(net, module).attribute(pictures, chosen)
    return found


def time_one(gallery: Gallery, modules: Modules, hits: Sequence[Hit]) -> float:
    """Seconds a hit, called as users do: the median of the calls."""
    return _timed(
        gallery, [[hit] for hit in hits], lambda pictures, some: _asked(gallery, modules, pictures, some, one)
    )


def time_several(gallery: Gallery, modules: Modules, hits: Sequence[Hit], layout: torch.memory_format) -> float:
    """Seconds a hit, all of them in one batch, whose pictures lie as the layout says."""

    def ask(pictures: Tensor, some: Sequence[Hit]) -> None:
        _asked(gallery, modules, pictures, some, several)

    return _timed(gallery, [hits], ask, layout)


def _asked(
    gallery: Gallery, modules: Modules, pictures: Tensor, hits: Sequence[Hit], how: Callable[..., Tensor]
) -> None:
    module = modules.of(gallery.layers[hits[0].layer])
    how(gallery.net, module, pictures, hits[0] if how is one else hits)


def _timed(
    gallery: Gallery,
    calls: Sequence[Sequence[Hit]],
    ask: Callable[[Tensor, Sequence[Hit]], None],
    layout: torch.memory_format = torch.contiguous_format,
) -> float:
    preprocess, spent = preprocess_of(gallery.net), []
    for hits in calls:
        pictures = torch.stack([gallery.pictures.tensor(hit.picture, preprocess) for hit in hits])
        pictures = pictures.contiguous(memory_format=layout)
        spent.append(seconds(lambda pictures=pictures, hits=hits: ask(pictures, hits)) / len(hits))
    return statistics.median(spent)
