"""A sample of the zoo: other people's networks against the zoo's own oracle. `make zoo` runs all of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
import torch

from zoo import vision

try:
    vision.timm()
except ImportError as error:
    pytest.skip(f"needs torchvision and timm, which the Makefile installs: {error}", allow_module_level=True)

from pixelward.core import rules
from zoo.judge import Judged
from zoo.measures import fingerprint, left_behind
from zoo.networks import ATTENTION, CONVOLUTIONAL, entries, entry, families

EXACT = {
    "torchvision:mobilenet_v3_small": "gates and hardswish",
    "torchvision:shufflenet_v2_x0_5": "channels shuffled",
    "torchvision:squeezenet1_1": "concatenation",
    "timm:test_byobnet": "gates between norms",
    "timm:test_convnext": "norms over channels that lie last, layer scales",
    "timm:test_efficientnet_evos": "a norm that is an activation, written by hand",
    "timm:test_efficientnet_gn": "group norms",
    "timm:test_efficientnet_ln": "changes in place through a view",
    "timm:test_nfnet": "weights standardised anew at every call",
    "timm:ghostnet_050": "sums in place on slices",
}
REFUSED = {
    "timm:starnet_s050": "and neither is a gate",
    "timm:test_vit": "attention",
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are so small that threads wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("title", EXACT)
def test_a_network_of_convolutions_is_exact(title: str):
    judged = Judged(entry(title))
    judged.judge()
    assert judged.record["wrong"] == []
    assert judged.record["verdict"] == "exact", judged.record["refused"]
    assert judged.record["projected"] == judged.record["layers"]


@pytest.mark.parametrize("title", REFUSED)
def test_what_has_no_rule_is_refused_and_what_is_below_it_exact(title: str):
    judged = Judged(entry(title))
    judged.judge()
    assert judged.record["wrong"] == []
    assert REFUSED[title] in judged.record["refused"]["reason"]
    assert judged.record["projected"] > 0
    fixed = judged.record.get("fixed")
    assert fixed is None or (fixed["refused"] is None and fixed["projected"] > judged.record["layers"])


def test_a_wrong_rule_is_found_out(monkeypatch: pytest.MonkeyPatch):
    """The judge can say no: with the plain gradient at the activations nothing passes."""
    monkeypatch.setattr(rules, "DECONVNET", {**rules.DECONVNET, rules.ACTIVATION: rules.autograd})
    judged = Judged(entry("timm:test_nfnet"))
    judged.judge()
    assert judged.record["verdict"] == "WRONG"
    assert any(said.startswith("the output differs") for said in judged.record["wrong"])


def test_every_architecture_of_timm_is_in_the_zoo():
    assert [module for module, members in families().items() if not members] == []
    assert {name for members in families().values() for name in members} == {*CONVOLUTIONAL, *ATTENTION}


def test_every_classification_network_of_torchvision_is_in_the_zoo():
    """Its own list, and the functions that its package shows which build a network from weights."""
    models = vision.torchvision().models
    builders = {
        name
        for name, thing in vars(models).items()
        if inspect.isfunction(thing)
        and thing.__module__.count(".") == 2
        and not thing.__module__.endswith("._api")
        and "weights" in inspect.signature(thing).parameters
    }
    names = {each.name for each in entries() if each.package == "torchvision"}
    assert names >= set(models.list_models(module=models))
    assert names >= builders >= {"alexnet", "resnet18", "vit_b_16"}


def test_no_network_stands_twice_in_the_zoo():
    titles = [each.title for each in entries()]
    assert len(set(titles)) == len(titles)


def test_what_is_left_on_a_network_is_found_out():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    before = fingerprint(net)
    assert left_behind(before, fingerprint(net)) == ""
    net[0].register_forward_hook(lambda module, given, output: None)
    net[1].running_mean.add_(1)
    net[0].bias.requires_grad_(False)
    assert left_behind(before, fingerprint(net)) == "0._forward_hooks, 0.bias gradient, 1.running_mean numbers"
