"""MODEL, as the command line writes it, turned into a network that knows how a picture becomes its input.

`zfnet64` and `zfnet` are bundled; `file.py:factory` and `package.module:factory` name a function or class that
returns a network when called without arguments; `torchvision:NAME` and `timm:NAME` are read from those packages
where they are installed. Weights are always read here, never by the factory, and nothing is downloaded.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from pixelward.core.passage import unwrapped
from pixelward.data.images import IMAGENET, Preprocess
from pixelward.errors import PixelwardError
from pixelward.nets import weights as checkpoint
from pixelward.nets import zfnet
from pixelward.nets.weights import Report, State
from pixelward.words import counted

ARCHITECTURES: Mapping[str, zfnet.Architecture] = {"zfnet64": zfnet.ZFNET64, "zfnet": zfnet.ZFNET}
# Of a network that takes one channel and says nothing of itself: values around 0, spread about as ImageNet's.
GREY = replace(IMAGENET, channels="L", mean=(0.5,), std=(0.25,))
FORMS = "file.py:factory, package.module:factory, torchvision:NAME, timm:NAME"
SEED = 0  # of weights that no file gives, so that scan and draw see one network
# Where a network keeps its preprocessing; the second place is for one that uses the first name for something else.
PLACES = ("preprocess", "pixelward_preprocess")


@dataclass(frozen=True)
class Made:
    """A network as its maker left it, with the preprocessing that came beside it."""

    net: object
    preprocess: Mapping[str, object] | None = None
    side: int = IMAGENET.size  # of its input, where the rest has to be assumed
    note: str = ""  # said where no weights are given


def load(
    model: str,
    *,
    weights: str | Path | None = None,
    preprocess: Mapping[str, object] | None = None,
    report: Report = print,
) -> nn.Module:
    """The network that `model` names, in evaluation mode on the CPU, with its preprocessing as the dict `.preprocess`.

    The names of its classes are `.classes` where they are known: those that `pixelward train` was given.

    weights: a `.safetensors` file or a pickle of tensors. preprocess: single keys that go before the network's own;
    a size without a resize scales the network's resize along.
    report: takes a line for each thing done to the weights, and for preprocessing that had to be assumed.
    Raises PixelwardError for a name, file, factory, network or weights that cannot be used.
    """
    path = None if weights is None else Path(weights)
    state = None if path is None else checkpoint.read(path, report)
    with _seeded():
        made = _make(model, state)
    net = _checked(model, made.net)
    if path is not None and state is not None:
        checkpoint.fit(net, state, path.name, report)
    elif made.note:
        report(made.note)
    beside = _record(path) if path is not None and model in ARCHITECTURES else {}
    if "classes" in beside:
        vars(net)["classes"] = tuple(beside["classes"])
    found = beside.get("preprocess") or _attribute(net) or made.preprocess
    assumed = _usual_for(net)
    if made.side != IMAGENET.size:
        assumed = replace(assumed, resize=made.side, size=made.side)
    settled = _settle(model, found, assumed, dict(preprocess or {}), report)
    place = next(place for place in PLACES if isinstance(getattr(net, place, {}), Mapping))
    vars(net)[place] = settled.to_dict()
    return net.eval()


def preprocess_of(net: nn.Module, report: Report = print) -> Preprocess:
    """How a picture becomes the network's input: its own `preprocess`, else what is usual and a line that says so.

    Usual is ImageNet's, or `GREY` where the first convolution takes one channel.
    Raises PixelwardError where the network's own dict is not of the known form.
    """
    net = unwrapped(net)
    return _settle(type(net).__name__, _attribute(net), _usual_for(net), {}, report)


def _settle(
    name: str, found: Mapping[str, object] | None, usual: Preprocess, given: dict[str, object], report: Report
) -> Preprocess:
    base = dict(usual.to_dict() if found is None else found)
    for key in ("channels", "range"):
        if key in given and given[key] != base.get(key) and not {"mean", "std"} <= given.keys():
            raise PixelwardError(
                given=f"{key} without mean and std",
                allowed="mean and std beside it, for they are counted in its order and range",
                next_step="give all three",
            )
    if "size" in given and "resize" not in given:  # else a small network would see a speck of a large picture
        base = _scaled(base, given["size"])
    assumed = {key: value for key, value in base.items() if key not in given}
    try:
        settled = Preprocess.from_dict({**base, **given})
    except PixelwardError as error:
        wrong = next((key for key in given if error.given.startswith(f"preprocess with {key} ")), None)
        if wrong is None:
            raise
        raise PixelwardError(
            given=error.given, allowed=error.allowed, next_step=f"correct --{wrong} (in Python: {wrong} in preprocess)"
        ) from error
    if found is None and assumed:
        whose = "grey from 0 to 1" if usual.channels == "L" else "ImageNet's usual"
        report(f"preprocessing of {name} is not known, {whose} is assumed: {_spell(assumed)}")
    return settled


def _scaled(base: dict[str, object], size: object) -> dict[str, object]:
    """The same share of the picture seen at another size; as it was where a number is none."""
    match base, size:
        case {"resize": int(resize), "size": int(whole)}, int(wanted) if min(resize, whole, wanted) > 0:
            return {**base, "resize": max(wanted, round(resize * wanted / whole))}
    return base


def _usual_for(net: nn.Module) -> Preprocess:
    """What is assumed of a network that says nothing: by the channels that its first convolution takes."""
    first = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    return GREY if first is not None and first.in_channels == 1 else IMAGENET


def _spell(preprocess: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in preprocess.items())


def _attribute(net: nn.Module) -> Mapping[str, object] | None:
    for place in PLACES:
        found = getattr(net, place, None)
        if isinstance(found, Mapping):
            return found
    return None


def _record(path: Path) -> Mapping[str, Any]:
    """What `pixelward train` wrote beside its weights, preprocessing and classes among it."""
    record = path.with_name("record.json")
    found: Mapping[str, Any] = json.loads(record.read_text("utf-8")) if record.is_file() else {}
    return found


def _make(model: str, state: State | None) -> Made:
    place, colon, name = model.rpartition(":")
    if model in ARCHITECTURES:
        return _bundled(model, state)
    if colon and place in ZOOS:
        try:
            return ZOOS[place](name)
        except PixelwardError:
            raise
        except Exception as error:
            raise _unusable(model, error) from error
    if colon and place.endswith(".py"):
        return _from_file(Path(place), name)
    if colon and place:
        return _from_package(place, name)
    if model.endswith(".py") and Path(model).is_file():
        with _importable(Path(model).parent):
            listed = _callables(_run_file(Path(model)))
        raise PixelwardError(
            given=f"model {model} without a factory",
            allowed=f"{model}:factory; the file offers {listed}",
            next_step="name one of them",
        )
    near = difflib.get_close_matches(model, ARCHITECTURES, n=1)
    raise PixelwardError(
        given=f"model {model!r}",
        allowed=f"{', '.join(ARCHITECTURES)}, or {FORMS}",
        next_step=f"did you mean {near[0]!r}?" if near else "name one of them",
    )


def _bundled(name: str, state: State | None) -> Made:
    if state is None and name == "zfnet64":
        return Made(zfnet.zfnet64())
    architecture = ARCHITECTURES[name]
    last = f"fc{len(architecture.convolutions) + len(architecture.linear) + 1}.bias"
    if state is not None and last in state:  # trained on classes of one's own
        architecture = replace(architecture, classes=len(state[last]))
    note = f"{name} has random weights (seed {SEED}); give trained ones with --weights"
    kind = IMAGENET.to_dict() if architecture.size == IMAGENET.size else None  # the paper's own was trained on it
    return Made(zfnet.build(architecture), kind, side=architecture.size, note=note)


def _from_file(path: Path, name: str) -> Made:
    if not path.is_file():
        raise PixelwardError(
            given=f"model file {path}, which is no file", allowed="a Python file", next_step="check the path"
        )
    with _importable(path.parent):
        return _call(str(path), _run_file(path), name)


def _run_file(path: Path) -> ModuleType:
    # One name a path, and known to sys.modules while it runs, as dataclasses and pickling ask.
    name = f"pixelward_model_{path.stem}_{zlib.crc32(str(path.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise _unusable(str(path), ImportError("not a Python file"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _unusable(str(path), error) from error
    return module


def _from_package(place: str, name: str) -> Made:
    with _importable(Path.cwd()):
        try:
            module = importlib.import_module(place)
        except (Exception, SystemExit) as error:
            raise _unusable(place, error) from error
        return _call(place, module, name)


def _call(place: str, module: ModuleType, name: str) -> Made:
    factory = getattr(module, name, None)
    if not callable(factory) or isinstance(factory, nn.Module):
        what = "no factory" if factory is None else f"{type(factory).__name__} instead of a factory"
        raise PixelwardError(
            given=f"model {place}:{name}, where there is {what}",
            allowed=f"a function or class that returns a network; {place} offers {_callables(module)}",
            next_step="name one of them",
        )
    needed = _required(factory)
    if needed:
        raise PixelwardError(
            given=f"model {place}:{name}, which asks for {', '.join(needed)}",
            allowed="a factory that is called without arguments",
            next_step="write a function without arguments that calls it, and name that one",
        )
    try:
        net = factory()
    except (Exception, SystemExit) as error:
        raise _unusable(f"{place}:{name}", error) from error
    preprocess = getattr(module, "preprocess", None)
    return Made(net, preprocess if isinstance(preprocess, Mapping) else None)


def _callables(module: ModuleType) -> str:
    """What a module offers as factories: functions and classes of its own that can be called without arguments."""
    names = [
        name
        for name, value in vars(module).items()
        if inspect.isroutine(value) or inspect.isclass(value)
        if getattr(value, "__module__", None) == module.__name__
        if not name.startswith("_") and not _required(value)
    ]
    return ", ".join(sorted(names)) or "none"


def _required(function: Callable[..., object]) -> list[str]:
    """Names of the parameters that a call must give; none where Python cannot tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in optional]


def _checked(model: str, net: object) -> nn.Module:
    if not isinstance(net, nn.Module):
        raise PixelwardError(
            given=f"model {model}, which returned {type(net).__name__}",
            allowed="a factory that returns a torch.nn.Module",
            next_step="let it return the network itself",
        )
    inner = net.module if isinstance(net, nn.DataParallel) else net
    inputs = _required(inner.forward)
    if len(inputs) > 1:
        raise PixelwardError(
            given=f"model {model}, whose forward takes {len(inputs)} inputs ({', '.join(inputs)})",
            allowed="a network that takes one picture tensor",
            next_step="wrap it in a module whose forward takes the picture and fixes the rest",
        )
    return net


def _unusable(place: str, error: BaseException) -> PixelwardError:
    reason = " ".join(str(error).split())
    return PixelwardError(
        given=f"model {place}, which failed with {type(error).__name__}: {reason}",
        allowed="code that runs in this Python environment",
        next_step="use --debug to see where it failed",
    )


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a model's file import its neighbours, as it would when run by itself."""
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        with suppress(ValueError):  # the model's own code may have taken it out
            sys.path.remove(place)


@contextmanager
def _seeded() -> Iterator[None]:
    """Fixed random numbers within, the caller's own untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)  # not torch.manual_seed: that one reaches every device
        yield


def _zoo(package: str, model: str) -> Any:
    try:
        return importlib.import_module(package)
    except (ImportError, RuntimeError) as error:  # a torchvision built for another torch raises RuntimeError
        reason = " ".join(str(error).split())
        unfit = isinstance(error, RuntimeError)
        raise PixelwardError(
            given=f"model {model}, but {'torchvision' if unfit else package} cannot be imported ({reason})",
            allowed=f"{package} installed, and torchvision built for torch {torch.__version__}",
            next_step="install torch and torchvision from one index" if unfit else "pip install 'pixelward[zoo]'",
        ) from error


def _unknown(model: str, known: list[str]) -> PixelwardError:
    package, _, name = model.partition(":")
    near = difflib.get_close_matches(name, known, n=3)
    return PixelwardError(
        given=f"model {model}",
        allowed=f"one of the {counted(len(known), 'name')} that {package} lists",
        next_step=f"did you mean {' or '.join(near)}?" if near else f"print {package}'s list_models()",
    )


def _torchvision(name: str) -> Made:
    model = f"torchvision:{name}"
    models = _zoo("torchvision", model).models
    if name not in models.list_models():
        raise _unknown(model, models.list_models())
    trained = models.get_model_weights(name).DEFAULT
    view = trained.transforms()
    preprocess = None
    if hasattr(view, "crop_size"):
        preprocess = _usual(mean=view.mean, std=view.std, resize=view.resize_size[0], size=view.crop_size[0])
    note = f"{model} has random weights (seed {SEED}); trained ones are at {trained.url}, to be given with --weights"
    asked = inspect.signature(models.get_model_builder(name)).parameters
    nothing = {key: None for key in ("weights", "weights_backbone") if key in asked}  # else it would download
    return Made(models.get_model(name, **nothing), preprocess, note=note)


def _timm(name: str) -> Made:
    model = f"timm:{name}"
    timm = _zoo("timm", model)
    if not timm.is_model(name):
        raise _unknown(model, timm.list_models())
    net = timm.create_model(name, pretrained=False)
    view = timm.data.resolve_model_data_config(net)
    size = view["input_size"][-1]
    preprocess = _usual(mean=view["mean"], std=view["std"], resize=int(size / view["crop_pct"]), size=size)
    return Made(net, preprocess, note=f"{model} has random weights (seed {SEED}); give trained ones with --weights")


def _usual(**given: Any) -> dict[str, object]:
    """RGB from 0 to 1, as both packages take it, with what a network states of itself."""
    return {"channels": "RGB", "range": 1.0, **given}


ZOOS: Mapping[str, Callable[[str], Made]] = {"torchvision": _torchvision, "timm": _timm}
