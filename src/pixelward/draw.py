"""Atlas + network + pictures -> drawings: the projections and patches of every hit, as sheets.

Each picture runs through the network once at most for a group of layers, only as far as its hits need it, and all hits
that chose it go down together, each in its own window. Pictures and hits are held to the hashes of the scan, and values
to the scan's where the network runs as far (for the first picture of a group, at least), so that no drawing shows
another picture than was scanned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from pixelward.atlas import Atlas, Drawings, LayerRecord
from pixelward.core.check import check
from pixelward.core.devices import moved
from pixelward.core.findings import Operation
from pixelward.core.kernels import kernels
from pixelward.core.memory import at_once, left_of, refuse_no_bound, taken
from pixelward.core.path import path
from pixelward.core.precision import like_of
from pixelward.core.projector import Chosen, Projector, Sent, together
from pixelward.core.recorder import Recorder
from pixelward.core.rules import RuleSet, resolve
from pixelward.core.trace import trace
from pixelward.errors import PixelwardError
from pixelward.fingerprint import recognised
from pixelward.folder import drawings_folder, kernel_file, thumb_file, write_file
from pixelward.gallery import Gallery, Loaded, refuse_other_value
from pixelward.incoming import ahead
from pixelward.pictures import (
    CELL,
    cell_size,
    photo_webp,
    projection_webp,
    sheet,
    signal_to_picture,
    view_box,
)
from pixelward.unit_sheets import WAITING, ChosenHit, Sheets, Writer
from pixelward.waiting import Waiting
from pixelward.words import without

Report = Callable[[int, int, float], None]

TILES = 4_000_000_000  # bytes of tiles that may wait for their sheets on the disk: how many layers are drawn at once
THUMB = 192  # pixels of a thumb's longer side


def draw(
    atlas: Atlas | str | Path,
    net: nn.Module,
    *,
    layers: Sequence[str] | None = None,
    pictures: str | Path | None = None,
    rules: str = "deconvnet",
    unpool: str = "sum",
    memory: int | None = None,
    report: Report | None = None,
    note: Callable[[str], None] = print,
) -> Atlas:
    """Draw the hits of the layers into the atlas's folder, and thumbs of all pictures that hold hits.

    net: the network that was scanned. layers: addresses; None for all that the rules can project: what is left out is
    told to `note` in one line. pictures: where they are now, if they were moved since the scan: the source, or
    a folder of all sources by name. memory: bytes that the process may take, or of a GPU's memory where the network is
    on one; it chooses how much is done at once. report: called with (pictures done, in all, pictures a second).
    Layers that are drawn already are left as they are. Raises PixelwardError for another network, pictures that are
    not what was scanned, and, before any work, a named layer that cannot be projected; `drawings.json`, written last,
    never says more than is there.
    """
    atlas = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    refuse_no_bound(memory)
    table = resolve(rules, unpool)
    recognised(atlas, net)
    done = _done(atlas, rules, unpool)
    wanted = [atlas.layer(name) for name in layers] if layers is not None else list(atlas.layers)
    wanted = [record for record in dict.fromkeys(wanted) if record.address not in done]
    weights: dict[str, Tensor] = {}
    operations = _operations(atlas, net, rules) if wanted or not done else None
    if wanted:
        wanted, refused, weights = _projectable(atlas, net, wanted, table)
        if refused:
            address, error = next(iter(refused.items()))
            if layers is not None or not (wanted or done):
                raise PixelwardError(
                    given=f"layer {address} to draw, but {error.given}",
                    allowed=error.allowed,
                    next_step=error.next_step,
                ) from error
            note(without(list(refused), len(refused) + len(wanted) + len(done), error.given))
    for record in wanted:  # the network tells few values again: the others start down as the scan wrote them
        atlas.refuse_other_hits(record)
    if wanted or not done:
        gallery = Gallery(atlas, pictures)
        thumbs = set(atlas.hit_pictures())
        addresses = [record.address for record in wanted]
        shape = (len(atlas.preprocess.mean), *atlas.size)
        room = _Room(None, together(shape))
        if memory is not None and wanted:
            room = _Room.of(memory, atlas, net, addresses, table)
        groups = list(_groups(atlas, wanted))
        rows = [_hits_by_picture(atlas, group) for group in groups]
        total = sum(len(set(by_picture) | (thumbs if number == 0 else set())) for number, by_picture in enumerate(rows))
        tell = _teller(report, total)
        order = [record.address for record in atlas.layers]
        for number, (group, by_picture) in enumerate(zip(groups, rows, strict=True)):
            _draw_group(atlas, net, group, by_picture, thumbs if number == 0 else set(), gallery, table, room, tell)
            for record in group:
                if record.address in weights:
                    _write_kernels(atlas, record, weights[record.address])
            done = tuple(sorted({*done, *(record.address for record in group)}, key=order.index))
            atlas.write_drawings(Drawings(rules, unpool, "value", done, operations))
    return atlas


def _projectable(
    atlas: Atlas, net: nn.Module, records: Sequence[LayerRecord], table: RuleSet
) -> tuple[list[LayerRecord], dict[str, PixelwardError], dict[str, Tensor]]:
    """The layers that the rules can project, why not the others, and the weights of those that read the pixels, by
    address; found out on a grey picture."""
    picture = like_of(net).new_zeros(1, len(atlas.preprocess.mean), *atlas.size)
    traced = trace(net, picture, [record.address for record in records], table)
    possible, refused, weights = [], {}, {}
    for record in records:
        value = traced.targets[record.address].value
        try:
            path(traced.plan, value, table)
        except PixelwardError as error:
            refused[record.address] = error
        else:
            possible.append(record)
            found = kernels(traced.plan, value)
            if found is not None:
                weights[record.address] = found
    return possible, refused, weights


def _operations(atlas: Atlas, net: nn.Module, rules: str) -> tuple[Operation, ...] | None:
    """How signals cross each operation of the network, for the page of the network; None where it cannot be watched."""
    with suppress(PixelwardError):
        return check(net, size=atlas.size, channels=len(atlas.preprocess.mean), rules=rules).operations
    return None


def _write_kernels(atlas: Atlas, record: LayerRecord, weights: Tensor) -> None:
    """A picture of each unit's weights, (C, channels, h, w): one tile of colours or of grey, else one a channel."""
    for channel, weight in enumerate(weights.float().cpu().numpy()):
        colours = len(weight) == 3
        # Side by side, so that one scale serves all channels.
        row = weight if colours else np.concatenate(list(weight), axis=1)[None]
        shown = signal_to_picture(row, atlas.preprocess.channels if colours else "L").picture
        tiles = [shown] if colours else np.split(shown, len(weight), axis=1)
        image = sheet(tiles, cell_size(*tiles[0].shape[:2]))
        write_file(atlas.path / kernel_file(record.slug, channel), projection_webp(image))


def _done(atlas: Atlas, rules: str, unpool: str) -> tuple[str, ...]:
    """Layers that were drawn in the same way; refuses to mix two ways in one atlas."""
    drawings = atlas.drawings
    if drawings is None:
        return ()
    if (drawings.rules, drawings.unpool) != (rules, unpool):
        raise PixelwardError(
            given=f"rules {rules}, unpooling {unpool} for {atlas.path}, which is drawn with rules {drawings.rules}, "
            f"unpooling {drawings.unpool}",
            allowed="one way of drawing in an atlas",
            next_step="draw a copy of the atlas from which drawings.json and drawings/ were removed",
        )
    return drawings.layers


class _Room(NamedTuple):
    """Bytes for tensors, None where nothing bounds them; pictures at once; bytes of sheets that wait to be written."""

    tensors: float | None
    pictures: int
    sheets: float = WAITING

    @classmethod
    def of(cls, memory: int, atlas: Atlas, net: nn.Module, addresses: Sequence[str], table: RuleSet) -> _Room:
        """What a bound leaves. Raises PixelwardError where it is too small for one picture."""
        like, channels = like_of(net), len(atlas.preprocess.mean)
        device, picture = like.device, like.new_zeros(1, channels, *atlas.size)
        surveys = (  # what was done before, with gradients, through as much of the network as each needs
            lambda: _operations(atlas, net, "deconvnet"),
            lambda: trace(net, picture, addresses, table),
            lambda: Recorder(net, addresses, table, picture),
        )
        traced = max(taken(survey, device) for survey in surveys)
        if device.type != "cpu":
            left = left_of(memory, device, traced, "the pass of one picture")
            own = picture.numel() * picture.element_size()
            return cls(left / 2, at_once(left / 4, own, together(picture.shape[1:])))
        # As numbers and as it is shown; a batch is decoded ahead of the one at work, which is stacked once more.
        loaded = 3 * (picture.numel() * picture.element_size() + 3 * atlas.size[0] * atlas.size[1])
        left = left_of(memory, device, max(2 * traced, 4 * loaded), "the pass of one picture, with all that it needs,")
        return cls(left / 2, at_once(left / 4, loaded, together(picture.shape[1:])), min(WAITING, left / 8))


def _groups(atlas: Atlas, records: Sequence[LayerRecord]) -> Iterator[list[LayerRecord]]:
    """Runs of layers whose tiles, four of a hit, may wait together."""
    group: list[LayerRecord] = []
    size = 0
    for record in records:
        box = view_box(record.shown.box((0, 0), atlas.size), *atlas.size)
        need = record.channels * atlas.k * 4 * 4 * min(box.height, CELL) * min(box.width, CELL)
        if group and size + need > TILES:
            yield group
            group, size = [], 0
        group.append(record)
        size += need
    if group:
        yield group


def _hits_by_picture(atlas: Atlas, group: Sequence[LayerRecord]) -> dict[int, list[ChosenHit]]:
    """All hits of these layers by the picture that holds them, ids ascending."""
    found: dict[int, list[ChosenHit]] = {}
    for record in group:
        units = atlas.units(record)
        for channel, rank in np.argwhere(np.asarray(units.picture) >= 0).tolist():
            y, x = units.position[channel, rank].tolist()
            chosen = ChosenHit(record.number, channel, rank, (y, x), float(units.value[channel, rank]))
            found.setdefault(int(units.picture[channel, rank]), []).append(chosen)
    return dict(sorted(found.items()))


def _draw_group(
    atlas: Atlas,
    net: nn.Module,
    group: Sequence[LayerRecord],
    by_picture: dict[int, list[ChosenHit]],
    thumbs: set[int],
    gallery: Gallery,
    table: RuleSet,
    room: _Room,
    tell: Callable[[int], None],
) -> None:
    for record in group:
        folder = atlas.path / drawings_folder(record.slug)
        for stale in [*folder.glob("*.details-*"), *folder.glob("*.focus*")]:  # of another way of drawing
            stale.unlink()
    with Writer(room.sheets) as writer, Waiting(atlas.path) as tiles:
        sheets = {record.number: Sheets(atlas, record, gallery.preprocess, writer, tiles) for record in group}
        ids = sorted(by_picture | dict.fromkeys(thumbs))
        projector = Projector(net, [record.address for record in group], table, room.tensors)
        loaded = ahead((gallery.load(row) for row in atlas.pictures(ids).values()), room.pictures)
        while batch := list(islice(loaded, room.pictures)):
            for picture in batch:
                if picture.id in thumbs:
                    small = Image.fromarray(picture.shown)
                    small.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
                    writer.write(atlas.path / thumb_file(picture.id), photo_webp, small)
            chosen: dict[int, list[tuple[int, ChosenHit]]] = {}
            for number, picture in enumerate(batch):
                for hit in by_picture.get(picture.id, ()):
                    chosen.setdefault(hit.layer, []).append((number, hit))
            if chosen:
                _draw_batch(batch, dict(sorted(chosen.items())), projector, sheets, like_of(net))
            tell(len(batch))
    for record in group:  # every sheet is there
        sheets[record.number].finish()


def _draw_batch(
    batch: Sequence[Loaded],
    chosen: Mapping[int, Sequence[tuple[int, ChosenHit]]],
    projector: Projector,
    sheets: Mapping[int, Sheets],
    like: Tensor,
) -> None:
    """Project hits, by their layer, each with the number of its picture in the batch; hand them to their sheets.

    like: of the network's type and device.
    """
    pixels = moved(torch.stack([picture.pixels for picture in batch]), like.device, like.dtype)
    layers = {sheets[layer].record.address: layer for layer in chosen}
    hits = {address: _as_tensors(chosen[layer]) for address, layer in layers.items()}
    for sent in projector.project(pixels, hits):
        layer = layers[sent.address]
        _hand_over(sent, batch, chosen[layer], sheets[layer], pixels.dtype)
        del sent  # before the next ones are projected


def _hand_over(
    sent: Sent, batch: Sequence[Loaded], chosen: Sequence[tuple[int, ChosenHit]], sheets: Sheets, dtype: torch.dtype
) -> None:
    """Give hits their signals. Raises PixelwardError where the network gives another value than it was scanned with."""
    rows = zip(sent.rows.tolist(), sent.signals, sent.boxes, sent.values.tolist(), strict=True)
    for row, signal, box, value in rows:
        number, hit = chosen[row]
        refuse_other_value(sheets.record, hit.channel, hit.position, value, hit.value, sheets.largest, dtype)
        sheets.add(hit, batch[number].shown, signal.numpy(), box)


def _as_tensors(pairs: Sequence[tuple[int, ChosenHit]]) -> Chosen:
    numbers = torch.tensor([[number, hit.channel, *hit.position] for number, hit in pairs])
    values = torch.tensor([hit.value for _, hit in pairs])
    return Chosen(numbers[:, 1], numbers[:, 2:], numbers[:, 0], values)


def _teller(report: Report | None, total: int) -> Callable[[int], None]:
    started, done = time.monotonic(), 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if report is not None:
            report(done, total, done / max(time.monotonic() - started, 1e-9))

    return tell
