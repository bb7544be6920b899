"""Many streams at once, in short; `python -m tests.service.whole.streams` takes a minute."""

from __future__ import annotations

from pathlib import Path

from tests.service.whole.streams import nothing_open, wave
from tests.support.service import Service
from tests.support.service_load import load_provider


async def test_two_hundred_streams_at_once(tmp_path: Path):
    """None fails, none is starved by the others, and no connection is left."""
    with (
        load_provider() as base_url,
        Service(tmp_path / "data", base_url) as service,
    ):
        found = await wave(service, streams=200, tokens=20, gap=0.05)
        await nothing_open(service.port)

        assert found.share > 0.5  # each had most of it when the first was done
        assert service.is_running
