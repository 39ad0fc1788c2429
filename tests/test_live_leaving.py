"""Long work of the network ends where nobody waits for it: after a newer question, or when the page was left."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest
import torch
import uvicorn
from fastapi.testclient import TestClient
from starlette.requests import Request
from torch import nn

import pixelward as pw
from live_atlas import PREPROCESS, network, pictures
from pixelward.atlas import Atlas
from pixelward.web import links
from pixelward.web.live.desk import PAGE, _while_there
from pixelward.web.refusals import Superseded
from pixelward.web.serve import _listen, app
from pixelward.web.worker import WAITING, Worker

LONG = 30  # seconds after which a test fails rather than hangs


class Gate:
    """Counts what passes, and can hold it. Copies of a network share it."""

    def __init__(self) -> None:
        self.passes, self.held, self.started, self.let_go = 0, False, threading.Event(), threading.Event()

    def __deepcopy__(self, known: Any) -> "Gate":
        return self

    def __call__(self) -> None:
        self.passes += 1
        if self.held:
            self.started.set()
            assert self.let_go.wait(LONG)


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.preprocess, self.gate = network(), PREPROCESS, Gate()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.gate()
        return self.inner(x)


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[tuple[Counted, TestClient, Atlas]]:
    net = Counted().eval()
    atlas = pw.scan(net, pictures(tmp_path / "pictures"), tmp_path / "atlas", layers=["inner.conv2"], k=4, note=print)
    pw.draw(atlas, net)
    with TestClient(app(atlas.path, model=net), base_url="http://127.0.0.1") as client:
        yield net, client, atlas
        net.gate.let_go.set()


@pytest.fixture
def listening(counted: tuple[Counted, TestClient, Atlas]) -> Iterator[tuple[int, Worker]]:
    """The port of a real server, and its worker."""
    net, _, atlas = counted
    application = app(atlas.path, model=net)
    with _listen("127.0.0.1", 0) as place:
        server = uvicorn.Server(uvicorn.Config(application, log_level="critical", ws="none"))
        thread = threading.Thread(target=server.run, args=([place],))
        thread.start()
        yield place.getsockname()[1], application.state.studio._worker
        net.gate.let_go.set()
        server.should_exit = True
        thread.join(LONG)


def test_details_that_were_overtaken_end_between_two_panels(counted: tuple[Counted, TestClient, Atlas]):
    net, client, atlas = counted
    gate = net.gate
    slug = atlas.layers[0].slug

    def ask(hit: int, page: str = "a") -> Any:
        return client.get(f"/{links.details(slug, 0, hit, 'json')}", headers={PAGE: page})

    before = gate.passes
    assert ask(1).status_code == 200
    whole = gate.passes - before
    assert whole > 8  # a pass for every panel
    before, gate.held = gate.passes, True
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, 2)
        assert gate.started.wait(LONG)
        newer = pool.submit(ask, 3)
        assert first.result(LONG).status_code == 409
        gate.let_go.set()
        assert newer.result(LONG).status_code == 200
    # Of the first: the hit itself, and the way back, of which the first panel was not made any more.
    assert gate.passes - before == 2 + whole
    assert (
        ask(2).json()
        == TestClient(app(atlas.path, model=net), base_url="http://127.0.0.1")
        .get(f"/{links.details(slug, 0, 2, 'json')}")
        .json()
    )


def test_pages_that_are_opened_side_by_side_are_all_made_and_no_more_than_may_wait(
    counted: tuple[Counted, TestClient, Atlas],
):
    net, client, atlas = counted
    gate, slug = net.gate, atlas.layers[0].slug
    asked = [(channel, hit) for channel in range(6) for hit in (1, 2)][: WAITING + 2]
    gate.held = True

    def open_tab(at: tuple[int, int]) -> Any:
        return client.get(f"/{links.details(slug, *at, 'html')}")

    with ThreadPoolExecutor(len(asked)) as pool:
        first = pool.submit(open_tab, asked[0])
        assert gate.started.wait(LONG)
        rest = [pool.submit(open_tab, each) for each in asked[1:]]
        try:  # one is at work and as many wait as may: only the one that is too many is answered now
            refused = next(as_completed(rest, LONG))
            assert (refused.result().status_code, refused.result().headers["retry-after"]) == (503, "3")
            assert "The network is busy" in refused.result().text
        finally:
            gate.let_go.set()
        assert [each.result(LONG).status_code for each in (first, *rest) if each is not refused] == [200] * (
            WAITING + 1
        )


def test_leafing_quickly_through_details_makes_the_last_and_is_never_refused(
    counted: tuple[Counted, TestClient, Atlas], listening: tuple[int, Worker]
):
    """Through a real connection, which a browser breaks off where it goes on to the next page."""
    net, _, atlas = counted
    port, worker = listening
    gate, slug = net.gate, atlas.layers[0].slug
    asked = [(channel, hit) for channel in range(6) for hit in (1, 2, 3)]  # more than may wait
    assert len(asked) > WAITING + 1

    def open_page(at: tuple[int, int]) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), LONG)
        head = f"GET /{links.details(slug, *at, 'html')} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
        connection.sendall(head.encode())
        return connection

    def status(connection: socket.socket) -> int:
        with connection, connection.makefile("rb") as answer:
            return int(answer.read().split()[1])

    def until_asked(count: int) -> None:
        """Wait until somebody waits for so many jobs."""
        for _ in range(100 * LONG):
            at_work = [] if worker._at_work is None else [worker._at_work[1]]
            if sum(not job.result.done() for job in [*at_work, *list(worker._waiting.values())]) == count:
                return
            time.sleep(0.01)
        pytest.fail(f"not {count}")

    assert status(open_page(asked[0])) == 200
    before, gate.held = gate.passes, True
    for each in asked[1:-1]:
        page = open_page(each)
        until_asked(1)
        assert gate.started.wait(LONG)  # by the first of them
        page.close()  # left for the next
        until_asked(0)
    last = open_page(asked[-1])
    until_asked(1)
    gate.let_go.set()
    assert status(last) == 200
    passed, gate.held, before = gate.passes - before, False, gate.passes
    assert status(open_page(asked[2])) == 200  # one of those that were left, made whole now
    # The last was made, and the first up to its first panel; nothing of the others.
    assert passed <= gate.passes - before + 2


def test_what_a_visitor_left_is_cancelled():
    left, ended = asyncio.Event(), []

    async def receive() -> Any:
        if ended == []:
            ended.append("body")
            return {"type": "http.request", "body": b"", "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async def work() -> None:
        left.set()
        try:
            await asyncio.sleep(LONG)
        finally:
            ended.append("work")

    async def visit() -> None:
        with pytest.raises(Superseded, match="a page that was left"):
            await _while_there(Request({"type": "http", "headers": []}, receive), work())
        await asyncio.sleep(0)

    asyncio.run(visit())
    assert ended == ["body", "work"]


def test_what_is_done_is_answered_and_nothing_listens_any_more():
    async def receive() -> Any:
        await asyncio.Event().wait()

    async def work() -> int:
        return 7

    async def visit() -> tuple[int, int]:
        found = await _while_there(Request({"type": "http", "headers": []}, receive), work())
        await asyncio.sleep(0)
        return found, len(asyncio.all_tasks())

    assert asyncio.run(visit()) == (7, 1)
