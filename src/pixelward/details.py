"""What is told at length of one hit of a unit, as data, and its two files in an atlas.

`examine.py` makes it with the network; reading needs no torch. The pictures lie in one file, of which each panel names
its tile; the words are in the other, which is written last, so that details which can be read are whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from shlex import quote
from typing import Any, TypeVar

from pixelward.atlas import Atlas, LayerRecord
from pixelward.folder import Damaged, damaged, details_file, read_json, write_file, write_json
from pixelward.pictures import Tile

VERSION = 1
_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Stage:
    """The signal after one step on the way back. where: the module; shape: of the maps; share: of numbers not zero."""

    title: str
    where: str
    shape: tuple[int, ...]
    share: float
    tile: Tile


@dataclass(frozen=True)
class Likened:
    """A picture to compare the shown one with. tile: None where there is none, which the sentence explains.

    plain, fine: correlation to the shown signal, as they are and without slow variation; None where one does not vary.
    shown: whether it is the shown one.
    """

    title: str
    sentence: str
    tile: Tile | None
    plain: float | None
    fine: float | None
    shown: bool


@dataclass(frozen=True)
class Details:
    """A hit and its signal at length. hit: from 1, the strongest. size: width and height of the file of pictures.

    network, picture, position, value, rules, unpool, seed: what it was made of. caution: what no picture here proves.
    closer: whether the panels show a part of the field only, where the signal is. silent: whether nothing arrives.
    """

    network: str
    hit: int
    picture: int
    position: tuple[int, ...]
    value: float
    rules: str
    unpool: str
    seed: str | float
    caution: str
    closer: bool
    silent: bool
    size: tuple[int, int]
    way: tuple[Stage, ...]
    methods: tuple[Likened, ...]
    sanity: tuple[Likened, ...]

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Details:
        """Raises KeyError, TypeError or ValueError for what `asdict` of one does not give."""
        values = {field.name: plain[field.name] for field in fields(cls)}
        values |= {name: tuple(values[name]) for name in ("position", "size")}
        values["way"] = _parts(Stage, values["way"], ("shape", "tile"))
        values |= {name: _parts(Likened, values[name], ("tile",)) for name in ("methods", "sanity")}
        return cls(**values)


def _parts(kind: type[_Part], rows: Sequence[Mapping[str, Any]], tuples: Sequence[str]) -> tuple[_Part, ...]:
    return tuple(
        kind(**{name: tuple(each) if name in tuples and each is not None else each for name, each in row.items()})
        for row in rows
    )


def read_details(atlas: Atlas, record: LayerRecord, channel: int, hit: int) -> Details | None:
    """What is told of a hit; None where there is nothing, or what is there is of another scan or way of drawing.

    Raises Damaged where it cannot be read.
    """
    place = details_file(record.slug, channel, hit, "json")
    try:
        plain = read_json(atlas.path / place)
        if plain.pop("version") != VERSION:
            return None
        found = Details.from_json(plain)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged_details(atlas, record, channel, hit, "json") from error
    return found if _belongs(found, atlas, record, channel, hit) else None


def damaged_details(atlas: Atlas, record: LayerRecord, channel: int, hit: int, ending: str) -> Damaged:
    """The error for one of the two files that cannot be read."""
    draw = f"pixelward draw {quote(str(atlas.path))} MODEL --detail {record.address}:{channel} --hit {hit}"
    return damaged(atlas.path, details_file(record.slug, channel, hit, ending), f"draw these details again: {draw}")


def write_details(atlas: Atlas, record: LayerRecord, channel: int, details: Details, pictures: bytes) -> None:
    """Write both files; `Atlas.write_drawings` then has to be told."""
    write_file(atlas.path / details_file(record.slug, channel, details.hit, "webp"), pictures)
    plain = {"version": VERSION, **asdict(details)}
    write_json(atlas.path / details_file(record.slug, channel, details.hit, "json"), plain)


def _belongs(details: Details, atlas: Atlas, record: LayerRecord, channel: int, hit: int) -> bool:
    """Whether details are of this atlas as it is drawn."""
    drawings, units, at = atlas.drawings, atlas.units(record), (channel, hit - 1)
    if drawings is None or record.address not in drawings.layers or hit > atlas.k:
        return False
    position = tuple(units.position[at].tolist()) if record.map else ()
    return (details.network, details.hit, details.picture, details.position, details.value) == (
        atlas.network["sha256"],
        hit,
        int(units.picture[at]),
        position,
        float(units.value[at]),
    ) and (details.rules, details.unpool, details.seed) == (drawings.rules, drawings.unpool, drawings.seed)
