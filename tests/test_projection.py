"""`pw.project` as a user calls it: paths, pictures, tensors, lists; and what it gives back."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import pixelward as pw
from pixelward import explain


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(600, 2),
    )  # fmt: skip
    net.preprocess = {
        "channels": "BGR",
        "range": 255.0,
        "mean": [104.0] * 3,
        "std": [60.0] * 3,
        "resize": 24,
        "size": 24,
    }
    return net.eval()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
    return path


def test_a_path_a_picture_and_a_tensor_give_the_same(net, photo):
    one = pw.project(net, photo, layer="3:relu", channel=2)
    assert one.signal.shape == (3, 24, 24)
    for same in (str(photo), Image.open(photo), one.picture, one.picture[None]):
        other = pw.project(net, same, layer="3:relu", channel=2)
        other = other[0] if isinstance(other, list) else other
        assert torch.equal(one.signal, other.signal)
        assert (one.value, one.position, one.field) == (other.value, other.position, other.field)


def test_pictures_channels_and_positions_broadcast(net, photo):
    tensor = pw.project(net, photo, layer="0", channel=0).picture
    batch = torch.stack([tensor, tensor.flip(-1)])
    both = pw.project(net, batch, layer="3:relu", channel=[1, 4], position=[(0, 0), (3, 5)])
    assert [each.position for each in both] == [(0, 0), (3, 5)]
    alone = pw.project(net, batch[1], layer="3:relu", channel=4, position=(3, 5))
    torch.testing.assert_close(both[1].signal, alone.signal)
    assert len(pw.project(net, tensor, layer="3:relu", channel=[0, 1, 2])) == 3
    assert len(pw.project(net, [photo, photo], layer="3:relu", channel=0)) == 2
    with pytest.raises(pw.PixelwardError, match=r"2 pictures, 3 channels, 1 positions - allowed: one of each"):
        pw.project(net, batch, layer="3:relu", channel=[0, 1, 2])


def test_a_vector_layer_has_no_position_and_sees_the_whole_picture(net, photo):
    one = pw.project(net, photo, layer="6", channel=1)
    assert one.position == ()
    assert one.field == (0, 0, 24, 24)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": "9"}, r"layer '9' - allowed: modules of the network"),
        ({"channel": 6}, r"channel 6 of layer '3:relu' - allowed: 0 to 5"),
        ({"channel": -1}, r"channel -1 of layer"),
        ({"position": (99, 0)}, r"position \(99, 0\).*rows 0 to 9, columns 0 to 9"),
        ({"rules": "magic"}, r"rules='magic' - allowed: deconvnet, guided, gradient"),
        ({"unpool": "magic"}, r"unpool='magic' - allowed: sum, place, centre"),
        ({"rules": "gradient", "unpool": "place"}, r"unpool='place' with rules=\"gradient\""),
        ({"seed": "magic"}, r"seed='magic' - allowed: \"value\", \"one\" or a number"),
        ({"picture": "nowhere.png"}, r"nowhere.png, which cannot be read"),
        ({"picture": torch.zeros(24, 24)}, r"shape \(24, 24\).*float tensors"),
        ({"picture": torch.zeros(3, 24, 24, dtype=torch.uint8)}, r"torch.uint8.*float tensors"),
    ],
)
def test_bad_input_is_one_line(net, photo, options, words):
    given = {"picture": photo, "layer": "3:relu", "channel": 2, **options}
    with pytest.raises(pw.PixelwardError, match=words) as error:
        pw.project(net, given.pop("picture"), **given)
    assert "\n" not in str(error.value)
    assert " - next step: " in str(error.value)


def test_a_projection_is_shown_shortly(net, photo):
    one = pw.project(net, photo, layer="6", channel=1)
    assert repr(one) == (
        f"Projection(layer='6', channel=1, value={one.value!r}, position=(), "
        "field=Box(top=0, left=0, height=24, width=24))"
    )


def test_preprocessing_that_is_not_known_is_told_of_files_and_not_of_tensors(net, photo, capsys):
    del net.preprocess
    small = torch.rand(3, 24, 24)
    for tensors in (small, small[None], [small, small]):
        pw.project(net, tensors, layer="3:relu", channel=2)
    assert capsys.readouterr().out == ""
    for some in (photo, Image.open(photo), [torch.rand(3, 224, 224), photo]):
        pw.project(net, some, layer="3:relu", channel=2)
        assert "preprocessing of Sequential is not known" in capsys.readouterr().out


def test_a_saved_projection_holds_every_choice(net, photo, tmp_path):
    one = pw.project(net, photo, layer="3:relu", channel=2, unpool="place")
    image = Image.open(one.save(tmp_path / "out.png"))
    choices = json.loads(image.text["pixelward"])
    assert choices["layer"] == "3:relu"
    assert choices["unpool"] == "place"
    assert choices["position"] == list(one.position)
    assert np.asarray(image).std() > 5
    with pytest.raises(pw.PixelwardError, match=r"out.jpg - allowed: a file name that ends in .png"):
        one.save(tmp_path / "out.jpg")
    with pytest.raises(pw.PixelwardError, match="cannot be written"):
        one.save(photo / "out.png")


def test_the_walk_shows_every_unpool_rectify_and_filter_and_ends_at_the_pixels(net, photo, monkeypatch):
    seen = {}
    monkeypatch.setattr(explain, "walk_strip", lambda steps, **words: seen.update(steps=list(steps)))
    one = pw.project(net, photo, layer="3:relu", channel=2)
    explain.walk(net, one)
    titles = [step.title for step in seen["steps"]]
    assert titles == ["seed", "rectify", "filter", "unpool", "rectify", "filter"]
    assert np.array_equal(seen["steps"][-1].signal, one.signal.numpy())


def test_a_signal_is_its_own_and_can_be_viewed(net, photo):
    found = pw.project(net, photo, layer="3:relu", channel=2)
    assert found.signal.is_contiguous()
    assert found.signal.untyped_storage().nbytes() == found.signal.nbytes
