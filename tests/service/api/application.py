"""The whole application in the process of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from llmkeep.cli.serve import Server
from llmkeep.service.api.parts import Service
from llmkeep.service.app import create_app
from llmkeep.settings import ServiceSettings
from tests.service.api.serving import address_of, served
from tests.support.scripted_signal import PATIENCE
from tests.support.service_client import Client, Refused


@dataclass
class Running:
    """An application that is served."""

    address: str
    server: Server
    service: Service


@asynccontextmanager
async def running(settings: ServiceSettings) -> AsyncIterator[Running]:
    """The whole application, from its lifespan to its socket."""
    app = create_app(settings)
    async with app.router.lifespan_context(app), served(app) as server:
        service: Service = app.state.service
        service.drop_connection = server.drop
        try:
            yield Running(address_of(server), server, service)
        finally:
            service.begin_drain()
            await service.runs.drain(PATIENCE)


#: Two users, of whom the first is an administrator, by their tokens.
TOKENS = {
    "a-token-of-ada-1234": {"user": "ada", "administrator": True},
    "a-token-of-bob-1234": {"user": "bob"},
}


async def refusal(client: Client, method: str, path: str, **more: Any) -> tuple[int, str]:
    """Status and code of the problem that is answered."""
    with pytest.raises(Refused) as error:
        await client.json(method, path, **more)
    assert error.value.answer.headers["content-type"] == "application/problem+json"
    return error.value.status, error.value.problem["code"]
