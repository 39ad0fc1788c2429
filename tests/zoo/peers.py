"""Captum and zennit, asked for the same: the strongest class at the pixels, by the deconvnet's rule, seed 1."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from zoo.judge import Judged
from zoo.measures import difference, strongest


def captum(net: nn.Module, picture: Tensor, channel: int) -> Tensor:
    from captum.attr import Deconvolution

    return Deconvolution(net).attribute(picture.clone(), target=channel)[0].detach()


def zennit(net: nn.Module, picture: Tensor, channel: int) -> Tensor:
    from zennit.attribution import Gradient
    from zennit.composites import DeconvNet

    with Gradient(net, DeconvNet()) as attributor:
        _, signal = attributor(picture.clone().requires_grad_(True), lambda out: chosen(out, channel))
    return signal[0].detach()


def chosen(output: Tensor, channel: int) -> Tensor:
    seed = torch.zeros_like(output)
    seed[0, channel] = 1
    return seed


PEERS: Mapping[str, Callable[[nn.Module, Tensor, int], Tensor]] = {"captum": captum, "zennit": zennit}


def ask(judged: Judged, peer: str) -> dict[str, object]:
    """What a peer's answer is worth: right, wrong, or an error; `answers` where there is no right one."""
    if not judged.answers:
        return {"verdict": "not asked", "reason": "the network does not give one number a class"}
    place = strongest(judged.plain)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            signal = PEERS[peer](judged.net, judged.picture, place[1])
    except Exception as error:
        return {"verdict": "error", "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    if judged.reference is None or not judged.record["output"]:
        return {"verdict": "answers"}
    found = difference(signal, judged.reference.project(judged.reference.output, place, 1))
    return {"verdict": "right" if found < 1e-9 else "wrong", "difference": found}
