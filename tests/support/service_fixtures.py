"""Fixtures: a running service that asks the scripted provider, and clients of it.

One process serves all tests of a session that leave it as they found it, each in threads of its
own; tests that kill it or set its variables start their own with `start_service`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.scripted import Scripted
from tests.support.service import Service
from tests.support.service_client import Client
from tests.support.service_tools import Doors

__all__ = [
    "client",
    "doors",
    "provider",
    "scripted_server",
    "service",
    "service_process",
    "start_service",
]


class StartService(Protocol):
    """Starts a service on a new folder, or on a given one, with more variables."""

    def __call__(self, folder: Path | None = None, **variables: str) -> Service: ...


@pytest.fixture(scope="session")
def doors() -> Iterator[Doors]:
    """Where tools of services wait."""
    with Doors() as doors:
        yield doors


@pytest.fixture(scope="session")
def scripted_server() -> Iterator[Scripted]:
    """The provider that all services of these tests ask; a service keeps no connection to it."""
    with Scripted(keep_alive=False) as server:
        yield server


@pytest.fixture(scope="session")
def service_process(
    scripted_server: Scripted, doors: Doors, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The process that tests share."""
    folder = tmp_path_factory.mktemp("service") / "data"
    with Service(folder, scripted_server.base_url("openai"), **doors.variables) as service:
        yield service
        assert service.is_running, f"it ended while it was tested:\n{service.output}"


@pytest.fixture
def provider(scripted_server: Scripted) -> Iterator[Scripted]:
    """The provider, with nothing to say yet. It fails a test whose history it had to refuse."""
    scripted_server.reset()
    yield scripted_server
    assert scripted_server.refused == []


@pytest.fixture
def service(service_process: Service, provider: Scripted) -> Service:
    """The shared process: to be left as it was found."""
    return service_process


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    """Speaks to the shared process."""
    async with Client(service.address) as client:
        yield client


@pytest.fixture
def start_service(
    provider: Scripted, doors: Doors, tmp_path: Path
) -> Iterator[Callable[..., Service]]:
    """Starts processes of the test's own, which end with it."""
    with ExitStack() as stack:

        def start(folder: Path | None = None, **variables: str) -> Service:
            variables = {**doors.variables, **variables}
            base_url = provider.base_url("openai")
            return stack.enter_context(Service(folder or tmp_path / "data", base_url, **variables))

        yield start
