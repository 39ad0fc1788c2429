"""The atlases that the server is measured with are what the measure says of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "bench").is_dir():
    pytest.skip("the benchmark is part of the checkout", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from bench.drawn import HITS, drawn  # noqa: E402

from pixelward.details import read_details  # noqa: E402
from pixelward.folder import SHEETS, sheet_file  # noqa: E402
from pixelward.likeness import Pairing  # noqa: E402


def test_units_have_sheets_of_their_own_and_all_hits_told_at_length(tmp_path: Path):
    one, other = drawn(tmp_path, units=4)
    (record,) = one.layers
    hits = one.units(record).picture >= 0
    assert hits.shape == (4, HITS)
    for channel, rank in zip(*hits.nonzero(), strict=True):
        assert read_details(one, record, int(channel), int(rank) + 1) is not None
    alive = hits[:, 0].nonzero()[0].tolist()
    assert len(alive) > 1
    for kind in SHEETS[:2]:
        sheets = [one.path / sheet_file(record.slug, channel, kind) for channel in alive]
        assert len({file.read_bytes() for file in sheets}) == len(alive)
    assert Pairing(one, other).layer(record).aligned
