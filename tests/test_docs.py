"""What the manual shows works: its Python is run, its commands and options exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))) if page.exists()]
FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<code>.*?)^(?P=indent)(?P=fence)`* *$", re.M | re.S
)
SHELLS = {"bash", "shell", "console", "zsh", "shell-session", "terminal"}


class Block(NamedTuple):
    """A fenced block: the words after its fence, the line of the page that its code begins on, its code."""

    info: str
    line: int
    code: str


def blocks(text: str) -> list[Block]:
    found = []
    for match in FENCE.finditer(text):
        code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.M)
        found.append(Block(match["info"].strip(), text.count("\n", 0, match.start("code")) + 1, code))
    return found


def of_page(page: Path, info: str) -> list[Block]:
    return [block for block in blocks(page.read_text("utf-8")) if block.info == info]


def relative(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# ---------------------------------------------------------------- Python


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_block_of_python_is_one_that_runs(page: Path):
    for info, line, code in blocks(page.read_text("utf-8")):
        where = f"{relative(page)}:{line}"
        if info.lower().startswith("py"):
            assert info == "python", f"{where}: fence it as ```python and let it run"
            assert "../shared" not in code, f"{where}: a snippet must run on any machine"
        assert info.split(" ")[0].lower() not in SHELLS, f"{where}: fence it as ```sh, so that its options are checked"


@pytest.mark.parametrize("page", [page for page in PAGES if of_page(page, "python")], ids=relative)
def test_python_of_the_page_runs_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for block in of_page(page, "python"):
            # Empty lines in front give an error the page's own line number.
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace)


# ---------------------------------------------------------------- commands


def commands(shell: str) -> Iterator[tuple[str, list[str]]]:
    """(line, arguments) of every call of `pixelward` in a block of shell; a line that ends in \\ goes on."""
    for line in shell.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        call: list[str] | None = None
        for token in [*lexer, ";"]:
            if set(token) <= set("();<>|&"):
                if call is not None:
                    yield line.strip(), call
                call = None
            elif call is not None:
                call.append(token)
            elif token.rsplit("/", 1)[-1] == "pixelward":
                call = []


def complaint(app: object, arguments: list[str]) -> str | None:
    """Why the command line would not take these arguments, or None. Parses them and converts and runs nothing."""
    from typer.main import get_command

    command, words = get_command(app), arguments  # type: ignore[arg-type]
    while True:
        context = command.make_context(None, [], resilient_parsing=True)  # without running its callback
        context.resilient_parsing = False  # with errors from here on
        try:
            values, rest, _ = command.make_parser(context).parse_args(list(words))
        except Exception as error:
            return str(getattr(error, "message", error))
        if not hasattr(command, "commands"):
            missing = [option.name for option in command.params if option.required and values.get(option.name) is None]
            if rest or (missing and "help" not in values):
                return f"unexpected: {rest}, missing: {missing}"
            return None
        if not rest:
            return None
        if rest[0] not in command.commands:
            return f"no such command: {rest[0]}"
        command, words = command.commands[rest[0]], rest[1:]


@pytest.mark.parametrize("page", [page for page in PAGES if of_page(page, "sh")], ids=relative)
def test_commands_and_options_of_the_page_exist(page: Path):
    try:
        from pixelward.cli import app
    except ImportError as error:
        pytest.skip(f"no command line yet: {error}")
    for block in of_page(page, "sh"):
        for line, arguments in commands(block.code):
            reason = complaint(app, arguments)
            assert reason is None, f"{relative(page)}:{block.line}: `{line}`: {reason}"


# ---------------------------------------------------------------- links

LINK = re.compile(r"\]\(\s*<?([^)\s>]+)")


def targets(text: str) -> list[str]:
    """What the page links to or shows, outside of its code, where it is no address of the web and no heading."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    return [path for link in LINK.findall(prose) if ":" not in link and (path := link.split("#")[0])]


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_relative_link_of_the_page_points_to_a_file(page: Path):
    absent = [path for path in targets(page.read_text("utf-8")) if not (page.parent / path).exists()]
    assert absent == [], f"{relative(page)} links to what is not there: {absent}"


# ---------------------------------------------------------------- the checks themselves


def test_links_are_found_outside_of_code():
    text = "[a](b.md#c) ![d](e/f.png) [g](https://h.i/j) [`k`](l.py) [m](#n)\n`[o](p)`\n```text\n[q](r)\n```\n"
    assert targets(text) == ["b.md", "e/f.png", "l.py"]


def test_blocks_are_found_with_their_lines():
    text = "# Page\n\n```python\nx = 1\n```\n- item\n\n  ```sh\n  make demo\n  ```\n````text\n```python\n````\n"
    assert blocks(text) == [
        Block("python", 4, "x = 1\n"),
        Block("sh", 9, "make demo\n"),
        Block("text", 12, "```python\n"),
    ]


def test_calls_are_found_among_other_commands():
    shell = (
        "# pixelward never --this\nmake demo\n$ .venv/bin/pixelward scan zfnet64 photos/ \\\n    -o atlas  # here\n"
        "pixelward info atlas --json | head && time pixelward --help\ncat pixelward.txt; echo 'pixelward no'\n"
    )
    assert [arguments for _, arguments in commands(shell)] == [
        ["scan", "zfnet64", "photos/", "-o", "atlas"],
        ["info", "atlas", "--json"],
        ["--help"],
    ]


def test_unknown_commands_and_options_are_noticed():
    import typer

    app = typer.Typer()

    @app.callback()
    def main(debug: bool = False) -> None: ...

    @app.command()
    def scan(
        model: str,
        pictures: list[Path],
        out: Path = typer.Option(..., "-o", "--out"),  # noqa: B008
        k: int = typer.Option(9, "-k"),
    ) -> None: ...

    for right in ("--help", "scan --help", "scan M photos more -o atlas -k9", "--debug scan M x --out=y"):
        assert complaint(app, right.split()) is None, right
    assert "no such command: scans" in str(complaint(app, ["scans"]))
    assert "--size" in str(complaint(app, ["scan", "M", "x", "-o", "y", "--size", "3"]))
    assert "missing: ['out']" in str(complaint(app, ["scan", "M", "x"]))
    assert "--verbose" in str(complaint(app, ["--verbose", "scan"]))
