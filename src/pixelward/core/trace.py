"""One forward pass as it is, read into a plan.

The network runs unchanged up to the layer; only the picture asks for a gradient, so the graph that autograd writes
is the way from the pixels to the layer and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from pixelward.core import rules
from pixelward.core.addresses import Address, parse
from pixelward.core.edges import Edge
from pixelward.core.functions import function_name
from pixelward.core.graph import Notes, Wiring, read
from pixelward.core.nodes import operation
from pixelward.core.passage import Done, Modules, other_than_pictures, refuse_unreadable, run, untouched, unwrapped
from pixelward.core.plan import MAPS, Plan, Value
from pixelward.core.readers import Node
from pixelward.core.rules import RuleSet
from pixelward.core.sentinel import Sentinel
from pixelward.errors import PixelwardError

# What a signal may cross between a module's output and the rectifier that `:relu` means.
_BEFORE_RECTIFIER = frozenset(
    {
        *(rules.BATCH_NORM, rules.STATISTIC, rules.RESPONSE_NORM),
        *(rules.SCALE, rules.GATE, rules.ADDITION, rules.IDENTITY),
    }
)
_TURNED = frozenset({"Permute", "Transpose"})  # a norm of channels stands between two of them
_RECTIFYING = frozenset({rules.RECTIFIER, rules.ACTIVATION})


@dataclass(frozen=True, eq=False)
class Target:
    """A layer in a plan: the number of its value, and its activations, (N, C, h, w) or (N, C).

    channels: the axis of the channels in the network's own tensor, 1 or the last. unclear: why it cannot be told which
    of its numbers are a unit's, or None.
    """

    value: int
    activations: Tensor
    channels: int = 1
    unclear: PixelwardError | None = None

    def laid_out(self, signal: Tensor) -> Tensor:
        """A signal with its channels in front, (n, C, h, w), as the network's own tensor lies."""
        return signal.movedim(1, self.channels)


@dataclass(frozen=True, eq=False)
class Trace:
    """The plan of one pass over a batch, and where in it the asked layers stand, by address as asked.

    addresses: of the values that have one, by their numbers.
    """

    plan: Plan
    targets: Mapping[str, Target]
    addresses: Mapping[int, Address]


def trace(net: nn.Module, pictures: Tensor, addresses: Sequence[str], table: RuleSet = rules.DECONVNET) -> Trace:
    """Run `net` on pictures, (N, C, H, W) float, up to the last of `addresses`, and read the plan below them.

    Nothing above the last layer runs; the network is left as it was found. Raises PixelwardError for an unknown
    layer, one that does not depend on the picture, and networks that cannot be watched. table: the rules that will be
    walked by; autograd's own need nothing but the graph, so for them scripted and compiled modules may run too.
    """
    with Pass(net, pictures, table) as forward:
        modules = forward.modules
        wanted = {text: known_address(parse(text), modules) for text in addresses}
        found: dict[str, tuple[Edge, Tensor]] = {}

        def see(address: Address, tensor: Tensor) -> None:
            if tensor.grad_fn is None:
                return
            for text, asked in wanted.items():
                if text in found:
                    continue
                if asked == address or (asked.relu and forward.rectified_from(tensor, asked.base)):
                    found[text] = (tensor.grad_fn, tensor.output_nr), tensor.detach().clone()
            if len(found) == len(wanted):
                raise Done

        forward.run(see)
        for text, asked in wanted.items():
            if text not in found:
                raise not_found(text, asked, forward)
        plan, numbers = read([edge for edge, _ in found.values()], forward.picture, forward.notes())
    for text, (_, tensor) in found.items():
        refuse_other_axes(net, text, tuple(tensor.shape), len(pictures))
    missing = [text for text, (edge, _) in found.items() if edge not in numbers]
    if missing:
        raise _constant(missing[0])
    targets = {}
    for text, (edge, tensor) in found.items():
        value = plan.values[numbers[edge]]
        try:
            channels, unclear = channel_axis(forward.net, value, text, [wanted[text]]), None
        except PixelwardError as error:
            channels, unclear = 1, error
        targets[text] = Target(numbers[edge], tensor.movedim(channels, 1), channels, unclear)
    named = {numbers[edge]: address for address, edge in reversed(forward.outputs.items()) if edge in numbers}
    return Trace(plan, targets, named)


def channel_axis(net: nn.Module, value: Value, text: str, addresses: Sequence[Address]) -> int:
    """The axis that holds the channels: 1 of maps and vectors, and the last behind maps.

    Anything else is refused, and so are linear layers and layer norms behind which maps could not be followed.
    """
    names = {address.module for address in addresses if address.function is None and not address.relu}
    modules = [module for name, module in net.named_modules() if name in names]
    last = any(isinstance(module, nn.Linear | nn.LayerNorm) for module in modules) or any(
        address.function in ("linear", "layer_norm") for address in addresses
    )
    shape = value.shape[1:]
    known = value.axes in (MAPS, (1, 2)) if len(shape) == 3 else len(shape) == 1
    if not known or (last and len(shape) == 3 and not value.followed):
        raise PixelwardError(
            given=f"layer {text!r} of shape {shape}{', with its channels last' if last else ''}",
            allowed="layers of maps (channels, height, width) or vectors (channels,)",
            next_step="list the layers with `pixelward layers MODEL`",
        )
    return 3 if len(shape) == 3 and value.axes == (1, 2) else 1


class Pass:
    """One watched forward pass with gradients for the picture alone; use it as a context.

    quick: whether functions may run in a form that takes less time and gives the same but for rounding.
    """

    def __init__(
        self, net: nn.Module, pictures: Tensor, table: RuleSet = rules.DECONVNET, *, quick: bool = False
    ) -> None:
        self.net, self._quick = unwrapped(net), quick
        refuse_unreadable(self.net, opaque=rules.ANY in table)
        self._owned = frozenset(function_name(key) for key in table if rules.is_function(key))
        self.modules = Modules(self.net)
        self.outputs: dict[Address, Edge] = {}  # every tensor of a module or function, in order of execution
        self.shapes: dict[Address, tuple[int, ...]] = {}
        with torch.inference_mode(False):
            self._leaf = pictures.detach().clone().requires_grad_(True)
        self._untouched = untouched(self.net)
        self._rectifiers: dict[Node, bool] = {}

    def __enter__(self) -> Pass:
        self._untouched.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._untouched.__exit__(*error)

    def run(self, see: Any) -> None:
        """Run the network; `see(address, tensor)` for every output, functions' before their module's."""

        def watch(address: Address, tensor: Tensor) -> None:
            with torch._C.DisableTorchFunction():  # what is read here is not the network's, nor the sentinel's to see
                if tensor.grad_fn is not None:
                    self.outputs.setdefault(address, (tensor.grad_fn, tensor.output_nr))
                    self.shapes.setdefault(address, tuple(tensor.shape))
                see(address, tensor)

        def made(where: str, name: str, count: int, result: Tensor) -> None:
            watch(Address(where, function=name, count=count), result)

        with torch.inference_mode(False), torch.enable_grad():
            # The network gets a copy, so that one which changes its input in place does not meet a leaf.
            pictures = self._leaf.clone()
            self.picture = pictures.grad_fn.next_functions[0][0]  # type: ignore[union-attr]
            self._sentinel: Sentinel | None = Sentinel(
                self.modules.running, made, self.picture, self._owned, quick=self._quick
            )
            self._wiring = Wiring(self._sentinel.notes())
            try:
                with self.modules.watched(watch), self._sentinel:
                    run(self.net, pictures)
            finally:
                # The sentinel knows this object through `made`: a circle would keep the graph, with all activations,
                # until the garbage collector comes round.
                self._notes, self._sentinel = self._sentinel.notes(), None

    def notes(self) -> Notes:
        return self._notes if self._sentinel is None else self._sentinel.notes()

    def rectified_from(self, tensor: Tensor, base: Address) -> bool:
        """Whether `tensor` comes straight out of a rectifier that the output `base` reaches as `:relu` means it."""
        start = self.outputs.get(base)
        return start is not None and tensor.grad_fn is not None and start in self.before_rectifier(tensor.grad_fn)

    def before_rectifier(self, node: Node) -> set[Edge]:
        """All tensors from which `node`, if it is a rectifier, is reached through normalisation, scale and addition."""
        if node not in self._rectifiers:
            self._rectifiers[node] = self._wiring.verdict(node).kind in _RECTIFYING
        if not self._rectifiers[node]:
            return set()
        seen: set[Edge] = set()
        stack = list(self._wiring.crossed(node))
        while stack:
            edge = stack.pop()
            if edge in seen:
                continue
            seen.add(edge)
            if self._wiring.verdict(edge[0]).kind in _BEFORE_RECTIFIER or operation(edge[0]) in _TURNED:
                stack += self._wiring.crossed(edge[0])
        return seen


def refuse_other_axes(net: nn.Module, text: str, shape: tuple[int, ...], pictures: int) -> None:
    """Refuse a layer whose first axis is not that of the pictures, as in networks over volumes."""
    if len(shape) < 2 or shape[0] != pictures:
        over = other_than_pictures(net)
        if len(shape) < 2:
            raise PixelwardError(
                given=f"layer {text!r} of shape {shape} for {pictures} pictures, without an axis for these",
                allowed="layers whose first axis is the pictures'",
                next_step="choose a layer below, or name the axes to squeeze, as in squeeze((2, 3))",
            )
        raise PixelwardError(
            given=f"layer {text!r} of shape {shape} for {pictures} pictures",
            allowed="layers whose first axis is the pictures'" + (f"; this network is over {over}" if over else ""),
            next_step="use a network over pictures, (N, C, H, W)",
        )


def known_address(address: Address, modules: Modules) -> Address:
    """The address with the module's first name. Raises PixelwardError for a module that is not there."""
    name = modules.aliases.get(address.module)
    if name is None:
        names = [name for name in modules.aliases if name]
        near = get_close_matches(address.module, names, n=4) or names[:12]
        raise PixelwardError(
            given=f"layer {str(address)!r}",
            allowed=f"modules of the network, such as {', '.join(near)}",
            next_step="list the layers with `pixelward layers MODEL`",
        )
    return replace(address, module=name)


def not_found(text: str, asked: Address, forward: Pass) -> PixelwardError:
    base = asked.base
    if asked.relu and base in forward.outputs:
        given, step = f"layer {text!r}, but no rectifier follows {str(base)!r}", f"use {str(base)!r}"
    elif asked.function is not None:
        inside = [str(address) for address in forward.outputs if address.function and address.module == asked.module]
        given, step = f"layer {text!r}, which did not run", f"use one of {', '.join(inside[:8]) or 'the modules'}"
    else:
        items = [str(a) for a in forward.outputs if a.module == asked.module and not a.function]
        given = f"layer {text!r}, which put out no tensor that depends on the picture"
        step = f"use one of {', '.join(items)}" if items else "list the layers with `pixelward layers MODEL`"
    return PixelwardError(given=given, allowed="layers that run and carry the signal", next_step=step)


def _constant(text: str) -> PixelwardError:
    return PixelwardError(
        given=f"layer {text!r}, which does not depend on the picture",
        allowed="layers that carry the signal",
        next_step="list the layers with `pixelward layers MODEL`",
    )
