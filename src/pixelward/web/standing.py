"""How an atlas stands in a comparison of two: what its own pages have to know of that.

The comparison lies in the site of one of them, `this`; the other's own site lies below `beside/` in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pixelward.atlas import LayerRecord
from pixelward.web import links
from pixelward.web.entries import Beside


@dataclass(frozen=True)
class Standing:
    """name: what tells the atlas from the other one, whose name is `other`.

    rows: None for this atlas, whose layers the comparison goes through. For the other one the slugs of those layers, by
    their address and number of units: a layer of it that has both in common with one of them stands beside that.
    """

    name: str
    other: str
    rows: Mapping[tuple[str, int], str] | None = None

    @property
    def of_all(self) -> Beside:
        """Where the atlas stands as a whole."""
        return self._at(links.compare(), own=True)

    def of(self, record: LayerRecord, channel: int = -1) -> Beside:
        """Where a layer of the atlas stands, or a unit of it; among all where it has no place of its own."""
        slug = record.slug if self.rows is None else self.rows.get((record.address, record.channels))
        if slug is None:
            return self._at(links.compare(), own=False)
        page = links.compare_layer(slug) if channel < 0 else links.compare_unit(slug, channel)
        return self._at(page, own=True)

    def _at(self, page: str, own: bool) -> Beside:
        return Beside(self.name, self.other, page if self.rows is None else links.outside(page), own)


def standings(this: Path, other: Path, layers: Iterable[LayerRecord]) -> tuple[Standing, Standing]:
    """Of the atlases in two folders. layers: of this one; none where they cannot be read."""
    one, two = told_apart(this.resolve(), other.resolve())
    rows = {(record.address, record.channels): record.slug for record in layers}
    return Standing(one, two), Standing(two, one, rows)


def told_apart(first: Path, second: Path) -> tuple[str, str]:
    """Two folders by the ends of their paths, as short as tells them apart; one folder, twice, by its place."""
    if first == second:
        return "first", "second"
    length = 1
    while first.parts[-length:] == second.parts[-length:]:
        length += 1
    one, other = ("/".join(path.parts[-length:]).replace("//", "/") for path in (first, second))
    return one, other
