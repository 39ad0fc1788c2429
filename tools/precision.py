"""How far projections in low precision are from those in float64: the numbers of docs/rules.md, under "Precision".

    python tools/precision.py [FOLDER]

FOLDER holds squeezenet.py, squeezenet.safetensors and imagenet1000.zip; ../shared/data beside the checkout if nothing
is said. Where it is missing, the bundled network and photographs are taken.

Three photographs, four layers spread over the network, in each the three strongest channels of the photograph in
float64, each at its strongest place: 36 projections. The same units at the same places are projected in every
precision. A difference is max |a - b| / max |b| with b in float64; a correlation is Pearson's, over all numbers.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import skimage.data
import torch
from torch import Tensor, nn

import pixelward as pw
from pixelward.core.layers import layers
from pixelward.core.project import Unit, project_units
from pixelward.core.trace import trace
from pixelward.data.images import prepare
from pixelward.data.sources import open_sources
from pixelward.nets.load import preprocess_of

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BUNDLED = ("astronaut.png", "chelsea.png", "coffee.png")
PHOTOGRAPHS, LAYERS, CHANNELS = 3, 4, 3
PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)


def spread(count: int, of: int) -> list[int]:
    """So many numbers below `of`, evenly spread, the last one among them."""
    return [(i + 1) * of // count - 1 for i in range(count)]


def network(folder: Path) -> tuple[str, nn.Module, list[tuple[str, bytes]]]:
    """Its name, the network, and photographs by name."""
    if folder.is_dir():
        net = pw.load(f"{folder}/squeezenet.py:squeezenet", weights=folder / "squeezenet.safetensors")
        (source,) = open_sources([folder / "imagenet1000.zip"])
        names = [picture.name for picture in source.pictures()]
        return "SqueezeNet", net, [(names[i], source.read(names[i])) for i in spread(PHOTOGRAPHS, len(names))]
    where = Path(skimage.data.__file__).parent
    return "zfnet64", pw.load("zfnet64"), [(name, (where / name).read_bytes()) for name in BUNDLED]


def projected(net: nn.Module, picture: Tensor, layer: str, units: list[Unit], dtype: torch.dtype) -> list[Tensor]:
    found = project_units(net, picture.to(dtype), layer, units)
    return [each.signal.double().flatten() for each in found]


def chosen(net: nn.Module, picture: Tensor, layer: str) -> list[Unit]:
    """The strongest channels of the photograph, each at its strongest place."""
    (maps,) = trace(net, picture, [layer]).targets[layer].activations
    strongest = maps.flatten(1).amax(1).topk(CHANNELS).indices.tolist()
    return [Unit(0, channel, divmod(int(maps[channel].argmax()), maps.shape[2])) for channel in strongest]


def main(folder: Path) -> None:
    name, net, photographs = network(folder)
    exact = copy.deepcopy(net).double()
    preprocess = preprocess_of(net)
    size = (preprocess.size, preprocess.size)
    maps = [layer.address for layer in layers(exact, size=size) if len(layer.shape) == 3]
    addresses = [maps[i] for i in spread(LAYERS, len(maps))]
    pictures = [prepare(data, preprocess, said)[None].double() for said, data in photographs]
    units = {(n, layer): chosen(exact, x, layer) for n, x in enumerate(pictures) for layer in addresses}
    right = {at: projected(exact, pictures[at[0]], at[1], units[at], torch.float64) for at in units}

    print(f"{name}, torch {torch.__version__}, {sum(map(len, units.values()))} projections")
    print(f"photographs: {', '.join(said for said, _ in photographs)}")
    print(f"layers: {', '.join(addresses)}")
    print("precision  difference: median    most  correlation: median    least")
    for dtype in PRECISIONS:
        low, label = copy.deepcopy(net).to(dtype), str(dtype).removeprefix("torch.")
        differences, correlations = [], []
        try:
            for at, expected in right.items():
                for a, b in zip(projected(low, pictures[at[0]], at[1], units[at], dtype), expected, strict=True):
                    differences.append(((a - b).abs().max() / b.abs().max()).item())
                    correlations.append(torch.corrcoef(torch.stack([a, b]))[0, 1].item())
        except pw.PixelwardError as error:
            print(f"{label:9}  {error}")
            continue
        off, alike = torch.tensor(differences), torch.tensor(correlations, dtype=torch.float64)
        print(f"{label:9}  {off.median():18.1e} {off.max():7.1e}  {alike.median():19.6f} {alike.min():8.4f}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]) if sys.argv[1:] else DATA)
    except pw.PixelwardError as error:
        sys.exit(str(error))
