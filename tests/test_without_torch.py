"""The commands that only read an atlas answer where torch cannot even be imported."""

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from fake_atlas import SPECS, fake_atlas
from pixelward.atlas import Atlas
from pixelward.web import links
from pixelward.web.export import export

BLOCKED = """import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{name} is not to be imported here")

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Atlas, Atlas]:
    folder = tmp_path_factory.mktemp("pair")
    return fake_atlas(folder / "one"), fake_atlas(folder / "two", [SPECS[0]._replace(dead=2), *SPECS[1:]])


@pytest.fixture(scope="module")
def blocking(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which Python refuses to import torch, from its start on."""
    folder = tmp_path_factory.mktemp("blocking")
    (folder / "sitecustomize.py").write_text(BLOCKED, encoding="utf-8")
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def pixelward(*words: object) -> list[str]:
    return [sys.executable, "-m", "pixelward", *map(str, words)]


def test_torch_is_blocked_here(blocking: dict[str, str]):
    for code in ("import torch", "from torch import nn", "import pixelward; pixelward.load('zfnet64')"):
        done = subprocess.run([sys.executable, "-c", code], env=blocking, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "is not to be imported here" in done.stderr


@pytest.mark.parametrize("beside", [False, True])
def test_serve_answers(pair: tuple[Atlas, Atlas], blocking: dict[str, str], beside: bool):
    one, two = pair
    command = pixelward("serve", one.path, "--port", 0, *(["--beside", two.path] if beside else []))
    slug = one.layers[0].slug
    addresses = [
        "",
        links.layer(slug),
        links.twin(links.layer(slug)),
        links.unit(slug, 2),
        links.sheet(slug, 2, "patches"),
        links.details(slug, 2, 1),
        links.picture(next(one.hit_pictures())),
        links.static("pixelward.js"),
    ]
    if beside:
        addresses += [links.compare(), links.compare_layer(slug), *map(links.beside, addresses[1:])]
        addresses.remove(links.beside(links.picture(next(one.hit_pictures()))))
    process = subprocess.Popen(command, env=blocking, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        root = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", root)
        for address in addresses:
            with urllib.request.urlopen(root + address) as answer:
                assert (answer.status, bool(answer.read())) == (200, True), address
    finally:
        process.kill()
        _, told = process.communicate()
    assert told == ""


def contents(folder: Path) -> dict[Path, bytes]:
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("beside", [False, True])
def test_export_writes_what_it_always_writes(
    pair: tuple[Atlas, Atlas], blocking: dict[str, str], tmp_path: Path, beside: bool
):
    one, two = pair
    command = pixelward("export", one.path, "-o", tmp_path / "blocked", *(["--beside", two.path] if beside else []))
    done = subprocess.run(command, env=blocking, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    export(one, tmp_path / "free", beside=two if beside else None)
    blocked, free = (contents(tmp_path / name) for name in ("blocked", "free"))
    assert blocked == free
    assert Path("index.html") in blocked
