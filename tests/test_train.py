"""Training: the data's layout, a run that goes on where it stopped, and words for what cannot train."""

import io
import json
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from pixelward.errors import PixelwardError
from pixelward.nets import zfnet
from pixelward.train import Labelled, Recipe, load_labelled, rate_factor, train

TINY = zfnet.Architecture(
    size=16,
    classes=2,
    convolutions=(zfnet.Convolution(4, kernel=3, stride=1, padding=1, pool=True, norm=True),),
    linear=(6,),
)
RECIPE = Recipe(epochs=2, batch=4, warm_up=2, shift=2, dropout_from=1, bfloat16=False, seed=5)


def picture(shade: int, number: int, suffix: str = "png") -> bytes:
    """A 16x16 picture, bright or dark by its class, noisy by its number."""
    noise = np.random.default_rng(number).integers(0, 60, (16, 16, 3))
    data = io.BytesIO()
    Image.fromarray((noise + shade).astype(np.uint8)).save(data, suffix)
    return data.getvalue()


def members() -> dict[str, bytes]:
    """A dozen pictures of two classes, four of each for training; names as a data set has them."""
    return {
        f"{part}/{label}/{number:02d}.png": picture(shade, number + start)
        for part, count, start in (("train", 4, 0), ("val", 2, 50))
        for label, shade in (("bright", 190), ("dark", 0))
        for number in range(count)
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in members().items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "data"


def both(path: Path) -> tuple[Labelled, Labelled]:
    return load_labelled(path, "train", 16), load_labelled(path, "val", 16)


def quiet(_: str) -> None:
    pass


# Data


def test_a_folder_and_a_zip_give_the_same_labelled_pictures(folder, tmp_path):
    shuffled = list(members().items())
    random.Random(1).shuffle(shuffled)
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as target:
        target.writestr("boxes.csv", "file,x0\n")
        for name, data in shuffled:
            target.writestr(name, data)
    for part, count in (("train", 8), ("val", 4)):
        ours, zipped = load_labelled(folder, part, 16), load_labelled(tmp_path / "data.zip", part, 16)
        assert torch.equal(ours.pixels, zipped.pixels)
        assert torch.equal(ours.labels, zipped.labels)
        assert ours.classes == zipped.classes == ("bright", "dark")
        assert ours.labels.tolist() == [0] * (count // 2) + [1] * (count // 2)
        assert ours.pixels.shape == (count, 3, 16, 16)
        assert ours.pixels.dtype == torch.uint8


def test_pixels_are_those_of_the_picture(folder):
    expected = np.asarray(Image.open(folder / "train" / "dark" / "03.png"))
    assert np.array_equal(load_labelled(folder, "train", 16).pixels[7].permute(1, 2, 0).numpy(), expected)


def test_larger_pictures_are_made_small(folder):
    Image.new("RGB", (40, 20), (10, 20, 30)).save(folder / "train" / "dark" / "04.png")
    pixels = load_labelled(folder, "train", 16).pixels
    assert pixels.shape == (9, 3, 16, 16)
    assert pixels[8].flatten(1).unique(dim=1).flatten().tolist() == [10, 20, 30]


@pytest.mark.parametrize("part", ["train", "val"])
def test_data_without_the_folders_is_refused(tmp_path, part):
    (tmp_path / "loose.png").write_bytes(picture(0, 0))
    with pytest.raises(PixelwardError, match=rf"without a picture in {part}/CLASS/ - allowed: a folder or a zip with"):
        load_labelled(tmp_path, part, 16)


def test_a_broken_picture_is_named(folder):
    (folder / "train" / "dark" / "02.png").write_bytes(b"no picture")
    with pytest.raises(PixelwardError, match=r"train/dark/02\.png"):
        load_labelled(folder, "train", 16)


# A run


def test_training_leaves_folded_half_precision_weights_a_log_and_a_record(folder, tmp_path):
    training, validation = both(folder)
    lines: list[str] = []
    steps: list[tuple[int, int]] = []
    weights = train(
        TINY,
        training,
        validation,
        tmp_path / "run",
        RECIPE,
        lines.append,
        lambda done, total, rate: steps.append((done, total)),
    )

    state = load_file(weights)
    plain = zfnet.build(TINY).state_dict()
    assert {name: tensor.shape for name, tensor in state.items()} == {name: t.shape for name, t in plain.items()}
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in log] == [1, 2]
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]

    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["classes"] == ["bright", "dark"]
    assert record["recipe"]["seed"] == 5
    assert record["preprocess"]["mean"] == pytest.approx(training.pixels.double().mean((0, 2, 3)).tolist(), abs=1e-3)
    assert record["validation"]["pictures"] == 4


def test_a_bright_and_a_dark_class_are_learnt(folder, tmp_path):
    recipe = replace(RECIPE, epochs=6, rate=0.1, dropout=0.0)
    train(TINY, *both(folder), tmp_path / "run", recipe, quiet)
    assert json.loads((tmp_path / "run" / "record.json").read_text())["validation"]["accuracy"] == 1


class Stopped(Exception):
    pass


def test_a_run_that_stopped_goes_on_to_the_same_bytes(folder, tmp_path):
    data = both(folder)
    straight = train(TINY, *data, tmp_path / "straight", RECIPE, quiet)

    def stop_in_epoch_two(done: int, *_: float) -> None:
        if done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        train(TINY, *data, tmp_path / "resumed", RECIPE, quiet, stop_in_epoch_two)
    assert len((tmp_path / "resumed" / "log.jsonl").read_text().splitlines()) == 1
    torch.manual_seed(1234)  # whatever happened between the two
    resumed = train(TINY, *data, tmp_path / "resumed", RECIPE, quiet)
    assert resumed.read_bytes() == straight.read_bytes()
    assert (tmp_path / "resumed" / "record.json").read_bytes() == (tmp_path / "straight" / "record.json").read_bytes()


def test_a_finished_run_is_done_again_without_training(folder, tmp_path):
    data = both(folder)
    first = train(TINY, *data, tmp_path / "run", RECIPE, quiet).read_bytes()
    lines: list[str] = []
    assert train(TINY, *data, tmp_path / "run", RECIPE, lines.append).read_bytes() == first
    assert lines == []


def test_a_folder_with_another_run_is_refused(folder, tmp_path):
    data = both(folder)
    train(TINY, *data, tmp_path / "run", RECIPE, quiet)
    with pytest.raises(PixelwardError, match=r"run, where training began with another recipe - allowed: the same com"):
        train(TINY, *data, tmp_path / "run", replace(RECIPE, epochs=3), quiet)


def test_a_folder_of_other_files_is_refused_and_nothing_written(folder, tmp_path):
    data = both(folder)
    full = tmp_path / "full"
    full.mkdir()
    for name in ("d.txt", "b.txt", "a.txt", "c.txt"):
        (full / name).write_text(name)
    words = (
        r"full, which holds other files \(a\.txt, b\.txt, c\.txt, \.\.\.\) - allowed: a new or empty folder, or that of"
    )
    with pytest.raises(PixelwardError, match=words) as caught:
        train(TINY, *data, full, RECIPE, quiet)
    assert str(caught.value).endswith("next step: name another folder with -o")
    assert "\n" not in str(caught.value)
    assert {file.name: file.read_text() for file in full.iterdir()} == {f"{n}.txt": f"{n}.txt" for n in "abcd"}
    with pytest.raises(PixelwardError, match=r"a\.txt, which is a file - allowed: a new or empty folder"):
        train(TINY, *data, full / "a.txt", RECIPE, quiet)


@pytest.mark.parametrize("left", [[], ["checkpoint.partial"]])
def test_an_empty_folder_and_one_that_was_left_in_a_first_epoch_are_taken(folder, tmp_path, left):
    (tmp_path / "run").mkdir()
    for name in left:
        (tmp_path / "run" / name).write_bytes(b"half")
    assert train(TINY, *both(folder), tmp_path / "run", RECIPE, quiet).exists()


def test_data_that_cannot_train_is_refused_before_a_folder_is_made(folder, tmp_path):
    training, validation = both(folder)
    cases = [
        (TINY, replace(validation, classes=("bright", "grey")), RECIPE, "do not share: dark, grey - allowed: the same"),
        (replace(TINY, classes=3), validation, RECIPE, "pictures of 2 classes for a network of 3 - allowed: one out"),
        (TINY, validation, replace(RECIPE, batch=9), "given: 8 training pictures - allowed: at least one batch, 9"),
    ]
    for architecture, seen, recipe, words in cases:
        with pytest.raises(PixelwardError, match=words):
            train(architecture, training, seen, tmp_path / "run", recipe, quiet)
    assert not (tmp_path / "run").exists()


def test_the_rate_rises_then_falls_along_half_a_cosine_to_zero():
    factor = rate_factor(Recipe(warm_up=4), 20)
    assert [factor(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factor(12) == pytest.approx(0.5)
    assert factor(20) == pytest.approx(0.0)


def test_only_convolutions_have_the_strong_decay():
    from pixelward.train import parameter_groups

    net = zfnet.build(TINY, batch_norm=True)
    strong, usual = parameter_groups(net, Recipe())
    assert [id(p) for p in strong["params"]] == [id(layer.weight) for layer in net if isinstance(layer, nn.Conv2d)]
    assert strong["weight_decay"] == 4e-3
    assert usual["weight_decay"] == 5e-4
    assert len(strong["params"]) + len(usual["params"]) == len(list(net.parameters()))
