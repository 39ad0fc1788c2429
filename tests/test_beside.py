"""Two atlases side by side: likeness against brute force, pages served as exported, no nonsense drawn."""

import json
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_atlas import NAMES, SPECS, fake_atlas
from pixelward import likeness
from pixelward.atlas import Atlas
from pixelward.errors import PixelwardError
from pixelward.likeness import MOST, Pairing
from pixelward.web import links, pages
from pixelward.web import site as web_site
from pixelward.web.beside import compare_layer_page, compare_page
from pixelward.web.export import MARKER, export
from pixelward.web.serve import app
from pixelward.web.standing import told_apart
from tags import Tags

# The first two layers are the same ones in both; the third has other units, the last another name.
OTHER = (
    SPECS[0],
    SPECS[1],
    SPECS[2]._replace(channels=7),
    SPECS[3]._replace(address="later:relu"),
    SPECS[0]._replace(address="new"),
)


@pytest.fixture(scope="module")
def this(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return fake_atlas(tmp_path_factory.mktemp("one") / "epoch-3")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """The same pictures in other hits: what is drawn of the random numbers before them is the same."""
    specs = [spec._replace(dead=2) if n == 0 else spec for n, spec in enumerate(OTHER)]
    return fake_atlas(tmp_path_factory.mktemp("two") / "epoch-30", specs)


@pytest.fixture(scope="module")
def pairing(this: Atlas, other: Atlas) -> Pairing:
    return Pairing(this, other)


def pictures_of(atlas: Atlas, *, tiles: bool = True) -> dict[tuple[int, int], set[object]]:
    """(layer, channel) -> its pictures, as what they are."""
    found = {}
    for record in atlas.layers:
        for channel in range(record.channels):
            rows = [atlas.picture(hit.picture) for hit in atlas[record.address][channel].hits]
            found[record.number, channel] = {(row.sha256, row.tile if tiles else None) for row in rows}
    return found


def brute_force(this: Atlas, other: Atlas, *, tiles: bool = True) -> dict[tuple[int, int], list[tuple]]:
    """Of each unit, all units of the other that share a picture, the most alike first."""
    theirs, found = pictures_of(other, tiles=tiles), {}
    for (number, channel), own in pictures_of(this, tiles=tiles).items():
        record, every = this.layers[number], []
        for (layer, there), pictures in theirs.items():
            peer = other.layers[layer]
            same = (peer.address, peer.channels, there) == (record.address, record.channels, channel)
            if own & pictures:
                share = Fraction(len(own & pictures), len(own | pictures))
                every.append((-share, not same, layer, there, len(own & pictures), len(own | pictures)))
        found[number, channel] = sorted(every)
    return found


def nearest(pairing: Pairing, number: int, channel: int) -> list[tuple[int, int, int, int]]:
    alike = pairing.layer(pairing.this.layers[number]).nearest
    found = []
    for unit, shared, either in zip(alike.unit[channel], alike.shared[channel], alike.either[channel], strict=True):
        if unit >= 0:
            record, there = pairing.place(int(unit))
            found.append((record.number, there, int(shared), int(either)))
    return found


def test_likeness_is_that_of_brute_force(pairing: Pairing):
    for (number, channel), every in brute_force(pairing.this, pairing.other).items():
        assert nearest(pairing, number, channel) == [each[2:] for each in every[:MOST]]


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 99), k=st.integers(1, 9), at_once=st.sampled_from([1, 30, 1 << 22]))
def test_likeness_is_that_of_brute_force_however_it_is_cut(tmp_path_factory, seed: int, k: int, at_once: int):
    folder = tmp_path_factory.mktemp("pair")
    one, two = (
        fake_atlas(folder / name, specs, k=k, seed=seed, drawn=False) for name, specs in (("a", SPECS), ("b", OTHER))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likeness, "AT_ONCE", at_once)
        pairing = Pairing(one, two)
        for (number, channel), every in brute_force(one, two).items():
            assert nearest(pairing, number, channel) == [each[2:] for each in every[:MOST]]


def test_every_unit_of_an_atlas_is_most_like_itself(this: Atlas):
    pairing = Pairing(this, this)
    for record in this.layers:
        found = pairing.layer(record)
        assert found.aligned
        for channel in range(record.channels):
            hits = len({hit.picture for hit in this[record.address][channel].hits})
            if hits:
                assert nearest(pairing, record.number, channel)[0] == (record.number, channel, hits, hits)
                assert found.beside.share[channel] == 1
    assert all(each.beside == each.nearest == 1 for each in compare_page(pairing).layers)


def test_units_with_the_same_pictures_are_each_most_like_themselves(tmp_path: Path):
    atlas = fake_atlas(tmp_path / "atlas", [SPECS[0]._replace(channels=200, dead=0)], names=NAMES[:1], k=1, drawn=False)
    pairing = Pairing(atlas, atlas)
    assert [nearest(pairing, 0, channel)[0] for channel in range(200)] == [(0, channel, 1, 1) for channel in range(200)]


def test_a_layer_stands_beside_the_same_one_else_beside_the_most_alike(pairing: Pairing):
    found = [pairing.layer(record) for record in pairing.this.layers]
    assert [each.aligned for each in found] == [True, True, False, False]
    assert [each.partner.address for each in found[:2]] == ["conv1:relu", "block/relu#2"]
    every = brute_force(pairing.this, pairing.other)
    for record, each in zip(pairing.this.layers[2:], found[2:], strict=True):
        means = []
        for layer in pairing.other.layers:
            best = [
                max(
                    (-share for share, _, there, *_ in every[record.number, channel] if there == layer.number),
                    default=0,
                )
                for channel in range(record.channels)
            ]
            means.append(sum(best) / len(best))
        assert float(means[each.partner.number]) == pytest.approx(float(max(means)))


def test_units_of_one_number_stand_side_by_side_in_the_same_layer(pairing: Pairing):
    record = pairing.this.layers[0]
    page = compare_layer_page(pairing, record)
    mine, theirs = pictures_of(pairing.this), pictures_of(pairing.other)
    assert [unit.unit.channel for unit in page.units] == [1, 2, 3, 4, 5]
    assert [unit.channel for unit in page.dead] == [0]
    for unit in page.units:
        assert unit.beside is not None
        assert unit.beside.unit.channel == unit.unit.channel
        one, two = mine[0, unit.unit.channel], theirs[0, unit.unit.channel]
        assert (unit.beside.shared, unit.beside.either) == (len(one & two), len(one | two))


def test_photographs_stand_for_their_tiles_where_these_differ(tmp_path: Path, this: Atlas):
    fake_atlas(tmp_path / "whole", OTHER, seed=3, drawn=False)
    record = json.loads((tmp_path / "whole" / "atlas.json").read_text())
    record["tiles"] = None
    (tmp_path / "whole" / "atlas.json").write_text(json.dumps(record))
    pairing = Pairing(this, Atlas.open(tmp_path / "whole"))
    assert pairing.common == len(NAMES)
    for (number, channel), every in brute_force(pairing.this, pairing.other, tiles=False).items():
        assert nearest(pairing, number, channel) == [each[2:] for each in every[:MOST]]
    assert "stands for all of its" in compare_page(pairing).rule


@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize("k", [4, 9])
def test_chance_is_the_mean_of_what_units_share_whose_pictures_are_drawn_at_random(tmp_path: Path, tiles: bool, k: int):
    one = fake_atlas(tmp_path / "one", SPECS, k=k, drawn=False)
    two = fake_atlas(tmp_path / "two", OTHER, k=k, drawn=False)
    if not tiles:
        record = json.loads((two.path / "atlas.json").read_text()) | {"tiles": None}
        (two.path / "atlas.json").write_text(json.dumps(record))
        two = Atlas.open(two.path)
    alive = [[each for each in pictures_of(atlas, tiles=tiles).values() if each] for atlas in (one, two)]
    pools = [set().union(*each) for each in alive]
    # A common picture is with a unit of n out of a pool of N with the chance n / N.
    shared = [
        sum(Fraction(len(a), len(pools[0])) * Fraction(len(b), len(pools[1])) for _ in pools[0] & pools[1])
        for a in alive[0]
        for b in alive[1]
    ]
    pairing = Pairing(one, two)
    assert pairing.chance == pytest.approx(float(sum(shared) / len(shared)))
    assert pairing.chance <= min(pairing.common, *(max(map(len, each)) for each in alive))


def test_the_names_of_files_do_not_matter(tmp_path: Path, this: Atlas, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fake_atlas._sha256", lambda name: f"{len(name):064x}")
    one = fake_atlas(tmp_path / "one", SPECS[:1], names=["a.png", "bb.png"], drawn=False)
    two = fake_atlas(tmp_path / "two", SPECS[:1], names=["A.png", "BB.png"], drawn=False)
    assert all(nearest(Pairing(one, two), 0, channel)[0][:2] == (0, channel) for channel in range(1, 5))


def test_atlases_without_a_picture_in_common_are_refused(tmp_path: Path, this: Atlas):
    strange = fake_atlas(tmp_path / "strange", names=["x.png", "y.png", "z.png"])
    words = r"no strongest picture in common - allowed: two atlases over the same pictures.* - next step: scan the same"
    with pytest.raises(PixelwardError, match=words):
        Pairing(this, strange)
    with pytest.raises(PixelwardError, match=words):
        export(this, tmp_path / "site", beside=strange)
    assert not (tmp_path / "site").exists()
    with pytest.raises(PixelwardError, match=words):
        app(this.path, beside=strange.path)


def test_another_atlas_that_is_not_drawn_is_refused_by_export_and_served_without_pictures(tmp_path: Path, this: Atlas):
    bare = fake_atlas(tmp_path / "bare", drawn=False)
    with pytest.raises(PixelwardError, match=r"bare, an atlas without drawings .* next step: .*pixelward draw"):
        export(this, tmp_path / "site", beside=bare)
    here = TestClient(app(this.path, beside=bare.path), base_url="http://127.0.0.1")
    text = here.get(f"/{links.compare_layer(this.layers[0].slug)}").text
    assert "Not drawn." in text
    assert here.get("/compare/index.html").is_success


# The pages


@pytest.fixture(scope="module")
def site(this: Atlas, other: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(this, tmp_path_factory.mktemp("out") / "site", beside=other).parent


@pytest.fixture(scope="module")
def found(site: Path) -> dict[str, Tags]:
    return {file.relative_to(site).as_posix(): Tags(file.read_text("utf-8")) for file in site.rglob("*.html")}


def test_every_file_of_the_export_is_served_with_the_same_bytes(this: Atlas, other: Atlas, site: Path):
    here = TestClient(app(this.path, beside=other.path), base_url="http://127.0.0.1")
    files = [file for file in site.rglob("*") if file.is_file() and file.name != MARKER]
    addresses = {file.relative_to(site).as_posix(): file.read_bytes() for file in files}
    answers = {address: here.get(f"/{address}") for address in addresses}
    assert [address for address, data in addresses.items() if answers[address].content != data] == []
    assert {links.compare(), links.compare_layer(this.layers[3].slug), "beside/index.html"} <= set(addresses)
    for address in ("beside/compare/index.html", "compare/009-none/index.html", "beside/beside/index.html", "beside/"):
        assert here.get(f"/{address}").status_code == 404, address


def test_the_site_of_the_other_atlas_is_its_own_export_with_ways_back(other: Atlas, site: Path, tmp_path: Path):
    alone = export(other, tmp_path / "alone").parent
    names = {file.relative_to(alone) for file in alone.rglob("*.*")} - {Path(MARKER)}
    assert {file.relative_to(site / "beside") for file in (site / "beside").rglob("*.*")} == names
    led = 0
    for name in names:
        here, there = ((folder / name).read_bytes() for folder in (site / "beside", alone))
        if name.suffix == ".json":
            own = json.loads(here)
            compare = own.pop("compare")
            assert (compare["name"], compare["other"]) == ("epoch-30", "epoch-3")
            assert compare["page"].startswith("../compare/")
            assert own == {key: value for key, value in json.loads(there).items() if key != "compare"}
        elif name.suffix == ".html":
            back = urljoin(f"http://site/beside/{name}", links.relative(str(name), "../compare/index.html"))
            assert back == "http://site/compare/index.html"
            led += b">two atlases</a>" in here
            assert b">two atlases</a>" not in there
        else:
            assert here == there
    assert led == sum(name.suffix == ".html" for name in names)


@pytest.mark.parametrize("inner", [False, True])
def test_layers_and_units_of_both_lead_to_their_own_place_in_the_comparison_where_there_is_one(
    this: Atlas, other: Atlas, site: Path, found: dict[str, Tags], inner: bool
):
    """The first two layers of the other atlas are layers of this one too; its others are not."""
    root, atlas = (links.BESIDE, other) if inner else ("", this)
    for record in atlas.layers:
        own = not inner or record.number < 2
        for channel in (None, *range(record.channels)):
            page = root + (links.layer(record.slug) if channel is None else links.unit(record.slug, channel))
            told = json.loads((site / links.twin(page)).read_text("utf-8"))["compare"]
            assert told["own"] == own
            address, place = urldefrag(told["page"])
            led = urljoin(f"http://site/{root}", address).removeprefix("http://site/")
            assert led == (links.compare_layer(this.layers[record.number].slug) if own else links.compare())
            assert place == (f"u{channel}" if own and channel is not None else "")
            href = links.relative(page.removeprefix(root), told["page"])
            assert found[page].tags.count(("a", {"href": href})) == 1 + (inner and not own)  # the crumb
            assert not place or place in {each.get("id") for _, each in found[led].tags}
            words = " ".join(found[page].words.split())
            name, beside = ("epoch-30", "epoch-3") if inner else ("epoch-3", "epoch-30")
            assert (f"beside {beside}, all layers" in words) == (not own)
            assert f"{name} beside {beside}" in words if not own else f"beside {beside}" in words


def test_every_page_says_which_of_the_two_atlases_it_is_of(site: Path, found: dict[str, Tags]):
    for page in found:
        text = (site / page).read_text("utf-8")
        title = re.search(r"<title>([^<]+)</title>", text)
        crumbs = re.search(r'<ol class="crumbs">(.*?)</ol>', text, re.DOTALL)
        assert title
        assert crumbs
        if page.startswith("compare/"):
            assert "epoch-3 beside epoch-30" in title[1]
            assert "zfnet64, epoch-3</a>" in crumbs[1]
            continue
        name = "epoch-30" if page.startswith(links.BESIDE) else "epoch-3"
        assert re.search(rf"zfnet64, {name}($|:)", title[1]), page
        assert re.search(rf">zfnet64, {name}<", crumbs[1]), page
        if page.endswith(links.INDEX) and page.removeprefix(links.BESIDE) == links.INDEX:
            assert f"<h1>zfnet64, {name}</h1>" in text


def test_a_unit_that_is_alive_in_one_atlas_only_is_seen_in_both_and_one_dead_in_both_is_named(tmp_path: Path):
    specs = [SPECS[0]._replace(dead=1), SPECS[0]._replace(dead=2)]  # unit 0; units 0 and 5
    for mine, theirs in (specs, specs[::-1]):
        one, two = (fake_atlas(tmp_path / f"{n}-{mine.dead}", [spec]) for n, spec in enumerate((mine, theirs)))
        pairing = Pairing(one, two)
        page = compare_layer_page(pairing, one.layers[0])
        assert [unit.unit.channel for unit in page.units] == [1, 2, 3, 4, 5]
        (last,) = (unit for unit in page.units if unit.unit.channel == 5)
        assert last.beside is not None
        assert (last.beside.unit.channel, last.beside.shared) == (5, 0)
        assert [bool(last.unit.pictures), bool(last.beside.unit.pictures)] == [mine.dead == 1, theirs.dead == 1]
        tags = Tags(pages.html(page))
        assert tags.words.count("Dead in this collection.") == 1
        assert "1 unit is dead in both atlases and left out" in " ".join(tags.words.split())
        (dead,) = (each for each in tags.of("a") if each.get("id") == "u0")
        assert urljoin(f"http://site/{page.path}", dead["href"]) == f"http://site/{links.unit(one.layers[0].slug, 0)}"
        alive = [unit.unit.channel for unit in page.units if unit.unit.pictures]
        assert page.compared.beside == pytest.approx(pairing.layer(one.layers[0]).beside.share[alive].mean())


def test_of_a_layer_that_the_other_atlas_lacks_the_dead_are_named(tmp_path: Path):
    one = fake_atlas(tmp_path / "one", [SPECS[0]], drawn=False)
    two = fake_atlas(tmp_path / "two", [SPECS[0]._replace(address="new")], drawn=False)
    page = compare_layer_page(Pairing(one, two), one.layers[0])
    assert [unit.channel for unit in page.dead] == [0]
    assert "1 unit is dead and left out" in " ".join(Tags(pages.html(page)).words.split())


def test_layers_beside_are_named(pairing: Pairing, found: dict[str, Tags]):
    layers = pairing.this.layers
    for before, record, after in zip([None, *layers], layers, [*layers[1:], None], strict=False):
        turns = {each["rel"]: each["href"] for each in found[links.compare_layer(record.slug)].of("a") if "rel" in each}
        expected = {"prev": before, "next": after}
        assert turns == {rel: f"../{there.slug}/index.html" for rel, there in expected.items() if there}
        words = found[links.compare_layer(record.slug)].words
        assert before is None or f"←\xa0{before.address}" in words
        assert after is None or f"{after.address}\xa0→" in words


def test_pages_of_the_other_atlas_follow_changes_of_this_one(this: Atlas, other: Atlas, tmp_path: Path):
    copy = shutil.copytree(this.path, tmp_path / "epoch-3")
    here = TestClient(app(copy, beside=other.path), base_url="http://127.0.0.1")
    address = f"/beside/{links.twin(links.unit(other.layers[0].slug, 3))}"
    row = "../compare/000-conv1-relu/index.html#u3"
    assert here.get(address).json()["compare"] == {"name": "epoch-30", "other": "epoch-3", "page": row, "own": True}
    shutil.rmtree(copy)
    gone = here.get(address).json()["compare"]
    assert gone == {"name": "epoch-30", "other": "epoch-3", "page": "../compare/index.html", "own": False}
    fake_atlas(copy, [SPECS[1], SPECS[0]])
    assert here.get(address).json()["compare"]["page"] == "../compare/001-conv1-relu/index.html#u3"
    fake_atlas(copy.with_name("wider"), [SPECS[0]._replace(channels=9)])
    shutil.rmtree(copy)
    copy.with_name("wider").rename(copy)
    assert here.get(address).json()["compare"] == gone


def test_every_link_resolves_and_every_page_is_reached(site: Path, found: dict[str, Tags]):
    reached = set()
    for page, tags in found.items():
        assert (tags.unbalanced, tags.open) == ([], [])
        for _, attributes in tags.tags:
            for address in (attributes[name] for name in ("href", "src") if name in attributes):
                target = urldefrag(urljoin(f"http://site/{page}", address))[0]
                path = unquote(target.removeprefix("http://site/"))
                assert (site / path).is_file(), (page, attributes)
                reached.add(path)
    assert set(found) - reached == set()


def test_pages_and_their_twins_are_those_that_the_functions_give(pairing: Pairing, site: Path):
    for page in (compare_page(pairing), *(compare_layer_page(pairing, each) for each in pairing.this.layers)):
        assert (site / page.path).read_text("utf-8") == pages.html(page)
        assert json.loads((site / links.twin(page.path)).read_text("utf-8")) == json.loads(json.dumps(asdict(page)))


def test_a_page_names_both_units_and_how_many_pictures_they_share(pairing: Pairing, found: dict[str, Tags]):
    page = compare_layer_page(pairing, pairing.this.layers[0])
    told = " ".join(found[page.path].words.split())
    assert "epoch-3 beside the same layer of epoch-30" in told
    for unit in page.units:
        assert unit.beside is not None
        assert f"{unit.unit.channel} {pages.number(unit.unit.maximum)}" in told
        assert f"{unit.beside.unit.channel} {unit.beside.shared} of {unit.beside.either} shared" in told
    summary = " ".join(found[links.compare()].words.split())
    assert f"{pairing.common} of the {pairing.either} pictures" in summary
    assert f"would share {pages.number(pairing.chance)}" in summary
    assert "byte for byte, and its tile" in summary


def test_names_are_escaped(tmp_path: Path):
    evil = "<img src=x onerror=alert(1)>&\"'"
    spec = SPECS[0]._replace(address=f"net/{evil}:relu")
    one, two = (fake_atlas(tmp_path / f"<i>{n}</i>".replace("/", "-"), [spec]) for n in range(2))
    pairing = Pairing(one, two)
    for page in (compare_page(pairing), compare_layer_page(pairing, one.layers[0])):
        tags = Tags(pages.html(page))
        assert tags.unbalanced == tags.open == []
        assert not tags.of("i")
        assert all("onerror" not in attributes for _, attributes in tags.tags)
        assert evil in tags.words
        assert re.fullmatch(r"[\w./-]+", page.path)


def test_a_change_of_the_other_atlas_shows_at_once(this: Atlas, other: Atlas, tmp_path: Path):
    copy = shutil.copytree(other.path, tmp_path / "copy")
    here = TestClient(app(this.path, beside=copy), base_url="http://127.0.0.1")
    before = here.get("/compare/index.html").text
    shutil.rmtree(copy)
    assert str(tmp_path) not in here.get("/compare/index.html").text
    assert here.get("/compare/index.html").status_code == 503
    fake_atlas(copy, SPECS[:1])
    after = here.get("/compare/index.html")
    assert after.status_code == 200
    assert after.text != before


def test_without_another_atlas_no_page_speaks_of_one(this: Atlas, tmp_path: Path):
    export(this, tmp_path / "site")
    assert not (tmp_path / "site" / "compare").exists()
    assert all("compare/" not in file.read_text("utf-8") for file in (tmp_path / "site").rglob("*.html"))
    here = TestClient(app(this.path), base_url="http://127.0.0.1")
    for address in ("compare/index.html", "beside/index.html", links.compare_layer(this.layers[0].slug)):
        assert here.get(f"/{address}").status_code == 404


def test_means_are_over_the_units_that_fired(pairing: Pairing):
    mine, theirs = pictures_of(pairing.this), pictures_of(pairing.other)
    (first, *_) = compare_page(pairing).layers
    both = [(mine[0, c], theirs[0, c]) for c in range(6) if mine[0, c]]
    assert first.beside == pytest.approx(np.mean([len(one & two) / len(one | two) for one, two in both]))


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ("/a/epoch-3", "/b/epoch-30", ("epoch-3", "epoch-30")),
        ("/runs/one/atlas", "/runs/two/atlas", ("one/atlas", "two/atlas")),
        ("/one/x/atlas", "/two/x/atlas", ("one/x/atlas", "two/x/atlas")),
        ("/atlas", "/old/atlas", ("/atlas", "old/atlas")),
        ("/a/atlas", "/a/atlas", ("first", "second")),
    ],
)
def test_two_folders_are_told_apart_by_as_little_as_does(first: str, second: str, names: tuple[str, str]):
    assert told_apart(Path(first), Path(second)) == names
    assert told_apart(Path(second), Path(first)) == (names if first == second else names[::-1])


def test_pictures_of_both_are_named_once_and_every_tile_has_its_own(pairing: Pairing, this: Atlas, other: Atlas):
    record = this.layers[0]
    page = compare_layer_page(pairing, record)
    for each in page.units:
        shown = [(this, each.unit, page.pictures)]
        matches = [match for match in (each.beside, *each.nearest) if match]
        shown += [(other, match.unit, page.pictures_of_other) for match in matches]
        for atlas, unit, names in shown:
            hits = atlas[unit.address][unit.channel].hits
            assert unit.pictures == tuple(hit.picture for hit in hits)
            assert [names[id] for id in unit.pictures] == [atlas.picture(id).title for id in unit.pictures]


def test_readers_at_the_same_time_compare_once(this: Atlas, other: Atlas, monkeypatch: pytest.MonkeyPatch):
    edition = web_site._Edition(None, this, web_site.Site(other.path), None, None)
    begun, made, both = threading.Event(), [], threading.Barrier(2)

    def compare(*atlases: Atlas) -> Pairing:
        made.append(atlases)
        begun.wait(0.2)  # time for the other reader to come
        return Pairing(*atlases)

    def read(_: int) -> Pairing:
        both.wait(30)
        return edition._pairing

    monkeypatch.setattr(web_site, "Pairing", compare)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(read, range(2))
    assert first is second
    assert len(made) == 1
