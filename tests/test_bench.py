"""The benchmark's own parts: what it counts, keeps and writes. Nothing timed is asserted."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

ROOT = Path(__file__).parents[1]
if not (ROOT / "bench").is_dir():
    pytest.skip("the benchmark is part of the checkout", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from bench import explorer, floors, gallery, growth, hits, ours, passes, run, tried  # noqa: E402
from bench import page as pages  # noqa: E402
from bench import pictures as photos  # noqa: E402
from bench.pictures import Pictures, smooth_noise  # noqa: E402
from bench.rows import FULL, Row, missing  # noqa: E402
from bench.timing import interleaved, ratios  # noqa: E402

from pixelward.core.layers import find_layers  # noqa: E402
from pixelward.core.recorder import Recorder  # noqa: E402
from pixelward.core.rules import DECONVNET  # noqa: E402
from pixelward.core.trace import trace  # noqa: E402
from pixelward.data.images import Preprocess  # noqa: E402

SMALL = Preprocess("RGB", 1.0, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), resize=32, size=32)


def stack() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 1)
    ).eval()
    vars(net)["preprocess"] = SMALL.to_dict()
    return net


@pytest.fixture
def noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pictures:
    monkeypatch.setattr(photos, "photographs", lambda: None)
    return Pictures(6, tmp_path / "noise")


# ---------------------------------------------------------------- floors


def test_the_way_up_is_counted_as_by_hand():
    traced = trace(stack(), torch.zeros(1, 3, 32, 32), ["5"])
    # 32 -> 14 -> pooled 7 -> 5 -> 5
    assert sum(work.adds for work in floors.up(traced.plan)) == 14**2 * 4 * 3 * 25 + 5**2 * 6 * 4 * 9 + 5**2 * 8 * 6


def test_the_way_down_is_counted_as_by_hand():
    traced = trace(stack(), torch.zeros(1, 3, 32, 32), ["1", "4", "5"])
    first, second, third = (
        [work.adds for work in floors.down(traced.plan, traced.targets[address].value, [at])]
        for address, at in (("1", (7, 7)), ("4", (2, 2)), ("5", (2, 2)))
    )
    assert first == [3 * 25]  # one filter, stamped once
    # One filter of 4 x 3 x 3; then windows of 3 cells, 6 after unpooling, through all four filters.
    assert second == [4 * 9, 6**2 * 4 * 3 * 25]
    assert third == [6, 6 * 4 * 9, 6**2 * 4 * 3 * 25]


def test_a_window_is_no_larger_than_the_map():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 7, padding=3), nn.ReLU(), nn.Conv2d(2, 1, 9, padding=4)).eval()
    traced = trace(net, torch.zeros(1, 1, 6, 6), ["2"])
    works = floors.down(traced.plan, traced.targets["2"].value, [(3, 3)])
    assert [work.adds for work in works] == [2 * 81, 6 * 6 * 2 * 49]
    works = floors.down(traced.plan, traced.targets["2"].value, [(0, 0), (0, 3)])
    assert [work.adds for work in works] == [2 * 81, (5 * 5 + 5 * 6) * 49]  # what lies outside is not counted


def test_the_way_up_ends_at_the_last_step_that_differs_between_pictures():
    net = stack()
    recorder = Recorder(net, ["1", "5"], DECONVNET, torch.zeros(1, 3, 32, 32))
    last = floors.last_recorded(recorder, torch.rand(1, 3, 32, 32))
    plan = recorder.plan(torch.rand(1, 3, 32, 32))
    assert plan.steps[last].switches is not None
    assert [work.step.weight.shape for work in floors.up(plan, last)] == [net[0].weight.shape]
    plain = Recorder(nn.Sequential(net[0], net[1]), ["1"], DECONVNET, torch.zeros(1, 3, 32, 32))
    assert floors.last_recorded(plain, torch.rand(1, 3, 32, 32)) == -1


def test_a_floor_adds_up_pictures_and_hits():
    floor = floors.Floor(up=10, down=[1, 5], rate=2.0, own_up=7.0, own_down=[0.5, 3.0])
    assert floor.seconds(3, [4, 2]) == (30 + 4 + 10) / 2
    assert floor.own_seconds(3, [4, 2]) == 21 + 2 + 6


def test_a_floor_times_each_shape_and_the_best_of_all(monkeypatch: pytest.MonkeyPatch):
    traced = trace(stack(), torch.zeros(1, 3, 32, 32), ["5"])
    up, down = floors.up(traced.plan), floors.down(traced.plan, traced.targets["5"].value, [(2, 2)])
    assert all(rate > 0 for rate in floors.rates_of([*up, *down], Counter(), 3, (1, 8)).values())
    monkeypatch.setattr(floors, "_rate", lambda work, batch: batch * (4.0 if work.size == (5, 5) else 2.0))
    found, most = floors.floor(up, [down], [7], pictures=3, shapes=2, batches=(1, 8)), 8  # of three each way
    adds = [work.adds for work in up]
    assert (found.up, found.rate) == (sum(adds), 4 * most)
    assert found.own_up == pytest.approx((adds[0] / 2 + adds[1] / 4 + adds[2] / 4) / most)
    sent = [work.adds for work in down]
    assert found.own_down == [pytest.approx((sent[0] / 4 + sent[1] / 2 + sent[2] / 2) / most)]


# ---------------------------------------------------------------- rounds


def test_every_contestant_has_its_turn_in_every_round():
    turns: list[tuple[str, int]] = []
    given = interleaved({name: lambda n, name=name: turns.append((name, n)) or n for name in "abc"}, rounds=4)
    assert given == {key: [0, 1, 2, 3] for key in "abc"}
    assert [sorted(turns[at : at + 3]) for at in range(0, 12, 3)] == [[(name, n) for name in "abc"] for n in range(4)]


def test_a_ratio_is_the_median_of_the_rounds():
    assert ratios([4.0, 9.0, 8.0], [2.0, 3.0, 1.0]) == (3.0, [2.0, 8.0])


# ---------------------------------------------------------------- galleries


def test_pictures_of_noise_are_always_the_same(tmp_path: Path):
    one, other = (smooth_noise(tmp_path / name, 2, 16) for name in "ab")
    assert [each.read_bytes() for each in sorted(one.iterdir())] == [
        each.read_bytes() for each in sorted(other.iterdir())
    ]


def test_a_gallery_s_hits_go_down_and_are_counted(noise: Pictures):
    net = stack()
    layers = find_layers(net, ["1", "4"], size=(32, 32))
    found = hits.find(net, layers, noise, k=2, share=1.0, seed=0)
    assert found.counts()[0] <= 2 * 4
    assert len(found.hits) > 6
    spent = ours.draw(found, list(found.by_picture()))
    assert {layer: number for layer, (_, number) in spent.layers.items()} == dict(enumerate(found.counts()))
    assert spent.pictures == len(found.by_picture())
    signal, value = ours.project(found, found.hits[0])
    assert signal.shape == (3, 32, 32)
    assert value == pytest.approx(found.hits[0].value, rel=1e-4)


def test_few_layers_have_as_many_hits_a_picture_as_all():
    every = find_layers(stack(), ["1", "4", "5"], size=(32, 32))
    assert hits.share_of_units(every, every, 500) == 0.5
    assert hits.share_of_units(every, every[:1], 100) == pytest.approx(0.1 * (4 + 6 + 8) / 4)
    assert hits.share_of_units(every, every[:1], 1000) == 1.0


def test_rounding_is_that_of_the_terms_of_a_way():
    terms = (3 + 4) * 25 + (4 + 6) * 9 + (6 + 8)
    assert gallery.rounding(stack()) == terms * torch.finfo(torch.float64).eps


def test_captum_is_asked_for_the_module_that_puts_a_layer_out(noise: Pictures):
    pytest.importorskip("captum.attr", reason="Captum is a test dependency")
    from bench import captum_peer

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.relu = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.relu(self.b(self.relu(self.a(x))))

    torch.manual_seed(0)
    net = Twice().eval()
    vars(net)["preprocess"] = SMALL.to_dict()
    layers = hits.default_layers(net)
    modules = captum_peer.Modules(net, torch.zeros(1, 3, 32, 32))
    assert [modules.of(layer) for layer in layers] == [net.a, net.relu]
    found = hits.find(net, layers, noise, k=1, share=1.0, seed=0)
    for hit in (found.hits[0], found.hits[-1]):
        signal, value = ours.project(found, hit)
        picture = noise.tensor(hit.picture, SMALL)[None]
        module = modules.of(layers[hit.layer])
        for theirs in (
            captum_peer.one(net, module, picture, hit)[0],
            captum_peer.several(net, module, picture.repeat(2, 1, 1, 1), [hit, hit])[1],
        ):
            torch.testing.assert_close(value * theirs.detach(), signal, rtol=1e-3, atol=1e-5)


def test_the_bare_pass_sees_every_picture(noise: Pictures):
    net, seen = stack(), []
    net[0].register_forward_hook(lambda module, given, output: seen.append(len(output)))
    assert passes.bare(net, noise, SMALL, passes.BATCH) > 0
    assert seen == [passes.BATCH]  # padded, as in a scan


def test_a_pass_with_channels_last_gives_the_same_and_leaves_the_network(noise: Pictures):
    net, picture, laid = stack(), noise.tensor(0, SMALL)[None], []
    turned = passes.in_channels_last(net)
    torch.testing.assert_close(turned(picture), net(picture))
    net[0].register_forward_hook(lambda module, given, output: laid.append(given[0].is_contiguous()))
    assert passes.bare(net, noise, SMALL, passes.BATCH) > 0
    assert laid == [True]
    assert net[0].weight.is_contiguous()


def test_a_timed_scan_leaves_nothing(noise: Pictures, tmp_path: Path):
    folder = tmp_path / "scans"
    folder.mkdir()
    assert passes.scanned(stack(), noise.copied(tmp_path / "copied"), folder) > 0
    assert not list(folder.iterdir())


def test_forms_that_are_timed_give_the_same():
    for pair in tried.pairs(0, hits=2, cells=6):
        torch.testing.assert_close(pair.used(), pair.other(), rtol=1e-4, atol=1e-3, msg=pair.name)


# ---------------------------------------------------------------- results and page


def result(name: str = "gallery-zfnet", **changed: object) -> Row:
    plain: dict[str, object] = {
        "name": name,
        "title": "Projections | all",
        "against": "a peer",
        "ratio": 12.5,
        "goal": 25.0,
        "seconds": {"pixelward": 2.0, "captum": 25.0},
        "samples": "a few.",
        "floor_share": 0.421,
        "shape_share": 0.6,
        "spread": [11.0, 13.25],
    }
    return Row(**{**plain, **changed})  # type: ignore[arg-type]


def test_rows_are_kept_until_they_are_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        run, "MEASURES", {"first": lambda s, f: [result("first")], "second": lambda s, f: [result("b")]}
    )
    results, page = tmp_path / "results.json", tmp_path / "performance.md"
    files = ["--results", str(results), "--page", str(page)]
    assert run.main(["--only", "second", *files]) == 0
    assert run.main(["--only", "first", "--short", *files]) == 0
    rows = json.loads(results.read_text("utf-8"))["rows"]
    assert [(row["name"], row["measured"]["mode"]) for row in rows] == [("first", "short"), ("b", "full")]
    for row in rows:
        assert {"name", "ratio", "goal", "floor_share", "seconds"} <= set(row)
        assert row["measured"]["machine"]["versions"]["torch"] == torch.__version__
    assert "in both modes" in page.read_text("utf-8")


def test_a_page_says_what_the_results_say():
    how = {"measure": "m", "mode": "full", "date": "2026-01-02 03:04 UTC", "load": [0.5, 1.25], "took": 1.0}
    how["machine"] = run.machine()
    layer = {
        "layer": "conv7:relu", "hits": 18, "ratio": None, "ms": 6.125, "down_ms": 0.0012, "peer_ms": None,
        "million_adds": 1234.4, "floor_share": 0.5, "down_floor_share": 0.0004, "shape_share": 0.625,
    }  # fmt: skip
    rows = [
        result(layers=[layer], notes=["Both agree."]),
        result(
            "memory",
            ratio=1.04,
            goal=1.05,
            lower=True,
            floor_share=None,
            shape_share=None,
            spread=None,
            unit="times the memory",
        ),
        missing("away", "Another network", "it is not here"),
    ]
    text = pages.page({"rows": [{**row.to_json(), "measured": how} for row in rows]})
    lines = text.splitlines()
    assert r"| Projections \| all | a peer | **12.5** times | 11 to 13.2 | 25 | no | 42% | 60% | 29.7 | 20.8 |" in lines
    assert (
        r"| Projections \| all | a peer | **1.04** times the memory | - | at most 1.05 | yes | - | - | - | - |" in lines
    )
    assert "| conv7:relu | 18 | - | 6.12 | 0.0012 | - | 1234 | 50% | 62% | 0.0% | - |" in lines
    assert "- Another network: not measured: it is not here" in lines
    assert "- `gallery-zfnet`: a few. Both agree." in lines
    assert "2026-01-02 03:04 UTC" in text


@pytest.mark.parametrize(
    ("ratio", "reached", "spread", "told"),
    [
        (30.0, 0.1, [26.0, 31.0], "yes"),
        (26.0, 0.1, [24.0, 27.0], "yes, within the spread"),
        (20.0, 0.85, [19.0, 21.0], "stands, at 85% of each shape's floor"),
        (20.0, 0.8, [19.0, 21.0], "no"),
        (20.0, None, None, "no"),
    ],
)
def test_a_goal_stands_by_each_shape_s_floor(ratio, reached, spread, told):
    assert pages.verdict(result(ratio=ratio, shape_share=reached, spread=spread).to_json()) == told


@pytest.mark.parametrize(("reached", "told"), [(0.9, "stands, at 90% of its floor"), (0.7, "no"), (None, "no")])
def test_a_goal_of_memory_stands_by_what_cannot_be_done_without(reached, told):
    row = result(ratio=1.2, goal=1.05, lower=True, floor_share=reached, shape_share=reached, spread=None).to_json()
    assert pages.verdict(row) == told
    assert pages.at_floor(1.2, reached, lower=True) == {0.9: "1.08", 0.7: "0.84", None: "-"}[reached]


def test_pictures_without_a_hit_are_said_to_be_left_out():
    measured = SimpleNamespace(gallery=SimpleNamespace(pictures=range(10)), holding=range(7))
    mine = SimpleNamespace(up=0.5, totals=[10.0])
    (told,) = gallery._Measured._in_every_picture(measured, mine, [100.0])
    assert told == "Were there hits in every picture, 1.5 s more of ways up would make it 8.7 times."
    measured.holding = range(10)
    assert gallery._Measured._in_every_picture(measured, mine, [100.0]) == []


def test_more_hits_a_unit_have_the_floor_of_their_sheets():
    spent = {"scan": {"seconds": 1.0, "mebibytes": 100.0}, "draw": {"seconds": 1.0, "mebibytes": 300.0}}
    more = {"scan": spent["scan"], "draw": {"seconds": 6.0, "mebibytes": 400.0}}
    found = {"base": [spent], "k": [more]}
    for what, floor in (("scan", None), ("draw", (300 + 60) / 400)):
        rows = growth.rows_of(what, found, FULL, 1, sheets=60.0)
        shares = {row.name: row.floor_share for row in rows}
        assert shares == {f"growth-{what}-k-time": None, f"growth-{what}-k-memory": floor}


# ---------------------------------------------------------------- the explorer's numbers


def test_a_goal_is_held_to_the_95th_percentile_or_to_the_one_number():
    figures = [explorer.Figure("a", 10, 60, goal=50), explorer.Figure("b", 10, goal=50), explorer.Figure("c", 60, 70)]
    assert [figure.met for figure in figures] == [False, True, True]


@pytest.mark.parametrize(
    ("half", "most", "goal"),
    [(16, 40, "median 20, 50 ms"), (21, 40, "median 20, 50 ms, missed"), (16, 51, "median 20, 50 ms, missed")],
)
def test_a_goal_of_the_median_is_held_besides(tmp_path: Path, half: float, most: float, goal: str):
    figure = explorer.Figure("a frame", half, most, goal=50, usual=20)
    kept = tmp_path / "kept.json"
    assert explorer.told("scroll", [figure], kept) == int(goal.endswith("missed"))
    assert explorer.table(json.loads(kept.read_text("utf-8"))).splitlines()[2].endswith(f"| {goal} |")


def test_what_is_measured_is_kept_beside_the_other_measures_and_stands_in_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    kept = tmp_path / "kept.json"
    assert explorer.told("live", [explorer.Figure("an answer", 1234.5, goal=1000)], kept) == 1
    assert explorer.told("web", [explorer.Figure("pages", 7.123, 40.02, goal=50)], kept) == 0
    assert "ABOVE 1000" in capsys.readouterr().out
    table = explorer.table(json.loads(kept.read_text("utf-8")))
    rows = [row for row in table.splitlines() if row.startswith("|")][2:]
    assert rows == ["| pages | 7.12 ms | 40.0 ms | 50 ms |", "| an answer | 1,234 ms |  | 1000 ms, missed |"]


def test_the_table_in_the_documentation_is_the_one_of_the_results():
    page, kept = explorer.PAGE.read_text("utf-8"), json.loads(explorer.RESULTS.read_text("utf-8"))
    assert page.count(explorer.BEGIN) == page.count(explorer.END) == 1
    assert explorer.written(page, kept) == page


@pytest.mark.parametrize("stride", [(2, 2), (1, 2), (3, 2)])
@pytest.mark.parametrize("kernel", [(3, 3), (7, 5), (2, 4)])
def test_a_transpose_by_the_phases_of_its_stride_has_the_numbers_of_the_transpose(stride, kernel):
    torch.manual_seed(0)
    signal, weight = torch.randn(2, 4, 5, 6, dtype=torch.float64), torch.randn(4, 3, *kernel, dtype=torch.float64)
    phases = floors.by_phases(weight, stride)
    found = F.conv2d(signal, phases, padding=tuple(k - 1 for k in phases.shape[2:]))
    found = found.view(2, *stride, 3, *found.shape[2:]).permute(0, 3, 4, 1, 5, 2).flatten(4).flatten(2, 3)
    expected = F.conv_transpose2d(signal, weight, stride=stride)
    torch.testing.assert_close(found[:, :, : expected.shape[2], : expected.shape[3]], expected)
