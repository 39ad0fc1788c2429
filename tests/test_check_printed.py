"""What `check` prints on the command line, and the same as plain values."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pixelward as pw
from checked_networks import SIZE, attentive
from pixelward.cli import app


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs `check` on a network of `checked_networks`; gives the lines of standard output and of standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "nets.py").write_text(
        f"import sys; sys.path.insert(0, {str(__file__.rpartition('/')[0])!r})\n"
        "from checked_networks import *\n"
        "preprocess = dict(channels='RGB', range=1.0, mean=(0.5,) * 3, std=(0.5,) * 3, "
        "resize=32, size=32)\n"
    )

    def run(name, *words, status=0):
        result = CliRunner().invoke(app, ["check", f"nets.py:{name}", *words])
        assert result.exit_code == status, result.output
        return result.stdout.splitlines(), result.stderr.splitlines()

    return run


def test_the_verdict_comes_first_then_operations_layers_and_what_to_do(command):
    lines, notes = command("excited")
    assert lines[:3] == [
        "nets.py:excited, on pictures of 32 x 32 pixels:",
        "All 5 layers can be projected exactly: 2 in windows of the picture, 3 on the whole picture, which takes "
        "longer.",
        "3 operations are stated extensions of the paper: SiLU, gate and group norm.",
    ]
    assert [re.split(" {2,}", line) for line in lines[3:]] == [
        [""],
        ["operation", "kind", "times", "rule", "first in"],
        ["conv2d", "convolution", "5", "paper's rule", "0"],
        ["batch_norm", "batch norm", "1", "exact transpose", "1"],
        ["adaptive_avg_pool2d", "average pool", "1", "exact transpose", "3"],
        ["interpolate", "linear", "1", "exact transpose", "7"],
        ["silu", "other rectifier", "3", "stated extension", "2"],
        ["mul", "gate", "1", "stated extension", "3"],
        ["group_norm", "norm by the picture's own statistics", "1", "stated extension", "5"],
        ["sigmoid", "saturating activation", "1", "kept fixed", "3"],
        [""],
        ["layer", "units", "map", "field", "reach", "stride", "offset", "goes down"],
        ["0:relu", "8", "16 x 16", "3 x 3", "3 x 3", "2 x 2", "-1", "in windows"],
        *[
            [name, units, "1 x 1", *["whole picture"] * 2, "-", "-", "whole picture: adaptive_avg_pool2d is global"]
            for name, units in (("3.squeeze:relu", "4"), ("3.excite", "8"))
        ],
        ["4:relu", "8", "16 x 16", "whole picture", "7 x 7", "2 x 2", "-3", "in windows"],
        ["8", "2", "32 x 32", *["whole picture"] * 2, "-", "-", "whole picture: interpolate needs autograd's node"],
    ]
    assert notes == ["scan your pictures with: pixelward scan nets.py:excited PICTURES -o ATLAS"]


def test_what_is_refused_is_told_with_the_remedy_and_is_no_failure(command):
    lines, notes = command("exponential", "--size", "16")
    assert lines[0].endswith("on pictures of 16 x 16 pixels:")
    at = lines.index("Refused")
    assert lines[at : at + 3] == [
        "Refused",
        "exp in '1': no row of the table of rules names it",
        "    choose a layer below it, or add a rule: rules={**pw.DECONVNET, torch.exp: my_rule}",
    ]
    assert lines[-1].endswith("refused: exp in '1'")
    assert notes == [
        "scan your pictures with: pixelward scan nets.py:exponential --size 16 PICTURES -o ATLAS (what is refused is "
        "left out)"
    ]


def test_where_nothing_can_be_projected_the_gradient_is_named(command):
    lines, notes = command("hopeless")
    assert lines[1] == "Its one layer cannot be projected."
    assert notes == [
        "the gradient goes everywhere: pixelward project nets.py:hopeless IMAGE --layer 1 --channel 0 --rules gradient "
        "-o OUT.png"
    ]


def test_many_layers_are_put_together_by_their_maps_and_their_way(command):
    lines, notes = command("deep")
    at = next(number for number, line in enumerate(lines) if line.startswith("layers"))
    assert [re.split(" {2,}", line.strip()) for line in lines[at:]] == [
        ["layers", "map", "field", "goes down", "first"],
        ["8", "16 x 16", "3 to 31", "in windows", "0"],
        ["24", "16 x 16", "35 to 127", "whole picture: large reach", "8.0:relu"],
        ["1", "16 x 16", "127", "refused: exp", "33"],
    ]
    assert notes[1] == "each layer by itself: pixelward layers nets.py:deep, or --json"
    _, notes = command("plain", "--all")
    assert len(notes) == 1


def test_a_terminal_gets_lines_as_wide_as_it_is(command, monkeypatch):
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("FORCE_COLOR", "1")
        for name in ("excited", "attentive", "deep"):
            lines, _ = command(name)
            assert max(map(len, lines)) <= width
            assert any(line.startswith("0") or line.endswith(" 0") for line in lines)  # the first layer's address


def test_an_error_is_one_line_and_status_1(command):
    lines, notes = command("plain", "--size", "40", status=1)
    assert lines == []
    assert notes[-1].startswith("given: a picture tensor of shape (1, 3, 40, 40), on which the network's forward")


def test_the_manual_shows_what_is_printed():
    page = (Path(__file__).parents[1] / "docs" / "check.md").read_text("utf-8")
    shown = page.split("```text\n")[1].split("```")[0]
    assert CliRunner().invoke(app, ["check", "zfnet64"]).stdout == shown


# As plain values


def test_plain_values_have_stable_keys():
    plain_values = json.loads(json.dumps(pw.check(attentive(), size=SIZE).to_json()))
    assert list(plain_values) == ["network", "size", "channels", "rules", "verdict", "operations", "layers"]
    assert (plain_values["network"], plain_values["size"], plain_values["rules"]) == (
        "Sequential",
        [32, 32],
        "deconvnet",
    )
    assert plain_values["operations"][0] == {
        "operation": "conv2d", "kind": "convolution", "how": "paper's rule", "count": 5, "where": "0",
        "reason": None, "remedy": None, "blocks": [], "title": "conv2d",
    }  # fmt: skip
    spans = [[2, -3, 7]]
    assert plain_values["layers"][1] == {
        "address": "2:relu", "aliases": ["3"], "shape": [8, 16, 16],
        "field": {"rows": spans, "columns": spans}, "reach": {"rows": spans, "columns": spans},
        "stride": [2, 2], "offset": [-3, -3], "windows": True, "whole": None,
        "blocked_by": None, "blocked_in": None, "refusal": None,
    }  # fmt: skip
    above = plain_values["layers"][3]
    assert above["field"] == {"rows": None, "columns": None}
    assert (above["stride"], above["windows"], above["blocked_by"], above["blocked_in"]) == (None, False, "bmm", "4")
    assert above["refusal"].startswith("given: bmm in '4'")


def test_json_is_the_report_and_nothing_else(command):
    lines, notes = command("attentive", "--json")
    assert json.loads("\n".join(lines)) == pw.check(attentive(), size=SIZE).to_json()
    assert notes == []
    lines, _ = command("plain", "--json", "--all")
    assert len(json.loads("\n".join(lines))["layers"]) == 10
