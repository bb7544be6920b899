"""Both versions of the client, over a running service."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.service.protocol.remote import (
    COPILOTKIT,
    VERSIONS,
    NoNode,
    Remote,
    install,
    program,
)
from tests.support.service import Service
from tests.support.service_fixtures import (
    client,
    doors,
    provider,
    scripted_server,
    service,
    service_process,
    start_service,
)

__all__ = [
    "client",
    "doors",
    "provider",
    "scripted_server",
    "service",
    "service_process",
    "start_service",
]


@pytest.fixture(scope="session")
def installed() -> None:
    """The clients' packages, from their lock files."""
    try:
        program("node")
        for folder in (*VERSIONS.values(), COPILOTKIT):
            install(folder)
    except NoNode as missing:
        pytest.skip(str(missing))


@pytest.fixture(params=list(VERSIONS))
def version(request: pytest.FixtureRequest, installed: None) -> str:
    """The client's version, one after the other."""
    return str(request.param)


@pytest.fixture
async def remote(version: str) -> AsyncIterator[Remote]:
    """A process of node with that version."""
    async with Remote(VERSIONS[version]) as remote:
        yield remote


@pytest.fixture
async def copilotkit(installed: None) -> AsyncIterator[Remote]:
    """A process of node with CopilotKit's core."""
    async with Remote(COPILOTKIT) as remote:
        yield remote


@pytest.fixture
def url(service: Service) -> str:
    """What a client is given as the agent's address."""
    return f"{service.address}/api/agent"
