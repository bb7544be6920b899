"""`POST /api/agent`: an AG-UI endpoint. A run is started, or joined, and read from its first event.

The run does not live in the request: what leaving means to it is said by `on_disconnect`.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request

from llmkeep.service.errors import Invalid, NotFound, TooMany
from llmkeep.service.records import MultitaskStrategy, OnDisconnect, Principal, UserMessage

from .asking import Asked, understand
from .documented import problems
from .following import follow
from .parts import CountedUser, Parts, Service
from .problems import tell_run
from .sse import EventStream

router: Final = APIRouter(tags=["agent"])


@router.post(
    "/api/agent",
    operation_id="run_agent",
    summary="Say something, and read the answer as it is made",
    status_code=200,
    response_class=EventStream,
    responses=problems(404, 409, 413, 415, 429),
)
async def run_agent(
    request: Request,
    service: Parts,
    who: CountedUser,
    on_disconnect: OnDisconnect | None = None,
    multitask_strategy: MultitaskStrategy | None = None,
) -> EventStream:
    """Answers with AG-UI events (server-sent events; `id:` is an event's number in its run).

    The stream ends with exactly one RUN_FINISHED or RUN_ERROR. Asked for again with the same body,
    a run is joined and read from its first event. `on_disconnect` and `multitask_strategy` may
    stand in `forwardedProps` too; here they win.
    """
    asked = understand(
        await request.body(),
        longest=service.settings.message_characters,
        on_disconnect=on_disconnect,
        multitask_strategy=multitask_strategy,
    )
    tell_run(request, thread_id=asked.request.thread_id, run_id=asked.request.run_id)
    unseen = await _unseen(service, who, asked)
    characters = max((len(each.content) for each in unseen), default=0)
    try:
        await service.limiter.check_run(
            who, running=service.runs.count(who.user), characters=characters
        )
    except TooMany:
        # A run that is there already is joined, however many there are.
        if not await _is_there(service, who, asked):
            raise
    run = await service.runs.start(who.user, asked.request)
    return follow(service, run, protocol_version=asked.protocol_version, is_starter=True)


async def _unseen(service: Service, who: Principal, asked: Asked) -> list[UserMessage]:
    """Messages that may be new. Raises Invalid where one of them is not text.

    The server is asked only about those that would be refused: it has the others soon anyway.
    """
    messages = asked.request.messages
    if not asked.unclear:
        return list(messages)
    thread = await service.store.thread(who.user, asked.request.thread_id)
    unclear = set(asked.unclear)
    seen = await service.store.known_messages(thread, asked.unclear) if thread else frozenset()
    longest = service.settings.message_characters
    for at, each in enumerate(messages):
        if each.id in unclear - seen and len(each.content) <= longest:
            raise Invalid(
                f"the user's message {at + 1} is empty or has parts that are not text: "
                "send text alone",
                code="invalid_content",
            )
    return [each for each in messages if each.id not in seen]


async def _is_there(service: Service, who: Principal, asked: Asked) -> bool:
    try:
        await service.runs.find(who.user, asked.request.thread_id, asked.request.run_id)
    except NotFound:
        return False
    return True
