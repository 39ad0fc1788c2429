"""Atlas + network + pictures -> drawings: the projections and patches of every hit, as sheets.

Each picture runs through the network once at most for a group of layers, only as far as its hits need it, and all hits
that chose it go down together, each in its own window. Pictures and hits are held to the hashes of the scan, and values
to the scan's where the network runs as far (for the first picture of a group, at least), so that no drawing shows
another picture than was scanned.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save
from torch import Tensor, nn

from pixelward.atlas import Atlas, Drawings, LayerRecord
from pixelward.core.check import check
from pixelward.core.fields import Box
from pixelward.core.findings import Operation
from pixelward.core.kernels import kernels
from pixelward.core.memory import at_once, left_of, taken
from pixelward.core.path import path
from pixelward.core.projector import PICTURES, Chosen, Projector
from pixelward.core.recorder import Recorder
from pixelward.core.rules import RuleSet, resolve
from pixelward.core.trace import trace
from pixelward.data.images import Preprocess
from pixelward.errors import PixelwardError
from pixelward.folder import boxes_file, drawings_folder, kernel_file, sheet_file, thumb_file, write_file
from pixelward.gallery import Gallery, Loaded, refuse_other_value
from pixelward.hatch import cleared
from pixelward.pictures import (
    CELL,
    Picture,
    cell_size,
    columns_of,
    crop,
    focus_box,
    photo_webp,
    projection_webp,
    reduced,
    sheet,
    signal_to_picture,
    square_round,
    view_box,
)
from pixelward.pictures import fit as fit_tile
from pixelward.scan import ahead, recognised
from pixelward.words import without

Report = Callable[[int, int, float], None]

WRITERS = 2  # threads that encode and write pictures
WAITING = 32  # pictures that may wait for them
TILES = 1_500_000_000  # bytes of tiles that may wait for their sheets: decides how many layers are drawn at once
THUMB = 192  # pixels of a thumb's longer side


class _Chosen(NamedTuple):
    """A hit to be drawn: number of its layer, its unit and rank, and where it is."""

    layer: int
    channel: int
    rank: int
    position: tuple[int, int]
    value: float


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
        room = _Room() if memory is None or not wanted else _Room.of(memory, atlas, net, addresses, table)
        groups = list(_groups(atlas, wanted, room.tiles))
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
    like = next((each for each in net.parameters() if each.is_floating_point()), torch.zeros(()))
    picture = like.new_zeros(1, len(atlas.preprocess.mean), *atlas.size)
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
    """Bytes for tiles that wait for their sheets; for tensors, None where nothing bounds them; pictures at once."""

    tiles: float = TILES
    tensors: float | None = None
    pictures: int = PICTURES

    @classmethod
    def of(cls, memory: int, atlas: Atlas, net: nn.Module, addresses: Sequence[str], table: RuleSet) -> _Room:
        """What a bound leaves. Raises PixelwardError where it is too small for one picture."""
        device, channels = _device(net), len(atlas.preprocess.mean)
        picture = torch.zeros(1, channels, *atlas.size, device=device)
        traced = taken(lambda: Recorder(net, addresses, table, picture), device)
        if device.type != "cpu":
            return cls(tensors=left_of(memory, device, traced, "the pass of one picture"))
        # As numbers and as it is shown; two batches are decoded ahead of the one at work, which is stacked once more.
        loaded = 4 * (picture.numel() * picture.element_size() + 3 * atlas.size[0] * atlas.size[1])
        left = left_of(memory, device, max(2 * traced, 4 * loaded), "the pass of one picture, with all that it needs,")
        return cls(min(TILES, left / 4), left / 2, at_once(left / 4, loaded, PICTURES))


def _groups(atlas: Atlas, records: Sequence[LayerRecord], tiles: float) -> Iterator[list[LayerRecord]]:
    """Runs of layers whose tiles fit into memory together."""
    group: list[LayerRecord] = []
    size = 0
    for record in records:
        box = view_box(record.shown.box((0, 0), atlas.size), *atlas.size)
        need = record.channels * atlas.k * 4 * 2 * min(box.height, CELL) * min(box.width, CELL)
        if group and size + need > tiles:
            yield group
            group, size = [], 0
        group.append(record)
        size += need
    if group:
        yield group


def _hits_by_picture(atlas: Atlas, group: Sequence[LayerRecord]) -> dict[int, list[_Chosen]]:
    """All hits of these layers by the picture that holds them, ids ascending."""
    found: dict[int, list[_Chosen]] = {}
    for record in group:
        units = atlas.units(record)
        for channel, rank in np.argwhere(np.asarray(units.picture) >= 0).tolist():
            y, x = units.position[channel, rank].tolist()
            chosen = _Chosen(record.number, channel, rank, (y, x), float(units.value[channel, rank]))
            found.setdefault(int(units.picture[channel, rank]), []).append(chosen)
    return dict(sorted(found.items()))


def _draw_group(
    atlas: Atlas,
    net: nn.Module,
    group: Sequence[LayerRecord],
    by_picture: dict[int, list[_Chosen]],
    thumbs: set[int],
    gallery: Gallery,
    table: RuleSet,
    room: _Room,
    tell: Callable[[int], None],
) -> None:
    for record in group:
        for stale in (atlas.path / drawings_folder(record.slug)).glob("*.details-*"):  # of another way of drawing
            stale.unlink()
    with _Writer() as writer:
        sheets = {record.number: _Sheets(atlas, record, gallery.preprocess, writer) for record in group}
        ids = sorted(by_picture | dict.fromkeys(thumbs))
        projector = Projector(net, [record.address for record in group], table, room.tensors)
        loaded = ahead((gallery.load(row) for row in atlas.pictures(ids).values()), 2 * room.pictures)
        while batch := list(islice(loaded, room.pictures)):
            for picture in batch:
                if picture.id in thumbs:
                    small = Image.fromarray(picture.shown)
                    small.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
                    writer.write(atlas.path / thumb_file(picture.id), photo_webp, small)
            chosen: dict[int, list[tuple[int, _Chosen]]] = {}
            for number, picture in enumerate(batch):
                for hit in by_picture.get(picture.id, ()):
                    chosen.setdefault(hit.layer, []).append((number, hit))
            if chosen:
                _draw_batch(batch, dict(sorted(chosen.items())), projector, sheets, _device(net))
            tell(len(batch))
    for record in group:  # every sheet is there
        sheets[record.number].finish()


def _draw_batch(
    batch: Sequence[Loaded],
    chosen: Mapping[int, Sequence[tuple[int, _Chosen]]],
    projector: Projector,
    sheets: Mapping[int, _Sheets],
    device: torch.device,
) -> None:
    """Project hits, by their layer, each with the number of its picture in the batch; hand them to their sheets."""
    pixels = torch.stack([picture.pixels for picture in batch]).to(device)
    layers = {sheets[layer].record.address: layer for layer in chosen}
    hits = {address: _as_tensors(chosen[layer]) for address, layer in layers.items()}
    for sent in projector.project(pixels, hits):
        own = sheets[layers[sent.address]]
        rows = zip(sent.rows.tolist(), sent.signals, sent.boxes, sent.values.tolist(), strict=True)
        for row, signal, box, value in rows:
            number, hit = chosen[own.record.number][row]
            refuse_other_value(own.record, hit.channel, hit.position, value, hit.value, own.largest)
            own.add(hit, batch[number].shown, signal.numpy(), box)


def _as_tensors(pairs: Sequence[tuple[int, _Chosen]]) -> Chosen:
    numbers = torch.tensor([[number, hit.channel, *hit.position] for number, hit in pairs])
    values = torch.tensor([hit.value for _, hit in pairs])
    return Chosen(numbers[:, 1], numbers[:, 2:], numbers[:, 0], values)


class _Writer:
    """Makes files in threads of its own, beside the network; leaving it waits for all. The first error is raised."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=WRITERS)
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._threads.shutdown(cancel_futures=kind is not None)
        if kind is None:
            while self._waiting:
                self._waiting.popleft().result()

    def write(self, path: Path, encode: Callable[[Image.Image], bytes], image: Image.Image) -> None:
        """Encode and write a picture. Waits where too many others do."""
        while len(self._waiting) >= WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._threads.submit(lambda: write_file(path, encode(image))))


class _Sheets:
    """Tiles of a layer's units on their way to sheets; a sheet is written as soon as its unit is complete."""

    def __init__(self, atlas: Atlas, record: LayerRecord, preprocess: Preprocess, writer: _Writer) -> None:
        self.record = record
        self._writer = writer
        self._atlas = atlas
        self._order = preprocess.channels
        shape = (record.channels, atlas.k, 4)
        self._boxes = {name: np.full(shape, -1, np.int32) for name in ("field", "reach", "focus")}
        self._scales = np.zeros(shape[:2], np.float32)
        self._waiting = (np.asarray(atlas.units(record).picture) >= 0).sum(1)
        self._tiles: dict[int, dict[str, list[Picture | None]]] = {}
        view = view_box(record.shown.box((0, 0), atlas.size), *atlas.size)
        self._cell = cell_size(view.height, view.width)
        self.largest = float(np.asarray(atlas.units(record).value).max(initial=0.0))

    def add(self, hit: _Chosen, shown: Picture, signal: NDArray[np.float32], box: Box) -> None:
        """Take a hit's signal, (C, h, w), which lies in `box` of the picture, and cut its tiles."""
        size = self._atlas.size
        position = hit.position if self.record.map else ()
        field, reach = self.record.field.box(position, size), self.record.reach.box(position, size)
        seen = self.record.shown.box(position, size)
        view = view_box(seen, *size)
        inside = _moved(seen, -box.top, -box.left)
        drawn = signal_to_picture(signal, self._order, inside)
        focus = focus_box(signal, inside)
        here = Box(view.top - box.top, view.left - box.left, view.height, view.width)
        tiles = self._tiles.setdefault(hit.channel, {name: [None] * self._atlas.k for name in _KINDS})
        tiles["projections"][hit.rank] = self._tile(signal, drawn.picture, here, view)
        tiles["patches"][hit.rank] = self._patch(shown, view)
        if focus is None:
            close_by, close_up = here, view
        else:
            self._boxes["focus"][hit.channel, hit.rank] = _moved(focus, box.top, box.left)
            close_by = square_round(focus, here)
            close_up = _moved(close_by, box.top, box.left)
        tiles["focus"][hit.rank] = self._tile(signal, drawn.picture, close_by, close_up)
        tiles["focus-patches"][hit.rank] = self._patch(shown, close_up)
        self._boxes["field"][hit.channel, hit.rank] = field
        self._boxes["reach"][hit.channel, hit.rank] = reach
        self._scales[hit.channel, hit.rank] = drawn.scale
        self._waiting[hit.channel] -= 1
        if not self._waiting[hit.channel]:
            self._write(hit.channel, self._tiles.pop(hit.channel))

    def finish(self) -> None:
        """Write the boxes, once every hit was added."""
        arrays = {**self._boxes, "scale": self._scales}
        write_file(self._atlas.path / boxes_file(self.record.slug), save(arrays))

    def _tile(self, signal: NDArray[np.float32], drawn: Picture, box: Box, view: Box) -> Picture:
        """A box of a signal as a tile: of its picture, or, where that is too large, of the signal made smaller.

        view: the same box in the whole picture.
        """
        if max(box.height, box.width) <= CELL:
            tile = crop(drawn, box)
        else:
            tile = signal_to_picture(reduced(signal, box), self._order).picture
        return cleared(tile, view, self._atlas.size)

    def _patch(self, shown: Picture, view: Box) -> Picture:
        return _reduced(cleared(crop(shown, view), view, self._atlas.size))

    def _write(self, channel: int, tiles: dict[str, list[Picture | None]]) -> None:
        concentrated = (self._boxes["focus"][channel, :, 2] > 0).any()
        for kind, encode in _KINDS.items():
            if concentrated or not kind.startswith("focus"):
                cell = CELL if kind.startswith("focus") else self._cell
                image = sheet(tiles[kind], cell, columns_of(self._atlas.k))
                self._writer.write(self._atlas.path / sheet_file(self.record.slug, channel, kind), encode, image)


_KINDS = {
    "projections": projection_webp,
    "patches": photo_webp,
    "focus": projection_webp,
    "focus-patches": photo_webp,
}


def _moved(box: Box, down: int, right: int) -> Box:
    return Box(box.top + down, box.left + right, box.height, box.width)


def _reduced(tile: Picture) -> Picture:
    """A tile no larger than its cell, so that thousands can wait in memory."""
    return tile if max(tile.shape[:2]) <= CELL else np.asarray(fit_tile(tile, CELL))


def _device(net: nn.Module) -> torch.device:
    return next((parameter.device for parameter in net.parameters()), torch.device("cpu"))


def _teller(report: Report | None, total: int) -> Callable[[int], None]:
    started, done = time.monotonic(), 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if report is not None:
            report(done, total, done / max(time.monotonic() - started, 1e-9))

    return tell
