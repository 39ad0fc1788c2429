"""A picture through the network: what the live part answers. What is here runs in the studio's worker."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pixelward.atlas import Atlas, LayerRecord
from pixelward.core.fields import Box
from pixelward.core.layers import observe
from pixelward.core.passage import untouched
from pixelward.core.project import Below, Projected, Unit
from pixelward.errors import PixelwardError
from pixelward.hatch import cleared, hatched
from pixelward.pictures import Picture, crop, fit, focus_box, signal_to_picture, square_round, view_box
from pixelward.web import gather, links
from pixelward.web.live import maps
from pixelward.web.live.entries import Choice, Guess, MapEntry, MapsPanel, TriedPanel, UnitPanel
from pixelward.web.live.uploads import Tried
from pixelward.web.studio import Studio

GUESSES = 5
MOST = 1024  # maps that are listed
TILE = 224  # pixels of a projection's side
ORDERS = ("share", "value", "number")


def tried_panel(studio: Studio, atlas: Atlas, picture: Tried, token: str) -> TriedPanel:
    """The picture, and what the network takes it for."""
    picture.files.put("picture", maps.exact(Image.fromarray(picture.shown)))
    classes, guesses = _guesses(studio, picture)
    return TriedPanel(
        path=links.tried(token),
        name=picture.name,
        width=picture.width,
        height=picture.height,
        size=studio.size,
        notes=picture.notes,
        image=links.tried_image(token, "picture"),
        maps=links.maps(token),
        classes=classes,
        guesses=guesses,
        layers=tuple(Choice(record.slug, record.address) for record in atlas.layers),
    )


def maps_panel(
    studio: Studio, atlas: Atlas, record: LayerRecord, picture: Tried, token: str, order: str, scale: str
) -> MapsPanel:
    """The feature maps of a layer."""
    values = activations(studio, record, picture)
    scale = scale if record.map else "layer"
    picture.files.put(sheet_name(record, scale), maps.sheet(values, scale))
    flat = values.reshape(len(values), -1)
    strongest, best = flat.argmax(axis=1), flat.max(axis=1)
    most = np.asarray(atlas.stats(record).maximum)
    share = np.divide(best, most, out=np.full_like(best, -1), where=most > 0)
    listed = np.argsort({"share": -share, "value": -best, "number": np.arange(len(best))}[order], kind="stable")
    cell = maps.cell_of(*values.shape[1:])
    return MapsPanel(
        path=links.maps(token, record.slug),
        layer=gather.layer_entry(atlas, record),
        order=order,
        scale=scale,
        signed=maps.is_signed(values),
        sheet=links.map_sheet(token, record.slug, scale),
        cell=cell,
        columns=maps.columns_for(len(values), cell),
        maps=tuple(
            MapEntry(
                channel=channel,
                value=float(best[channel]),
                position=_place(strongest[channel], record),
                share=float(share[channel]) if most[channel] > 0 else None,
                path=links.tried_unit(token, record.slug, channel),
            )
            for channel in listed[:MOST].tolist()
        ),
        left_out=max(len(values) - MOST, 0),
    )


def unit_panel(
    studio: Studio,
    atlas: Atlas,
    record: LayerRecord,
    picture: Tried,
    token: str,
    channel: int,
    position: tuple[int, int] | None,
) -> UnitPanel:
    """The projection of a unit, at `position` or its strongest place, beside its hits in the atlas."""
    rules, unpool = how_drawn(atlas)
    place = position if record.map else None
    found = _projected(studio, (rules, unpool), record, picture, Unit(0, channel, place))
    studio.go_on()
    (unit,) = gather.unit_entries(atlas, record, [channel])
    layer = gather.layer_entry(atlas, record)
    values = activations(studio, record, picture)[channel]
    close, largest = _draw(studio, (rules, unpool), record, picture, found, values, unit.closer)
    image = partial(links.tried_unit_image, token, record.slug, channel, found.position)
    return UnitPanel(
        path=links.tried_unit(token, record.slug, channel, found.position),
        layer=layer,
        unit=unit,
        value=found.value,
        position=found.position,
        best=found.value >= float(values.max()),
        field=found.field,
        reach=found.reach,
        shown=found.shown,
        size=studio.size,
        rank=sum(hit.value > found.value for hit in unit.hits),
        how=f"rules {rules}, unpooling {unpool}, seed value",
        close=close,
        largest=largest,
        map=tuple(tuple(row) for row in values.tolist()),
        signed=maps.is_signed(values),
        picture=links.tried_image(token, "picture"),
        projection=image("projection"),
        patch=image("patch"),
        drawn_map=image("map"),
    )


def _projected(studio: Studio, how: tuple[str, str], record: LayerRecord, picture: Tried, unit: Unit) -> Projected:
    """A unit as `project` gives it. The network runs where another layer of the picture was clicked last, and where a
    rule calls autograd's graph: that is not kept."""
    key = (record.address, *how)
    below = studio.below.get(picture, key)
    if below is None:
        below = Below(studio.net, studio.batch(picture.pixels), record.address, *how)
    (found,) = below.project([unit])
    if below.is_light:
        studio.below.put(picture, key, below)
    return found


def _draw(
    studio: Studio,
    how: tuple[str, str],
    record: LayerRecord,
    picture: Tried,
    found: Projected,
    values: NDArray[np.float32],
    closer: bool,
) -> tuple[bool, float]:
    """Keep drawings of a projection, its patch and its map. Whether they are cut to the signal, and its scale.

    closer: whether the atlas shows the unit so.
    """
    signal = found.signal.float().cpu().numpy()
    drawn = signal_to_picture(signal, studio.preprocess.channels, found.shown)
    view = view_box(found.shown, *studio.size)
    focus = focus_box(signal, found.shown) if closer else None
    if focus is not None:
        view = square_round(focus, view)
    for kind, tile in (
        ("projection", maps.exact(_tile(drawn.picture, view))),
        ("patch", maps.exact(_tile(picture.shown, view))),
        ("map", maps.single(values)),
    ):
        picture.files.put(drawn_name(how, record, found.channel, found.position, kind), tile)
    return focus is not None, drawn.scale


def _tile(picture: Picture, view: Box) -> Image.Image:
    """A part of a picture, hatched where it leaves that."""
    return hatched(fit(cleared(crop(picture, view), view, (picture.shape[0], picture.shape[1])), TILE))


def sheet_name(record: LayerRecord, scale: str) -> str:
    """What the sheet of a layer's maps is kept under."""
    return f"{record.slug}.{scale if record.map else 'layer'}"


def how_drawn(atlas: Atlas) -> tuple[str, str]:
    """Rules and unpooling: the atlas's own, else the paper's."""
    drawings = atlas.drawings
    return (drawings.rules, drawings.unpool) if drawings else ("deconvnet", "sum")


def drawn_name(how: tuple[str, str], record: LayerRecord, channel: int, position: tuple[int, ...], kind: str) -> str:
    """What a drawing of a unit is kept under. how: as of `how_drawn`, for an atlas may be drawn anew in another way."""
    return f"{'.'.join(how)}.{record.slug}.{channel}.{'.'.join(map(str, position))}.{kind}"


def activations(studio: Studio, record: LayerRecord, picture: Tried) -> NDArray[np.float32]:
    """A layer's values for the picture, (C, h, w) float32; a vector as maps of one cell. The network runs only where
    another layer of the picture was asked for last."""
    values = picture.values.get(record.address)
    if values is None:
        values = _observed(studio, record, picture)
        picture.values.put(record.address, values)
    return values


def _observed(studio: Studio, record: LayerRecord, picture: Tried) -> NDArray[np.float32]:
    found: list[NDArray[np.float32]] = []
    layer = studio.layer(record.address)
    observe(
        studio.net, studio.batch(picture.pixels), [layer], lambda _, maps: found.append(maps[0].float().cpu().numpy())
    )
    (values,) = found
    if not np.isfinite(values).all():
        raise PixelwardError(
            given=f"picture {picture.name}, for which {record.address} has values that are not finite",
            allowed="finite activations",
            next_step="look for NaN or infinity in the weights",
        )
    return np.array(values).reshape(len(values), *(record.map or (1, 1)))


def _guesses(studio: Studio, picture: Tried) -> tuple[int, tuple[Guess, ...] | None]:
    """How many classes there are, and the most probable of them."""
    with untouched(studio.net), torch.no_grad():
        output: Any = studio.net(studio.batch(picture.pixels).clone())
    if not isinstance(output, torch.Tensor) or output.dim() != 2 or output.shape[1] < 2:
        return 0, None
    values: torch.Tensor = output[0].double().cpu()
    # A network that ends in a softmax already gives probabilities.
    done = bool((values >= 0).all()) and abs(float(values.sum()) - 1) < 1e-3
    probabilities = values if done else torch.softmax(values, 0)
    if not bool(torch.isfinite(probabilities).all()):
        return len(values), None
    shares, indices = probabilities.topk(min(GUESSES, len(values)))
    names = _names(studio, len(values))
    pairs = zip(indices.tolist(), shares.tolist(), strict=True)
    return len(values), tuple(Guess(index, names[index] if names else None, share) for index, share in pairs)


def _names(studio: Studio, count: int) -> Sequence[str] | None:
    """What the network calls its classes, in its attribute `classes`."""
    names = getattr(studio.net, "classes", None)
    if isinstance(names, list | tuple) and len(names) == count and all(isinstance(name, str) for name in names):
        return names
    return None


def _place(index: int, record: LayerRecord) -> tuple[int, ...]:
    return tuple(int(each) for each in np.unravel_index(index, record.map)) if record.map else ()
