"""MODEL and --weights: every form that is accepted, and the words of every refusal."""

import json
import pickle
import sys
import types
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pixelward.data.images import IMAGENET
from pixelward.errors import PixelwardError
from pixelward.nets import zfnet
from pixelward.nets.load import load, preprocess_of

SHARED = Path(__file__).parents[2] / "shared" / "data"

MODEL = """
import torch
from torch import nn
{imports}

class Small(nn.Module):
    def __init__(self, channels=2):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x, scale=1.0):
        return self.norm(self.conv(x)) * scale

def small():
    return Small()

def wide(channels, depth):
    return Small(channels)

def number():
    return 7

class Two(Small):
    def forward(self, left, right):
        return left + right

def broken():
    raise ValueError("no\\nluck")

made = Small()
{rest}
"""
PREPROCESS = 'preprocess = dict(channels="BGR", range=255.0, mean=(104, 117, 123), std=(1, 1, 1), resize=40, size=32)'


class Stranger:
    """A class that no checkpoint may bring along."""


class Lines(list):
    """What `load` reports, one string a line."""

    def __call__(self, line: str) -> None:
        assert "\n" not in line
        self.append(line)

    def having(self, words: str) -> str:
        (line,) = [line for line in self if words in line]
        return line


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "models.py"
    path.write_text(MODEL.format(imports="", rest=PREPROCESS))
    return path


@pytest.fixture
def state(file: Path) -> dict[str, torch.Tensor]:
    """Weights of Small that are not the ones it begins with."""
    torch.manual_seed(99)
    own = load(f"{file}:small").state_dict()
    return {name: torch.rand_like(value) if value.is_floating_point() else value for name, value in own.items()}


def refused(model: str, **keywords: object) -> str:
    with pytest.raises(PixelwardError) as caught:
        load(model, report=Lines(), **keywords)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("given: ")
    return message


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


# Weights


def loaded(file: Path, path: Path, state: dict[str, torch.Tensor], lines: Lines) -> None:
    net = load(f"{file}:small", weights=path, report=lines)
    assert all(torch.equal(value, state[name].to(value.dtype)) for name, value in net.state_dict().items())
    assert lines[-1] == f"weights {path.name}: 7 tensors loaded"


def test_safetensors_and_pickles_are_read(file, state, tmp_path, lines):
    save_file(state, tmp_path / "w.safetensors")
    loaded(file, tmp_path / "w.safetensors", state, lines)
    torch.save(state, tmp_path / "w.pth")
    loaded(file, tmp_path / "w.pth", state, lines)
    assert len(lines) == 2


@pytest.mark.parametrize("name", ["w.pth", "w.bin", "weights"])
def test_safetensors_under_another_name_are_known_by_their_content(file, state, tmp_path, lines, name):
    save_file(state, tmp_path / name)
    loaded(file, tmp_path / name, state, lines)
    assert lines[0] == f"weights {name}: read as safetensors, which it holds"


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "net", "ema", "module"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "net.", "_orig_mod.", "backbone.", "module._orig_mod."])
def test_wrapped_and_prefixed_checkpoints_are_unwrapped_and_stripped(file, state, tmp_path, lines, wrapper, prefix):
    wrapped = {"epoch": 3, "optimizer": {}, wrapper: {prefix + name: value for name, value in state.items()}}
    torch.save(wrapped, tmp_path / "w.pt")
    loaded(file, tmp_path / "w.pt", state, lines)
    assert lines[0] == f"weights w.pt: unwrapped {wrapper!r}"
    assert lines[1:-1] == ([f"weights w.pt: stripped the prefix {prefix!r} from 7 names"] if prefix else [])


def test_the_first_wrapper_that_holds_tensors_is_taken(file, state, tmp_path, lines):
    torch.save(
        {"ema": {name: value + 1 for name, value in state.items()}, "net": state, "model": {}}, tmp_path / "w.pt"
    )
    loaded(file, tmp_path / "w.pt", state, lines)
    assert lines[0] == "weights w.pt: unwrapped 'net'"


def test_a_prefix_that_is_the_networks_own_stays(file, state, tmp_path, lines):
    rest = (
        "class Outer(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.model = Small()\n"
    )
    file.write_text(MODEL.format(imports="", rest=rest + "    def forward(self, x):\n        return self.model(x)"))
    for prefix in ("model.", "model.model."):
        save_file({prefix + name: value for name, value in state.items()}, tmp_path / "w.safetensors")
        net = load(f"{file}:Outer", weights=tmp_path / "w.safetensors", report=lines)
        assert torch.equal(net.model.conv.weight, state["conv.weight"])
    assert lines.having("stripped") == "weights w.safetensors: stripped the prefix 'model.' from 7 names"


def test_half_precision_is_widened_and_said(file, state, tmp_path, lines):
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    save_file(halves, tmp_path / "w.safetensors")
    loaded(file, tmp_path / "w.safetensors", halves, lines)
    assert lines[0] == "weights w.safetensors: float16 turned into float32"


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_an_old_file_without_num_batches_tracked_is_fine_and_said(file, state, tmp_path, lines, ending):
    tracked = state.pop("norm.num_batches_tracked")
    path = tmp_path / f"w.{ending}"
    torch.save(state, path) if ending == "pth" else save_file(state, path)
    net = load(f"{file}:small", weights=path, report=lines)
    assert torch.equal(net.norm.num_batches_tracked, tracked * 0)
    assert lines[0] == f"weights {path.name}: no num_batches_tracked for 1 layer, as in old files; not needed"
    assert lines[1] == f"weights {path.name}: 6 tensors loaded"


def test_keys_missing_and_left_over_are_named(file, state, tmp_path):
    state["convolution.weight"] = state.pop("conv.weight")
    save_file(state, tmp_path / "w.safetensors")
    message = refused(f"{file}:small", weights=tmp_path / "w.safetensors")
    assert "given: weights w.safetensors for Small: missing conv.weight; left over convolution.weight - " in message
    assert "allowed: weights with the network's own names and shapes - next step: give the weights of this" in message


def test_of_many_keys_thirty_are_named(file, state, tmp_path):
    heads = [f"head.{i}" for i in range(10, 45)]
    for count, words in ((30, ", ".join(heads[:30])), (35, ", ".join(heads[:30]) + " and 5 more")):
        save_file(state | {name: torch.zeros(1) for name in heads[:count]}, tmp_path / "w.safetensors")
        assert f"left over {words} - " in refused(f"{file}:small", weights=tmp_path / "w.safetensors")


def test_other_shapes_and_kinds_are_named(file, state, tmp_path):
    state["conv.weight"] = torch.zeros(4, 3, 3, 3)
    state["norm.bias"] = torch.zeros(2, dtype=torch.int8)
    save_file(state, tmp_path / "w.safetensors")
    assert (
        "for Small: other shape or kind: conv.weight (4, 3, 3, 3) where the network has (2, 3, 3, 3), norm.bias of int8"
    ) in refused(f"{file}:small", weights=tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "w.pt, which hold a list - allowed: tensors by name, alone or under one of state_dict, model_state"),
        ({}, "w.pt, which hold an empty dict - allowed"),
        ({"epoch": 3, "weights": {}}, "w.pt, which hold a dict of epoch (int), weights (dict) - allowed"),
        ({"model": Stranger()}, "w.pt, which need more than tensors (Unsupported global: GLOBAL"),
        (nn.Linear(1, 1), "more than tensors (Unsupported global: GLOBAL torch.nn.modules.linear.Linear) - allowed: a "
                          ".safetensors file, or a pickle that torch.load reads with weights_only=True - next step: "
                          "where you trust the file, load it yourself and save only net.state_dict()"),
    ],
)  # fmt: skip
def test_a_pickle_of_anything_else_is_refused_with_the_reason(file, tmp_path, content, words):
    torch.save(content, tmp_path / "w.pt")
    assert words in refused(f"{file}:small", weights=tmp_path / "w.pt")


def test_a_pickle_that_would_run_code_does_not_run_it(file, tmp_path):
    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "harm",)

    with zipfile.ZipFile(tmp_path / "other.pt", "w") as other:
        other.writestr("archive/data.pkl", pickle.dumps(Harm(), protocol=2))
        other.writestr("archive/version", "3\n")
    assert "which need more than tensors (Unsupported" in refused(f"{file}:small", weights=tmp_path / "other.pt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and no more"])
def test_a_broken_file_is_refused(file, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    message = refused(f"{file}:small", weights=tmp_path / name)
    assert f"given: weights {name}, which cannot be read (" in message
    assert "next step: fetch or save the file again" in message


@pytest.mark.parametrize("name", ["absent.pth", "."])
def test_weights_that_are_no_file_are_refused_before_the_model_is_made(tmp_path, name):
    assert f"{tmp_path / name}, which is no file - allowed: a .safetensors file, or a pickle of tensors" in refused(
        "no model at all", weights=tmp_path / name
    )


# Preprocessing


def plain(folder: Path, rest: str = "") -> str:
    path = folder / "plain.py"
    path.write_text(MODEL.format(imports="", rest=rest))
    return f"{path}:small"


def test_the_networks_own_preprocessing_goes_before_its_files(file):
    own = PREPROCESS.replace("preprocess = ", "").replace("size=32", "size=30")
    rest = f"\ndef own():\n    net = Small()\n    net.preprocess = {own}\n    return net"
    file.write_text(MODEL.format(imports="", rest=PREPROCESS + rest))
    assert load(f"{file}:own").preprocess["size"] == 30
    assert load(f"{file}:small").preprocess["size"] == 32


def test_single_keys_that_are_given_go_before_everything(file, lines):
    net = load(f"{file}:small", preprocess={"size": 20}, report=lines)
    assert (net.preprocess["size"], net.preprocess["channels"]) == (20, "BGR")
    assert lines == []


@pytest.mark.parametrize(
    ("given", "resize"),
    [({"size": 16}, 20), ({"size": 33}, 41), ({"size": 1}, 1), ({"size": 16, "resize": 40}, 40), ({"resize": 50}, 50)],
)
def test_a_size_alone_scales_the_resize_along(file, given, resize):
    assert load(f"{file}:small", preprocess=given, report=Lines()).preprocess["resize"] == resize  # was 40 for 32


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": 0}, "with size 0 - allowed: a whole number of pixels, from 1 - next step: correct --size "),
        ({"std": (0, 0, 0)}, "with std (0, 0, 0) - allowed: a tuple of numbers above 0 - next step: correct --std "),
        ({"mean": (1, 2)}, "with mean (1, 2) - allowed: a tuple of 3, for channels BGR - next step: correct --mean "),
    ],
)  # fmt: skip
def test_a_wrong_value_of_a_flag_names_the_flag(file, given, words):
    assert words in refused(f"{file}:small", preprocess=given)


def test_a_wrong_value_of_the_networks_own_names_its_dict(file):
    file.write_text(MODEL.format(imports="", rest=PREPROCESS.replace("resize=40", "resize=0")))
    assert "resize 0 - allowed: a whole number of pixels, from 1 - next step: correct the network's preprocess" in (
        refused(f"{file}:small", preprocess={"size": 24})
    )


def test_imagenets_preprocessing_is_assumed_with_a_line_that_says_so(tmp_path, lines):
    net = load(plain(tmp_path), preprocess={"size": 192}, report=lines)
    assert net.preprocess == IMAGENET.to_dict() | {"size": 192, "resize": 219}
    line = lines.having("is not known, ImageNet's usual is assumed: channels RGB, range 1.0, mean (0.485,")
    assert line.endswith("std (0.229, 0.224, 0.225), resize 219")  # and not what was given


def test_preprocessing_that_is_given_whole_assumes_nothing(tmp_path, lines):
    given = IMAGENET.to_dict()
    assert load(plain(tmp_path), preprocess=given, report=lines).preprocess == given
    assert lines == []


def test_order_and_range_are_not_changed_without_mean_and_std(tmp_path):
    message = refused(plain(tmp_path), preprocess={"channels": "BGR", "mean": (1, 2, 3)})
    assert "given: channels without mean and std - allowed: mean and std beside it" in message


GREY = {"channels": "L", "range": 1.0, "mean": (0.5,), "std": (0.25,), "resize": 256, "size": 224}


def grey(folder: Path) -> str:
    path = folder / "nets.py"
    path.write_text(
        "from torch import nn\ndef grey():\n    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 3))"
    )
    return f"{path}:grey"


@pytest.mark.parametrize("given", [{}, {"channels": "L"}, {"size": 28}, {"channels": "L", "mean": (0.1,)}])
def test_a_network_of_one_channel_gets_grey_with_a_line(tmp_path, lines, given):
    net = load(grey(tmp_path), preprocess=given, report=lines)
    resize = 32 if "size" in given else 256
    assert net.preprocess == GREY | given | {"resize": resize}
    assumed = ", ".join(f"{key} {value}" for key, value in net.preprocess.items() if key not in given)
    assert lines.having("is not known").endswith(f"grey from 0 to 1 is assumed: {assumed}")


def test_a_bare_network_of_one_channel_is_grey_too(lines):
    assert preprocess_of(nn.Conv2d(1, 1, 1), lines).to_dict() == GREY
    assert lines.having("preprocessing of Conv2d is not known, grey from 0 to 1 is assumed: channels L,")


def test_a_network_of_one_channel_takes_no_colours_without_mean_and_std(tmp_path):
    assert "given: channels without mean and std" in refused(grey(tmp_path), preprocess={"channels": "RGB"})


def test_a_bare_network_gets_imagenets_preprocessing_with_a_line(lines):
    assert preprocess_of(nn.Conv2d(3, 1, 1), lines) == IMAGENET
    assert lines.having("preprocessing of Conv2d is not known")


@pytest.mark.parametrize("kind", ["def preprocess(self, x):\n        return x", "preprocess = nn.Identity()"])
def test_a_network_that_uses_the_name_for_something_else_keeps_it(tmp_path, kind):
    rest = f"class Own(Small):\n    {kind}\n    def forward(self, x):\n        return self.preprocess(x)"
    net = load(plain(tmp_path, rest).replace("small", "Own"), report=Lines())
    assert net(torch.ones(1)) == 1
    assert preprocess_of(net, Lines()) == IMAGENET


# Real networks


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data with real networks is not here")
@pytest.mark.parametrize(("name", "count", "size"), [("googlenet", 116, 224), ("squeezenet", 52, 227)])
def test_real_networks_are_loaded_by_us_from_their_file(name, count, size, lines):
    net = load(f"{SHARED / name}.py:{name}", weights=SHARED / f"{name}.safetensors", report=lines)
    assert lines == [
        f"weights {name}.safetensors: float16 turned into float32",
        f"weights {name}.safetensors: {count} tensors loaded",
    ]
    preprocess = preprocess_of(net)
    assert (preprocess.channels, preprocess.range, preprocess.size) == ("BGR", 255.0, size)
    assert preprocess.mean == (104.0, 117.0, 123.0)
