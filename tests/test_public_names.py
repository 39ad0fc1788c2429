"""The public names: a stored list, fetched only when asked for, and never hidden by a module of the same name."""

import ast
import importlib.metadata
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import pixelward as pw

# A name that goes missing here is a broken program somewhere else. Adding one is fine; then add it below.
NAMES = {
    "DECONVNET",
    "GRADIENT",
    "GUIDED",
    "PRODUCT",
    "keep_fixed",
    "PixelwardError",
    "__version__",
    "check",
    "draw",
    "draw_details",
    "export",
    "layers",
    "load",
    "open",
    "project",
    "scan",
}


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_the_stored_ones():
    assert set(pw.__all__) == NAMES
    assert len(pw.__all__) == len(NAMES)
    assert set(dir(pw)) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_public_name_is_there_and_explained(name):
    value = getattr(pw, name)
    assert value is getattr(pw, name)
    if callable(value):
        assert inspect.getdoc(value)


def test_the_version_is_the_installed_one():
    assert pw.__version__ == importlib.metadata.version("pixelward")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'pixelward' has no attribute 'nonsense'"):
        _ = pw.nonsense


def test_importing_the_package_loads_neither_torch_nor_numpy():
    heavy = "{'torch', 'numpy', 'PIL', 'typer', 'jinja2'}"
    assert run(f"import sys, pixelward; dir(pixelward); print({heavy} & set(sys.modules))") == "set()\n"


@pytest.mark.parametrize("name", ["scan", "draw"])
def test_a_module_does_not_hide_the_function_of_its_name(name):
    code = f"""
import pixelward as pw
import pixelward.{name}
from pixelward.{name} import {name} as direct
from pixelward import {name} as public
assert callable(pw.{name}) and pw.{name} is direct is public
"""
    run(code)


def test_type_checkers_and_programs_see_the_same_names():
    tree = ast.parse(Path(pw.__file__).read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.asname: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if not alias.asname.startswith("_")
    }
    lazy = {name: home for name, home in pw._HOMES.items() if name != "open"}  # a method of a class
    assert imported == lazy
