"""--weights: every form that is accepted, and the words of every refusal."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from model_files import MODEL, Lines, file_of_models, lines_reported, refused  # noqa: F401
from pixelward.nets.load import load, preprocess_of

SHARED = Path(__file__).parents[2] / "shared" / "data"


class Stranger:
    """A class that no checkpoint may bring along."""


@pytest.fixture
def state(file: Path) -> dict[str, torch.Tensor]:
    """Weights of Small that are not the ones it begins with."""
    torch.manual_seed(99)
    own = load(f"{file}:small").state_dict()
    return {name: torch.rand_like(value) if value.is_floating_point() else value for name, value in own.items()}


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
