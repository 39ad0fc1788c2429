"""The benchmark's results: a row for every line of what was to be measured, its goal, and pages that say the same."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "bench").is_dir():
    pytest.skip("the benchmark is part of the checkout", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from bench import crp_peer, gallery, growth, machine, networks, passes, prose, reading, run, scroll, tried, web  # noqa: E402
from bench import floors as arithmetic  # noqa: E402
from bench import page as pages  # noqa: E402
from bench.rows import FULL, Row, Settings  # noqa: E402

from test_bench import noise, stack  # noqa: E402, F401

GROWTH = {"pictures": 10.0, "scan-k": 1.25, "draw-k": 100 / 9}  # times as long
# What was to be measured, as it was asked for: against what, and the rows that say it with their goals.
TABLE: dict[str, dict[str, float | None]] = {
    "every unit of ZFNet / Captum called as its users do": {"gallery-zfnet": 25.0},
    "the same / Captum batched at its best": {
        "gallery-zfnet-batched": 20.0,
        "gallery-zfnet-batched-conv2": 30.0,
        "gallery-zfnet-batched-conv3": 10.0,
    },
    "the same of deeper networks / Captum called as its users do": {
        "gallery-resnet50": 5.0,
        "gallery-googlenet": 5.0,
        "gallery-vgg16": 5.0,
    },
    "the pass over the pictures / the bare forward pass": {"pass-zfnet": 0.95, "pass-resnet50": 0.95},
    "the same / the bare pass in other forms": {
        "pass-zfnet-last": None,
        "pass-zfnet-stopped": None,
        "pass-resnet50-last": None,
        "pass-resnet50-stopped": None,
    },
    "the same / zennit-crp": {"crp-zfnet": 5.0},
    "one more layer, k of 100, ten times the pictures / itself": {
        f"growth-{what}-{name}-{kind}": 1.05 if kind == "memory" else GROWTH.get(name) or GROWTH.get(f"{what}-{name}")
        for what in ("scan", "draw")
        for name in ("layer", "k", "pictures", "deeper")
        for kind in ("time", "memory")
    },
    "reading one unit / a millisecond": {"reading": 1.0, "reading-opened": 1.0},
}
GOALS = {name: goal for rows in TABLE.values() for name, goal in rows.items()}
KEYS = {"name", "ratio", "goal", "floor_share", "seconds"}


def kept() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(pages.RESULTS.read_text("utf-8"))["rows"]
    return rows


def test_the_results_hold_every_row_with_its_goal():
    rows = {row["name"]: row["goal"] for row in kept() if row["measured"]["measure"] != pages.TRIED_MEASURE}
    assert rows == GOALS
    assert len(kept()) == len({row["name"] for row in kept()})


def test_every_row_of_the_results_is_whole():
    for row in kept():
        assert set(row) >= KEYS, row["name"]
        assert row["ratio"] > 0, row["name"]
        assert row["met"] == Row(**{key: value for key, value in row.items() if key not in ("met", "measured")}).met
        assert row["seconds"] or row["name"].endswith("-memory"), row["name"]
        assert row["spread"][0] <= row["ratio"] <= row["spread"][1], row["name"]
        assert row["measured"]["mode"] == "full", row["name"]
        assert len(row["measured"]["load"]) == 2
        if row["name"].startswith("gallery") or (
            row["name"].startswith(("pass", "crp")) and "revision" in row["measured"]
        ):
            assert 0 < row["floor_share"] <= row["shape_share"], row["name"]


def test_the_goals_that_are_measured_against_are_those_of_the_table():
    given = {f"gallery-{name}": goal for name, goal in gallery.GOALS.items()}
    given |= {f"gallery-zfnet-batched{part and '-' + part}": goal for part, goal in gallery.BATCHED_GOALS.items()}
    for name in ("zfnet", "resnet50"):
        given |= {f"pass-{name}{suffix}": goal for suffix, _, goal in passes.AGAINST.values()}
    given[crp_peer.NAME] = crp_peer.GOAL
    spent = [{what: {"seconds": 1.0, "mebibytes": 1.0} for what in ("scan", "draw")}]
    found = dict.fromkeys(growth.PARTS | growth.DEEP, spent)
    given |= {row.name: row.goal for what in ("scan", "draw") for row in growth.rows_of(what, found, FULL, 1)}
    given |= {reading.NAME: 1.0, f"{reading.NAME}-opened": 1.0}
    assert given == GOALS


def test_the_full_mode_measures_as_much_as_was_asked_for():
    assert (gallery.K, FULL.pictures) == (9, 1000)
    assert (growth.K, growth.MANY, growth.TEN, FULL.small, FULL.small * growth.TEN) == (9, 100, 10, 1000, 10_000)
    assert (reading.LIMIT, FULL.units) == (1e-3, 100_000)
    assert set(networks.NETWORKS) == {"zfnet", "resnet50", "googlenet", "vgg16"}
    assert {name.partition("-")[0] for name in run.MEASURES} == {"gallery", "pass", "crp", "growth", "reading", "tried"}


# ---------------------------------------------------------------- the pages


def test_the_page_in_the_documentation_is_the_one_of_the_results():
    assert pages.page({"rows": kept()}) == pages.PAGE.read_text("utf-8")


NAMES = re.compile(r"```.*?```|`[^`]*`|\{\w+\}|TF32", re.DOTALL)
NUMBERS = re.compile(r"\d|\b(twice|\w+ times as|an? (third|quarter|fifth|tenth) of)\b")


@pytest.mark.parametrize("words", ["INTRODUCTION", "REVISIONS", "WHAT", "TRIED", "HOW"])
def test_the_page_s_words_hold_no_number_of_their_own(words):
    assert NUMBERS.findall(NAMES.sub("", getattr(prose, words))) == []


def test_the_limits_of_the_explorer_s_pages_are_those_that_its_documentation_tells():
    told = " ".join((ROOT / "docs" / "serve.md").read_text("utf-8").split())
    assert f"above {web.UNIT:g} or {web.LAYER:g} ms" in told
    assert f"above {scroll.WHEELED:g} ms by the wheel" in told
    assert f"above {scroll.FLUNG[1]:g} ms flung, or the median flung above {scroll.FLUNG[0]:g} ms" in told


def test_the_limits_of_scrolling_are_held_to_what_was_measured():
    known = json.loads((ROOT / "bench" / "results-web.json").read_text("utf-8"))["scroll"]["figures"]
    for way in scroll.WAYS:
        (figure,) = (each for each in known if each["what"] == f"that page {way.what.format(steps=80)}: a frame")
        assert (figure.get("usual"), figure["goal"]) == (way.usual, way.goal)


# ---------------------------------------------------------------- the revision of the code


def measured(**changed: object) -> dict[str, Any]:
    how: dict[str, Any] = {"measure": "pass-zfnet", "mode": "full", "date": "2026-01-02 03:04 UTC", "load": [0.5, 1.2]}
    return {**how, "took": 1.0, "machine": machine.machine(), **changed}


def test_the_page_tells_the_revision_of_each_row_that_has_one():
    row = Row("pass-zfnet", "The pass", "the bare one", 1.0, 0.95, {"pixelward": 2.0}, "some.").to_json()
    rows = [{**row, "measured": measured()}, {**row, "name": "other", "measured": measured(revision="abc1234+")}]
    lines = pages.page({"rows": rows}).splitlines()
    assert "| `pass-zfnet` | pixelward 2 s | 2026-01-02 03:04 UTC, full | 0.5, 1.2 | - |" in lines
    assert "| `other` | pixelward 2 s | 2026-01-02 03:04 UTC, full | 0.5, 1.2 | abc1234+ |" in lines


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_revision_is_the_commit_and_a_plus_where_code_has_changed_since(tmp_path):
    def git(*words: str) -> str:
        name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *name, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def revision(checkout: Path = tmp_path) -> str | None:
        machine.revision.cache_clear()
        return machine.revision(checkout)

    try:
        assert revision() is None  # no checkout at all
        git("init", "-q")
        assert revision() is None  # without a commit
        for name in ("src/a.py", "bench/b.py", "bench/results.json", "docs/c.md"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("1")
        git("add", ".")
        git("commit", "-q", "-m", "one")
        commit = git("rev-parse", "--short", "HEAD")
        assert revision() == commit
        for name in ("bench/results.json", "docs/c.md"):  # what a measure itself writes, and what is no code
            (tmp_path / name).write_text("2")
        assert revision() == commit
        (tmp_path / "src/new.py").write_text("")
        assert revision() == f"{commit}+"
        assert revision(tmp_path / "src") is None  # a copy inside of another checkout
    finally:
        machine.revision.cache_clear()


# ---------------------------------------------------------------- floors of a pass


def test_the_floor_of_a_pass_is_every_picture_s_way_up(noise, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(arithmetic, "_rate", lambda work, batch: 1e6)
    monkeypatch.setitem(networks.NETWORKS, "zfnet", networks.Network("zfnet", "A stack", "random", stack))
    settings = Settings(short=True, rounds=1, passed=5, shapes=1, floor_batches=(1,))
    up = 14**2 * 4 * 3 * 25 + 5**2 * 6 * 4 * 9 + 5**2 * 8 * 6  # as in test_bench.py
    rows = passes.measure("zfnet", settings, tmp_path)
    assert [(row.name, row.goal) for row in rows] == [(f"pass-zfnet{end}", g) for end, _, g in passes.AGAINST.values()]
    for row in rows:
        least = pytest.approx(5 * up / 1e6 / row.seconds["pixelward"])
        assert (row.floor_share, row.shape_share) == (least, least)


def test_every_step_that_was_timed_is_one_of_those_that_are():
    timed = {f"tried-{pair.name}" for pair in tried.pairs(0, hits=2, cells=6)}
    assert {row["name"] for row in kept() if row["measured"]["measure"] == pages.TRIED_MEASURE} <= timed
