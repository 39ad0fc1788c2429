"""Pictures of the atlas, read again from where they were scanned: how often their sources are listed for that."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import pixelward as pw
from live_atlas import SIZE, live_atlas, network, pictures
from pixelward.atlas import Atlas, PictureRow
from pixelward.errors import PixelwardError
from pixelward.gallery import Gallery
from pixelward.web.live import samples
from pixelward.web.live.samples import RESTS, Shelf

NAMES = [f"{number} <b>.png" for number in range(3)]


class Watch:
    """A clock by which only listing takes time, and how often that was done."""

    def __init__(self, takes: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.takes, self.listings = 1000.0, takes, 0
        monkeypatch.setattr(samples, "Gallery", self._list)

    def __call__(self) -> float:
        return self.now

    def _list(self, atlas: Atlas, pictures: None) -> Gallery:
        self.now += self.takes
        self.listings += 1
        return Gallery(atlas, pictures)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Watch]:
    return lambda takes: Watch(takes, monkeypatch)


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    return live_atlas(tmp_path)


def files(atlas: Atlas) -> tuple[PictureRow, Path, Path]:
    """A picture, its file, and a place to put that aside."""
    row, home = atlas.picture(2), atlas.path.parent
    return row, home / "pictures" / row.name, home / "aside"


def missing(shelf: Shelf, row: PictureRow) -> None:
    with pytest.raises(PixelwardError):
        shelf.load(row)


def test_pictures_are_listed_once(atlas: Atlas, watch: Callable[[float], Watch]):
    clock = watch(10)
    shelf = Shelf(atlas, clock)
    for id in range(5):
        assert np.array_equal(shelf.load(atlas.picture(id)).shown, Gallery(atlas, None).load(atlas.picture(id)).shown)
    assert clock.listings == 1


def test_a_file_that_was_listed_is_found_again_at_once(atlas: Atlas, watch: Callable[[float], Watch]):
    clock, (row, file, aside) = watch(10), files(atlas)
    shelf = Shelf(atlas, clock)
    shelf.load(atlas.picture(3))  # the last one is kept decoded
    file.rename(aside)
    for _ in range(5):
        missing(shelf, row)
    aside.rename(file)
    assert shelf.load(row).id == row.id
    assert clock.listings == 1


@pytest.mark.parametrize("all_of_them", [False, True])
def test_for_a_missing_picture_sources_are_listed_again_after_a_rest(
    atlas: Atlas, watch: Callable[[float], Watch], all_of_them: bool
):
    clock, (row, file, aside) = watch(10), files(atlas)
    file = file.parent if all_of_them else file
    file.rename(aside)
    shelf = Shelf(atlas, clock)
    for _ in range(5):
        missing(shelf, row)
    assert clock.listings == 1
    clock.now += RESTS * clock.takes
    missing(shelf, row)
    missing(shelf, row)
    assert clock.listings == 2
    aside.rename(file)
    missing(shelf, row)
    clock.now += RESTS * clock.takes
    assert shelf.load(row).id == row.id
    assert clock.listings == 3


def test_what_is_listed_quickly_is_listed_whenever_a_picture_is_missing(atlas: Atlas, watch: Callable[[float], Watch]):
    clock, (row, file, aside) = watch(samples.QUICK / 2), files(atlas)
    file.rename(aside)
    shelf = Shelf(atlas, clock)
    missing(shelf, row)
    missing(shelf, row)
    assert clock.listings == 2
    aside.rename(file)
    assert shelf.load(row).id == row.id


def test_the_pictures_are_those_of_the_atlas_that_is_served_now(atlas: Atlas):
    row, _, _ = files(atlas)
    assert samples.load(atlas, row).id == row.id
    assert samples._shelf(atlas) is samples._shelf(atlas)
    assert samples._shelf(pw.open(atlas.path)) is not samples._shelf(atlas)


def test_of_photographs_in_tiles_each_is_offered_once_by_its_largest(tmp_path: Path):
    net = network()
    atlas = pw.scan(
        net, pictures(tmp_path / "pictures", 3), tmp_path / "atlas", layers=["conv1:relu"], k=9, tiles=(SIZE, 4)
    )
    pw.draw(atlas, net)
    held = [atlas.picture(id) for id in atlas.hit_pictures()]
    largest = {name: max(row.tile.height for row in held if row.name == name and row.tile) for name in NAMES}
    offered = [atlas.picture(sample.picture) for sample in samples.samples(atlas)]
    assert len(held) > len(offered)
    assert {row.name: row.tile.height for row in offered if row.tile} == largest
    assert len(offered) == len(NAMES)
