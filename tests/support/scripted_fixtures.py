"""Fixtures: the scripted provider, with the SDKs pointed at it, for each wire format."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmkeep.settings import settings
from tests.support.scripted import Scripted
from tests.support.scripted_wire import WIRES


@pytest.fixture(scope="session")
def scripted_server() -> Iterator[Scripted]:
    with Scripted() as server:
        yield server


@pytest.fixture
def scripted(scripted_server: Scripted, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """A provider with nothing to say yet. It fails a test whose history it had to refuse."""
    scripted_server.reset()
    for name in WIRES:
        monkeypatch.setenv(f"{name.upper()}_BASE_URL", scripted_server.base_url(name))
        monkeypatch.setenv(f"{name.upper()}_API_KEY", "not-a-key")
    yield scripted_server
    assert scripted_server.refused == []


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest, scripted: Scripted) -> str:
    """The name of the provider that handlers use, one after the other."""
    settings.llm.default_provider = request.param
    return str(request.param)
