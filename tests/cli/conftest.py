"""A stand-in provider for the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agents.provider import llmock, standin

__all__ = ["llmock", "standin"]


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own."""
    monkeypatch.setenv("LLMKEEP_DATA_FOLDER", str(tmp_path / "data"))
    return tmp_path / "data"
