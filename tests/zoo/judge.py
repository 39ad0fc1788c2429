"""One network of the zoo, judged: what the library says of it, what the oracle says, and what is left on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

import pixelward as pw
from pixelward.core import rules
from pixelward.core.descent import project_hits
from pixelward.core.layers import Layer, layers, observe
from pixelward.core.path import path
from pixelward.core.project import Unit, project_units, walk
from pixelward.core.trace import Pass, Target, Trace, trace
from zoo.measures import (
    Place,
    by_strength,
    close,
    difference,
    equal,
    fingerprint,
    left_behind,
    pasted,
    spread,
    strongest,
)
from zoo.networks import FIXED, Entry, build, picture
from zoo.oracle import Reference

EXACT = 1e-10  # largest |a - b| / largest |b| in float64
BATCHED = 3  # layers in which a picture is projected in a batch too
TRIED = 8  # units, until the signal of one is not zero
COMPARED = 8  # layers of each network that are held against the oracle; all are projected
OUTPUT = ""  # the address of the network's own output


class Judged:
    """A network and what was found out about it: `record` is plain data, `reference` the oracle's pass, kept."""

    def __init__(self, each: Entry) -> None:
        self.entry = each
        self.net = build(each)
        self.picture = picture(each)
        with torch.no_grad():
            self.plain = self.net(self.picture.clone())
        self.record: dict[str, Any] = {
            "network": each.title,
            "attention": each.attention,
            "size": each.size,
            "parameters": sum(parameter.numel() for parameter in self.net.parameters()),
            "wrong": [],
        }
        self.reference: Reference | None = None
        self.places: dict[str, Place] = {}  # of the unit that was projected, by layer

    @property
    def answers(self) -> bool:
        """Whether the network gives one number a class."""
        return isinstance(self.plain, Tensor) and self.plain.dim() == 2

    def judge(self) -> None:
        """Fill `record` and, if all layers project, `reference`. The library goes first, and has to leave no trace."""
        before = fingerprint(self.net)
        try:
            found, traced = self._library()
        except pw.PixelwardError as error:
            self.record["refused"] = {"layer": None, "reason": str(error)}
            traced = None
        self._wrong("something was left on the network", left_behind(before, fingerprint(self.net)))
        if traced is not None:
            self._project(found, traced)
            if self.entry.name in FIXED:
                self._project_fixed(found, traced, FIXED[self.entry.name])
        self.record["verdict"] = "WRONG" if self.record["wrong"] else "refused" if "refused" in self.record else "exact"

    def _library(self) -> tuple[list[Layer], Trace]:
        """One trace of all default layers and of the output; on the way, all that needs the network itself."""
        traced_output = self._traced_output()
        self.record["other_kernel"] = not equal(traced_output, self.plain)
        if self.record["other_kernel"]:
            changed = not equal(traced_output, self._output_with_gradients())
            self._wrong("the output changed under tracing", changed)
        size = (self.entry.size, self.entry.size)
        found = layers(self.net, size=size)
        self.record["layers"] = len(found)
        addresses = [layer.address for layer in found] + ([OUTPUT] if self.answers else [])
        traced = trace(self.net, self.picture, addresses)

        def see(index: int, tensor: Tensor) -> None:
            address = found[index].address
            values = traced.targets[address].activations
            self._wrong(f"scan and trace differ in {address}", not equal(tensor, values))

        observe(self.net, self.picture, found, see)
        self._batches(spread(found, BATCHED))
        return found, traced

    def _traced_output(self) -> object:
        seen: list[object] = []
        handle = self.net.register_forward_hook(lambda module, given, output: seen.append(output))
        try:
            with Pass(self.net, self.picture) as forward:
                forward.run(lambda address, tensor: None)
        finally:
            handle.remove()
        return seen[0]

    def _output_with_gradients(self) -> object:
        """Torch runs recurrent layers by another kernel where the picture alone asks for a gradient."""
        asking = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        for parameter in asking:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            output = self.net(self.picture.clone().requires_grad_(True).clone())
        for parameter in asking:
            parameter.requires_grad_(True)
        return output

    def _batches(self, chosen: Sequence[Layer]) -> None:
        """A picture projects in a batch as it does alone."""
        two = torch.cat([picture(self.entry, 2)[1:], self.picture])
        for layer in chosen:
            channel = layer.channels // 2
            try:
                (alone,) = project_units(self.net, self.picture, layer.address, [Unit(0, channel)])
                units = [Unit(0, 0), Unit(1, channel, alone.position)]
                _, among = project_units(self.net, two, layer.address, units)
                self._compare(f"{layer.address} in a batch", among.signal, alone.signal)
            except pw.PixelwardError:
                continue  # refused: that is noted where all layers are projected
            except Exception as error:
                self._wrong(f"{layer.address} in a batch breaks", f"{type(error).__name__}: {error}")

    def _project(self, found: Sequence[Layer], traced: Trace) -> None:
        record = self.record
        signals, refused = self._walked(traced, rules.DECONVNET)
        record["projected"], record["output"] = sum(layer.address in signals for layer in found), OUTPUT in signals
        if refused:
            record["refused"] = refused
        values = {traced.targets[address].value for address in signals}
        record["kinds"] = sorted(
            {crossing.step.kind for value in values for crossing in path(traced.plan, value, rules.DECONVNET)}
        )
        chosen = spread([layer.address for layer in found if layer.address in signals], COMPARED)
        for address in chosen:
            self._windows(address, traced)
        if OUTPUT in signals:
            chosen.append(OUTPUT)
        self.reference = Reference(self.net, self.picture, activations(traced, chosen))
        record["compared"], record["difference"] = len(chosen), self._against(self.reference, chosen, traced, signals)

    def _project_fixed(self, found: Sequence[Layer], traced: Trace, factor: int) -> None:
        """The same with one factor of every product of two signals kept fixed."""
        signals, refused = self._walked(traced, {**rules.DECONVNET, rules.PRODUCT: rules.keep_fixed(factor)})
        chosen = spread(list(signals), COMPARED)
        reference = Reference(self.net, self.picture, activations(traced, chosen), factor)
        self.record["fixed"] = {
            "factor": factor,
            "refused": refused,
            "projected": len(signals),
            "difference": self._against(reference, chosen, traced, signals),
        }

    def _walked(self, traced: Trace, table: rules.RuleSet) -> tuple[dict[str, Tensor], dict[str, str] | None]:
        """A strong unit of every traced layer at the pixels, by address; and the first layer that is refused.

        It is the strongest whose signal is not zero: of a depthwise convolution on a small map a signal may lose every
        sample to the next rectifier, and nothing is shown by two zeros.
        """
        signals: dict[str, Tensor] = {}
        refused = None
        for address, target in traced.targets.items():
            name = address or "the output"
            try:
                for place in islice(by_strength(target.activations), TRIED):
                    signals[address], self.places[address] = whole(traced, target, place, table), place
                    if signals[address].any():
                        break
            except pw.PixelwardError as error:
                refused = refused or {"layer": name, "reason": str(error)}
            except Exception as error:
                self._wrong(f"{name} breaks", f"{type(error).__name__}: {error}")
        return signals, refused

    def _windows(self, address: str, traced: Trace) -> None:
        """In its window a unit projects as on the whole picture: the strongest one, and two at the map's border."""
        target = traced.targets[address]
        channels, rows, columns = target.activations.shape[1:]
        places = [strongest(target.activations), (0, channels // 2, 0, 0), (0, channels - 1, rows - 1, columns // 2)]
        numbers = torch.tensor(places)
        try:
            got, boxes = project_hits(traced.plan, target, numbers[:, 1], numbers[:, 2:], numbers[:, 0])
        except Exception as error:
            self._wrong(f"{address} in a window breaks", f"{type(error).__name__}: {error}")
            return
        for place, signal, box in zip(places, got, boxes, strict=True):
            expected = whole(traced, target, place, rules.DECONVNET)
            self._compare(f"{address} in a window", pasted(signal, box, expected), expected)

    def _against(
        self, reference: Reference, chosen: Sequence[str], traced: Trace, signals: Mapping[str, Tensor]
    ) -> float:
        """The largest difference from the oracle over the chosen layers."""
        self._wrong("the oracle's forward pass differs", not close(reference.output, self.plain))
        worst = 0.0
        self.record.setdefault("silent", 0)
        for address in chosen:
            name = address or "the output"
            if address in reference.missing:
                self._wrong(f"the oracle does not meet {name}", True)
                continue
            values = traced.targets[address].activations
            place = self.places[address]
            tensor = reference.found[address].movedim(traced.targets[address].channels, 1)
            expected = reference.project(tensor, place, float(values[place]))
            silent = float(values[place]) == 0  # as may happen to all of a few rectified units with random weights
            self.record["silent"] += silent
            self._wrong(f"the reference is zero for {name}", not (expected.any() or silent))
            worst = max(worst, self._compare(name, signals[address], expected))
        return worst

    def _compare(self, what: str, got: Tensor, expected: Tensor) -> float:
        found = difference(got, expected)
        self._wrong(f"{what} differs", "" if found < EXACT else f"{found:.1e}")
        return found

    def _wrong(self, what: str, how: bool | str) -> None:
        """Note a broken law; `how` says more of it, and is false or empty where it holds."""
        if how:
            self.record["wrong"].append(what if how is True else f"{what}: {how}")


def whole(traced: Trace, target: Target, place: Place, table: rules.RuleSet) -> Tensor:
    """The signal of one unit at the picture, (C, H, W), all of it; the seed is the activation."""
    signal = torch.zeros_like(target.activations[:1])
    signal[(0, *place[1:])] = target.activations[place]
    with torch.no_grad():
        return walk(traced.plan, target.value, target.laid_out(signal), table)[0]


def activations(traced: Trace, addresses: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of these layers as they lie in the network."""
    return {a: target.laid_out(target.activations) for a, target in traced.targets.items() if a in addresses}
