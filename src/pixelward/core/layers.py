"""The layers of a network: which there are, and how to watch them while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pixelward.core import nodes, rules
from pixelward.core.addresses import Address, parse
from pixelward.core.edges import Edge
from pixelward.core.fields import Extent, field_of
from pixelward.core.functions import function_name
from pixelward.core.graph import read
from pixelward.core.layout import is_close
from pixelward.core.passage import Done, Modules, other_than_pictures, refuse_unreadable, run, untouched, unwrapped
from pixelward.core.path import crossings, judge, reaches
from pixelward.core.quicker import Quicker
from pixelward.core.sentinel import Counts
from pixelward.core.trace import Pass, channel_axis, known_address, not_found, refuse_other_axes
from pixelward.errors import PixelwardError


@dataclass(frozen=True)
class Layer:
    """One tensor of maps, or a vector, of a network for pictures of one size.

    shape: (C, H, W) or (C,). field: the pixels that can change a unit's value; reach: those that its signal can
    arrive at; stride: pixels between neighbouring units, None where the field has no bound or its paths differ in
    stride. location: where the tensor comes to be; for a `:relu` address that is the rectifier's own output.
    channel_axis: in the network's own tensor, 1 or the last. refusal: why the deconvnet cannot project it, or None; its
    reach is then that of its field.
    """

    address: str
    aliases: tuple[str, ...]
    channels: int
    shape: tuple[int, ...]
    field: Extent
    reach: Extent
    stride: tuple[int, int] | None
    location: Address
    channel_axis: int = 1
    refusal: str | None = None


def layers(net: nn.Module, *, size: tuple[int, int], channels: int = 3) -> list[Layer]:
    """The default layers: for every convolution call, its rectified output where there is one, else its output.

    size: (height, width) of the prepared pictures. In order of the convolutions; a tensor is listed once.
    """
    survey = Survey(net, size, channels)
    return survey.described(survey.convolutions())


def find_layers(net: nn.Module, addresses: Sequence[str], *, size: tuple[int, int], channels: int = 3) -> list[Layer]:
    """The layers of these addresses, as asked; two that mean one tensor stand once.

    Raises PixelwardError for one that is not there.
    """
    survey = Survey(net, size, channels)
    return survey.described([survey.edge(text) for text in addresses])


class Survey:
    """One full pass over a grey picture: every address, the tensor that it means, and the plan below all of them.

    Where the pass fails, as in a linear layer that wants another size, what ran before it can still be asked for.
    """

    def __init__(
        self, net: nn.Module, size: tuple[int, int], channels: int, table: rules.RuleSet = rules.DECONVNET
    ) -> None:
        _refuse_no_size(size, channels)
        parameter = next(unwrapped(net).parameters(), torch.zeros(()))
        dtype = parameter.dtype if parameter.is_floating_point() else torch.float32
        picture = torch.zeros(1, channels, *size, dtype=dtype, device=parameter.device)
        with Pass(net, picture, table) as forward:
            self._failure: PixelwardError | None = None
            try:
                forward.run(lambda address, tensor: None)
            except PixelwardError as error:  # layers below the failure are there all the same
                self._failure = error
            self._forward = forward
            self._net = net
            edges = list(dict.fromkeys(forward.outputs.values()))
            self.plan, self._numbers = read(edges, forward.picture, forward.notes())
        self._size = size
        self._addresses: dict[Edge, list[Address]] = {}
        for address, edge in forward.outputs.items():
            if edge in self._numbers:
                self._addresses.setdefault(edge, []).append(address)
        self._executed = {address: number for number, address in enumerate(forward.outputs)}
        self._judged = judge(rules.DECONVNET)
        self._rectified = self._rectifiers()

    def _rectifiers(self) -> dict[Address, Edge]:
        """`:relu` addresses, each with the earliest rectifier that its module's output reaches."""
        found: dict[Address, Edge] = {}
        for edge, own in self._addresses.items():
            for below in self._forward.before_rectifier(edge[0]):
                for address in self._addresses.get(below, ()):
                    if address.function is None and self._executed[address] < self._executed[own[0]]:
                        found.setdefault(replace(address, relu=True), edge)
        return found

    def convolutions(self) -> list[Edge]:
        """Edges of the default layers, in the order in which their convolutions ran.

        Raises PixelwardError where the pass failed, and for a network over sequences or volumes.
        """
        if self._failure is not None:
            raise self._failure
        if not self._forward.outputs:
            raise PixelwardError(
                given="a network in which nothing depends on the picture as autograd sees it",
                allowed="networks that run while gradients are recorded",
                next_step="look for no_grad, inference_mode, detach or .data in its forward",
            )
        made_by_convolution = []
        for edge, addresses in self._addresses.items():
            shape = self._forward.shapes[addresses[0]]
            if nodes.row_of(edge[0])[0] == rules.CONVOLUTION and len(shape) == 4 and shape[0] == 1:
                owner = next((a for a in addresses if a.function is None), addresses[0])
                made_by_convolution.append(self._rectified.get(replace(owner, relu=True), edge))
        over = None if made_by_convolution else other_than_pictures(self._net)
        if over is not None:
            raise PixelwardError(
                given=f"a network over {over}",
                allowed="networks over pictures, (N, C, H, W)",
                next_step="use a network whose convolutions are nn.Conv2d",
            )
        return list(dict.fromkeys(made_by_convolution))

    def everything(self) -> list[Edge]:
        """Edges of all maps and vectors of which it is known where their channels are, in order of execution.

        Raises PixelwardError where the pass failed.
        """
        if self._failure is not None:
            raise self._failure
        return [edge for edge in self._addresses if self._is_layer(edge)]

    def _is_layer(self, edge: Edge) -> bool:
        try:
            self.described([edge])
        except PixelwardError:
            return False
        return True

    def outputs(self) -> list[int]:
        """The numbers of the values that the network puts out."""
        edges = [
            edge for address, edge in self._forward.outputs.items() if address.module == "" and not address.function
        ]
        return [self._numbers[edge] for edge in edges if edge in self._numbers]

    def number(self, edge: Edge) -> int:
        """The number of the edge's value in the plan."""
        return self._numbers[edge]

    def name(self, edge: Edge) -> str:
        """The first of the edge's own addresses."""
        return str(self._addresses[edge][0])

    def _is_convolution(self, address: Address) -> bool:
        return nodes.row_of(self._forward.outputs[address][0])[0] == rules.CONVOLUTION

    def edge(self, text: str) -> Edge:
        asked = known_address(parse(text), self._forward.modules)
        found = self._rectified.get(asked) if asked.relu else self._forward.outputs.get(asked)
        if found is None or found not in self._numbers:
            if self._failure is not None:
                raise self._failure
            raise not_found(text, asked, self._forward)
        return found

    def described(self, edges: Sequence[Edge]) -> list[Layer]:
        """The layers of these tensors, in the order given; one that is given twice stands once."""
        rectified: dict[Edge, list[Address]] = {}
        for address, edge in self._rectified.items():
            rectified.setdefault(edge, []).append(address)
        return [self._describe(edge, rectified.get(edge, [])) for edge in dict.fromkeys(edges)]

    def _describe(self, edge: Edge, rectified: list[Address]) -> Layer:
        own = self._addresses[edge]
        owned = [address for address in own if address.function is None]
        # The name that a reader looks for is the convolution's; then in order of execution.
        named = sorted(rectified, key=lambda a: (not self._is_convolution(a.base), self._executed[a.base]))
        names = named + (owned or own)
        number = self._numbers[edge]
        value = self.plan.values[number]
        refuse_other_axes(self._net, str(names[0]), value.shape, 1)
        axis = channel_axis(self._forward.net, value, str(names[0]), own)
        channels, *rest = value.shape[axis], *(n for at, n in enumerate(value.shape) if at not in (0, axis))
        field, refusal = field_of(self.plan, number), None
        try:
            reach = reaches(self.plan, number, crossings(self.plan, number, self._judged)).get(0, Extent(None, None))
        except PixelwardError as error:
            reach, refusal = field, str(error)
        rows, columns = field.rows, field.columns
        return Layer(
            address=str(names[0]),
            aliases=tuple(str(name) for name in names[1:]),
            channels=channels,
            shape=(channels, *rest),
            field=field,
            reach=reach,
            stride=(rows.stride, columns.stride) if rows and columns and field.is_even else None,
            location=owned[0] if owned else own[0],
            channel_axis=axis,
            refusal=refusal,
        )


def _refuse_no_size(size: object, channels: object) -> None:
    whole = (
        isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(side, int) for side in (*size, channels))
    )
    if not whole or min((*size, channels)) < 1:  # type: ignore[misc]
        raise PixelwardError(
            given=f"size={size!r}, channels={channels!r}",
            allowed="(height, width) in pixels and a number of channels, 1 or more each",
            next_step="give the size of the prepared pictures, such as size=(224, 224)",
        )


def observe(
    net: nn.Module,
    pictures: Tensor,
    layers: Sequence[Layer],
    visit: Callable[[int, Tensor], None],
    *,
    quick: bool = False,
) -> None:
    """One forward pass without gradients, stopped after the last layer.

    pictures: (N, C, H, W). quick: whether functions may run in a form that takes less time and gives the same but for
    rounding. `visit(index, tensor)` gets the tensor of `layers[index]`, (N, C, h, w) or (N, C), while
    the network runs; it is valid during the call only, since a layer above may overwrite it in place.
    """
    net = unwrapped(net)
    refuse_unreadable(net)
    modules = Modules(net)
    waiting: dict[Address, list[int]] = {}
    for index, layer in enumerate(layers):
        waiting.setdefault(layer.location, []).append(index)

    def watch(address: Address, tensor: Tensor) -> None:
        found = waiting.pop(address, [])
        with torch._C.DisableTorchFunction():  # what is called here is not the network's, and not to be counted
            for index in found:
                visit(index, tensor.movedim(layers[index].channel_axis, 1))
        if found and not waiting:
            raise Done

    with untouched(net), torch.no_grad(), modules.watched(watch), Quicker() if quick else nullcontext():
        if any(layer.location.function for layer in layers):
            with _Functions(modules.running, watch):
                run(net, pictures.clone())
        else:
            run(net, pictures.clone())  # a network may change its input in place
    if waiting:
        missing = ", ".join(repr(layers[index].address) for found in waiting.values() for index in found)
        raise PixelwardError(
            given=f"layer {missing}, which did not run on this picture",
            allowed="networks that take the same way for every picture",
            next_step="choose layers that always run",
        )


def shows_the_same(net: nn.Module, picture: Tensor, other: Tensor, layers: Sequence[Layer]) -> bool:
    """Whether the layers show the same of a picture, (1, C, H, W), that lies in another way and runs quickly.

    Operations do not look at how a tensor lies, but for a few (`view` fails, `as_strided` reads other numbers).
    """
    if other is picture:
        return False
    shown: list[Tensor | None] = [None] * len(layers)
    same: list[bool] = []

    def keep(index: int, tensor: Tensor) -> None:
        shown[index] = tensor.clone()

    def compare(index: int, tensor: Tensor) -> None:
        first = shown[index]
        same.append(first is not None and is_close(tensor, first))

    observe(net, picture, layers, keep)
    try:
        observe(net, other, layers, compare, quick=True)
    except PixelwardError:
        return False
    return all(same)


class _Functions(TorchFunctionMode):
    """Shows the results of torch functions under the addresses that a trace would give them."""

    def __init__(self, where: Callable[[], str], watch: Callable[[Address, Tensor], None]) -> None:
        super().__init__()
        self._where = where
        self._watch = watch
        self._counts = Counts()

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        name, where = function_name(function), self._where()
        count = self._counts.count(where, name)
        result = function(*arguments, **(keywords or {}))
        shown = result if result is not None else next(iter(arguments), None)
        if isinstance(shown, Tensor):
            self._watch(Address(where, function=name, count=count), shown)
        return result
