"""Clicks on the live page: the network runs once for a layer of a picture; what that gave is bounded and let go."""

import gc
import weakref
from collections.abc import Iterator

import pytest
import torch
from fastapi.testclient import TestClient
from torch import nn

import pixelward as pw
from live_atlas import LAYERS, network
from live_served import HOME, ask, atlas_once, encoded, photo, prepared, slug_of, token_of, tried  # noqa: F401
from pixelward.atlas import Atlas
from pixelward.core.project import Below, Unit
from pixelward.web import links
from pixelward.web.kept import KeptOf
from pixelward.web.live import uploads
from pixelward.web.serve import app
from pixelward.web.studio import BELOW, Studio


class Owner:
    pass


class Counted:
    """A network whose forward passes are counted."""

    def __init__(self) -> None:
        self.net, self.passes = network(), 0
        self.net.register_forward_pre_hook(self._count)

    def _count(self, net: nn.Module, given: object) -> None:
        self.passes += 1


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def browser(atlas: Atlas, counted: Counted) -> Iterator[TestClient]:
    with TestClient(app(atlas.path, model=counted.net), base_url=HOME) as client:
        yield client


def studio(client: TestClient) -> Studio:
    found: Studio = client.app.state.studio  # type: ignore[attr-defined]
    return found


def click(client: TestClient, atlas: Atlas, token: str, address: str, channel: int, place: tuple[int, ...] = ()):
    return ask(client, links.tried_unit(token, slug_of(atlas, address), channel, place))


PLACES = [(channel, place) for channel in range(4) for place in ((), (0, 0), (3, 5), (7, 7))]


def test_the_network_runs_for_the_first_click_on_a_layer_alone(browser: TestClient, atlas: Atlas, counted: Counted):
    token = token_of(tried(browser))
    for address in LAYERS[:2]:
        click(browser, atlas, token, address, 0)
        before = counted.passes
        for channel, place in PLACES:
            click(browser, atlas, token, address, channel, place)
        assert counted.passes == before
    click(browser, atlas, token, LAYERS[0], 0)
    assert counted.passes > before  # the layer that was looked at last is the other one


@pytest.mark.parametrize("rules", ["deconvnet", "guided"])
@pytest.mark.parametrize("layer", [*LAYERS, "pool"])
def test_units_that_go_down_after_others_are_those_that_go_alone(rules: str, layer: str):
    net, picture = network(), prepared(encoded(photo(seed=3)))
    places = [(), (0, 0), (3, 5), (7, 7)] if layer != "fc" else [()]
    units = [Unit(0, channel, place or None) for channel in range(3) for place in places]
    below = Below(net, picture[None], layer, rules)
    for unit in [*units, *reversed(units)]:
        (found,) = below.project([unit])
        one = pw.project(net, picture, layer=layer, channel=unit.channel, position=unit.position, rules=rules)
        assert torch.equal(found.signal, one.signal)
        assert (found.value, found.position, found.field) == (one.value, one.position, one.field)
        assert (found.reach, found.shown) == (one.reach, one.shown)


def test_visitors_who_click_by_turns_get_what_a_pass_for_each_click_gives(
    browser: TestClient, atlas: Atlas, monkeypatch: pytest.MonkeyPatch
):
    tokens = [token_of(tried(browser, encoded(photo(seed=seed)))) for seed in range(BELOW + 1)]
    asked = [(address, token, *each) for each in PLACES[:6] for address in LAYERS[:2] for token in (*tokens, tokens[0])]

    def answers() -> list[object]:
        found: list[object] = []
        for address, token, channel, place in asked:
            panel = click(browser, atlas, token, address, channel, place)
            found += [panel, browser.get(f"/{panel['projection']}").content]
        return found

    kept = answers()
    assert len(list(studio(browser).below._things)) == BELOW
    monkeypatch.setattr(KeptOf, "get", lambda *given: None)
    assert answers() == kept


@pytest.mark.parametrize(("rules", "light"), [("deconvnet", True), ("guided", False)])
def test_without_need_none_of_autograds_graph_is_kept(rules: str, light: bool):
    net, nodes = network(), list[weakref.ref[Owner]]()

    def mark(module: nn.Module, given: object, result: torch.Tensor) -> None:
        owner = Owner()  # lives as long as the node
        result.grad_fn.metadata["owner"] = owner
        nodes.append(weakref.ref(owner))

    for module in net.children():
        module.register_forward_hook(mark)
    below = Below(net, torch.rand(1, 3, 32, 32), "conv2", rules)
    assert all(node() is not None for node in nodes)
    below.project([Unit(0, 1)])
    assert below.is_light == light
    assert [node() is None for node in nodes] == [light] * 3


def test_rules_that_need_autograds_graph_keep_nothing(atlas: Atlas, tmp_path):
    net = network()
    other = pw.scan(net, atlas.path.parent / "pictures", tmp_path / "atlas", layers=list(LAYERS), k=4, note=print)
    pw.draw(other, net, rules="guided")
    with TestClient(app(other.path, model=net), base_url=HOME) as client:
        click(client, other, token_of(tried(client)), "conv2", 1)
        assert not list(studio(client).below._things)


def alive() -> int:
    """Bytes of all tensors."""
    gc.collect()
    storages = {
        each.untyped_storage().data_ptr(): each.untyped_storage().nbytes()
        for each in gc.get_objects()
        if type(each) in (torch.Tensor, nn.Parameter)
    }
    return sum(storages.values())


def test_memory_does_not_grow_with_clicks(browser: TestClient, atlas: Atlas):
    token, found = token_of(tried(browser)), []
    for number in (0, 0, 1, 2, 3):
        for channel, place in PLACES[4 * number : 4 * number + 4]:
            for address in LAYERS[:2]:
                click(browser, atlas, token, address, channel, place)
        found.append(alive())
    assert len(set(found[1:])) == 1, found


def test_what_is_kept_of_a_picture_goes_with_it(browser: TestClient, atlas: Atlas):
    token = token_of(tried(browser))
    click(browser, atlas, token, "conv2", 0)
    ((_, below),) = studio(browser).below._things.values()
    kept = weakref.ref(below)
    del below
    for seed in range(uploads.KEPT):
        assert kept() is not None
        tried(browser, encoded(photo(seed=seed)))
    gc.collect()
    assert kept() is None
    assert browser.get(f"/{links.tried(token)}").status_code == 410


def test_of_each_owner_one_thing_is_kept_and_of_the_last_owners():
    kept: KeptOf[Owner, str, int] = KeptOf(2)
    first, second, third = Owner(), Owner(), Owner()
    kept.put(first, "a", 1)
    kept.put(second, "a", 2)
    assert (kept.get(first, "a"), kept.get(second, "a"), kept.get(first, "a")) == (1, 2, 1)
    kept.put(third, "a", 3)
    assert (kept.get(first, "a"), kept.get(second, "a"), kept.get(third, "a")) == (1, None, 3)
    assert kept.get(first, "b") is None
    assert kept.get(first, "a") is None  # it made room
    kept.put(first, "b", 4)
    assert (kept.get(first, "b"), kept.get(third, "a")) == (4, 3)


def test_what_is_kept_of_an_owner_goes_with_it():
    kept: KeptOf[Owner, str, Owner] = KeptOf(2)
    owner, thing = Owner(), Owner()
    kept.put(owner, "a", thing)
    gone = weakref.ref(thing)
    del owner, thing
    gc.collect()
    assert gone() is None
