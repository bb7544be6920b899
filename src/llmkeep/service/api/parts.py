"""What a running application is made of, for its routes; there is nothing global beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, cast, final

from fastapi import Depends, Request

from llmkeep.service.errors import NotFound
from llmkeep.service.interfaces import Store
from llmkeep.service.records import Principal, Thread
from llmkeep.service.users import UserLimits, administrator, signed_in
from llmkeep.settings import ServiceSettings

from .identifiers import PathId

if TYPE_CHECKING:
    from llmkeep.service.agent import ServiceHandlers
    from llmkeep.service.observability import Metrics
    from llmkeep.service.runs import Runs
    from llmkeep.service.storage.janitor import Janitor

    from .cache_board import CacheBoard


@final
@dataclass(kw_only=True)
class Service:
    """The parts of one application; lives from the start of its lifespan to the end of that."""

    settings: ServiceSettings
    store: Store
    handlers: ServiceHandlers
    runs: Runs
    limiter: UserLimits
    metrics: Metrics
    board: CacheBoard
    janitor: Janitor
    drop_connection: Callable[[Any], bool] = lambda _client: False
    """Closes the connection of this client (`scope["client"]`) at once, where the server can."""
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """No run starts any more, and streams that have no end of their own end."""

    def begin_drain(self) -> None:
        """Refuse new runs from now on."""
        self.draining.set()
        self.runs.begin_drain()


def service_of(request: Request) -> Service:
    """The parts of the application that a request came to."""
    return cast("Service", request.app.state.service)


async def _parts(request: Request) -> Service:
    return service_of(request)  # asynchronous, since FastAPI takes others to a thread


async def _counted(request: Request, who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    await service_of(request).limiter.take_request(who)
    return who


async def _thread(request: Request, thread_id: PathId, who: User) -> Thread:
    thread = await service_of(request).store.thread(who.user, thread_id)
    if thread is None:
        raise NotFound("there is no such thread: GET /api/threads lists yours")
    return thread


Parts = Annotated[Service, Depends(_parts)]
User = Annotated[Principal, Depends(signed_in)]
"""Who reads."""
CountedUser = Annotated[Principal, Depends(_counted)]
"""Who changes something, which is counted."""
Administrator = Annotated[Principal, Depends(administrator)]
OwnThread = Annotated[Thread, Depends(_thread)]
"""The thread that the address names, the user's own."""
