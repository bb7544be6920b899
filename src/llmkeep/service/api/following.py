"""One reader's way from a run's frames to what is sent to it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from ag_ui.core import RunErrorEvent
from fastapi.sse import format_sse_event

from llmkeep.service.records import Frame, Run
from llmkeep.service.runs.compat import Translation, translator

from .parts import Service
from .sse import EventStream, encoded

_logger: Final = logging.getLogger(__name__)

_UNREADABLE: Final = RunErrorEvent(
    message="the server could not read on, its log says why: load the conversation again",
    code="internal",
).model_dump_json(by_alias=True, exclude_none=True)


def follow(
    service: Service,
    run: Run,
    *,
    protocol_version: str | None,
    after: int = 0,
    is_starter: bool = False,
) -> EventStream:
    """The run's events behind number `after`, for a client that speaks this version of AG-UI."""

    @asynccontextmanager
    async def batches() -> AsyncIterator[AsyncIterator[Iterable[bytes]]]:
        async with (
            service.runs.read(run, after=after, is_starter=is_starter) as reader,
            # Closed before the reader is left, also where a stream is cut off in its middle.
            aclosing(_told(reader, translator(protocol_version))) as told,
        ):
            yield told

    return EventStream(batches(), drop=service.drop_connection)


async def _told(
    reader: AsyncIterable[Sequence[Frame]], translate: Translation | None
) -> AsyncGenerator[Iterable[bytes]]:
    """What the reader gets, encoded. Where that fails it is told so, and not just cut off.

    What is told then is no event of the run, and has no number: the run may well go on.
    """
    has_ended = False
    try:
        async for frames in reader:
            told = frames if translate is None else translate(frames)
            has_ended = told[-1].is_terminal
            yield encoded(told)
    except Exception:
        _logger.exception("a run could not be read")
        if not has_ended:
            yield [format_sse_event(data_str=_UNREADABLE)]
