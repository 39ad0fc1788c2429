"""Pictures become numbers and numbers pictures, as a network's preprocessing says."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from picture_files import CAFFE, GREY, KINDS, noise, saved
from pixelward.data.images import IMAGENET, Preprocess, decode, fit, prepare, to_rgb, to_tensor
from pixelward.errors import PixelwardError


def test_channels_range_mean_and_std_by_hand():
    image = Image.new("RGB", (2, 1), (10, 20, 30))
    assert to_tensor(image, CAFFE)[:, 0, 1].tolist() == [30 - 104, 20 - 117, 10 - 123]
    halves = Preprocess("RGB", 1.0, (0.5, 0.25, 0.0), (0.5, 1.0, 2.0), 1, 1)
    image = Image.new("RGB", (1, 1), (255, 51, 102))
    assert to_tensor(image, halves).flatten().tolist() == pytest.approx([1.0, 0.2 - 0.25, 0.2])


def test_range_one_is_torchvisions_to_tensor_and_normalize_bit_for_bit():
    pixels = noise(16, 16, 3)
    scaled = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(torch.float32).div(255)
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (IMAGENET.mean, IMAGENET.std))
    tensor = to_tensor(Image.fromarray(pixels), IMAGENET)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert torch.equal(tensor, scaled.sub(mean).div(std))


def test_a_network_of_one_channel_gets_grey():
    tensor = to_tensor(Image.new("RGB", (3, 2), (255, 0, 0)), replace(GREY, range=255.0, mean=(0.0,), std=(1.0,)))
    assert tensor.shape == (1, 2, 3)
    assert set(tensor.flatten().tolist()) == {76.0}  # 0.299 of 255
    grey = noise(4, 5)
    tensor = to_tensor(decode(saved(grey), "grey"), replace(GREY, range=255.0, mean=(0.0,), std=(1.0,)))
    np.testing.assert_array_equal(tensor[0].numpy(), grey)  # expanded to RGB and back, nothing is lost


@KINDS
def test_to_rgb_inverts_to_tensor(preprocess):
    every = np.arange(256 * 3, dtype=np.int64).reshape(16, 16, 3) * 7 % 256
    image = Image.fromarray(every.astype(np.uint8))
    expected = np.asarray(image.convert("L").convert("RGB") if preprocess is GREY else image)
    shown = to_rgb(to_tensor(image, preprocess).requires_grad_(), preprocess)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, expected)


def test_to_rgb_clips_what_no_picture_holds():
    tensor = torch.tensor([-500.0, 0.0, 500.0]).view(3, 1, 1)
    assert to_rgb(tensor, CAFFE).tolist() == [[[255, 117, 0]]]


@pytest.mark.parametrize("shape", [(1, 4, 4), (4, 4), (1, 3, 4, 4)])
def test_to_rgb_refuses_another_number_of_channels(shape):
    allowed = r"allowed: \(3, height, width\), as preprocess has channels RGB"
    with pytest.raises(PixelwardError, match=rf"given: a picture of shape \({shape[0]}, .* {allowed}"):
        to_rgb(torch.zeros(shape), IMAGENET)


@KINDS
def test_prepare_is_decode_fit_and_to_tensor(preprocess):
    data = saved(noise(40, 300, 4))
    prepared = prepare(data, preprocess, "x")
    assert prepared.shape == (len(preprocess.mean), preprocess.size, preprocess.size)
    assert torch.equal(prepared, to_tensor(fit(decode(data, "x"), preprocess), preprocess))
    with Image.open(io.BytesIO(data)) as image:  # a Pillow picture of any mode goes the same way
        assert torch.equal(prepare(image, preprocess, "x"), prepared)


@KINDS
def test_preprocess_survives_its_dict_and_json(preprocess):
    plain = preprocess.to_dict()
    assert list(plain) == ["channels", "range", "mean", "std", "resize", "size"]
    assert Preprocess.from_dict(plain) == preprocess
    assert Preprocess.from_dict(json.loads(json.dumps(plain))) == preprocess


def test_whole_numbers_are_as_good_as_others():
    plain = CAFFE.to_dict() | {"range": 255, "mean": [104, 117, 123], "std": (1, 1, 1)}
    assert Preprocess.from_dict(plain) == CAFFE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sizes": 3}, "given: preprocess with unknown sizes - allowed: the keys channels, range, mean, std, resize"),
        ({"channels": "rgb"}, "given: preprocess with channels 'rgb' - allowed: RGB, BGR, L - "),
        ({"channels": ["RGB"]}, "given: preprocess with channels ['RGB'] - allowed: RGB, BGR, L - "),
        ({"range": 256}, "given: preprocess with range 256 - allowed: 1.0 or 255.0 - "),
        ({"range": True}, "given: preprocess with range True - allowed: 1.0 or 255.0 - "),
        ({"mean": 0.5}, "given: preprocess with mean 0.5 - allowed: a tuple of numbers, one a channel - "),
        ({"mean": (0.5,)}, "given: preprocess with mean (0.5,) - allowed: a tuple of 3, for channels RGB - "),
        ({"mean": (0.5, "1", 0.5)}, "given: preprocess with mean (0.5, '1', 0.5) - allowed: a tuple of numbers"),
        ({"std": (1, 1, float("nan"))}, "given: preprocess with std (1, 1, nan) - allowed: a tuple of numbers above 0"),
        ({"std": (1, 0, 1)}, "given: preprocess with std (1, 0, 1) - allowed: a tuple of numbers above 0 - "),
        ({"std": ()}, "given: preprocess with std () - allowed: a tuple of 3, for channels RGB - "),
        (
            {"channels": "L"},
            "given: preprocess with mean (0.485, 0.456, 0.406) - allowed: a tuple of 1, for channels L - ",
        ),
        ({"size": 0}, "given: preprocess with size 0 - allowed: a whole number of pixels, from 1 - "),
        ({"resize": 256.0}, "given: preprocess with resize 256.0 - allowed: a whole number of pixels, from 1 - "),
    ],
)
def test_impossible_preprocessing_is_refused(change, words):
    with pytest.raises(PixelwardError) as caught:
        Preprocess.from_dict(IMAGENET.to_dict() | change)
    assert words in str(caught.value)
    assert str(caught.value).endswith("next step: correct the network's preprocess dict")


def test_missing_preprocessing_is_refused():
    plain = {key: value for key, value in IMAGENET.to_dict().items() if key not in ("std", "size")}
    with pytest.raises(PixelwardError, match="given: preprocess with missing std, size - allowed: the keys channels, "):
        Preprocess.from_dict(plain)
