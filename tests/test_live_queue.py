"""One network for all who visit: the newest question of a page counts, and only so many wait."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from httpx import Response
from torch import nn

import pixelward as pw
from live_atlas import PREPROCESS, network
from live_served import HOME, PIECE, ask, photo, refusal, token_of, tried
from pixelward.atlas import Atlas
from pixelward.web import links
from pixelward.web.serve import app


class Slow(nn.Module):
    """A network that can be held in the middle of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.preprocess = network(), PREPROCESS
        self.held, self.started, self.let_go = False, threading.Event(), threading.Event()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.held:
            self.started.set()
            assert self.let_go.wait(30)
        return self.inner(x)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[Slow, TestClient, Atlas]]:
    net = Slow().eval()
    (tmp_path / "one").mkdir()
    photo().save(tmp_path / "one" / "a.png")
    atlas = pw.scan(net, tmp_path / "one", tmp_path / "atlas", layers=["inner.conv1:relu"], note=print)
    with TestClient(app(atlas.path, model=net), base_url=HOME) as client:
        client.get("/")  # the check is done
        yield net, client, atlas
        net.let_go.set()


def test_a_newer_click_of_the_same_page_wins(slow: tuple[Slow, TestClient, Atlas]):
    net, client, atlas = slow
    token, slug = token_of(tried(client)), atlas.layers[0].slug
    ask(client, links.maps(token, slug))

    def click(channel: int, page: str) -> Response:
        headers = {"accept": "application/json", "x-pixelward-page": page}
        return client.get(f"/{links.tried_unit(token, slug, channel)}", headers=headers)

    net.held = True
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(click, 0, "a")
        assert net.started.wait(30)
        newer = pool.submit(click, 1, "a")
        assert "newer" in refusal(first.result(30), 409)  # while the network is still at it
        other = pool.submit(click, 2, "b")
        net.let_go.set()
        assert [future.result(30).json()["unit"]["channel"] for future in (newer, other)] == [1, 2]


def test_too_many_at_once_are_told_to_come_again(slow: tuple[Slow, TestClient, Atlas]):
    net, client, atlas = slow
    token, slug = token_of(tried(client)), atlas.layers[0].slug
    ask(client, links.maps(token, slug))
    net.held = True
    asked = f"/{links.tried_unit(token, slug, 0)}"
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(client.get, asked, headers=PIECE)
        assert net.started.wait(30)
        rest = [pool.submit(client.get, asked, headers={"accept": "application/json"}) for _ in range(9)]
        refused = next(each for each in _done(rest))
        net.let_go.set()
        assert first.result(30).status_code == 200
        assert sorted(future.result(30).status_code for future in rest) == [200] * 8 + [503]
    answer = refused.result(30)
    assert answer.headers["retry-after"] == "3"
    assert "try again in a few seconds" in refusal(answer, 503)


def _done(futures: list[Any]) -> Iterator[Any]:
    return as_completed(futures, timeout=30)
