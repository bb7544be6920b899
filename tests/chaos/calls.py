"""The calls of a storm: streams that are read whole, left early, dropped, cancelled or timed out.

What a call does follows from the seed and its number. Not here: who runs them, and the verdict.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import anyio

from tests.chaos.plan import IMPATIENCE, chance, question


class Ending(enum.Enum):
    """What the reader does."""

    READS = "reads to the end"
    LEAVES = "closes the stream early"
    DROPS = "forgets the stream"
    CANCELLED = "is cancelled"
    TIMES_OUT = "runs out of its time limit"


@dataclass(frozen=True)
class Line:
    """One of the handles, and what may be expected of it."""

    handle: Any
    retries: int
    impatient: bool


@dataclass
class Told:
    """What the caller was told."""

    number: int
    line: Line
    ending: Ending
    text: str = ""
    #: It read to the end of the stream.
    complete: bool = False
    error: BaseException | None = None


def make_lines(port: int) -> list[Line]:
    """Handles of both providers: patient ones, one that gives up early, one that never retries."""
    import llmkeep

    lines = []
    for provider, path in (("chaos_openai", "/v1"), ("chaos_anthropic", "")):
        for retries, timeout in ((2, 60.0), (1, IMPATIENCE), (0, 60.0)):
            handle = llmkeep.chat_model(
                f"{provider}:chaos",
                base_url=f"http://127.0.0.1:{port}{path}",
                api_key="not-a-secret",
                max_retries=retries,
                timeout=timeout,
            )
            lines.append(Line(handle, retries, timeout == IMPATIENCE))
    return lines


#: Of ten calls, how many end in which way.
_SYNCHRONOUS: Final = [Ending.READS] * 7 + [Ending.LEAVES] * 2 + [Ending.DROPS]
_ASYNCHRONOUS: Final = [Ending.READS] * 5 + [*Ending][1:] + [Ending.CANCELLED]


def call(seed: int, number: int, lines: list[Line]) -> Told:
    """One call on this thread."""
    draw = chance(seed, "call", number)
    told = Told(number, draw.choice(lines), draw.choice(_SYNCHRONOUS))
    most = draw.randint(0, 5)
    try:
        stream = told.line.handle.stream(question(number))
        for index, chunk in enumerate(stream):
            if told.ending is not Ending.READS and index >= most:
                break
            told.text += chunk.text
        else:
            told.complete = True
        if told.ending is Ending.LEAVES:
            stream.close()
    except Exception as error:
        told.error = error
    return told


async def acall(seed: int, number: int, lines: list[Line]) -> Told:
    """One call on this loop."""
    draw = chance(seed, "call", number)
    told = Told(number, draw.choice(lines), draw.choice(_ASYNCHRONOUS))
    most = draw.randint(0, 5)
    try:
        match told.ending:
            case Ending.CANCELLED:
                await _cancel(told, most, twice=draw.random() < 0.5)
            case Ending.TIMES_OUT:
                with anyio.move_on_after(draw.random() * 0.1):
                    await _read(told, lambda: None)
            case _:
                await _read(told, lambda: None, most)
    except asyncio.CancelledError:  # at the end of its loop
        told.ending = Ending.CANCELLED
    except Exception as error:
        told.error = error
    return told


async def _read(told: Told, tick: Callable[[], None], most: int = 0) -> None:
    stream: AsyncIterator[Any] = told.line.handle.astream(question(told.number))
    index = 0
    async for chunk in stream:
        if told.ending in (Ending.LEAVES, Ending.DROPS) and index >= most:
            break
        told.text += chunk.text
        index += 1
        tick()
    else:
        told.complete = True
    if told.ending is Ending.LEAVES:
        await stream.aclose()  # type: ignore[attr-defined]


async def _cancel(told: Told, after: int, *, twice: bool) -> None:
    """Cancel a reader that has read `after` chunks; or once it waits, if there are fewer."""
    reached = asyncio.Event()
    seen = 0

    def tick() -> None:
        nonlocal seen
        seen += 1
        if seen > after:
            reached.set()

    reader = asyncio.create_task(_read(told, tick))
    waiting = asyncio.create_task(reached.wait())
    await asyncio.wait({reader, waiting}, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    reader.cancel()
    if twice:
        await asyncio.sleep(0)
        reader.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reader
    del reader
    await asyncio.wait({waiting})
