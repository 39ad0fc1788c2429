"""Autograd's own node called for one step, and what autograd's engine does between nodes: fit signals to tensors."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from pixelward.core.plan import Step
from pixelward.errors import PixelwardError


def call_node(step: Step, signals: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """What the step's node makes of the signals at its outputs, as many as the node gives; not yet fitted."""
    if step.node is None:
        raise LookupError(f"{step.operation} has no node left to call")
    # torch's own batch norm is wrong on the way down for one picture whose signal lies with its channels last.
    signals = tuple(s if s is None else s.contiguous() for s in signals)
    arrived, made = next((s, m) for s, m in zip(signals, step.output_shapes, strict=True) if s is not None)
    one_each = made is None or tuple(arrived.shape) == tuple(made)
    try:
        down = step.node(*signals) if one_each else _call_for_each(step.node, signals)
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        where = f"{step.operation} in {step.where or 'the network'!r}"
        if step.unfit is not None:
            raise PixelwardError(
                given=f"{where}: {step.unfit}",
                allowed="operations that treat every picture alike and by itself",
                next_step="call eval() first",
            ) from error
        raise PixelwardError(
            given=f"{where}, whose result was overwritten in place later",
            allowed="operations that autograd can still differentiate",
            next_step='use rules="deconvnet", which needs no results, or inplace=False in what follows',
        ) from error
    return down if isinstance(down, tuple) else (down,)


def _call_for_each(node: Callable[..., object], signals: tuple[Tensor | None, ...]) -> object:
    """Many signals through a node that met one picture: the node sees each as a batch of one."""
    present = [index for index, signal in enumerate(signals) if signal is not None]
    found: list[bool] = []  # for each part that the node gives, whether it is a signal and not None

    def call(*given: Tensor) -> tuple[Tensor, ...]:
        arguments: list[Tensor | None] = [None] * len(signals)
        for index, signal in zip(present, given, strict=True):
            arguments[index] = signal
        down = node(*arguments)
        parts = down if isinstance(down, tuple) else (down,)
        found[:] = [part is not None for part in parts]
        return tuple(part for part in parts if part is not None)

    given = [signals[index].unsqueeze(1) for index in present]  # type: ignore[union-attr]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")  # slower, and right
        try:
            down = iter(torch.vmap(call)(*given))
        except RuntimeError as error:  # some nodes look how their tensors lie, which torch does not tell inside of vmap
            if "inside of vmap" not in str(error):
                raise
            each = [call(*one) for one in zip(*given, strict=True)]
            down = iter(tuple(map(torch.stack, zip(*each, strict=True))))
    return tuple(next(down).squeeze(1) if there else None for there in found)


def of_outputs(signal: Tensor, step: Step) -> tuple[Tensor | None, ...]:
    """One signal, or None, for each output; a rule gets a single signal where only the first output is used."""
    return signal if isinstance(signal, tuple) else (signal, *[None] * (len(step.outputs) - 1))


def fit(part: Tensor | None, index: int, signal: Tensor, step: Step) -> Tensor | None:
    """What autograd's engine does between nodes: sum what was broadcast on the way up."""
    shape = input_shapes(signal, step)[index]
    if part is None or shape is None or tuple(part.shape) == shape:
        return part if shape is not None else None
    return part.sum_to_size(shape)


def input_shapes(signal: Tensor, step: Step) -> list[tuple[int, ...] | None]:
    """The shapes of the inputs for as many pictures as there are signals."""
    if not step.made or len(signal) == step.made[0]:
        return list(step.input_shapes)
    return [None if shape is None else (len(signal), *shape[1:]) for shape in step.input_shapes]
