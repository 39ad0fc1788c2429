"""The live page in a browser, for tests. Test modules import the fixtures that they use."""

import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from live_atlas import live_atlas, network
from pixelward.atlas import Atlas
from pixelward.web import links
from pixelward.web.serve import app
from serving import serving
from watched import Watched

REFUSED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")


class Held(nn.Sequential):
    """The network, which can be held in the middle of a picture."""

    def __init__(self) -> None:
        inner = network()
        super().__init__()
        for name, module in inner.named_children():
            self.add_module(name, module)
        self.preprocess, self.open = inner.preprocess, threading.Event()
        self.open.set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.open.wait(30)
        return super().forward(x)


@pytest.fixture(scope="module", name="atlas")
def atlas_once(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return live_atlas(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module", name="net")
def net_once() -> Held:
    return Held().eval()


@pytest.fixture(scope="module", name="served")
def served_once(atlas: Atlas, net: Held) -> Iterator[str]:
    """The address of a server with a network."""
    with serving(app(atlas.path, model=net)) as address:
        yield address


@pytest.fixture(name="page")
def page_opened(browser: Any, served: str) -> Iterator[Any]:
    """The live page, which must end without any fault; `page.watched.wrong` holds them."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(20_000)
    opened = context.new_page()
    opened.watched = Watched(opened, served)
    opened.goto(f"{served}/{links.LIVE}")
    yield opened
    context.close()
    assert opened.watched.wrong == []


@pytest.fixture(scope="module", name="mine")
def mine_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture file with markup in its name."""
    file = tmp_path_factory.mktemp("mine") / "<i>mine<i>.png"
    file.write_bytes(picture())
    return file


def picture(seed: int = 7) -> bytes:
    target = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def settled(page: Any, name: str = "") -> None:
    """Wait until an answer is there, whole."""
    if name:
        page.locator(".taken h2", has_text=name).first.wait_for()
    page.locator(".of-layer[data-painted]").wait_for()
    page.locator(".of-unit").wait_for()


def rested(page: Any) -> None:
    """Wait until all that the page asked for is there: after what is shown already is chosen once more, too."""
    page.wait_for_function("() => !document.querySelector('[aria-busy]')")


def asked(page: Any, part: str) -> list[Any]:
    """The requests from now on whose addresses have this part."""
    found: list[Any] = []
    page.on("request", lambda sent: part in sent.url and found.append(sent))
    return found


def all_answered(sent: list[Any]) -> None:
    """Wait until requests are answered or given up. (A page that was idle once stays so for Playwright.)"""
    assert len(sent) > 1
    for each in sent:
        each.response()


def unit_shown(page: Any, channel: int) -> Any:
    found = page.locator(f'.of-unit[data-channel="{channel}"]')
    found.wait_for()
    return found
