"""A checkpoint file put into a network: unwrapped, prefixes stripped, widened; what does not fit is refused by name."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor, nn

from pixelward.errors import PixelwardError
from pixelward.words import counted

Report = Callable[[str], None]
State = dict[str, Tensor]

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "ema", "module")
PREFIXES = ("module.", "model.", "net.", "_orig_mod.", "backbone.")
SHOWN = 30  # keys that do not fit, listed in a message before "and N more"
GLIMPSE = 5  # the same of a file that holds something else


def read(path: Path, report: Report) -> State:
    """The tensors of a file by name: safetensors, or a pickle of which nothing but tensors is let in.

    Safetensors are known by their content too, whatever the file is called. A dict that wraps the tensors is
    unwrapped. A line says so in both cases. Raises PixelwardError for a file that is missing, broken, needs code of
    its own to be read, or holds anything but tensors by name.
    """
    if not path.is_file():
        raise PixelwardError(
            given=f"weights {path}, which is no file",
            allowed="a .safetensors file, or a pickle of tensors (.pth, .pt)",
            next_step="check the path",
        )
    named = path.suffix == ".safetensors"
    safe = named or _looks_safe(path)
    if safe and not named:
        report(f"weights {path.name}: read as safetensors, which it holds")
    found = _read_safetensors(path) if safe else _read_pickle(path)
    for key in WRAPPERS:
        if isinstance(found, dict) and _is_state(found.get(key)):
            report(f"weights {path.name}: unwrapped {key!r}")
            found = found[key]
            break
    if not _is_state(found):
        raise PixelwardError(
            given=f"weights {path.name}, which hold {_describe(found)}",
            allowed=f"tensors by name, alone or under one of {', '.join(WRAPPERS)}",
            next_step="save net.state_dict() and give that file",
        )
    return dict(found)


def fit(net: nn.Module, state: State, name: str, report: Report) -> None:
    """Copy `state` into the network, in the network's own dtypes; `name` stands for the file in what is said.

    A line is reported for each thing done. Raises PixelwardError naming keys that are missing or left over, and
    tensors of another shape or kind; the network is then partly filled and of no use.
    """
    own: State = net.state_dict()
    state = _strip(state, own, name, report)
    shared = [(key, state[key], own[key]) for key in own if key in state]
    unlike = [
        f"{key} {tuple(theirs.shape)} where the network has {tuple(ours.shape)}"
        for key, theirs, ours in shared
        if theirs.shape != ours.shape
    ]
    # Integers in the place of fractions are quantised weights: without their scale they mean something else.
    unlike += [
        f"{key} of {_dtype(theirs)}"
        for key, theirs, ours in shared
        if ours.is_floating_point() and not theirs.is_floating_point()
    ]
    if unlike:
        raise _misfit(net, name, [("other shape or kind:", unlike)])
    try:
        outcome = net.load_state_dict(state, strict=False)
    except RuntimeError as error:  # raised by the network's own hooks
        raise _misfit(net, name, [("", [" ".join(str(error).split())])]) from error
    untracked = [key for key in own if key.endswith("num_batches_tracked") and key not in state]
    missing = [key for key in outcome.missing_keys if key not in untracked]
    if missing or outcome.unexpected_keys:
        raise _misfit(net, name, [("missing", missing), ("left over", outcome.unexpected_keys)])
    widths = {(_dtype(theirs), _dtype(ours)) for _, theirs, ours in shared if ours.is_floating_point()}
    for theirs, ours in sorted(pair for pair in widths if pair[0] != pair[1]):
        report(f"weights {name}: {theirs} turned into {ours}")
    if untracked:
        report(
            f"weights {name}: no num_batches_tracked for {counted(len(untracked), 'layer')}, as in old files; "
            "not needed"
        )
    report(f"weights {name}: {counted(len(shared), 'tensor')} loaded")


def _looks_safe(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON header in 8 bytes, then the header."""
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return start[8:] == b"{" and 8 + length <= path.stat().st_size


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise _unreadable(path, error) from error


def _read_pickle(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of old pickles and of script archives; the outcome decides
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _needs_code(path, error) from error
    except Exception as error:
        if "TorchScript" in str(error):
            raise _needs_code(path, error) from error
        raise _unreadable(path, error) from error


def _needs_code(path: Path, error: Exception) -> PixelwardError:
    # torch's message is a page; the reason in it is "Unsupported global: GLOBAL module.Class" and the like.
    reason = re.search(r"Unsupported \w+:?(?: GLOBAL)? \S+|TorchScript archive", str(error))
    return PixelwardError(
        given=f"weights {path.name}, which need more than tensors ({reason[0] if reason else type(error).__name__})",
        allowed="a .safetensors file, or a pickle that torch.load reads with weights_only=True",
        next_step="where you trust the file, load it yourself and save only net.state_dict()",
    )


def _unreadable(path: Path, error: Exception) -> PixelwardError:
    reason = (str(error) or type(error).__name__).split("\n")[0].split(". ")[0]
    return PixelwardError(
        given=f"weights {path.name}, which cannot be read ({type(error).__name__}: {reason})",
        allowed="a whole .safetensors file, or a pickle of tensors (.pth, .pt)",
        next_step="fetch or save the file again",
    )


def _misfit(net: nn.Module, name: str, groups: Iterable[tuple[str, list[str]]]) -> PixelwardError:
    listed = "; ".join(f"{title} {_some(keys, SHOWN)}".strip() for title, keys in groups if keys)
    return PixelwardError(
        given=f"weights {name} for {type(net).__name__}: {listed}",
        allowed="weights with the network's own names and shapes",
        next_step="give the weights of this network, or a factory that makes the network of these weights",
    )


def _is_state(found: object) -> TypeGuard[State]:
    return isinstance(found, dict) and bool(found) and all(isinstance(value, Tensor) for value in found.values())


def _describe(found: object) -> str:
    if not isinstance(found, dict):
        return f"a {type(found).__name__}"
    if not found:
        return "an empty dict"
    return "a dict of " + _some([f"{key} ({type(value).__name__})" for key, value in found.items()], GLIMPSE)


def _strip(state: State, own: State, name: str, report: Report) -> State:
    """Take known prefixes off while all names bear one; of all stages the one that fits the network best is kept."""
    stages = [("", state)]
    while True:
        taken, current = stages[-1]
        prefix = next((prefix for prefix in PREFIXES if all(key.startswith(prefix) for key in current)), None)
        if prefix is None:
            break
        stages.append((taken + prefix, {key.removeprefix(prefix): tensor for key, tensor in current.items()}))
    taken, best = max(stages, key=lambda stage: len(stage[1].keys() & own.keys()))  # the first of equals
    if taken:
        report(f"weights {name}: stripped the prefix {taken!r} from {counted(len(best), 'name')}")
    return best


def _some(names: list[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
