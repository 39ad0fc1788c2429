"""ZFNet is the paper's table: its map sizes, its parameter counts, and batch norm that leaves no trace."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pixelward import PixelwardError
from pixelward.nets import zfnet


def sides(net: nn.Sequential, size: int) -> list[int]:
    """The side of the map after every convolution and pool, found without computing anything."""
    found, maps = [], torch.zeros(1, 3, size, size, device="meta")
    for layer in net.to("meta"):
        if isinstance(layer, nn.Flatten):
            break
        maps = layer(maps)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            assert maps.shape[-1] == maps.shape[-2]
            found.append(maps.shape[-1])
    return found


def parameters(layer: nn.Module) -> int:
    return sum(parameter.numel() for parameter in layer.parameters())


@pytest.fixture(scope="module")
def paper() -> nn.Sequential:
    with torch.device("meta"):
        return zfnet.build(zfnet.ZFNET)


def test_zfnet_has_the_map_sizes_of_the_paper(paper: nn.Sequential):
    assert sides(paper, 224) == [110, 55, 26, 13, 13, 13, 13, 6]


def test_zfnet_has_the_parameter_counts_of_the_paper(paper: nn.Sequential):
    expected = {
        "conv1": 14_208,  # 96 * (3 * 7 * 7 + 1)
        "conv2": 614_656,  # 256 * (96 * 5 * 5 + 1)
        "conv3": 885_120,  # 384 * (256 * 3 * 3 + 1)
        "conv4": 1_327_488,  # 384 * (384 * 3 * 3 + 1)
        "conv5": 884_992,  # 256 * (384 * 3 * 3 + 1)
        "fc6": 37_752_832,  # 4096 * (256 * 6 * 6 + 1)
        "fc7": 16_781_312,  # 4096 * (4096 + 1)
        "fc8": 4_097_000,  # 1000 * (4096 + 1)
    }
    counted = {name: parameters(layer) for name, layer in paper.named_children() if parameters(layer)}
    assert counted == expected
    assert parameters(paper) == 62_357_608


def test_zfnet_runs_its_layers_in_the_order_of_the_paper(paper: nn.Sequential):
    assert " ".join(name for name, _ in paper.named_children()) == (
        "conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 "
        "flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8"
    )


def test_zfnet_normalises_across_maps_with_krizhevskys_constants(paper: nn.Sequential):
    norm = paper.norm1.double()
    maps = torch.linspace(0, 50, 8, dtype=torch.float64).reshape(1, 8, 1, 1)
    values = maps.flatten().tolist()
    expected = [
        value / (2 + 1e-4 * sum(other**2 for other in values[max(0, i - 2) : i + 3])) ** 0.75
        for i, value in enumerate(values)
    ]
    torch.testing.assert_close(norm(maps).flatten(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_small_sister_has_the_same_kinds_of_layers_for_64_pixels():
    net = zfnet.build(zfnet.ZFNET64)
    assert sides(net, 64) == [32, 16, 16, 8, 8, 8, 8, 4]
    assert parameters(net) == (
        48 * (3 * 49 + 1)
        + 128 * (48 * 25 + 1)
        + 192 * (128 * 9 + 1)
        + 192 * (192 * 9 + 1)
        + 128 * (192 * 9 + 1)
        + 512 * (128 * 16 + 1)
        + 512 * (512 + 1)
        + 100 * (512 + 1)
    )


def test_folded_batch_norm_computes_the_same_and_leaves_the_network_alone():
    torch.manual_seed(0)
    small = zfnet.Architecture(
        size=20,
        classes=3,
        convolutions=(
            zfnet.Convolution(4, kernel=5, stride=2, padding=1, pool=True, norm=True),
            zfnet.Convolution(6, kernel=3, stride=1, padding=1, pool=True),
        ),
        linear=(8,),
    )
    net = zfnet.build(small, batch_norm=True).double()
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight.data, layer.bias.data, layer.running_mean):
                tensor.normal_()
            layer.running_var.uniform_(0.2, 3)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    folded = zfnet.fold_batch_norm(net)

    pictures = torch.randn(5, 3, 20, 20, dtype=torch.float64)
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded)
    assert [name for name, _ in folded.named_children()] == [name for name, _ in zfnet.build(small).named_children()]
    torch.testing.assert_close(folded(pictures), net.eval()(pictures), rtol=0, atol=1e-12)


def test_batch_norm_after_anything_but_a_convolution_is_not_folded():
    with pytest.raises(TypeError, match="batch norm after ReLU"):
        zfnet.fold_batch_norm(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)))


def test_zfnet64_is_read_from_the_package_as_float32_with_its_preprocessing(tmp_path, monkeypatch):
    state = {name: tensor.half() for name, tensor in zfnet.build(zfnet.ZFNET64).state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    (tmp_path / "weights.json").write_text(json.dumps({"preprocess": {"channels": "RGB"}}))
    monkeypatch.setattr(zfnet, "WEIGHTS", tmp_path / "weights.safetensors")
    net = zfnet.zfnet64()
    assert not net.training
    assert net.preprocess == {"channels": "RGB"}
    assert all(torch.equal(tensor, state[name].float()) for name, tensor in net.state_dict().items())
    assert {tensor.dtype for tensor in net.state_dict().values()} == {torch.float32}


def test_a_package_without_its_weights_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(zfnet, "WEIGHTS", tmp_path / "zfnet64.safetensors")
    with pytest.raises(PixelwardError, match=r"given: an installation without zfnet64\.safetensors .*--weights"):
        zfnet.zfnet64()


@pytest.mark.skipif(not zfnet.WEIGHTS.exists(), reason="the bundled weights are not in this checkout yet")
def test_the_bundled_record_says_what_the_weights_are():
    record = json.loads(zfnet.WEIGHTS.with_suffix(".json").read_text("utf-8"))
    assert zfnet.WEIGHTS.stat().st_size < 10_000_000
    assert record["validation"]["accuracy"] >= 0.48
    assert len(record["classes"]) == zfnet.ZFNET64.classes
    assert len(set(record["names"])) == len(record["names"]) == zfnet.ZFNET64.classes
    assert dict(zip(record["classes"], record["names"], strict=True))["n02123045"] == "tabby"
    assert zfnet.zfnet64().classes == tuple(record["names"])
