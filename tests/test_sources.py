"""Sources of pictures: every kind names, orders and reads the same pictures alike, and every refusal has its words."""

import os
import pickle
import sys
import time
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelward.data.images import ENDINGS, decode
from pixelward.data.sources import OUTPUTS, Picture, Source, open_sources
from pixelward.errors import PixelwardError

SHARED = Path(__file__).parents[2] / "shared" / "data"

# Contents only have to differ: what is a picture is decided by the ending.
TREE = {
    "b.jpg": b"1",
    "a/Z.JPEG": b"2",
    "a/z.png": b"3",
    "a/é.webp": b"4",
    "a/\uffff.tif": b"5",
    "a/\U0001f600.tif": b"6",
    "a/deep/er/x.gif": b"7",
    "a.b/y.ppm": b"8",
    "with space %41.bmp": b"9",
}
OTHERS = ["notes.txt", "a/film.mp4", "jpg", "__MACOSX/b.jpg", ".hidden.jpg", ".git/b.jpg", "a/._z.png", "a/x.jpg.bak"]


def plant(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return plant(tmp_path / "photos", TREE | dict.fromkeys(OTHERS, b"no picture"))


def one(path: str | Path, **options) -> Source:
    (source,) = open_sources([path], **options)
    return source


def names(source: Source) -> list[str]:
    return [picture.name for picture in source.pictures()]


def contents(source: Source) -> dict[str, bytes]:
    return {name: source.read(name) for name in names(source)}


def refused(paths, **options) -> str:
    with pytest.raises(PixelwardError) as caught:
        open_sources(paths, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# One tree, seen in every way


def as_folder(photos: Path) -> str:
    return str(photos)


def as_zip(photos: Path) -> str:
    files = {path.relative_to(photos).as_posix(): path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    return str(zipped(photos.with_suffix(".zip"), files))


def as_list(photos: Path) -> str:
    lines = "\ufeff" + "\r\n".join([*reversed(TREE), "", "b.jpg", "./a/../b.jpg"])  # twice over is once
    plant(photos, {"list.txt": lines.encode()})
    return str(photos / "list.txt")


def as_glob(photos: Path) -> str:
    return f"{photos}/**/*"


WAYS = {"folder": as_folder, "zip": as_zip, "list": as_list, "glob": as_glob}


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_source_gives_the_same_pictures(way, photos):
    source = one(WAYS[way](photos))
    assert contents(source) == TREE
    assert len(source) == len(TREE)


@pytest.mark.parametrize("way", WAYS)
def test_pictures_come_in_the_order_of_their_names_utf8_bytes(way, photos):
    found = names(one(WAYS[way](photos)))
    assert found == sorted(TREE, key=str.encode)
    assert found.index("a/\uffff.tif") < found.index("a/\U0001f600.tif")  # UTF-16 would have it the other way


@pytest.mark.parametrize("way", WAYS)
def test_a_source_can_be_listed_again_pickled_and_opened_again(way, photos):
    source = one(WAYS[way](photos))
    listed = list(source.pictures())
    assert list(source.pictures()) == listed
    read = contents(source)
    for again in (pickle.loads(pickle.dumps(source)), one(source.path)):
        assert list(again.pictures()) == listed
        assert contents(again) == read
        assert again.path == source.path


@settings(deadline=None, max_examples=30)
@given(st.sets(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\n\r"), min_size=1)))
def test_any_zip_is_listed_in_byte_order(tmp_path_factory, words):
    path = tmp_path_factory.mktemp("zip") / "any.zip"
    files = {f"d/{word.replace('/', '').replace(chr(92), '')}x.jpg": word.encode() for word in words} or {"a.jpg": b""}
    visible = {name: content for name, content in files.items() if not name.startswith("d/.")} | {"z.jpg": b"z"}
    source = one(zipped(path, files | visible))
    assert names(source) == sorted(visible, key=str.encode)
    assert contents(source) == visible


# Names


@pytest.mark.parametrize(("way", "name"), [("folder", "photos"), ("zip", "photos.zip"), ("list", "list.txt")])
def test_a_source_is_called_after_the_last_part_of_its_path(way, name, photos):
    path = WAYS[way](photos)
    assert one(path).name == name
    assert {picture.source for picture in one(path).pictures()} == {name}
    assert one(path, name="mine").name == "mine"
    assert next(one(path, name="mine").pictures()) == Picture("mine", "a.b/y.ppm", None)


def test_a_folder_is_called_by_its_name_however_it_is_written(photos, monkeypatch):
    monkeypatch.chdir(photos)
    for path in (".", "../photos", "../photos/", "a/..", Path()):
        assert one(path).name == "photos"
        assert contents(one(path)) == TREE
    monkeypatch.chdir(photos / "a")
    assert one("..").name == "photos"


def test_a_glob_takes_its_names_from_the_folder_before_the_first_wildcard(photos, monkeypatch):
    assert one(f"{photos}/a/[Zz].*").name == "a"
    assert names(one(f"{photos}/a/[Zz].*")) == ["Z.JPEG", "z.png"]
    assert names(one(f"{photos}/*/?.png")) == ["a/z.png"]
    monkeypatch.chdir(photos)
    assert one("*.jpg").name == "photos"
    assert contents(one("*.jpg")) == {"b.jpg": b"1"}
    assert names(one("a/**/*.gif")) == ["deep/er/x.gif"]


def test_a_path_with_wildcards_in_its_own_name_is_no_glob(tmp_path):
    plant(tmp_path, {"what? [1]/x.jpg": b"x", "a*.jpg": b"y"})
    assert contents(one(tmp_path / "what? [1]")) == {"x.jpg": b"x"}
    assert contents(one(tmp_path / "a*.jpg")) == {"a*.jpg": b"y"}


def test_a_single_picture_is_a_source(photos):
    source = one(photos / "a" / "z.png")
    assert source.name == "z.png"
    assert contents(source) == {"z.png": b"3"}


def test_a_list_may_name_any_file_anywhere(tmp_path):
    plant(tmp_path, {"lists/mine.txt": b"../here/picture-without-ending\n", "here/picture-without-ending": b"x"})
    assert contents(one(tmp_path / "lists" / "mine.txt")) == {"../here/picture-without-ending": b"x"}
    (tmp_path / "lists" / "mine.txt").write_text(f"{tmp_path}/here/picture-without-ending")
    assert contents(one(tmp_path / "lists" / "mine.txt")) == {"../here/picture-without-ending": b"x"}


def test_lines_of_a_list_that_start_with_a_number_sign_are_comments(tmp_path):
    plant(tmp_path, {"a.jpg": b"a", "#b.jpg": b"b", "c#.jpg": b"c"})
    plant(tmp_path, {"list.txt": b"\xef\xbb\xbf# of my album\na.jpg\n  # gone.jpg\n#b.jpg\n./#b.jpg\nc#.jpg\n"})
    assert contents(one(tmp_path / "list.txt")) == {"a.jpg": b"a", "#b.jpg": b"b", "c#.jpg": b"c"}
    plant(tmp_path, {"empty.txt": b"# nothing\n"})
    assert "list " in refused(tmp_path / "empty.txt")


@pytest.mark.parametrize("marker", OUTPUTS)
def test_atlases_and_sites_below_a_source_are_passed_over(marker, tmp_path):
    output = plant(tmp_path / "photos" / "in" / "out", {marker: b"{}", "thumbs/0.webp": b"0", "1.png": b"1"})
    photos = plant(tmp_path / "photos", {"in/a.jpg": b"a", "in/outer/b.jpg": b"b", f"in/outer/x{marker[-5:]}": b"{}"})
    (photos / "link").symlink_to(output)
    expected = {"in/a.jpg": b"a", "in/outer/b.jpg": b"b"}
    assert contents(one(photos)) == expected
    assert contents(one(f"{photos}/**/*")) == expected
    assert contents(one(f"{photos}/in/*/*.*")) == {"outer/b.jpg": b"b"}
    # Whoever names it, means it.
    assert contents(one(output)) == contents(one(f"{output}/**/*")) == {"1.png": b"1", "thumbs/0.webp": b"0"}


def test_the_markers_are_those_that_are_written():
    from pixelward import draft
    from pixelward.folder import ATLAS, PARTS
    from pixelward.web import export

    assert (ATLAS, f"{PARTS}/{draft._PLAN}", export.MARKER) == OUTPUTS


def test_sources_come_in_the_order_of_their_names(tmp_path):
    for name in ("b", "a", "é", "Z"):
        plant(tmp_path, {f"{name}/x.jpg": b""})
    opened = open_sources([tmp_path / name for name in ("b", "é", "a", "Z")])
    assert [source.name for source in opened] == ["Z", "a", "b", "é"]


def test_endings_are_taken_in_any_case(tmp_path):
    plant(tmp_path, {f"{number}{ending.upper()}": b"" for number, ending in enumerate(ENDINGS)})
    assert len(one(tmp_path)) == len(ENDINGS)


def test_names_that_are_not_utf8_are_escaped(tmp_path):
    raw = os.fsencode(tmp_path) + b"/caf\xe9 100%.jpg"
    try:
        Path(os.fsdecode(raw)).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    plant(tmp_path, {"plain 100%.jpg": b"y"})
    assert contents(one(tmp_path)) == {"caf%E9 100%25.jpg": b"x", "plain 100%.jpg": b"y"}
    (tmp_path / "list.txt").write_bytes(b"caf\xe9 100%.jpg\n")
    assert contents(one(tmp_path / "list.txt")) == {"caf%E9 100%25.jpg": b"x"}
    plant(tmp_path, {"caf%E9 100%25.jpg": b"z"})
    message = refused(tmp_path)
    assert "given: two pictures that are both called caf%E9 100%25.jpg - " in message


# Links


def test_links_to_folders_are_followed_but_no_folder_comes_twice(tmp_path):
    photos = plant(tmp_path / "photos", {"a/1.jpg": b"1", "b/2.jpg": b"2"})
    elsewhere = plant(tmp_path / "elsewhere", {"3.jpg": b"3", "in/4.jpg": b"4"})
    (photos / "0-loop").symlink_to(photos)
    (photos / "a" / "up").symlink_to("..")
    (elsewhere / "back").symlink_to(photos)
    (photos / "0-first").symlink_to(photos / "b")  # would come first, but the folder itself goes before a link to it
    (photos / "out").symlink_to(elsewhere)
    (photos / "out-too").symlink_to(elsewhere / "in")
    expected = {"a/1.jpg": b"1", "b/2.jpg": b"2", "out/3.jpg": b"3", "out/in/4.jpg": b"4"}
    assert contents(one(photos)) == expected
    (tmp_path / "link").symlink_to(photos)
    assert one(tmp_path / "link").name == "link"
    assert contents(one(tmp_path / "link")) == expected


def test_a_glob_does_not_run_in_circles(tmp_path):
    plant(tmp_path, {"a/1.jpg": b"1"})
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert names(one(f"{tmp_path}/**/*.jpg")) == ["a/1.jpg"]


def test_links_to_pictures_are_pictures_and_a_link_to_nowhere_is_one_that_cannot_be_read(tmp_path):
    plant(tmp_path, {"d/1.jpg": b"1"})
    (tmp_path / "d" / "2.jpg").symlink_to("1.jpg")
    (tmp_path / "d" / "3.jpg").symlink_to("gone.jpg")
    source = one(tmp_path / "d")
    assert names(source) == ["1.jpg", "2.jpg", "3.jpg"]
    assert source.read("2.jpg") == b"1"
    words = r"given: picture 3\.jpg of .*d, which cannot be read: .*No such file.* - allowed: a file that is there"
    with pytest.raises(PixelwardError, match=words):
        source.read("3.jpg")


# Zips


def renamed(path: Path, old: bytes, new: bytes) -> Path:
    """Write a name into a zip that `zipfile` itself would not write, without the flag for UTF-8."""
    assert len(old) == len(new)
    path.write_bytes(path.read_bytes().replace(old, new))
    return path


def test_zip_names_without_the_flag_are_read_as_utf8_where_they_are(tmp_path):
    path = zipped(tmp_path / "x.zip", {"./caf__.jpg": b"1", "dos_//x.jpg": b"2"})
    renamed(path, b"caf__.jpg", "café.jpg".encode())
    renamed(path, b"dos_//x.jpg", b"dos\x82//x.jpg")
    assert contents(one(path)) == {"café.jpg": b"1", "dos%82/x.jpg": b"2"}


def test_back_slashes_in_a_zip_are_separators(tmp_path):
    path = renamed(zipped(tmp_path / "x.zip", {"a_b.jpg": b"1"}), b"a_b.jpg", b"a\\b.jpg")
    assert contents(one(path)) == {"a/b.jpg": b"1"}


def test_of_two_members_of_one_name_the_last_counts_as_when_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.jpg", b"old")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.jpg", b"new")
    assert contents(one(tmp_path / "x.zip")) == {"a.jpg": b"new"}


@pytest.fixture
def many(tmp_path: Path) -> Source:
    return one(zipped(tmp_path / "many.zip", {f"{n:03}.jpg": bytes([n]) * (1000 + n) for n in range(200)}))


def is_whole(source: Source, name: str) -> bool:
    n = int(name[:3])
    return source.read(name) == bytes([n]) * (1000 + n)


def test_a_zip_is_read_by_many_threads_at_once(many):
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda name: is_whole(many, name), names(many) * 5))


def test_a_zip_is_opened_once_a_process_however_many_threads_read_it(many, monkeypatch):
    opened = []

    class Slow(zipfile.ZipFile):
        def __init__(self, path):
            time.sleep(0.02)
            opened.append(os.getpid())
            super().__init__(path)

    monkeypatch.setattr(zipfile, "ZipFile", Slow)
    many = pickle.loads(pickle.dumps(many))
    for process in (11, 12):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(lambda name: is_whole(many, name), names(many)[:8]))
    assert opened == [11, 12]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_zip_is_read_by_forked_processes_at_once(many):
    assert is_whole(many, "007.jpg")  # open before the fork
    children = []
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
            child = os.fork()
        if not child:
            status = 1
            try:
                status = 0 if all(is_whole(many, name) for name in names(many)) else 2
            finally:
                os._exit(status)
        children.append(child)
    assert all(is_whole(many, name) for name in names(many))
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]


def test_a_damaged_member_is_refused_by_name_and_the_others_are_read(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"AAAA" * 9)
        archive.writestr("b.jpg", b"BBBB" * 9)
    renamed(path, b"BBBB" * 9, b"BBBC" * 9)
    source = one(path)
    assert source.read("a.jpg") == b"AAAA" * 9
    with pytest.raises(PixelwardError, match=r"given: picture b\.jpg of .*x\.zip, which cannot be read: Bad CRC-32"):
        source.read("b.jpg")


# Labels


def test_labels_from_a_csv_file(photos, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text(
        '\ufefflabel,more,file\ncat,1,a/z.png\n"dog, big",2,./b.jpg\n,3,a.b/y.ppm\nowl,4,gone.jpg\n', "utf-8"
    )
    labels = {picture.name: picture.label for picture in one(photos, labels=str(table)).pictures()}
    assert labels == dict.fromkeys(TREE) | {"a/z.png": "cat", "b.jpg": "dog, big"}


@pytest.mark.parametrize("way", WAYS)
def test_labels_from_folders(way, photos):
    source = one(WAYS[way](photos), labels="folders")
    labels = {picture.name: picture.label for picture in source.pictures()}
    assert labels["a/deep/er/x.gif"] == "er"
    assert labels["a.b/y.ppm"] == "a.b"
    assert labels["b.jpg"] == "photos"  # a zip's pictures as if it had been unpacked


def test_labels_of_single_folders_do_not_depend_on_the_name_of_the_source(tmp_path):
    plant(tmp_path, {"cats/1.jpg": b"", "dogs/1.jpg": b""})
    sources = open_sources([tmp_path / "dogs", tmp_path / "cats"], labels="folders")
    assert [picture.label for source in sources for picture in source.pictures()] == ["cats", "dogs"]
    assert next(one(tmp_path / "cats", name="mine", labels="folders").pictures()) == Picture("mine", "1.jpg", "cats")
    assert next(one(tmp_path / "cats" / "1.jpg", labels="folders").pictures()).label == "cats"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"file,class\nb.jpg,1\n", "labels.csv with the columns file, class - allowed: the columns file and label - "),
        (b"", "labels.csv with the columns  - allowed: the columns file and label - "),
        (b"file,label\nb.JPG,1\n", "labels.csv, which name none of the pictures - allowed: names like a.b/y.ppm - "),
        (b"file,label\nb.jpg,\xff\n", "labels.csv, which cannot be read: 'utf-8' codec can't decode byte 0xff"),
        (None, "labels.csv, which cannot be read: [Errno 2] No such file"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(content, words, photos, tmp_path):
    if content is not None:
        (tmp_path / "labels.csv").write_bytes(content)
    message = refused(photos, labels=tmp_path / "labels.csv")
    assert message.startswith(f"given: labels {tmp_path}/")
    assert words in message


# Refusals


def test_a_path_that_is_not_there_is_refused(tmp_path):
    for name in ("gone", "gone.zip", "gone.jpg", "gone.txt"):
        message = refused([tmp_path / name])
        assert f"given: pictures {tmp_path / name}, which is not there - allowed: a folder, a list (.txt), " in message
        assert message.endswith("next step: check the path")


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    plant(tmp_path, {"paper [1].pdf": b""})
    message = refused([tmp_path / "paper [1].pdf"])
    assert "paper [1].pdf, which is no picture - allowed: " in message
    assert all(ending in message for ending in ENDINGS)


def test_sources_without_pictures_are_refused(tmp_path):
    plant(tmp_path, {"empty/notes.md": b"", "list.txt": b"\n \n"})
    zipped(tmp_path / "empty.zip", {"notes.md": b""})
    for kind, name in (("folder", "empty"), ("zip", "empty.zip"), ("list", "list.txt"), ("glob", "x*.jpg")):
        assert f"given: {kind} {tmp_path / name} without pictures - allowed: files that end in .jpg" in refused(
            [tmp_path / name]
        )


def test_a_list_of_which_nothing_is_there_is_refused(tmp_path):
    plant(tmp_path, {"list.txt": b"photos/a.jpg\nphotos/b.jpg\n"})
    message = refused(tmp_path / "list.txt")
    assert "list.txt, of whose 2 files none is there - allowed: paths as seen from the list's folder - " in message
    assert f"check that {tmp_path}/photos/a.jpg is what is meant" in message


def test_two_sources_of_one_name_are_refused_with_the_way_out(tmp_path):
    plant(tmp_path, {"a/photos/1.jpg": b"", "b/photos/1.jpg": b""})
    message = refused([tmp_path / "a/photos", tmp_path / "b/photos"])
    assert f"given: two sources that are called photos: {tmp_path}/a/photos and {tmp_path}/b/photos - " in message
    assert message.endswith("next step: scan them one by one, each with its own --name, into its own atlas")


def test_one_name_for_several_sources_and_an_empty_one_are_refused(tmp_path):
    plant(tmp_path, {"a/1.jpg": b"", "b/1.jpg": b""})
    message = refused([tmp_path / "a", tmp_path / "b"], name="mine")
    assert "given: --name 'mine' for 2 sources - allowed: a name that is not empty, for one source - " in message
    assert message.endswith("next step: scan them one by one, each with its own --name, into its own atlas")
    assert "given: --name '' for 1 sources" in refused([tmp_path / "a"], name="")
    assert "given: no pictures - allowed: one source or more - " in refused([])


def test_what_cannot_be_read_is_refused(tmp_path, monkeypatch):
    plant(tmp_path, {"broken.zip": b"PK\3\4 and then nothing", "d/1.jpg": b""})
    assert "broken.zip, which cannot be read: File is not a zip file - " in refused(tmp_path / "broken.zip")
    if sys.version_info < (3, 13):  # later ones take it for a single *
        assert "**.jpg, which cannot be read: Invalid pattern" in refused(f"{tmp_path}/**.jpg")

    def locked(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", locked)
    assert f"d, which cannot be read: [Errno 13] Permission denied: '{tmp_path}/d' - " in refused(tmp_path / "d")


def test_a_picture_that_the_source_does_not_hold_is_refused(photos):
    words = r"given: picture c\.jpg - allowed: one of the 9 pictures of .*photos - next step: check that these are"
    with pytest.raises(PixelwardError, match=words):
        one(photos).read("c.jpg")


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data with real pictures is not here")
def test_a_real_zip_of_pictures():
    source = one(SHARED / "imagenet1000.zip")
    assert len(source) == 1000
    assert min(decode(source.read(name), name).size[0] for name in names(source)[:20]) >= 256
