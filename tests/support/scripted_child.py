"""A process that takes one turn of a conversation kept in SQLite, and may be killed in it.

Its events come through a pipe. The processes are forked from a server that has everything imported
already, and nothing else: they are as new as one that was started, and sooner there.

    with Child(Turn(path, journal, "go"), environment) as child:
        child.until("IN TOOL")
        child.kill()
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import langchain_anthropic  # noqa: F401  so that no child has to import it
import langchain_openai  # noqa: F401
from ag_ui.core import ResumeEntry
from langchain_core.tools import tool

from llmkeep.agents import ConversationHandler
from llmkeep.agents.sqlite_memory import SqliteMemory
from llmkeep.settings import settings
from tests.support.scripted_signal import PATIENCE

_context = multiprocessing.get_context("forkserver")

#: What a child says when one of its tools has begun, and stays in it for ever.
IN_TOOL = "IN TOOL"


@dataclass(frozen=True)
class Turn:
    """What a child is to do."""

    database: Path
    #: Each execution of a tool writes a line here.
    journal: Path
    provider: str
    message: str | None = None
    #: Instead of a message: answers to what waits for approval.
    resume: tuple[dict[str, Any], ...] = ()
    approve: tuple[str, ...] = ()


class Child:
    """The process, as long as its `with` block."""

    def __init__(self, turn: Turn, environment: Mapping[str, str]) -> None:
        _context.set_forkserver_preload([__name__])
        self._receiving, sending = _context.Pipe(duplex=False)
        self._process = _context.Process(
            target=_take, args=(turn, dict(environment), sending), daemon=True
        )
        self._process.start()
        sending.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._receiving.close()
        self._process.close()

    def kill(self) -> None:
        """SIGKILL: nothing in it is told."""
        self._process.kill()
        self._process.join(PATIENCE)

    def until(self, kind: str) -> dict[str, Any]:
        """Read on until an event of this kind."""
        return next(event for event in self.events() if event["type"] == kind)

    def events(self) -> Iterator[dict[str, Any]]:
        """What it tells, until it has ended."""
        while True:
            assert self._receiving.poll(PATIENCE), "the child says nothing"
            try:
                yield json.loads(self._receiving.recv())
            except EOFError:
                return


def _take(turn: Turn, environment: dict[str, str], sending: Connection) -> None:
    """The child's whole life."""
    os.environ.update(environment)
    settings.llm.default_provider = turn.provider
    settings.agents.approve_tools = turn.approve
    memory = SqliteMemory(turn.database)
    asyncio.run(_answer(_agent(turn, memory, sending), turn, sending))
    memory.close()


async def _answer(agent: ConversationHandler, turn: Turn, sending: Connection) -> None:
    if turn.message is not None:
        events = agent.stream_response(turn.message, "s")
    else:
        events = agent.resume([ResumeEntry(**each) for each in turn.resume], "s")
    async for event in events:
        sending.send(event.model_dump_json(by_alias=True))


def _agent(turn: Turn, memory: SqliteMemory, sending: Connection) -> ConversationHandler:
    def write(line: str) -> None:
        with turn.journal.open("a") as journal:
            journal.write(f"{line}\n")

    def stay() -> None:
        sending.send(json.dumps({"type": IN_TOOL}))

    @tool
    async def dig(depth: int) -> str:
        """Dig; deeper than 1 for ever."""
        write(f"dig {depth}")
        if depth > 1:
            stay()
            await asyncio.Event().wait()
        return f"dug {depth}"

    @tool
    def drill(depth: int) -> str:
        """Drill; deeper than 1 for ever; synchronous."""
        write(f"drill {depth}")
        if depth > 1:
            stay()
            threading.Event().wait()
        return f"drilled {depth}"

    class Agent(ConversationHandler):
        @property
        def tools(self):
            return (dig, drill)

        @property
        def checkpointer(self):
            return memory

    return Agent("u", None)
