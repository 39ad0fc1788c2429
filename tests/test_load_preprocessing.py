"""Preprocessing: whose values go first, what is assumed with a line that says so, and what is refused."""

from pathlib import Path

import pytest
import torch
from torch import nn

from model_files import MODEL, PREPROCESS, Lines, file_of_models, lines_reported, refused  # noqa: F401
from pixelward.data.images import IMAGENET
from pixelward.nets.load import load, preprocess_of


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
