"""One layer up and down again: what the "transposed filter" of a deconvnet is, in numbers.

    python examples/one_layer.py

First the case that readers of the paper ask about: six maps of 24x24, a 3x3 convolution with padding 1, and two
candidates for its way back. Then one layer so small that every number can be checked by hand.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelward.core.steps import ascend, descend, filter, only, rectify, unpool


def readers_case() -> None:
    """3 channels through a 3x3 convolution, ReLU and 2x2 pool; the way back in both spellings, and in wrong ones."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.randn(1, 3, 24, 24, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 3, 3, 3, generator=generator, dtype=torch.float64)

    maps = F.relu(F.conv2d(picture, weight, padding=1))
    pooled, switches = F.max_pool2d(maps, 2, return_indices=True)
    signal = rectify(unpool(pooled, switches, maps.shape[2:]))
    down = filter(signal, weight, picture.shape[2:], padding=1)

    swapped = weight.transpose(0, 1)  # input and output channels change places
    print("The reader's case: 6 maps of 24x24, unpooled and rectified; a convolution with k=3, p=1; float64")
    print(f"  conv_transpose2d(signal, weight, padding=1) gives a picture of {tuple(down.shape[1:])}")
    print("  largest difference from it:")
    for name, other in {
        "torch's conv_transpose2d itself": F.conv_transpose2d(signal, weight, padding=1),
        "conv2d, channels swapped, filters flipped on both axes": F.conv2d(signal, swapped.flip(2, 3), padding=1),
        "conv2d, channels swapped, not flipped": F.conv2d(signal, swapped, padding=1),
        "conv2d, channels swapped, flipped on one axis": F.conv2d(signal, swapped.flip(2), padding=1),
    }.items():
        print(f"    {name:<56} {(down - other).abs().max():.3g}")


def worked_example() -> None:
    """A 4x4 picture, one filter, bias -2, ReLU, 2x2 pool: four ways down in whole numbers."""
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    weight = table([[0, 1, 2], [-1, 1, 0], [1, 0, -1]])
    net.load_state_dict({"0.weight": weight, "0.bias": torch.tensor([-2.0])})
    maps, way = ascend(net, table([[1, 2, 0, 1], [3, 1, 2, 0], [0, 1, 3, 2], [2, 0, 1, 1]]))
    signed = table([[4, -3], [2, 1]])
    unpooled = way[2](signed)

    print("\nA layer in whole numbers")
    show("pooled maps on the way up", maps)
    show("1) the strongest activation alone, down to the pixels", descend(way, only(maps, 0, (1, 1))))
    show("2) all four activations", descend(way, maps))
    show("3) a signed signal from a layer above, unpooled", unpooled)
    show("   rectified", rectify(unpooled))
    show("   filtered: the picture", descend(way, signed))
    show("   had it not been rectified", filter(unpooled, weight, (4, 4), padding=1))
    mistake = F.conv_transpose2d(only(maps, 0, (1, 1)), weight, stride=2, padding=1, output_padding=1)
    show("4) the mistake: case 1 with stride 2 in place of unpooling", mistake)


def table(rows: list[list[float]]) -> Tensor:
    """One map of one picture, (1, 1, h, w), from its rows."""
    return torch.tensor([[rows]], dtype=torch.float32)


def show(title: str, maps: Tensor) -> None:
    """Print a map of whole numbers under its title."""
    print(f"  {title}")
    for row in maps[0, 0].tolist():
        print("    " + " ".join(f"{int(value):3d}" for value in row))


if __name__ == "__main__":
    with torch.no_grad():
        readers_case()
        worked_example()
