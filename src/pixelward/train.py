"""The training recipe: a network table and labelled pictures in, weights with their record out.

Batch norm follows every convolution while training and is folded away before the weights are
saved, so that the trained network is convolution, ReLU, pool, normalisation and linear alone,
as the paper's. Strong weight decay on the convolutions makes weights that the data does not
constrain fade, instead of staying the noise they began as: a projection adds thousands of
them, and noise there shows as speckle.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelward.data.images import IMAGENET, decode, fit
from pixelward.data.sources import open_sources
from pixelward.errors import PixelwardError
from pixelward.nets import zfnet


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained weights besides the data."""

    epochs: int = 30
    batch: int = 128
    rate: float = 0.08  # peak learning rate
    warm_up: int = 300  # steps of linear rise, then a cosine to zero
    momentum: float = 0.9
    decay: float = 4e-3  # weight decay of the convolutions
    decay_elsewhere: float = 5e-4
    clip: float = 5.0  # largest norm of the whole gradient
    smoothing: float = 0.05
    shift: int = 6  # pixels, either way, with a reflected border; pictures are mirrored too
    dropout: float = 0.3
    dropout_from: int = 3  # epoch, counted from 1
    scale: float = 58.0  # pixels are divided by this after their mean is taken away
    bfloat16: bool = True  # products in bfloat16, sums and weights in float32
    seed: int = 0


@dataclass(frozen=True)
class Labelled:
    """Pictures in memory. pixels: (N, 3, H, W) uint8, RGB; labels: (N,) int64, indices into `classes`."""

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]


def load_labelled(path: Path, part: str, size: int) -> Labelled:
    """The pictures of `path`, a folder or a zip, that lie in `part/CLASS/`, each as `size` x `size` pixels.

    Classes are the names of those folders, sorted. Pictures are prepared as for a scan (shorter side, centre crop)
    and kept in memory. Raises PixelwardError where there are none, or one cannot be read.
    """
    (source,) = open_sources([path])
    placed = [picture.name.split("/", 2) for picture in source.pictures() if picture.name.startswith(f"{part}/")]
    members = [(place[1], "/".join(place)) for place in placed if len(place) == 3]
    if not members:
        raise PixelwardError(
            given=f"{path}, without a picture in {part}/CLASS/",
            allowed="a folder or a zip with pictures in train/CLASS/ and val/CLASS/",
            next_step="sort the pictures into one folder a class",
        )
    view = replace(IMAGENET, resize=size, size=size)
    classes = tuple(sorted({name for name, _ in members}))
    pixels = torch.empty(len(members), 3, size, size, dtype=torch.uint8)
    for place, (_, member) in zip(pixels, members, strict=True):
        picture = np.asarray(fit(decode(source.read(member), member), view))
        place.copy_(torch.from_numpy(picture.copy()).permute(2, 0, 1))
    return Labelled(pixels, torch.tensor([classes.index(name) for name, _ in members]), classes)


def train(
    architecture: zfnet.Architecture,
    training: Labelled,
    validation: Labelled,
    run: Path,
    recipe: Recipe,
    report: Callable[[str], None] = print,
    progress: Callable[[int, int, float], None] | None = None,
) -> Path:
    """Train, writing a checkpoint after every epoch; the same call again goes on where it stopped.

    Returns the path of the folded weights, `run/weights.safetensors` (float16), which stand beside
    `run/log.jsonl` (one line an epoch) and `run/record.json` (recipe, accuracy, preprocessing).
    report: takes a line an epoch. progress: takes (steps done, steps in all, pictures a second) after every step.
    Raises PixelwardError for data that cannot train, a run that began otherwise, or a folder of other files.
    """
    _check(architecture, training, validation, recipe)
    _refuse_filled(run)
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    net = zfnet.build(architecture, batch_norm=True, dropout=0.0)
    initialise(net)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(parameter_groups(net, recipe), lr=recipe.rate, momentum=recipe.momentum, nesterov=True)
    steps = len(training.labels) // recipe.batch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate_factor(recipe, steps * recipe.epochs))
    mean = _mean(training.pixels)
    random = torch.Generator().manual_seed(recipe.seed)

    checkpoint = run / "checkpoint.pt"
    began_with: dict[str, object] = {
        "architecture": asdict(architecture),
        "recipe": asdict(recipe),
        "classes": training.classes,
    }
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        _check_same(run, state.get("began_with", began_with), began_with)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        random.set_state(state["random"])
        torch.set_rng_state(state["torch_random"])
        done = state["epoch"]

    for epoch in range(done + 1, recipe.epochs + 1):
        started = time.monotonic()
        set_dropout(net, recipe.dropout if epoch >= recipe.dropout_from else 0.0)
        net.train()
        losses: list[float] = []
        for step, (pixels, labels) in enumerate(batches(training, recipe, random), start=1):
            pictures = prepare(pixels, mean, recipe.scale)
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
                scores = net(pictures)
            loss = F.cross_entropy(scores.float(), labels, label_smoothing=recipe.smoothing)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
            if progress:
                rate = step * recipe.batch / (time.monotonic() - started)
                progress((epoch - 1) * steps + step, recipe.epochs * steps, rate)
        row = {
            "epoch": epoch,
            "loss": round(sum(losses) / len(losses), 4),
            "accuracy": round(accuracy(net, validation, mean, recipe.scale), 4),
            "seconds": round(time.monotonic() - started, 1),
        }
        state = {
            "began_with": began_with,
            "epoch": epoch,
            "net": net.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "random": random.get_state(),
            "torch_random": torch.get_rng_state(),
        }
        partial = checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(checkpoint)
        with (run / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        at = f"epoch {epoch}/{recipe.epochs}"
        report(f"{at}: loss {row['loss']}, validation {row['accuracy']:.2%}, {row['seconds']} s")
    return save(zfnet.fold_batch_norm(net), architecture, validation, mean, recipe, run)


def _check(architecture: zfnet.Architecture, training: Labelled, validation: Labelled, recipe: Recipe) -> None:
    if training.classes != validation.classes:
        odd = sorted({*training.classes} ^ {*validation.classes})
        raise PixelwardError(
            given=f"classes that train/ and val/ do not share: {', '.join(odd[:5])}",
            allowed="the same folders in both",
            next_step="add or remove their folders",
        )
    if len(training.classes) != architecture.classes:
        raise PixelwardError(
            given=f"pictures of {len(training.classes)} classes for a network of {architecture.classes}",
            allowed="one output a class",
            next_step="change the network's number of classes",
        )
    if len(training.labels) < recipe.batch:
        raise PixelwardError(
            given=f"{len(training.labels)} training pictures",
            allowed=f"at least one batch, {recipe.batch}",
            next_step="add pictures or make the batch smaller",
        )


def _refuse_filled(run: Path) -> None:
    """Raise PixelwardError if there is anything at `run` but an earlier run, or what is left of a first epoch."""
    if run.is_dir():
        names = sorted({entry.name for entry in run.iterdir()} - {"checkpoint.partial"})
        if not names or {"checkpoint.pt", "log.jsonl"} & {*names}:
            return
        given = f"{run}, which holds other files ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
    elif run.exists():
        given = f"{run}, which is a file"
    else:
        return
    raise PixelwardError(
        given=given, allowed="a new or empty folder, or that of a run", next_step="name another folder with -o"
    )


def _check_same(run: Path, then: dict[str, object], now: dict[str, object]) -> None:
    differing = [key for key in now if then[key] != now[key]]
    if differing:
        raise PixelwardError(
            given=f"{run}, where training began with another {' and '.join(differing)}",
            allowed="the same command again, or a new folder",
            next_step="name another folder with -o",
        )


def save(
    net: nn.Sequential, architecture: zfnet.Architecture, validation: Labelled, mean: Tensor, recipe: Recipe, run: Path
) -> Path:
    """Write the folded weights as float16 and a record of how they came to be; returns the weights' path."""
    from safetensors.torch import save_file

    halves = {name: tensor.half().contiguous() for name, tensor in net.state_dict().items()}
    net.load_state_dict({name: tensor.float() for name, tensor in halves.items()})
    path = run / "weights.safetensors"
    save_file(halves, path)
    record = {
        "architecture": asdict(architecture),
        "recipe": asdict(recipe),
        "classes": validation.classes,
        "validation": {"pictures": len(validation.labels), "accuracy": accuracy(net, validation, mean, recipe.scale)},
        "preprocess": {
            "channels": "RGB",
            "range": 255.0,
            "mean": [round(value, 3) for value in mean.tolist()],
            "std": [recipe.scale] * 3,
            "resize": architecture.size,
            "size": architecture.size,
        },
    }
    (run / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    return path


def initialise(net: nn.Module) -> None:
    """Convolutions from N(0, 0.01), as the paper; linear layers from Kaiming's; biases zero."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
        elif isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)


def parameter_groups(net: nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    """Convolutions with their own weight decay, the rest with the usual one."""
    convolutions = [layer.weight for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    chosen = {id(weight) for weight in convolutions}
    others = [parameter for parameter in net.parameters() if id(parameter) not in chosen]
    return [
        {"params": convolutions, "weight_decay": recipe.decay},
        {"params": others, "weight_decay": recipe.decay_elsewhere},
    ]


def rate_factor(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """Step number -> share of the peak rate: a linear rise, then half a cosine down to zero."""

    def factor(step: int) -> float:
        if step < recipe.warm_up:
            return (step + 1) / recipe.warm_up
        return 0.5 + 0.5 * math.cos(math.pi * (step - recipe.warm_up) / max(1, steps - recipe.warm_up))

    return factor


def set_dropout(net: nn.Module, share: float) -> None:
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = share


def batches(training: Labelled, recipe: Recipe, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order: ((B, 3, H, W) uint8, (B,) int64), each picture shifted and perhaps mirrored."""
    order = torch.randperm(len(training.labels), generator=random)
    height, width = training.pixels.shape[-2:]
    for start in range(0, len(order) - recipe.batch + 1, recipe.batch):
        chosen = order[start : start + recipe.batch]
        padded = F.pad(training.pixels[chosen].float(), [recipe.shift] * 4, mode="reflect")
        moves = torch.randint(0, 2 * recipe.shift + 1, (recipe.batch, 2), generator=random).tolist()
        mirrored = torch.randint(0, 2, (recipe.batch,), generator=random).tolist()
        crops = [
            picture[:, top : top + height, left : left + width].flip(-1 if mirror else ())
            for picture, (top, left), mirror in zip(padded, moves, mirrored, strict=True)
        ]
        yield torch.stack(crops), training.labels[chosen]


def prepare(pixels: Tensor, mean: Tensor, scale: float) -> Tensor:
    """(N, 3, H, W) of 0..255 -> float32 network input, channels last."""
    pictures = (pixels.float() - mean[:, None, None]) / scale
    return pictures.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def accuracy(net: nn.Module, pictures: Labelled, mean: Tensor, scale: float) -> float:
    """Share of pictures whose strongest score is their label (one view each, float32)."""
    net.eval()
    right = 0
    for pixels, labels in zip(torch.split(pictures.pixels, 250), torch.split(pictures.labels, 250), strict=True):
        right += int((net(prepare(pixels, mean, scale)).argmax(1) == labels).sum())
    return right / len(pictures.labels)


def _mean(pixels: Tensor) -> Tensor:
    """Mean of each colour over all pixels, summed in integers so that the order does not matter."""
    total = sum(part.sum(dim=(0, 2, 3), dtype=torch.int64) for part in torch.split(pixels, 1000))
    return torch.as_tensor(total) / (pixels.numel() / pixels.shape[1])
