"""Row 1: k projections of every unit of every default layer, forward passes included, beside Captum."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from torch import nn

from bench import captum_peer, floors, hits, networks, ours
from bench.captum_peer import Modules
from bench.hits import Gallery, Hit
from bench.ours import Spent
from bench.pictures import Pictures
from bench.rows import Row, Settings, missing
from bench.timing import interleaved, ratios
from pixelward.core.projector import together
from pixelward.core.recorder import Recorder
from pixelward.core.rules import DECONVNET

K = 9
GOALS = {"zfnet": 25.0, "resnet50": 5.0, "googlenet": 5.0, "vgg16": 5.0}
BATCHED_GOALS = {"": 20.0, "conv2": 30.0, "conv3": 10.0}


def measure(name: str, settings: Settings, folder: Path) -> list[Row]:
    network = networks.NETWORKS[name]
    title = f"{K} projections of every unit, {network.title}"
    try:
        net = network.make()
    except networks.Absent as absent:
        return [missing(f"gallery-{name}", title, str(absent))]
    complete = name == "zfnet"  # few layers: all of them, all hits of the pictures
    pictures = Pictures(settings.pictures if complete else settings.deep_pictures, folder)
    every = hits.default_layers(net)
    layers = every if complete else hits.evenly(every, settings.layers)
    share = hits.share_of_units(every, layers, len(pictures))
    gallery = hits.find(net, layers, pictures, k=K, share=share, seed=settings.seed)
    return _Measured(name, network, gallery, settings, complete, len(every), share).rows(title)


class Batch(NamedTuple):
    """How Captum is asked for several hits at once. turned: network and pictures with their channels last."""

    size: int
    turned: bool


class _Measured:
    def __init__(
        self,
        name: str,
        network: networks.Network,
        gallery: Gallery,
        settings: Settings,
        complete: bool,
        layers: int,
        share: float,
    ) -> None:
        self.name, self.network, self.gallery, self.settings = name, network, gallery, settings
        self.complete, self.all_layers, self.share = complete, layers, share
        self.counts = gallery.counts()
        self.used = [number for number, count in enumerate(self.counts) if count]
        self.holding = list(gallery.by_picture())
        side = networks.preprocess_of(gallery.net).size
        channels = len(networks.preprocess_of(gallery.net).mean)
        self._at_once = together((channels, side, side))
        self.modules = Modules(gallery.net, torch.zeros(1, channels, side, side))
        self.agreement = self._agreement()
        self.sample = self._sample()
        self.turned = replace(gallery, net=copy.deepcopy(gallery.net).to(memory_format=torch.channels_last))
        self.turned_modules = Modules(self.turned.net, torch.zeros(1, channels, side, side))
        self.best_batch: dict[int, Batch] = {}

    # ------------------------------------------------------------ what is timed

    def _chunks(self) -> list[list[int]]:
        """The pictures of every round: all that hold hits, over the rounds; else some batches of them."""
        random = Random(self.settings.seed)
        order = random.sample(self.holding, len(self.holding))
        rounds = self.settings.rounds
        if self.complete and not self.settings.short:
            return [order[at::rounds] for at in range(rounds)]
        size = self._at_once * self.settings.batches
        return [[order[(at * size + i) % len(order)] for i in range(min(size, len(order)))] for at in range(rounds)]

    def _sample(self) -> list[dict[int, list[Hit]]]:
        """For every round and layer, the hits that Captum is asked for."""
        random = Random(self.settings.seed + 1)
        by_layer: dict[int, list[Hit]] = {}
        for hit in self.gallery.hits:
            by_layer.setdefault(hit.layer, []).append(hit)
        number = self.settings.hits if self.complete else self.settings.deep_hits
        return [
            {layer: random.sample(some, min(number, len(some))) for layer, some in by_layer.items()}
            for _ in range(self.settings.rounds)
        ]

    def _naive(self, number: int) -> dict[int, float]:
        return {
            layer: captum_peer.time_one(self.gallery, self.modules, some)
            for layer, some in self.sample[number].items()
            if self.modules.of(self.gallery.layers[layer]) is not None
        }

    def _batched(self, number: int) -> dict[int, float]:
        """Seconds a hit by layer, in its best batch."""
        random = Random(self.settings.seed + 2 + number)
        return {layer: self._one_batch(layer, batch, random) for layer, batch in self.best_batch.items()}

    def _one_batch(self, layer: int, batch: Batch, random: Random) -> float:
        some = [hit for hit in self.gallery.hits if hit.layer == layer]
        gallery, modules = (self.turned, self.turned_modules) if batch.turned else (self.gallery, self.modules)
        layout = torch.channels_last if batch.turned else torch.contiguous_format
        return captum_peer.time_several(gallery, modules, random.choices(some, k=batch.size), layout)

    def _warm(self) -> None:
        """First calls set kernels up, which many more would share; and they tell Captum's best batches."""
        ours.draw(self.gallery, self.holding[: 2 if self.settings.short else self._at_once], some=self.settings.some)
        for layer in self.used:
            if self.modules.of(self.gallery.layers[layer]) is None:
                continue
            captum_peer.time_one(self.gallery, self.modules, self.sample[0][layer][:1])
            if self.complete and len(self.settings.sizes) == 1:
                self.best_batch[layer] = Batch(self.settings.sizes[0], turned=True)
            elif self.complete:
                random = Random(self.settings.seed)
                options = [Batch(size, turned) for size in self.settings.sizes for turned in (False, True)]
                spent = {each: min(self._one_batch(layer, each, random) for _ in range(3)) for each in options}
                self.best_batch[layer] = min(spent, key=lambda each: spent[each])

    def rows(self, title: str) -> list[Row]:
        chunks, some = self._chunks(), None if self.complete else self.settings.some
        contestants: dict[str, Any] = {
            "pixelward": lambda number: ours.draw(self.gallery, chunks[number], some=some),
            "captum": self._naive,
        }
        if self.complete:
            contestants["batched"] = self._batched
        self._warm()
        given = interleaved(contestants, self.settings.rounds, self.settings.seed)
        spent: list[Spent] = given["pixelward"]
        floor = self._floor()
        mine = _Ours(spent, self.counts, len(self.holding))
        rows = [self._row(title, mine, given["captum"], floor)]
        if self.complete:
            rows += self._batched_rows(title, mine, given["batched"], floor)
        return rows

    # ------------------------------------------------------------ what comes of it

    def _row(self, title: str, mine: _Ours, theirs: Sequence[Mapping[int, float]], floor: floors.Floor) -> Row:
        totals = [self._total(each, theirs) for each in theirs]
        ratio, spread = ratios(totals, mine.totals)
        return Row(
            name=f"gallery-{self.name}",
            title=title,
            against="Captum, called as its users do",
            ratio=ratio,
            goal=GOALS[self.name],
            seconds={"pixelward": statistics.median(mine.totals), "captum": statistics.median(totals)},
            samples=self._samples(),
            floor_share=floor.seconds(len(self.holding), self.counts) / statistics.median(mine.totals),
            shape_share=floor.own_seconds(len(self.holding), self.counts) / statistics.median(mine.totals),
            spread=spread,
            layers=self._layers(mine, theirs, floor),
            notes=[self.agreement, str(floor), *self._in_every_picture(mine, totals)],
        )

    def _in_every_picture(self, mine: _Ours, theirs: Sequence[float]) -> list[str]:
        """What the ratio would be with the ways up of all pictures, where some hold no hit."""
        idle = len(self.gallery.pictures) - len(self.holding)
        if not idle:
            return []
        more = mine.up * idle
        ratio, _ = ratios(theirs, [total + more for total in mine.totals])
        return [f"Were there hits in every picture, {more:.1f} s more of ways up would make it {ratio:.1f} times."]

    def _batched_rows(
        self, title: str, mine: _Ours, theirs: Sequence[Mapping[int, float]], floor: floors.Floor
    ) -> list[Row]:
        rows = []
        sizes = ", ".join(
            f"{self.gallery.layers[layer].address} {batch.size}{' (channels last)' if batch.turned else ''}"
            for layer, batch in self.best_batch.items()
        )
        for part, goal in BATCHED_GOALS.items():
            own = [n for n in self.used if self.gallery.layers[n].address.startswith(part)]
            if not own:
                continue
            their = [sum(each[n] * self.counts[n] for n in own) for each in theirs]
            our = mine.totals if not part else [sum(each[n] for n in own) for each in mine.shared]
            ratio, spread = ratios(their, our)
            share = len(self.holding) * sum(self.counts[n] for n in own) / sum(self.counts)
            some = [count if n in own else 0 for n, count in enumerate(self.counts)]
            rows.append(
                Row(
                    name=f"gallery-{self.name}-batched{'-' + part if part else ''}",
                    title=f"{title}{', ' + part if part else ''}",
                    against="Captum, batched at its best",
                    ratio=ratio,
                    goal=goal,
                    seconds={"pixelward": statistics.median(our), "captum": statistics.median(their)},
                    samples=f"{self._samples()} Captum's best batches: {sizes}.",
                    floor_share=floor.seconds(share, some) / statistics.median(our),
                    shape_share=floor.own_seconds(share, some) / statistics.median(our),
                    spread=spread,
                    notes=[] if part else self._in_every_picture(mine, their),
                )
            )
        return rows

    def _total(self, round_: Mapping[int, float], every: Sequence[Mapping[int, float]]) -> float:
        """Captum's seconds for all hits; a layer that no module puts out costs as the mean of the others."""
        return sum(round_.get(n, statistics.mean(round_.values())) * self.counts[n] for n in self.used)

    def _layers(self, mine: _Ours, theirs: Sequence[Mapping[int, float]], floor: floors.Floor) -> list[dict[str, Any]]:
        found = []
        pictures = len(self.holding) / sum(self.counts)
        for n in self.used:
            per_hit = mine.per_hit[n] + mine.up * pictures
            least = (floor.down[n] + floor.up * pictures) / floor.rate
            own = floor.own_down[n] + floor.own_up * pictures
            asked = [each[n] for each in theirs if n in each]
            their = statistics.median(asked) if asked else None
            down = mine.per_hit[n]
            found.append(
                {
                    "layer": self.gallery.layers[n].address,
                    "hits": self.counts[n],
                    "ratio": None if their is None else their / per_hit,
                    "ms": 1e3 * per_hit,
                    "down_ms": 1e3 * down,
                    "peer_ms": None if their is None else 1e3 * their,
                    "million_adds": floor.down[n] / 1e6,
                    "floor_share": least / per_hit,
                    "down_floor_share": floor.down[n] / floor.rate / down,
                    "shape_share": own / per_hit,
                }
            )
        return found

    def _floor(self) -> floors.Floor:
        preprocess = networks.preprocess_of(self.gallery.net)
        picture = self.gallery.pictures.tensor(self.holding[0], preprocess)[None]
        addresses = [layer.address for layer in self.gallery.layers]
        recorder = Recorder(self.gallery.net, addresses, DECONVNET, picture)
        plan, settings = recorder.plan(picture), self.settings
        up = floors.up(plan, last=floors.last_recorded(recorder, picture))
        positions = [[hit.position for hit in self.gallery.hits if hit.layer == at] for at in range(len(addresses))]
        down = [
            floors.down(plan, recorder.targets[address].value, own)
            for address, own in zip(addresses, positions, strict=True)
        ]
        return floors.floor(up, down, self.counts, len(self.holding), settings.shapes, settings.floor_batches)

    def _samples(self) -> str:
        random_share = "" if self.share == 1 else f" a random {self.share:.1%} of the units of"
        layers = (
            f"all {self.all_layers} layers"
            if len(self.gallery.layers) == self.all_layers
            else f"{len(self.gallery.layers)} of {self.all_layers} layers, evenly spaced"
        )
        per_round = self.settings.hits if self.complete else self.settings.deep_hits
        covered = (
            "all of these pictures with all their hits, over the rounds"
            if self.complete and not self.settings.short
            else f"{self._at_once * self.settings.batches} of these pictures a round, "
            + (
                "all their hits"
                if self.complete
                else f"of each layer the first {self.settings.some} of their hits at most"
            )
            + "; the way up extrapolated by pictures, the way down by hits"
        )
        return (
            f"{len(self.gallery.hits)} projections for{random_share} {layers}, {self.network.weights}, hits in "
            f"{len(self.holding)} of {self.gallery.pictures.told}. Pixelward: {covered}. Captum: {per_round} random "
            f"hits a layer and round, extrapolated by hits. {self.settings.rounds} round"
            f"{'s' * (self.settings.rounds > 1)}."
        )

    # ------------------------------------------------------------ are both right?

    def _agreement(self) -> str:
        """Compare a few hits with Captum. Raises where both should be right and differ."""
        as_is = self._difference(self.gallery)
        if as_is is None:
            return "Captum cannot be asked for these layers."
        found, text = as_is, "Value times Captum's map equals our projection within {:.0e} of its largest number"
        if any(isinstance(module, nn.LocalResponseNorm) for module in self.gallery.net.modules()):
            found = (
                self._difference(replace(self.gallery, net=networks.without_response_norms(self.gallery.net))) or 0.0
            )
            text += f" where response norms are taken out; with them, which Captum differentiates, within {as_is:.0e}"
        if found > rounding(self.gallery.net):
            raise ArithmeticError(f"{self.name}: Captum's maps and ours differ by {found:.0e} of the largest number")
        return text.format(found) + ", both in float64."

    def _difference(self, gallery: Gallery) -> float | None:
        """The largest, of a few hits, over the largest number of ours; in float64, where a mistake is no rounding."""
        random = Random(self.settings.seed)
        gallery = replace(gallery, net=copy.deepcopy(gallery.net).double())
        asked = [hit for hit in gallery.hits if self.modules.of(gallery.layers[hit.layer]) is not None]
        if not asked:
            return None
        modules = Modules(gallery.net, ours.picture_of(gallery, asked[0]))
        worst = 0.0
        for hit in random.sample(asked, min(self.settings.checked, len(asked))):
            signal, value = ours.project(gallery, hit)
            if value <= 0:  # nothing is sent down, as from a unit that is silent where response norms are taken out
                continue
            module = modules.of(gallery.layers[hit.layer])
            assert module is not None
            theirs = captum_peer.one(gallery.net, module, ours.picture_of(gallery, hit), hit)[0].detach()
            worst = max(worst, float((signal - value * theirs).abs().max()) / float(signal.abs().max()))
        return worst


def rounding(net: nn.Module) -> float:
    """The relative difference that rounding can make of two ways of one projection in float64.

    Every number is a sum along the way up and down, to which each convolution adds as many terms as a place of its
    kernel meets; each may be rounded once, and the two ways sum in different orders.
    """
    weights = [module.weight for module in net.modules() if isinstance(module, nn.Conv2d)]
    terms = sum(weight.numel() // weight.shape[0] + weight.numel() // weight.shape[1] for weight in weights)
    return terms * torch.finfo(torch.float64).eps


class _Ours:
    """Our rounds, extrapolated to the whole gallery.

    totals: seconds of every round. up: of the way up of a picture; per_hit: of the
    way down by layer; both over all rounds. shared: by round and layer,
    seconds with the way up shared equally over all hits.
    """

    def __init__(self, spent: Sequence[Spent], counts: Sequence[int], pictures: int) -> None:
        joint: dict[int, tuple[float, int]] = {}
        for each in spent:
            for layer, (seconds, number) in each.layers.items():
                before = joint.get(layer, (0.0, 0))
                joint[layer] = before[0] + seconds, before[1] + number
        self.up = sum(each.forward for each in spent) / sum(each.pictures for each in spent)
        self.per_hit = {layer: seconds / number for layer, (seconds, number) in joint.items()}
        slowest = max(self.per_hit.values())
        used = [layer for layer, count in enumerate(counts) if count]
        self.per_hit |= {layer: slowest for layer in used if layer not in self.per_hit}  # none in the rounds' pictures
        self.totals: list[float] = []
        self.shared: list[dict[int, float]] = []
        for each in spent:
            up = each.forward / each.pictures * pictures
            down = {
                layer: counts[layer]
                * (each.layers[layer][0] / each.layers[layer][1] if layer in each.layers else self.per_hit[layer])
                for layer in used
            }
            self.totals.append(up + sum(down.values()))
            self.shared.append({layer: down[layer] + up * counts[layer] / sum(counts) for layer in used})
