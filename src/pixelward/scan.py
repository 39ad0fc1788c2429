"""One pass over the pictures: sources -> network -> strongest -> atlas.

The pictures are cut into shards, runs of a fixed number of files in the order of their ids. Batches never cross a
shard, and short ones are padded, so what is computed does not depend on where a scan was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from pixelward.atlas import Atlas, LayerRecord, PictureRow
from pixelward.batch import fitting_batch, quickest_batch
from pixelward.core.devices import moved
from pixelward.core.layers import Layer, find_layers, observe, shows_the_same
from pixelward.core.layers import layers as default_layers
from pixelward.core.layout import laid_out
from pixelward.core.memory import refuse_no_bound, taken_by
from pixelward.core.passage import unwrapped
from pixelward.core.precision import like_of
from pixelward.core.strongest import OVERLAP, Apart, NotFiniteError, Strongest, histogram_edges
from pixelward.data.images import Preprocess
from pixelward.data.sources import open_sources
from pixelward.data.tiles import tile_boxes
from pixelward.draft import Draft
from pixelward.errors import PixelwardError
from pixelward.fingerprint import fingerprint
from pixelward.folder import VERSION
from pixelward.incoming import AHEAD, File, Prepared, ahead, files_of, listing_of, photographs, prepared
from pixelward.nets.load import preprocess_of
from pixelward.words import counted, without

Report = Callable[[int, int, float], None]

RULES = "deconvnet"  # the rule set whose reach the layers state
SHARD = 128  # files a shard: so many may have to be read again after an interruption
SHARD_OF_PHOTOGRAPHS = 1  # the same where each is cut into tiles, of which there may be hundreds
# Kinds of modules that are random or mix the pictures of a batch in training mode, and whether one of them does.
_TRAINING: dict[type[nn.Module], Callable[[Any], bool]] = {
    _DropoutNd: lambda module: module.p > 0,
    nn.MultiheadAttention: lambda module: module.dropout > 0,
    nn.RReLU: lambda module: module.lower < module.upper,
    _BatchNorm: lambda module: True,
    _InstanceNorm: lambda module: module.track_running_stats,  # without, it is the same in both modes
}
# In the saved state, so that a scan that goes on rounds as it began: pictures at once, the bound on memory under which
# these were chosen (0: none), and whether they lie with their channels last.
_BATCH, _BOUND, _TURNED = "batch", "bound", "turned"


def scan(
    net: nn.Module,
    sources: str | Path | Sequence[str | Path],
    atlas: str | Path,
    *,
    layers: Sequence[str] | None = None,
    k: int = 9,
    tiles: tuple[int, int] | None = None,
    labels: str | None = None,
    name: str | None = None,
    batch: int | None = None,
    memory: int | None = None,
    device: str | torch.device | None = None,
    model: str = "",
    report: Report | None = None,
    note: Callable[[str], None] = print,
) -> Atlas:
    """Find the k strongest hits and the statistics of every unit of the layers, over all pictures, in one pass.

    net: takes (N, C, H, W), in evaluation mode. sources: folders, list files, globs, zips, pictures. atlas: a new or
    empty folder, or one in which this scan was interrupted or is finished: then it goes on or has nothing to do.
    layers: addresses, also of layers that cannot be projected; None for all convolutions that can, rectified where they
    are; what is left out is told to `note` in one line. tiles: (size, stride) cuts each picture
    into overlapping tiles at several scales, in pixels. batch: pictures at once; None for 32, on a processor 16.
    memory: bytes that the process may take (of a GPU's memory where the network runs on one),
    which may make the batch smaller. device: where the network runs; None for where it is. model: how the atlas shall
    name the network; its class if "".
    report: called with (files done, files in all, pictures a second) after every batch; once with a rate of 0.0 if
    there was nothing left to do.

    Memory does not grow with the number of pictures. A picture that cannot be used is recorded as skipped with its
    reason. Raises PixelwardError for bad input, for a network in training mode, for NaN or infinity in a layer, and
    if no picture could be used; what was finished before an error is kept. Paper: section 4, feature visualization,
    the choice of the activations.
    """
    _refuse_small(k=k, batch=1 if batch is None else batch)
    refuse_no_bound(memory)
    _refuse_training(net)
    if tiles:
        tile_boxes(tiles[0], tiles[0], *tiles)  # refuses impossible ones before anything is written
    preprocess = preprocess_of(net)
    opened = open_sources(sources, name=name, labels=labels)
    size = (tiles[0], tiles[0]) if tiles else (preprocess.size, preprocess.size)
    channels = len(preprocess.mean)
    survey = partial(default_layers, net) if layers is None else partial(find_layers, net, layers)
    surveyed = 0  # bytes: a pass with gradients, through all of the network
    if memory is None:
        found = survey(size=size, channels=channels)
    else:
        found, surveyed = taken_by(lambda: survey(size=size, channels=channels), like_of(net).device)
    if layers is None:
        found = _projectable(found, note)
    records = _records(found)
    listing, total = listing_of(opened)
    draft = Draft.begin(
        Path(atlas),
        {
            "version": VERSION,
            "network": {"model": model or type(unwrapped(net)).__name__, "sha256": fingerprint(net)},
            "preprocessing": preprocess.to_dict(),
            "rules": RULES,
            "k": k,
            "size": size,
            "tiles": {"size": tiles[0], "stride": tiles[1], "overlap": OVERLAP} if tiles else None,
            "layers": [record.to_json() for record in records],
            "sources": [{"name": source.name, "path": str(Path(source.path).absolute())} for source in opened],
            "listing": listing,
        },
    )
    if draft is None:
        if report:
            report(total, total, 0.0)
        return Atlas.open(atlas)
    home = like_of(net).device
    try:
        if device is not None:
            net.to(device)
        state = draft.state()
        begun = state.get(_BATCH)
        if batch is None:
            batch = quickest_batch(net) if begun is None else int(begun)
        # A smaller one that is asked for now, or that memory bounds now, is not overruled.
        batch = batch if begun is None else min(batch, int(begun))
        bound = memory or 0
        # Under the bound that it began with it is not chosen anew: what is in use differs a little from run to run.
        if memory is not None and int(state.get(_BOUND, 0)) != bound:
            batch = fitting_batch(memory, net, found, (channels, *size), k, batch, surveyed)
        run = _Run(net, found, draft, k=k, batch=batch, bound=bound, tiles=tiles, tell=_teller(report, total))
        run.over(files_of(opened), preprocess)
        if not run.strongest[0].seen:
            raise _nothing_used(draft)
        draft.finish(records, histogram_edges().numpy())
    except BaseException:
        if not draft.shards:
            draft.discard()
        raise
    finally:
        if device is not None:
            net.to(home)
    return Atlas.open(atlas)


class _Run:
    """The part of a scan that is repeated: batches through the network into the reducers, shard after shard."""

    def __init__(
        self,
        net: nn.Module,
        layers: Sequence[Layer],
        draft: Draft,
        *,
        k: int,
        batch: int,
        bound: int,
        tiles: tuple[int, int] | None,
        tell: Callable[[int, int], None],
    ) -> None:
        """batch: pictures at once. bound: bytes that these were chosen under, 0 for none."""
        self._net, self._layers, self._draft = net, layers, draft
        self._chosen = {_BATCH: np.array(batch), _BOUND: np.array(bound)}
        self._batch, self._tiles, self._tell = batch, tiles, tell
        self._like = like_of(net)
        self._may_turn: bool | None = None  # whether pictures may lie and run as is fastest; told by the first
        self.strongest = [Strongest(layer.channels, k, self._like.device) for layer in layers]
        self._apart = [
            Apart(each, layer.field, (tiles[0], tiles[0])) if tiles else None
            for each, layer in zip(self.strongest, layers, strict=True)
        ]
        state = draft.state()
        for number, each in enumerate(self.strongest if state else ()):
            each.load({name: torch.tensor(state[f"{number}/{name}"]) for name in each.state()})
        if _TURNED in state:
            self._may_turn = bool(state[_TURNED])

    def over(self, files: Iterable[File], preprocess: Preprocess) -> None:
        """Take all shards that are not finished; after each, save the state."""
        length = SHARD_OF_PHOTOGRAPHS if self._tiles else SHARD
        done = self._draft.files
        left = enumerate(islice(files, done, None), start=done)
        pictures = prepared(left, preprocess, self._tiles, length=length, id=self._draft.pictures)
        with closing(ahead(pictures, AHEAD * self._batch)) as items:
            for _, shard in groupby(items, key=lambda item: item.shard):
                rows: list[PictureRow] = []
                waiting: list[Prepared] = []
                for item in shard:
                    rows.append(item.row)
                    done += item.last
                    if item.pixels is not None:
                        waiting.append(item)
                    if len(waiting) == self._batch:
                        self._through(waiting)
                        self._tell(done, len(waiting))
                        waiting = []
                if waiting:
                    self._through(waiting)
                self._refuse_broken(rows)
                states = enumerate(each.state() for each in self.strongest)
                arrays = {f"{n}/{name}": each.numpy() for n, state in states for name, each in state.items()}
                arrays |= self._chosen
                if self._may_turn is not None:
                    arrays[_TURNED] = np.array(self._may_turn)
                self._draft.save(arrays, rows)
                self._tell(done, len(waiting))

    def _through(self, items: Sequence[Prepared]) -> None:
        """One batch through the network."""
        pixels = torch.stack([item.pixels for item in items if item.pixels is not None])
        padding = pixels.new_zeros(self._batch - len(items), *pixels.shape[1:])
        ids = moved(torch.tensor([item.row.id for item in items]), self._like.device)

        def visit(number: int, maps: Tensor) -> None:
            apart = self._apart[number]
            for piece in photographs(items) if apart else [slice(0, len(items))]:
                try:
                    if apart:
                        boxes = torch.tensor([item.row.tile for item in items[piece]], dtype=torch.float64)
                        apart.update(maps[piece], ids[piece], boxes)
                    else:
                        self.strongest[number].update(maps[piece], ids[piece])
                except NotFiniteError as error:
                    raise self._not_finite(number, error.picture, [item.row for item in items]) from error
                if apart and items[piece.stop - 1].last:
                    apart.settle()

        batch = moved(torch.cat([pixels, padding]), self._like.device, self._like.dtype)
        if self._may_turn is None:
            self._may_turn = shows_the_same(self._net, batch[:1], laid_out(batch[:1]), self._layers)
        may = self._may_turn
        observe(self._net, laid_out(batch) if may else batch, self._layers, visit, quick=may)

    def _refuse_broken(self, rows: Sequence[PictureRow]) -> None:
        """Where the network runs on a GPU, numbers that are not finite are looked for once a shard."""
        for number, each in enumerate(self.strongest):
            try:
                each.refuse_broken()
            except NotFiniteError as error:
                raise self._not_finite(number, error.picture, rows) from error

    def _not_finite(self, number: int, picture: int, rows: Sequence[PictureRow]) -> PixelwardError:
        row = next(row for row in rows if row.id == picture)
        where = f"picture {row.id}, {row.source}/{row.name}" + (f", tile {tuple(row.tile)}" if row.tile else "")
        return PixelwardError(
            given=f"NaN or infinity in layer {self._layers[number].address} on {where}",
            allowed="a network and preprocessing that give finite numbers",
            next_step="check the weights and the preprocessing; finished shards are kept for the same command",
        )


def _projectable(layers: Sequence[Layer], note: Callable[[str], None]) -> list[Layer]:
    """The layers that can be projected; a line on the others. Raises PixelwardError where there is none."""
    possible = [layer for layer in layers if layer.refusal is None]
    reasons = {layer.address: _given(layer.refusal) for layer in layers if layer.refusal is not None}
    first = next(iter(reasons.values()), "")
    if reasons and not possible:
        raise PixelwardError(
            given=f"a network none of whose {counted(len(layers), 'layer')} can be projected: {first}",
            allowed="networks with a layer that can; to scan others, their names",
            next_step="see what is in the way with `pixelward check MODEL`, or name layers with --layers",
        )
    if reasons:
        line = without(list(reasons), len(layers), first)
        note(f"{line}; name layers with --layers to scan them although they cannot be projected")
    return possible


def _given(refusal: str) -> str:
    """What an error in one line says of the matter, without what is allowed and the next step."""
    return refusal.removeprefix("given: ").split(" - allowed: ")[0]


def _records(layers: Sequence[Layer]) -> list[LayerRecord]:
    if not layers:
        raise PixelwardError(
            given="a network without a layer to scan",
            allowed="one or more; unless they are named, all convolutions are taken",
            next_step="name the layers with --layers",
        )
    for layer in layers:
        if len(layer.shape) not in (1, 3):
            raise PixelwardError(
                given=f"layer {layer.address} of shape {layer.shape}",
                allowed="maps (C, H, W) and vectors (C,)",
                next_step="choose other layers with --layers",
            )
    return [
        LayerRecord(
            number,
            layer.address,
            layer.aliases,
            layer.channels,
            layer.shape[1:],
            layer.field,
            layer.reach,
            layer.stride,
        )
        for number, layer in enumerate(layers)
    ]


def _teller(report: Report | None, total: int) -> Callable[[int, int], None]:
    """Turns (files done, pictures taken since the last call) into what `report` is told."""
    started, taken = time.monotonic(), 0

    def tell(done: int, pictures: int) -> None:
        nonlocal taken
        taken += pictures
        if report:
            report(done, total, taken / max(time.monotonic() - started, 1e-9))

    return tell


def _nothing_used(draft: Draft) -> PixelwardError:
    """For a scan in which every picture was skipped; leaves nothing behind."""
    first = next(row for rows in draft.rows() for row in rows)
    number = draft.pictures
    draft.discard()
    return PixelwardError(
        given=f"{number} pictures, of which none can be used ({first.reason})",
        allowed="at least one picture that can be decoded",
        next_step="check the files, and --tiles if it was given",
    )


def _refuse_training(net: nn.Module) -> None:
    """Raise PixelwardError, which names the first module whose training mode changes what the network computes."""
    for name, module in unwrapped(net).named_modules():
        if module.training and any(isinstance(module, kind) and matters(module) for kind, matters in _TRAINING.items()):
            raise PixelwardError(
                given=f"a network whose module {name or 'itself'} ({type(module).__name__}) is in training mode",
                allowed="networks in evaluation mode, which treat every picture alike and by itself",
                next_step="call net.eval()",
            )


def _refuse_small(**numbers: int) -> None:
    for what, number in numbers.items():
        if number < 1:
            raise PixelwardError(given=f"{what} {number}", allowed="1 or more", next_step="choose a larger number")
