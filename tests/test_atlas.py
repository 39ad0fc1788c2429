"""The atlas folder: what is written is read back, nothing half-written passes for whole, damage is found."""

from __future__ import annotations

import json
import mmap
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pixelward import folder
from pixelward.atlas import Atlas, Drawings, Hit, LayerRecord, PictureRow
from pixelward.core.fields import Box, Extent, Span
from pixelward.draft import Draft
from pixelward.errors import PixelwardError

LOCAL = Extent(Span(2, -3, 7), Span(2, -3, 7))
WHOLE = Extent(None, None)
MAPS = LayerRecord(0, "conv1:relu", ("relu1", "features/relu#1"), 3, (4, 5), LOCAL, LOCAL, (2, 2))
VECTOR = LayerRecord(1, "fc", (), 2, (), WHOLE, WHOLE, None)
LAYERS = (MAPS, VECTOR)
EDGES = np.exp2(np.arange(-40, 41) / 2.0).astype(np.float32)
ROWS = (
    PictureRow(0, "photos", "a.png", None, None, 70, 60, "cat", "used", None, "00" * 32),
    PictureRow(1, "photos", "b/ü \"'%.jpg", Box(8, 16, 32, 32), 0.5, 400, 300, None, "used", None, "1f" * 32),
    PictureRow(2, "photos", "broken.png", state="skipped", reason="broken.png, which is cut short", sha256="ab" * 32),
    PictureRow(3, "photos", "gone.png", state="skipped", reason="gone.png, which cannot be read"),
)
PLAN = {
    "version": 1,
    "network": {"model": "tiny", "sha256": "cd" * 32},
    "preprocessing": {"channels": "RGB", "range": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1], "resize": 8, "size": 8},
    "rules": "deconvnet",
    "k": 2,
    "size": (8, 8),
    "tiles": None,
    "layers": [layer.to_json() for layer in LAYERS],
    "sources": [{"name": "photos", "path": "/photos"}],
    "listing": "ef" * 32,
}


def arrays() -> dict[str, np.ndarray]:
    return {
        "0/value": np.array([[5, 2.5], [1, 0], [0, 0]], np.float32),
        "0/picture": np.array([[1, 0], [0, -1], [-1, -1]]),
        "0/position": np.array([[[3, 4], [0, 1]], [[2, 2], [-1, -1]], [[-1, -1]] * 2], np.int32),
        "1/value": np.array([[7, 6], [0, 0]], np.float32),
        "1/picture": np.array([[0, 1], [-1, -1]]),
        "1/position": np.array([[[0, 0]] * 2, [[-1, -1]] * 2], np.int32),
    } | {
        f"{layer.number}/{name}": array
        for layer in LAYERS
        for name, array in {
            "seen": np.array([2]),
            "positive": np.arange(layer.channels),
            "histogram": np.arange(layer.channels * 82).reshape(-1, 82),
            "maximum": np.linspace(-1, 7, layer.channels, dtype=np.float32),
        }.items()
    }


def written(path: Path) -> Atlas:
    """A small atlas, saved in two shards."""
    draft = Draft.begin(path, PLAN)
    assert draft is not None
    draft.save(arrays() | {"0/value": np.zeros((3, 2), np.float32)}, ROWS[:3])
    draft.save(arrays(), ROWS[3:])
    draft.finish(LAYERS, EDGES)
    return Atlas.open(path)


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    return written(tmp_path / "an atlas? #1, 100%")


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


# Reading


def test_what_was_written_is_read(atlas):
    assert atlas.layers == LAYERS
    assert (atlas.k, atlas.size, atlas.tiles, atlas.rules) == (2, (8, 8), None, "deconvnet")
    assert (atlas.network, atlas.sources) == (PLAN["network"], PLAN["sources"])
    assert (atlas.pictures_seen, atlas.pictures_skipped) == (2, 2)
    for layer in LAYERS:
        stats = atlas.stats(layer)._asdict() | {"seen": [atlas.stats(layer).seen], "edges": EDGES}
        for name, array in (atlas.units(layer)._asdict() | stats).items():
            np.testing.assert_array_equal(array, arrays().get(f"{layer.number}/{name}", EDGES))


def test_arrays_in_memory_are_those_of_the_file_and_outlive_it(atlas):
    kept = Atlas.open(atlas.path, mapped=False)
    for layer in LAYERS:
        for array, mapped in zip(kept.units(layer), atlas.units(layer), strict=True):
            np.testing.assert_array_equal(array, mapped)
            assert not array.flags.writeable
    before = kept.units(LAYERS[0]).value.copy()
    (atlas.path / folder.units_file(LAYERS[0].slug)).write_bytes(b"")
    np.testing.assert_array_equal(kept.units(LAYERS[0]).value, before)


def test_hits_have_names_and_missing_ones_are_not_listed(atlas):
    assert atlas["conv1:relu"][0].hits == [Hit(5.0, 1, (3, 4), ROWS[1].name), Hit(2.5, 0, (0, 1), "a.png")]
    assert atlas["relu1"][1].hits == [Hit(1.0, 0, (2, 2), "a.png")]
    assert atlas["conv1:relu"][2].hits == []
    assert [hit.position for hit in atlas["fc"][0].hits] == [(), ()]


def test_pictures_are_found_by_id_and_by_what_they_hold(atlas):
    assert tuple(atlas.picture(id) for id in range(4)) == ROWS
    assert atlas.pictures([3, 99, 1, 3]) == {1: ROWS[1], 3: ROWS[3]}
    assert len(atlas.pictures(range(2000))) == 4
    assert tuple(atlas.skipped()) == ROWS[2:]
    assert list(atlas.hit_pictures()) == [0, 1]
    assert atlas.hits_of_picture(0) == [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
    assert atlas.hits_of_picture(2) == []


def test_hits_of_a_picture_are_found_without_a_walk_over_all(atlas):
    (plan,) = atlas._query("EXPLAIN QUERY PLAN SELECT layer, channel, rank FROM hits WHERE picture = 1 ORDER BY 1, 2")
    assert plan[3] == "SEARCH hits USING PRIMARY KEY (picture=?)"


def test_arrays_are_memory_mapped(atlas):
    base = atlas.units(MAPS).value
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)


def test_reading_needs_no_torch(atlas):
    code = (
        "import sys; from pixelward.atlas import Atlas; atlas = Atlas.open(sys.argv[1]); atlas['fc'][0].hits;"
        "atlas.stats(atlas.layers[0]); atlas.verify(); atlas.drawings; print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code, atlas.path], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


@pytest.mark.parametrize(
    ("number", "address", "slug"),
    [
        (0, "conv1:relu", "000-conv1-relu"),
        (7, "features.3[0]", "007-features-3-0-"),
        (12, "Mixed_5b/relu#2", "012-mixed-5b-relu-2"),
        (1234, "a", "1234-a"),
    ],
)
def test_a_layers_files_are_called_by_number_and_address(number, address, slug):
    assert LayerRecord(number, address, (), 1, (), WHOLE, WHOLE, None).slug == slug


def test_paths_are_those_of_the_design():
    assert folder.units_file("000-a") == "units/000-a.safetensors"
    assert folder.stats_file("000-a") == "stats/000-a.safetensors"
    assert folder.sheet_file("000-a", 5, "focus") == "drawings/000-a/5.focus.webp"
    assert folder.boxes_file("000-a") == "drawings/000-a/boxes.safetensors"
    assert folder.thumb_file(9) == "thumbs/9.webp"


# Refusals in reading


def test_unknown_layer_channel_and_picture_are_refused_with_the_known_ones(atlas):
    with pytest.raises(PixelwardError, match=r"layer 'conv9' - allowed: conv1:relu, fc - .* scan again with --layers"):
        atlas["conv9"]
    with pytest.raises(PixelwardError, match="channel 3 of layer conv1:relu - allowed: 0 to 2"):
        atlas["relu1"][3]
    with pytest.raises(PixelwardError, match="channel -1 of layer fc - allowed: 0 to 1"):
        atlas["fc"][-1]
    with pytest.raises(PixelwardError, match="picture 4 - allowed: 0 to 3"):
        atlas.picture(4)


def test_what_is_no_finished_atlas_is_refused_with_the_next_step(tmp_path):
    with pytest.raises(PixelwardError, match=r"nowhere, which is no folder - .* make an atlas with `pixelward scan"):
        Atlas.open(tmp_path / "nowhere")
    with pytest.raises(PixelwardError, match=r"holds no atlas\.json .* name the folder that a scan wrote"):
        Atlas.open(tmp_path)
    Draft.begin(tmp_path / "begun", PLAN)
    with pytest.raises(PixelwardError, match=r"not finished .* same scan command again; it goes on"):
        Atlas.open(tmp_path / "begun")
    (tmp_path / "shut" / "atlas.json").mkdir(parents=True)
    with pytest.raises(
        PixelwardError, match=r"shut, whose atlas\.json cannot be read \(Is a directory\) .* may read it"
    ):
        Atlas.open(tmp_path / "shut")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"version": 2}', "an atlas of version 2 - allowed: version 1 - next step: install the Pixelward"),
        ("{", r"whose atlas\.json cannot be read .* info ATLAS --verify"),
        ("[]", r"whose atlas\.json cannot be read"),
    ],
)
def test_another_version_and_damage_are_refused(atlas, text, words):
    (atlas.path / "atlas.json").write_text(text)
    with pytest.raises(PixelwardError, match=words):
        Atlas.open(atlas.path)


def test_a_layer_whose_record_is_damaged_is_refused_when_it_is_asked_for(atlas):
    file = atlas.path / "atlas.json"
    record = json.loads(file.read_text())
    address = record["layers"][-1]["address"]
    del record["layers"][-1]["map"]
    file.write_text(json.dumps(record))
    opened = Atlas.open(atlas.path)
    for ask in (lambda: opened.layer(address), lambda: opened.layers, lambda: opened[address]):
        with pytest.raises(folder.Damaged, match=r"whose atlas\.json cannot be read"):
            ask()


def rewritten(path: Path, *keys: str | int, value: object) -> None:
    """Write one value of `atlas.json` over."""
    file = path / "atlas.json"
    record = place = json.loads(file.read_text())
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    file.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("address", value) for value in (None, 3, ["fc"])],
        *[("aliases", value) for value in (None, "fc6", [None])],
        *[("channels", value) for value in (None, "2", 2.0, True, 0, -1)],
        *[("map", value) for value in (None, [4], [4, "5"], 4)],
        *[("stride", value) for value in (2, [2], [2, None])],
        *[("field", value) for value in (None, [], {"rows": None}, {"rows": [[2, 1]], "columns": None})],
        *[("reach", {"rows": value, "columns": None}) for value in ("abc", [["a", "b", "c"]], [], 7)],
        ("number", "1"),
    ],
)
def test_a_layers_record_with_a_field_of_another_type_is_damage(atlas, field, value):
    rewritten(atlas.path, "layers", 1, field, value=value)
    with pytest.raises(folder.Damaged, match=r"whose atlas\.json cannot be read"):
        _ = Atlas.open(atlas.path).layers
    if field not in ("address", "aliases"):  # by which the other is found
        assert Atlas.open(atlas.path)["conv1:relu"][0].hits == atlas["conv1:relu"][0].hits


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        *[(("network",), value) for value in (None, "zfnet64", {"model": "tiny"})],
        *[(("network", "model"), value) for value in (None, 3)],
        *[(("size",), value) for value in (8, [8], ["8", "8"])],
        *[(("tiles",), value) for value in (8, [], {"size": 8})],
        *[(("sources",), value) for value in ({}, [None], [{"name": "photos"}])],
        *[(("counts", "used"), value) for value in (None, "2")],
        *[(("layers",), value) for value in ({}, "fc", [None])],
        (("k",), None),
        (("preprocessing",), []),
        (("files",), None),
        (("rules",), 1),
    ],
)
def test_a_record_with_a_field_of_another_type_is_no_atlas(atlas, keys, value):
    rewritten(atlas.path, *keys, value=value)
    with pytest.raises(folder.Damaged, match=r"whose atlas\.json cannot be read"):
        Atlas.open(atlas.path)


@pytest.mark.parametrize("channels", [1, 2, 4, 100_000])
def test_arrays_of_other_units_than_the_record_has_are_damage(atlas, channels):
    """It is the record, since the arrays are as they were written; else it is the arrays."""
    rewritten(atlas.path, "layers", 0, "channels", value=channels)
    opened = Atlas.open(atlas.path)
    for read in (opened.units, opened.stats):
        with pytest.raises(folder.Damaged, match=r"whose atlas\.json cannot be read"):
            read(opened.layers[0])
    assert opened.verify() == ["atlas.json does not fit the arrays of conv1:relu"]
    for file in (folder.units_file, folder.stats_file):
        (atlas.path / file(MAPS.slug)).write_bytes((atlas.path / file(VECTOR.slug)).read_bytes())
    opened = Atlas.open(atlas.path)
    if channels != VECTOR.channels:
        with pytest.raises(folder.Damaged, match=r"whose units/000-conv1-relu\.safetensors cannot be read"):
            opened.units(opened.layers[0])
        with pytest.raises(folder.Damaged, match=r"whose stats/000-conv1-relu\.safetensors cannot be read"):
            opened.stats(opened.layers[0])


def test_fewer_hits_than_the_record_says_are_damage(atlas):
    rewritten(atlas.path, "k", value=9)
    with pytest.raises(folder.Damaged, match=r"whose atlas\.json cannot be read"):
        Atlas.open(atlas.path).units(MAPS)


@pytest.mark.parametrize(
    "harm", [b"", b"\x02\0\0\0\0\0\0\0{}", b"\xff" * 9, b"\0" * 8, b"\xff\xff\xff\xff\xff\0\0\0{}"]
)
def test_arrays_that_are_cut_or_missing_are_told_as_damage(atlas, harm):
    for file in (folder.units_file(MAPS.slug), folder.stats_file(MAPS.slug)):
        (atlas.path / file).write_bytes(harm)
    for read in (atlas.units, atlas.stats):
        with pytest.raises(folder.Damaged, match="cannot be read"):
            read(MAPS)


def test_damage_survives_a_process_boundary_as_what_it_is(tmp_path):
    error = pickle.loads(pickle.dumps(folder.damaged(tmp_path, "atlas.json")))
    assert isinstance(error, folder.Damaged)
    assert "atlas.json cannot be read" in str(error)


def test_damaged_files_are_told_when_they_are_needed(atlas):
    (atlas.path / folder.units_file(MAPS.slug)).unlink()
    (atlas.path / folder.stats_file(MAPS.slug)).write_bytes(b"\x05\0\0\0\0\0\0\0nope!")
    (atlas.path / "pictures.sqlite").write_bytes(b"no database")
    with pytest.raises(PixelwardError, match=r"whose units/000-conv1-relu\.safetensors cannot be read"):
        atlas["conv1:relu"][0]
    with pytest.raises(PixelwardError, match=r"whose stats/000-conv1-relu\.safetensors cannot be read"):
        atlas.stats(MAPS)
    with pytest.raises(PixelwardError, match=r"whose pictures\.sqlite cannot be read"):
        atlas.picture(0)


# Verification and drawings


def test_verification_names_what_is_missing_or_changed(atlas):
    assert atlas.verify() == []
    changed = atlas.path / folder.stats_file(VECTOR.slug)
    changed.write_bytes(changed.read_bytes()[:-1] + b"!")
    (atlas.path / folder.units_file(MAPS.slug)).unlink()
    assert atlas.verify() == [
        "units/000-conv1-relu.safetensors is missing",
        "stats/001-fc.safetensors is not as it was written",
    ]


def test_drawings_are_told_once_they_are_whole_and_verified(atlas):
    assert atlas.drawings is None
    drawings = Drawings(rules="deconvnet", unpool="sum", seed="value", layers=("conv1:relu",))
    for name in (folder.sheet_file(MAPS.slug, 0, "projections"), folder.boxes_file(MAPS.slug), folder.thumb_file(1)):
        folder.write_file(atlas.path / name, name.encode())
    atlas.write_drawings(drawings)
    assert atlas.drawings == Atlas.open(atlas.path).drawings == drawings
    assert atlas.verify() == []
    (atlas.path / folder.sheet_file(MAPS.slug, 0, "projections")).write_bytes(b"")
    (atlas.path / "thumbs/manifest.json").unlink()
    assert atlas.verify() == [
        "drawings/000-conv1-relu/0.projections.webp is not as it was written",
        "thumbs/manifest.json is missing",
    ]


# Writing


def test_how_an_atlas_is_drawn_is_told_as_it_is_now(atlas):
    atlas.write_drawings(Drawings("deconvnet", "sum", "value", ("conv1:relu",)))
    other = Atlas.open(atlas.path)
    assert other.drawings is other.drawings  # read once
    for seed in (1.0, 2.0):  # files of one length
        atlas.write_drawings(Drawings("deconvnet", "sum", seed, ("conv1:relu",)))
        assert other.drawings == Drawings("deconvnet", "sum", seed, ("conv1:relu",))
    (atlas.path / "drawings.json").write_text("{}", "utf-8")
    with pytest.raises(PixelwardError, match=r"drawings\.json cannot be read"):
        other.drawings  # noqa: B018
    (atlas.path / "drawings.json").unlink()
    assert other.drawings is None


@pytest.mark.parametrize(
    "change", [{"layers": "x"}, {"layers": []}, {"layers": {"conv1:relu": 3}}, {"thumbs": None}, {"rules": 1}]
)
def test_a_record_of_drawings_with_a_field_of_another_type_is_damage(atlas, change):
    atlas.write_drawings(Drawings("deconvnet", "sum", "value", ("conv1:relu",)))
    file = atlas.path / "drawings.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | change), "utf-8")
    for ask in (lambda: atlas.drawings, atlas.verify):
        with pytest.raises(PixelwardError, match=r"drawings\.json cannot be read .* delete .*, and draw again"):
            ask()


def test_a_finished_atlas_has_no_parts_and_the_hash_of_every_file(atlas):
    names = set(files(atlas.path))
    record = json.loads((atlas.path / "atlas.json").read_text("utf-8"))
    assert set(record["files"]) == names - {"atlas.json"}
    assert record["counts"] == {"pictures": 4, "used": 2, "skipped": 2}
    assert [(shard["pictures"], shard["used"]) for shard in record["shards"]] == [(3, 2), (1, 0)]


def test_an_interrupted_draft_goes_on_and_ends_with_the_same_bytes(tmp_path):
    whole = written(tmp_path / "whole")
    draft = Draft.begin(tmp_path / "parts", PLAN)
    draft.save({"early": np.zeros(1)}, ROWS[:3])
    parts = tmp_path / "parts/parts"
    (parts / "000001.pictures.jsonl").write_text("half a l")  # of a shard whose state was not saved any more
    (parts / "000001.safetensors.tmp").write_bytes(b"half")
    (tmp_path / "parts/pictures.sqlite.tmp").write_bytes(b"half")
    draft = Draft.begin(tmp_path / "parts", PLAN)
    assert (draft.shards, draft.files, draft.pictures, set(draft.state())) == (
        1,
        len({row.name for row in ROWS[:3]}),
        3,
        {"early", "done"},
    )
    early = (parts / "000000.safetensors").read_bytes()
    draft.save(arrays(), ROWS[3:])
    (parts / "000000.safetensors").write_bytes(early)  # as if the older state could not be removed any more
    draft = Draft.begin(tmp_path / "parts", PLAN)
    assert (draft.shards, draft.pictures) == (2, 4)
    draft.finish(LAYERS, EDGES)
    assert files(tmp_path / "parts") == files(whole.path)


def test_a_finished_atlas_is_left_as_it_is(atlas):
    before = files(atlas.path)
    (atlas.path / "parts").mkdir()
    assert Draft.begin(atlas.path, PLAN) is None
    assert files(atlas.path) == before
    assert not (atlas.path / "parts").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": 3}, "k differ"),
        ({"network": {"model": "tiny", "sha256": "00"}}, "network differ"),
        ({"listing": "00", "layers": []}, "layers, pictures differ"),
        ({"tiles": {"size": 8, "stride": 4, "overlap": 0.25}}, "tiles differ"),
    ],
)
def test_the_folder_of_another_scan_is_refused_and_nothing_written(atlas, tmp_path, change, words):
    Draft.begin(tmp_path / "begun", PLAN)
    for place, what in ((atlas.path, "a finished atlas"), (tmp_path / "begun", "an unfinished atlas")):
        before = files(place)
        with pytest.raises(PixelwardError, match=rf"{what} of another scan \({words}\) .* another folder with -o"):
            Draft.begin(place, PLAN | change)
        assert files(place) == before


def test_the_same_network_under_another_name_is_the_same_scan(atlas):
    network = PLAN["network"] | {"model": "./tiny.py:make"}
    assert Draft.begin(atlas.path, PLAN | {"network": network}) is None


def test_other_files_are_never_written_among(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(PixelwardError, match=r"holds other files \(thesis\.tex\) - allowed: a new or empty folder"):
        Draft.begin(tmp_path, PLAN)
    with pytest.raises(PixelwardError, match=r"thesis\.tex, which is a file - allowed: a new or empty folder"):
        Draft.begin(tmp_path / "thesis.tex", PLAN)
    assert list(tmp_path.iterdir()) == [tmp_path / "thesis.tex"]


def test_an_empty_folder_and_one_where_a_start_was_killed_are_taken(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/plan.json.tmp").touch()
    assert Draft.begin(tmp_path, PLAN) is not None


def test_a_discarded_draft_leaves_nothing(tmp_path):
    Draft.begin(tmp_path / "new", PLAN).discard()
    Draft.begin(tmp_path, PLAN).discard()
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    folder.write_file(tmp_path / "file", b"old")

    def full(temporary, path):
        raise OSError("no space left")

    monkeypatch.setattr(folder, "settle_file", full)
    with pytest.raises(OSError, match="no space left"):
        folder.write_file(tmp_path / "file", b"new")
    assert files(tmp_path) == {"file": b"old"}
