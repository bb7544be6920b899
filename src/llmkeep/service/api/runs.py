"""`/api/threads/{t}/runs`: answers, read from any event on, and stopped."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query

from llmkeep.service.errors import Invalid

from .documented import problems
from .following import follow
from .identifiers import PathId
from .parts import OwnThread, Parts, User
from .schemas import Run, RunList
from .sse import EventStream

#: The largest number that every JSON reader can take.
MAX_NUMBER: Final = 2**53 - 1

router: Final = APIRouter(prefix="/api/threads/{thread_id}/runs", tags=["runs"])


@router.get("", operation_id="list_runs", responses=problems(404))
async def list_runs(
    service: Parts, thread: OwnThread, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> RunList:
    """A thread's runs, newest first."""
    runs = await service.store.runs(thread, limit=limit)
    return RunList(runs=[Run.of(each) for each in runs])


@router.get("/{run_id}", operation_id="read_run", responses=problems(404))
async def read_run(service: Parts, who: User, thread_id: PathId, run_id: PathId) -> Run:
    """A run as it is now."""
    return Run.of(await service.runs.find(who.user, thread_id, run_id))


@router.get(
    "/{run_id}/stream",
    operation_id="stream_run",
    status_code=200,
    response_class=EventStream,
    responses=problems(404),
)
async def stream_run(
    service: Parts,
    who: User,
    thread_id: PathId,
    run_id: PathId,
    last_event_id: Annotated[int | None, Query(ge=0, le=MAX_NUMBER)] = None,
    last_event_header: Annotated[
        int | None, Header(alias="Last-Event-ID", ge=0, le=MAX_NUMBER)
    ] = None,
    protocol_version: Annotated[str | None, Query(max_length=16)] = None,
) -> EventStream:
    """A run's events behind the one that was read last; from the first on they are valid AG-UI.

    Give `protocol_version=1.0` to be told of a stopped run as AG-UI 1.0 does; older clients are
    told in a way that they understand. A run whose events are no longer kept is told as a snapshot
    of its messages.
    """
    run = await service.runs.find(who.user, thread_id, run_id)
    after = (last_event_header if last_event_id is None else last_event_id) or 0
    if after > run.last_event:
        raise Invalid(
            f"the run has {run.last_event} events: read on from one of them, or from 0",
            code="invalid_last_event_id",
        )
    return follow(service, run, after=after, protocol_version=protocol_version)


@router.post(
    "/{run_id}/cancel",
    operation_id="cancel_run",
    responses=problems(404, 415),
)
async def cancel_run(
    service: Parts, who: User, thread_id: PathId, run_id: PathId, *, wait: bool = True
) -> Run:
    """Stop a run: what it said is kept. With `wait` it has ended when this answers.

    One that has ended stays as it is.
    """
    return Run.of(await service.runs.cancel(who.user, thread_id, run_id, wait=wait))
