"""The killed service, a few times; `python -m tests.service.whole.kill` does it fifty times."""

from __future__ import annotations

from pathlib import Path

from tests.service.whole.kill import kill_often


async def test_nothing_is_lost_doubled_or_poisoned(tmp_path: Path):
    """Whatever anybody was told is there after a SIGKILL, once, and conversations go on."""
    ends = await kill_often(tmp_path / "data", times=3, seed=7)

    assert ends["interrupted"] > 0
