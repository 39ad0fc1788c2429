"""The command line: what each command prints and writes, its exit status, and one line for every mistake."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from pixelward.cli import app
from pixelward.meter import Meter
from pixelward.nets import load as loading
from pixelward.nets import zfnet

MODEL = """
from torch import nn

preprocess = dict(channels="RGB", range=1.0, mean=(0.5,) * 3, std=(0.5,) * 3, resize=28, size=24)

def small():
    return nn.Sequential(nn.Conv2d(3, 4, 5, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3, padding=1), nn.ReLU())
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    """A folder to work in, with a model and six pictures, one of them broken."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.py").write_text(MODEL)
    (tmp_path / "photos").mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((80, 60)).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    return tmp_path


def run(*words: object, status: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, result.output
    return result


def refused(*words: object) -> str:
    result = run(*words, status=1)
    lines = result.stderr.splitlines()
    assert lines[-1].startswith("given: ")
    assert result.stdout == ""
    return lines[-1]


# The program itself


def test_help_names_every_command_and_loads_no_torch():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom pixelward.cli import app\n"
        "print(CliRunner().invoke(app, ['--help']).output)\nassert not {'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commands = ("layers", "check", "project", "scan", "draw", "info", "export", "serve", "train")
    for command in (*commands, "--debug", "--version"):
        assert command in done.stdout


@pytest.mark.parametrize("command", ["layers", "check", "project", "scan", "draw", "info", "export", "serve", "train"])
def test_every_command_explains_itself(command):
    assert "Usage" in run(command, "--help").stdout


def test_version_is_printed():
    assert re.fullmatch(r"pixelward \d+\.\d+\.\d+\n", run("--version").stdout)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["layers"],
        ["layers", "zfnet", "--mean", "1,x,3"],
        ["layers", "zfnet", "--channels", "XYZ"],
        ["scan", "zfnet", "photos"],
        ["scan", "zfnet", "photos", "-o", "a", "--tiles", "64"],
        ["project", "zfnet", "a.png", "--layer", "conv1", "--channel", "1", "-o", "o.png", "--position", "1,2,3"],
        ["serve", "atlas", "--port", "70000"],
        ["train", "zfnet64", "data", "-o", "run", "--epochs", "0"],
    ],
)
def test_wrong_usage_is_status_2(words):
    run(*words, status=2)


def test_a_mistake_is_one_line_on_standard_error_and_status_1():
    result = run("layers", "zfnet6", status=1)
    assert result.stdout == ""
    assert result.stderr == (
        "given: model 'zfnet6' - allowed: zfnet64, zfnet, or file.py:factory, package.module:factory, "
        "torchvision:NAME, timm:NAME - next step: did you mean 'zfnet64'?\n"
    )


@pytest.mark.parametrize("words", [["--debug", "layers", "zfnet6"], ["layers", "zfnet6", "--debug"]])
def test_debug_shows_the_trace(words):
    code = f"import sys\nfrom pixelward.cli import app\nsys.argv[1:] = {words}\napp()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "given: model 'zfnet6'" in done.stderr


def failing(error: BaseException):
    def load(*_: object, **__: object) -> None:
        raise error

    return load


def test_an_interrupt_is_status_130(monkeypatch):
    monkeypatch.setattr(loading, "load", failing(KeyboardInterrupt()))
    result = run("layers", "zfnet", status=130)
    assert result.stderr == "interrupted\n"


def test_what_the_system_refuses_is_one_line(monkeypatch):
    monkeypatch.setattr(loading, "load", failing(PermissionError(13, "Permission denied", "secret.pth")))
    assert refused("layers", "zfnet").startswith("given: secret.pth, at which the system says: Permission denied - ")


# The commands


def test_layers_prints_addresses_shapes_and_fields(place):
    lines = run("layers", "models.py:small").stdout.splitlines()
    assert lines[0].split() == ["layer", "units", "map", "field", "stride", "also"]
    assert re.split(r" {2,}", lines[1]) == ["0:relu", "4", "10 x 10", "5 x 5", "2 x 2", "1"]
    assert re.split(r" {2,}", lines[2]) == ["3:relu", "3", "5 x 5", "15 x 15", "4 x 4", "4"]
    assert "20 x 20" in run("layers", "models.py:small", "--size", 44).stdout


GATED = """

class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.gate, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 3)

    def forward(self, x):
        x = self.one(x)
        x = self.two(x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid())
        return self.two(x.sin().repeat(1, 2, 1, 1))
"""


def test_layers_shows_reaches_where_they_differ_and_marks_what_is_refused(place):
    (place / "models.py").write_text(MODEL + GATED)
    result = run("layers", "models.py:Gated")
    assert [re.split(r" {2,}", line) for line in result.stdout.splitlines()] == [
        ["layer", "units", "map", "field", "reach", "stride", "projected", "also"],
        ["one", "4", "22 x 22", "3 x 3", "3 x 3", "1 x 1", "yes"],
        ["gate", "4", "1 x 1", "whole picture", "whole picture", "-", "yes"],
        ["two", "2", "20 x 20", "whole picture", "5 x 5", "-", "yes"],
        ["two#2", "2", "18 x 18", "whole picture", "-", "-", "refused"],
    ]
    assert result.stderr == "1 layer cannot be projected; to see why: pixelward check models.py:Gated\n"


def test_scan_and_draw_say_what_they_leave_out(place):
    (place / "models.py").write_text(MODEL + GATED)
    left_out = "1 of 4 layers left out, two#2, because of sin in 'the network', which the signal has to cross"
    scanned = run("scan", "models.py:Gated", "photos", "-o", "atlas")
    assert scanned.stdout == "atlas: 3 layers, 10 units, 5 pictures, 1 skipped\n"
    assert scanned.stderr.startswith(f"{left_out}; name layers with --layers to scan them although they cannot be")
    run("scan", "models.py:Gated", "photos", "-o", "more", "--layers", "one", "--layers", "two#2")
    drawn = run("draw", "more", "models.py:Gated")
    assert drawn.stderr.startswith(left_out.replace("4", "2"))
    assert drawn.stdout == "more: 2 layers, 1 drawn, 6 units, 5 pictures, 1 skipped\n"


def test_preprocessing_flags_and_weights_reach_the_network(place, monkeypatch):
    torch.save({"model": loading.load("models.py:small").state_dict()}, place / "w.pth")
    result = run(
        *("layers", "models.py:small", "--weights", "w.pth", "--channels", "BGR", "--range", 255),
        *("--mean", "1,2,3.5", "--std", "1,1,1", "--resize", 30, "--size", 26),
    )
    assert result.stderr == "weights w.pth: unwrapped 'model'\nweights w.pth: 4 tensors loaded\n"
    assert "11 x 11" in result.stdout

    def show(_: str, *, preprocess: dict[str, object], **__: object) -> None:
        raise PermissionError(13, json.dumps(preprocess), "seen")

    monkeypatch.setattr(loading, "load", show)
    words = ("--channels", "BGR", "--range", 255, "--mean", "1,2,3.5", "--std", "1,1,1", "--resize", 30, "--size", 26)
    seen = refused("layers", "zfnet", *words).split("system says: ")[1].split(" - ")[0]
    assert json.loads(seen) == {
        "channels": "BGR", "range": 255.0, "mean": [1.0, 2.0, 3.5], "std": [1.0, 1.0, 1.0], "resize": 30, "size": 26
    }  # fmt: skip


def test_layers_of_a_network_of_one_channel_need_only_its_size(place):
    model = "def gray():\n    return nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU())"
    (place / "nets.py").write_text("from torch import nn\n" + model)
    result = run("layers", "nets.py:gray", "--size", 32)
    assert "28 x 28" in result.stdout
    assert result.stderr == (
        "preprocessing of nets.py:gray is not known, grey from 0 to 1 is assumed: "
        "channels L, range 1.0, mean (0.5,), std (0.25,), resize 37\n"
    )
    flags = ("--channels", "L", "--range", 1, "--mean", 0, "--std", 1, "--resize", 32, "--size", 32)
    assert run("layers", "nets.py:gray", *flags).stderr == ""


@pytest.mark.parametrize(("flag", "value"), [("--size", "0"), ("--std", "0,0,0"), ("--mean", "1,2")])
def test_a_flag_that_is_wrong_is_named(place, flag, value):
    assert f" - next step: correct {flag} " in refused("layers", "models.py:small", flag, value)


def test_project_writes_a_picture_that_says_how_it_was_made(place):
    words = ("project", "models.py:small", "photos/1.png", "--layer", "3:relu", "--channel", 1)
    assert run(*words, "-o", "plain.png").stdout == "plain.png\n"
    run(*words, "--position", "2,3", "--rules", "guided", "--unpool", "centre", "-o", "other.png")
    run(*words, "--walk", "--controls", "-o", "all.png")
    with Image.open("plain.png") as plain, Image.open("all.png") as whole, Image.open("other.png") as other:
        assert json.loads(plain.text["pixelward"])["layer"] == "3:relu"
        choices = json.loads(other.text["pixelward"])
        assert (choices["position"], choices["rules"], choices["unpool"]) == ([2, 3], "guided", "centre")
        assert whole.height > 2 * plain.height
        assert np.array_equal(np.asarray(whole)[: plain.height, : plain.width], np.asarray(plain))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photos/9.png", "--layer", "0", "--channel", "1", "-o", "o.png"], "photos/9.png, which cannot be read"),
        (["photos/1.png", "--layer", "7", "--channel", "1", "-o", "o.png"], "layer '7'"),
        (["photos/1.png", "--layer", "0", "--channel", "4", "-o", "o.png"], "channel 4 of layer '0' - allowed: 0 to 3"),
        (["photos/1.png", "--layer", "0", "--channel", "1", "-o", "o.jpg"], "allowed: a file name that ends in .png"),
        (["photos/1.png", "--layer", "0", "--channel", "1", "-o", "photos/1.png/o.png"], "o.png, which cannot be wri"),
        (["photos/broken.png", "--layer", "0", "--channel", "1", "-o", "o.png"], "picture broken.png, which cannot be"),
    ],
)  # fmt: skip
def test_project_refuses_in_one_line_and_writes_nothing(place, words, message):
    before = sorted(place.rglob("*"))
    assert message in refused("project", "models.py:small", *words)
    assert [path for path in sorted(place.rglob("*")) if "__pycache__" not in path.parts] == before


def test_scan_draw_info_and_export_lead_from_pictures_to_pages(place):
    scanned = run("scan", "models.py:small", "photos", "-o", "atlas", "-k", 4, "--layers", "3:relu")
    assert scanned.stdout == "atlas: 1 layer, 3 units, 5 pictures, 1 skipped\n"
    assert "draw it with: pixelward draw atlas models.py:small\n" in scanned.stderr
    again = run("scan", "models.py:small", "photos", "-o", "atlas", "-k", 4, "--layers", "3:relu")
    assert "all was done already" in again.stderr
    assert again.stdout == scanned.stdout

    assert "[0, 1, 2, 3]" not in run("info", "atlas").stdout
    assert run("draw", "atlas", "models.py:small").stdout == "atlas: 1 layer, 1 drawn, 3 units, 5 pictures, 1 skipped\n"
    exported = run("export", "atlas", "-o", "site")
    assert Path(exported.stdout.strip()).resolve() == (place / "site" / "index.html").resolve()
    assert "python -m http.server -d site" in exported.stderr

    told = run("info", "atlas", "--verify")
    assert "every file is what was written" in told.stderr
    assert re.search(r"pictures +5, 1 skipped", told.stdout)
    assert "skipped photos/broken.png: " in told.stdout
    assert re.search(r"3:relu +3 +\d +5 x 5 +15 x 15 +yes", told.stdout)


def test_draw_tells_chosen_units_at_length_and_draws_their_layers_for_it(place):
    run("scan", "models.py:small", "photos", "-o", "atlas", "-k", 2, "--layers", "0:relu", "--layers", "3:relu")
    words = ("draw", "atlas", "models.py:small", "--layers", "0:relu", "--detail", "3:relu", "--hit", 1, "--hit", 2)
    assert run(*words).stdout == "atlas: 2 layers, 2 drawn, 7 units, 5 pictures, 1 skipped\n"
    written = sorted((place / "atlas" / "drawings").rglob("*.details-*.json"))
    assert {path.parent.name for path in written} == {"001-3-relu"}
    assert {path.stem.split("-")[-1] for path in written} == {"1", "2"}
    assert "every file is what was written" in run("info", "atlas", "--verify").stderr
    assert "unit 99 of layer 3:relu" in refused("draw", "atlas", "models.py:small", "--detail", "3:relu:99")
    assert "hit 0" in refused("draw", "atlas", "models.py:small", "--detail", "3:relu:0", "--hit", 0)


def test_an_atlas_names_the_file_of_the_model_without_its_folder(place):
    result = run("scan", place / "models.py:small", "photos/1.png", "-o", "atlas")
    assert result.stdout == "atlas: 2 layers, 7 units, 1 picture\n"
    assert f"draw it with: pixelward draw atlas {place}/models.py:small\n" in result.stderr
    assert json.loads(run("info", "atlas", "--json").stdout)["network"] == "models.py:small"
    assert str(place / "models.py") not in (place / "atlas" / "atlas.json").read_text()
    run("draw", "atlas", place / "models.py:small")
    run("export", "atlas", "-o", "site")
    assert str(place) not in (place / "site" / "index.html").read_text()


def test_info_as_json_and_damage_that_it_finds(place):
    run("scan", "models.py:small", "photos", "-o", "atlas")
    plain = json.loads(run("info", "atlas", "--json", "--verify").stdout)
    assert (plain["network"], plain["pictures"], plain["k"], plain["drawn"]) == ("models.py:small", 5, 9, [])
    assert [layer["address"] for layer in plain["layers"]] == ["0:relu", "3:relu"]
    assert plain["skipped"][0]["name"] == "broken.png"
    assert plain["damaged"] == []
    stats = next((place / "atlas" / "stats").iterdir())
    stats.write_bytes(stats.read_bytes()[:-1] + b"?")
    damaged = run("info", "atlas", "--verify", status=1)
    assert stats.name in damaged.stdout
    assert "given: atlas, with 1 file not as written - " in damaged.stderr


def test_scan_takes_tiles_several_sources_and_labels(place):
    labels = "file,label\n" + "".join(f"{number}.png,class {number}\n" for number in range(5))
    (place / "labels.csv").write_text(labels)
    result = run(
        *("scan", "models.py:small", "photos", "-o", "atlas", "--tiles", "24,12", "--labels", "labels.csv"),
        *("--name", "mine", "--batch", 8, "--device", "cpu"),
    )
    pictures = int(re.search(r"(\d+) pictures", result.stdout)[1])
    assert pictures > 100
    plain = json.loads(run("info", "atlas", "--json").stdout)
    assert plain["tiles"] == [24, 12]
    assert plain["sources"][0]["name"] == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "-o", "atlas"], "pictures nowhere, which is not there"),
        (["photos", "-o", "atlas", "--layers", "9"], "layer '9'"),
        (["photos", "-o", "atlas", "--device", "abacus"], "given: device abacus ("),
        (["photos", "-o", "photos"], "photos"),
        (["empty", "-o", "atlas"], "folder empty without pictures"),
        (["photos", "-o", "atlas", "-k", "0"], "k"),
    ],
)
def test_scan_refuses_in_one_line_and_writes_nothing(place, words, message):
    (place / "empty").mkdir()
    before = sorted(place.rglob("*"))
    assert message in refused("scan", "models.py:small", *words)
    assert [path for path in sorted(place.rglob("*")) if "__pycache__" not in path.parts] == before


def test_train_writes_weights_that_scan_takes(place, monkeypatch):
    tiny = zfnet.Architecture(16, 9, (zfnet.Convolution(4, kernel=3, stride=1, padding=1, pool=True),), (6,))
    monkeypatch.setattr(loading, "ARCHITECTURES", {"zfnet64": tiny})
    for part in ("train", "val"):
        for label, shade in (("bright", 220), ("dark", 20)):
            (place / "data" / part / label).mkdir(parents=True)
            for number in range(3):
                grey = Image.new("RGB", (16, 16), (shade, shade - number, shade))
                grey.save(place / "data" / part / label / f"{number}.png")
    result = run("train", "zfnet64", "data", "-o", "run", "--epochs", 1, "--batch", 3, "--seed", 4)
    assert Path(result.stdout.strip()) == Path("run/weights.safetensors")
    assert "6 pictures to train on, 6 to validate, of data" in result.stderr
    assert "epoch 1/1: loss " in result.stderr
    record = json.loads(Path("run/record.json").read_text())
    assert (record["recipe"]["seed"], record["recipe"]["batch"], record["classes"]) == (4, 3, ["bright", "dark"])
    assert run("scan", "zfnet64", "--weights", "run/weights.safetensors", "photos", "-o", "atlas").stdout.startswith(
        "atlas: 1 layer, 4 units, 5 pictures"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["alexnet", "photos"], "given: model 'alexnet' - allowed: zfnet64 or zfnet"),
        (["zfnet64", "photos"], "given: photos, without a picture in train/CLASS/"),
    ],
)
def test_train_refuses_in_one_line(place, words, message):
    assert message in refused("train", *words, "-o", "run")
    assert not (place / "run").exists()


# Progress


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("pixelward.meter.time.monotonic", lambda: self.now)


def test_progress_is_plain_lines_now_and_then_where_there_is_no_terminal(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with Meter("scan", "pictures") as meter:
        for second in range(1, 31):
            clock.now = float(second)
            meter(10 + second, 110, 50.0)
    assert capsys.readouterr().err.splitlines() == [
        "scan: 12 of 110, 50 pictures a second",  # too early to tell
        "scan: 22 of 110, 50 pictures a second, 1:36 left",  # 11 done in 12 s, 88 to go
        "scan: 32 of 110, 50 pictures a second, 1:22 left",  # 21 done in 22 s, 78 to go
    ]


def test_slow_progress_has_a_decimal_and_time_left_comes_after_a_few_seconds(monkeypatch, capsys):
    for now, rate, words in (
        (4.9, 0.0, ""),
        (4.9, 0.3, ", 0.3 pictures a second"),
        (5.0, 9.94, ", 9.9 pictures a second, 0:45 left"),
    ):
        clock = Clock(monkeypatch)
        with Meter("scan", "pictures") as meter:
            meter(0, 10, 0.0)
            clock.now = now
            meter(1, 10, rate)
        assert capsys.readouterr().err == f"scan: 1 of 10{words}\n"


def test_nothing_is_said_of_what_takes_less_than_two_seconds(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with Meter("scan", "pictures") as meter:
        for tenth in range(20):
            clock.now = tenth / 10
            meter(tenth, 20, 10.0)
    assert capsys.readouterr().err == ""
    assert not meter.idle


def test_on_a_terminal_there_is_a_bar_and_lines_stay_above_it(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Meter("train", "pictures") as meter:
        meter(1, 9000, 20.0)
        clock.now = 7200.0
        meter(4501, 9000, 20.0)
        meter.line("epoch 1")
    said = capsys.readouterr().err
    assert "4501 of 9000  20 pictures a second, 1:59:58 left" in said
    assert "epoch 1\n" in said


def test_a_command_that_finds_all_done_knows_it():
    meter = Meter("scan", "pictures")
    meter(7, 7, 0.0)
    assert meter.idle
