"""MODEL: every place that a network comes from, and the words of every refusal."""

import json
import sys
import types
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from model_files import MODEL, Lines, file_of_models, lines_reported, refused  # noqa: F401
from pixelward.data.images import IMAGENET
from pixelward.nets import zfnet
from pixelward.nets.load import load, preprocess_of

# Where a network comes from


@pytest.mark.parametrize("model", ["models.py:small", "models:small", "models.py:Small"])
def test_a_factory_in_a_file_or_a_package_is_called(file, model, monkeypatch, lines):
    monkeypatch.chdir(file.parent)
    monkeypatch.delitem(sys.modules, "models", raising=False)
    path = list(sys.path)
    net = load(model, report=lines)
    assert type(net).__name__ == "Small"
    assert not net.training
    assert net.preprocess["channels"] == "BGR"
    assert preprocess_of(net).size == 32
    assert lines == []
    assert sys.path == path
    sys.modules.pop("models", None)


def test_a_file_may_import_its_neighbours(tmp_path, monkeypatch):
    (tmp_path / "neighbour_of_test_load.py").write_text("WIDTH = 5")
    path = tmp_path / "models.py"
    rest = "def five():\n    import neighbour_of_test_load as near\n    return Small(near.WIDTH)"
    path.write_text(MODEL.format(imports="from dataclasses import dataclass", rest=rest))
    assert load(f"{path}:five", report=Lines()).conv.out_channels == 5
    monkeypatch.delitem(sys.modules, "neighbour_of_test_load")


def test_weights_that_no_file_gives_are_the_same_every_time_and_leave_random_numbers_alone(file):
    before = torch.get_rng_state()
    first, second = (load(f"{file}:small", report=Lines()).state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_papers_network_is_untrained_and_says_so(lines):
    net = load("zfnet", report=lines)
    assert sum(parameter.numel() for parameter in net.parameters()) == 62_357_608
    assert not net.training
    assert lines.having("zfnet has random weights (seed 0); give trained ones with --weights")
    assert net.preprocess == IMAGENET.to_dict()
    assert len(lines) == 1


def bundle(folder: Path, classes: int, **extra: object) -> dict[str, torch.Tensor]:
    """Weights as `pixelward train` leaves them, with their record beside."""
    state = {k: v.half() for k, v in zfnet.build(replace(zfnet.ZFNET64, classes=classes)).state_dict().items()}
    save_file(state, folder / "weights.safetensors")
    record = {"channels": "RGB", "range": 255.0, "mean": [120, 110, 100], "std": [58, 58, 58], "resize": 64, "size": 64}
    for name in ("record.json", "weights.json"):
        (folder / name).write_text(json.dumps({"preprocess": record, **extra}))
    return state


def test_the_bundled_network_comes_with_weights_and_preprocessing(tmp_path, monkeypatch, lines):
    state = bundle(tmp_path, classes=100)
    monkeypatch.setattr(zfnet, "WEIGHTS", tmp_path / "weights.safetensors")
    net = load("zfnet64", report=lines)
    assert torch.equal(net.conv5.weight, state["conv5.weight"].float())
    assert preprocess_of(net, lines).mean == (120, 110, 100)
    assert lines == []


def test_weights_trained_on_classes_of_ones_own_fit_the_bundled_network(tmp_path, lines):
    bundle(tmp_path, classes=7)
    net = load("zfnet64", weights=tmp_path / "weights.safetensors", report=lines)
    assert net.fc8.out_features == 7
    assert preprocess_of(net, lines).mean == (120, 110, 100)
    assert lines == [
        "weights weights.safetensors: float16 turned into float32",
        "weights weights.safetensors: 16 tensors loaded",
    ]


def test_names_of_classes_come_with_the_record_beside_the_weights(tmp_path, lines):
    bundle(tmp_path, classes=2)
    record = json.loads((tmp_path / "record.json").read_text())
    (tmp_path / "record.json").write_text(json.dumps({**record, "classes": ["bright", "dark"]}))
    assert load("zfnet64", weights=tmp_path / "weights.safetensors", report=lines).classes == ("bright", "dark")


def test_weights_of_the_bundled_network_without_a_record_keep_its_size(tmp_path, lines):
    bundle(tmp_path, classes=7)
    (tmp_path / "record.json").unlink()
    net = load("zfnet64", weights=tmp_path / "weights.safetensors", report=lines)
    assert (net.preprocess["resize"], net.preprocess["size"]) == (64, 64)
    assert "resize 64, size 64" in lines.having("preprocessing of zfnet64 is not known, ImageNet's usual is assumed")


# Names that cannot be used


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("zfnet6", "given: model 'zfnet6' - allowed: zfnet64, zfnet, or file.py:factory, package.module:factory, "
                   "torchvision:NAME, timm:NAME - next step: did you mean 'zfnet64'?"),
        ("", "given: model '' - allowed: zfnet64, zfnet, or file.py:factory"),
        ("nowhere.py", "given: model 'nowhere.py' - allowed: zfnet64"),
        ("nowhere.py:net", "given: model file nowhere.py, which is no file - allowed: a Python file"),
        ("no.such.package:net", "given: model no.such.package, which failed with ModuleNotFoundError: No module named"),
        ("{file}", "without a factory - allowed: {file}:factory; the file offers Small, Two, broken, number, small -"),
        ("{file}:absent", "{file}:absent, where there is no factory - allowed: a function or class that returns a "
                          "network; {file} offers Small, Two, broken, number, small - next step: name one of them"),
        ("{file}:made", "{file}:made, where there is Small instead of a factory"),
        ("{file}:wide", "which asks for channels, depth - allowed: a factory that is called without arguments"),
        ("{file}:number", "{file}:number, which returned int - allowed: a factory that returns a torch.nn.Module"),
        ("{file}:Two", "{file}:Two, whose forward takes 2 inputs (left, right) - allowed: a network that takes one"),
        ("{file}:broken", "{file}:broken, which failed with ValueError: no luck - allowed: code that runs"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_used_is_refused_in_one_line(file, model, words):
    assert words.format(file=file) in refused(model.format(file=file))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("raise SystemExit('usage: ...')", "SystemExit: usage: ..."),
    ],
)
def test_a_file_that_does_not_run_is_refused_and_forgotten(tmp_path, text, words):
    path = tmp_path / "models.py"
    path.write_text(text)
    known = set(sys.modules)
    assert words in refused(f"{path}:net")
    assert set(sys.modules) == known


def test_a_network_inside_data_parallel_is_looked_into(file):
    file.write_text(MODEL.format(imports="", rest="def wrapped():\n    return nn.DataParallel(Two())"))
    assert "takes 2 inputs (left, right)" in refused(f"{file}:wrapped")


# The two optional packages


@pytest.mark.parametrize("error", [ImportError("not there"), RuntimeError("operator torchvision::nms\ndoes not exist")])
@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_a_package_that_cannot_be_imported_is_told_in_one_line(package, error, monkeypatch):
    def fail(name: str) -> None:
        assert name == package
        raise error

    monkeypatch.setattr("pixelward.nets.load.importlib.import_module", fail)
    message = refused(f"{package}:resnet18")
    broken = "torchvision" if isinstance(error, RuntimeError) else package
    assert f"given: model {package}:resnet18, but {broken} cannot be imported ({str(error).replace(chr(10), ' ')})" in (
        message
    )
    unfit = isinstance(error, RuntimeError)
    helps = "install torch and torchvision from one index" if unfit else "pip install 'pixelward[zoo]'"
    assert f"built for torch {torch.__version__} - next step: {helps}" in message


@pytest.fixture
def zoo(monkeypatch):
    """The few names of torchvision and timm that are used, as those packages give them."""

    def make(name: str, pretrained: bool = True) -> nn.Module:
        assert not pretrained, "nothing may be downloaded"
        if "." in name:
            raise RuntimeError("Invalid pretrained tag")
        return nn.Conv2d(3, 4, 3)

    def build(weights: object = "download", weights_backbone: object = "download") -> nn.Module:
        return make("", pretrained=(weights, weights_backbone) != (None, None))

    view = SimpleNamespace(crop_size=[299], resize_size=[342], mean=[0.5] * 3, std=[0.25] * 3)
    trained = SimpleNamespace(DEFAULT=SimpleNamespace(transforms=lambda: view, url="https://example.org/a.pth"))
    models = SimpleNamespace(
        list_models=lambda: ["resnet18"],
        get_model_weights=lambda _: trained,
        get_model_builder=lambda _: build,
        get_model=lambda _, **keywords: build(**keywords),
    )
    config = {"input_size": (3, 240, 240), "mean": (0.4,) * 3, "std": (0.2,) * 3, "crop_pct": 0.95}
    timm = {
        "is_model": lambda name: name.split(".")[0] == "resnet18",
        "list_models": lambda: ["resnet18"],
        "create_model": make,
        "data": SimpleNamespace(resolve_model_data_config=lambda _: config),
    }
    for name, content in {"torchvision": {"models": models}, "timm": timm}.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("zoo")
def test_a_torchvision_network_comes_untrained_with_its_own_preprocessing(lines):
    net = load("torchvision:resnet18", report=lines)
    assert net.preprocess == {
        "channels": "RGB", "range": 1.0, "mean": (0.5,) * 3, "std": (0.25,) * 3, "resize": 342, "size": 299
    }  # fmt: skip
    assert lines == [
        "torchvision:resnet18 has random weights (seed 0); trained ones are at https://example.org/a.pth, "
        "to be given with --weights"
    ]


@pytest.mark.usefixtures("zoo")
def test_a_timm_network_comes_untrained_with_its_own_preprocessing(lines):
    net = load("timm:resnet18", report=lines)
    assert (net.preprocess["mean"], net.preprocess["resize"], net.preprocess["size"]) == ((0.4,) * 3, 252, 240)
    assert lines == ["timm:resnet18 has random weights (seed 0); give trained ones with --weights"]


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_a_name_that_the_package_does_not_know_is_refused(package):
    assert (
        f"given: model {package}:resnet81 - allowed: one of the 1 name that {package} lists - "
        "next step: did you mean resnet18?"
    ) in refused(f"{package}:resnet81")


@pytest.mark.usefixtures("zoo")
def test_what_else_a_package_objects_to_is_told_in_one_line():
    assert "given: model timm:resnet18.no_tag, which failed with RuntimeError: Invalid pretrained tag - allowed" in (
        refused("timm:resnet18.no_tag")
    )
