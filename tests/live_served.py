"""The live atlas behind a server, and how tests talk to it. Test modules import the fixtures that they use."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from httpx import Response
from PIL import Image

from live_atlas import PREPROCESS, live_atlas, network
from pixelward.atlas import Atlas
from pixelward.data.images import Preprocess, prepare
from pixelward.web import links
from pixelward.web.serve import app

HOME = "http://127.0.0.1"
OURS = {"origin": HOME}
JSON = {**OURS, "accept": "application/json"}
PIECE = {"hx-request": "true"}  # as the live page asks for what it is made of


@pytest.fixture(scope="module", name="atlas")
def atlas_once(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """For a whole module, which must leave it as it is."""
    return live_atlas(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module", name="served")
def served_once(atlas: Atlas) -> Iterator[TestClient]:
    with TestClient(app(atlas.path, model=network()), base_url=HOME) as client:
        yield client


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def photo(width: int = 50, height: int = 40, seed: int = 1) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def send(client: TestClient, data: bytes, name: str = "mine.png", headers: dict[str, str] = JSON) -> Response:
    return client.post(f"/{links.try_upload()}", params={"name": name}, content=data, headers=headers)


def tried(client: TestClient, data: bytes | None = None) -> dict[str, Any]:
    answer = send(client, data or encoded(photo()))
    assert answer.status_code == 200, answer.text
    return answer.json()


def token_of(panel: dict[str, Any]) -> str:
    return panel["path"].split("/")[1]


def slug_of(atlas: Atlas, address: str) -> str:
    return atlas.layer(address).slug


def ask(client: TestClient, address: str) -> Any:
    answer = client.get(f"/{address}", headers={"accept": "application/json"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(answer: Response, status: int) -> str:
    """What a refusal says, all of it; the server must live on."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert set(told) == {"problem", "given", "allowed", "next_step"}
    return " - ".join(told.values())


def prepared(data: bytes) -> torch.Tensor:
    return prepare(data, Preprocess.from_dict(PREPROCESS), "mine")
