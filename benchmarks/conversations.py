"""What conversations take up, for each byte that was said in them: in memory, and in a database.

Many short ones and a long one, beside plain LangGraph, which keeps every step of every turn. The
model is in the process and says what it is told to say; what is stored is stored by the agent.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from .harness import Report, Table, Verdict, in_fresh_process, quick_from_arguments
from .million import resident_megabytes

#: One turn: what the user says, and the words of the answer.
QUESTION: Final = "and what about this one? " * 4
ANSWER: Final = ["ten words "] * 80
TEXT: Final = len(QUESTION) + sum(map(len, ANSWER))
#: How many bytes may be stored for each byte of text.
TIMES: Final = 10
#: How much more it may be at the end than on the way, to count as flat.
FLAT: Final = 1.25
SAMPLES: Final = 10

#: Why a process grows by more than what it holds.
ROOM: Final = (
    "Each step reads and writes the whole conversation, and the process keeps the room for that: "
    "the saver itself holds less than two bytes for each of text."
)

MEMORY: Final = "ConversationMemory (the default)"
SQLITE: Final = "SqliteMemory"
PLAIN_MEMORY: Final = "by hand, InMemorySaver"
PLAIN_SQLITE: Final = "by hand, AsyncSqliteSaver"
OURS: Final = (MEMORY, SQLITE)
PLAIN: Final = (PLAIN_MEMORY, PLAIN_SQLITE)

#: Says one thing in a conversation of this name.
Say = Callable[[str], Awaitable[None]]


def _model() -> Any:
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk

    class Model(GenericFakeChatModel):
        async def _astream(self, *_: Any, **more: Any) -> AsyncIterator[ChatGenerationChunk]:
            text = "".join(ANSWER)
            for half in (text[: len(text) // 2], text[len(text) // 2 :]):
                yield ChatGenerationChunk(message=AIMessageChunk(content=half))

        def bind_tools(self, *_: Any, **more: Any) -> Any:
            return self

    return Model(messages=iter(()))


@asynccontextmanager
async def _agent(saver: Any) -> AsyncIterator[Say]:
    """Ours, a handler for each turn."""
    from llmkeep.agents import ConversationHandler

    model = _model()

    class Handler(ConversationHandler):
        @property
        def checkpointer(self) -> Any:
            return saver

        @classmethod
        async def _get_or_create_llm_async(cls, *_: Any) -> Any:
            return model

    async def say(name: str) -> None:
        handler = await Handler.create(name, None)
        assert await handler.respond(QUESTION)

    yield say
    saver.close()


@asynccontextmanager
async def _by_hand(saver: Any) -> AsyncIterator[Say]:
    from langchain.agents import create_agent
    from langchain_core.messages import HumanMessage

    from llmkeep.agents.tools import builtin_tools

    tools = list(builtin_tools(("calculator", "current_time"), database=False))
    graph: Any = create_agent(_model(), tools, checkpointer=saver)

    async def say(name: str) -> None:
        config = {"configurable": {"thread_id": name}}
        said = {"messages": [HumanMessage(QUESTION)]}
        async for _ in graph.astream(said, config, stream_mode="messages"):
            pass

    yield say


@asynccontextmanager
async def _speaker(kind: str, file: Path) -> AsyncIterator[Say]:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    from llmkeep.agents.memory import ConversationMemory
    from llmkeep.agents.sqlite_memory import SqliteMemory

    if kind == PLAIN_SQLITE:
        async with AsyncSqliteSaver.from_conn_string(str(file)) as saver, _by_hand(saver) as say:
            yield say
    elif kind == PLAIN_MEMORY:
        async with _by_hand(InMemorySaver()) as say:
            yield say
    else:
        async with _agent(ConversationMemory() if kind == MEMORY else SqliteMemory(file)) as say:
            yield say


async def _converse(kind: str, conversations: int, turns: int, folder: Path) -> dict[str, Any]:
    """In a process of its own: have the conversations, and look now and then at what they take."""
    file = folder / "conversations.sqlite"
    in_memory = kind in (MEMORY, PLAIN_MEMORY)

    def taken() -> float:
        if in_memory:
            gc.collect()
            return resident_megabytes() * 2**20
        return float(sum(each.stat().st_size for each in folder.glob(f"{file.name}*")))

    async with _speaker(kind, folder / "warm.sqlite") as say:  # imports, and what is made once
        for number in range(20):
            await say(f"{number}")
    samples: list[tuple[int, float]] = []
    begin = time.perf_counter()
    async with _speaker(kind, file) as say:
        empty = taken() if in_memory else 0.0
        for said in range(1, conversations * turns + 1):
            await say(f"conversation {(said - 1) // turns}")
            if said % (conversations * turns // SAMPLES) == 0:
                samples.append((said * TEXT, taken() - empty))
    return {"samples": samples, "seconds": time.perf_counter() - begin}


def _run(kind: str, conversations: int, turns: int) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_converse(kind, conversations, turns, Path(folder)))


def measure(quick: bool) -> Report:
    """Each in a process of its own, two at a time: nothing here is timed."""
    many = (100, 10) if quick else (1000, 10)
    long = (1, 100) if quick else (1, 1000)
    few = ((20, 10) if quick else (100, 10), (1, 50) if quick else (1, 100))
    jobs = [(kind, *size) for kind in OURS for size in (many, long)]
    jobs += [(kind, *size) for kind in PLAIN for size in few]

    def run(job: tuple[str, int, int]) -> dict[str, Any]:
        arguments = ("-m", "benchmarks.conversations", *map(str, job))
        found: dict[str, Any] = in_fresh_process(*arguments, limit=600)
        return found

    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(jobs, pool.map(run, jobs), strict=True))
    return Report(
        "What conversations take up",
        f"Bytes for each byte of text; a turn has {TEXT} of those. In memory: by how much the "
        "process has grown. In a database: the files. On the way is after half of the text. Plain "
        "LangGraph keeps every step, so that it has smaller numbers to deal with here.",
        [Table(("", "conversations", "turns", "on the way", "at the end"), _rows(found))],
        [each for job, one in found.items() if job[0] in OURS for each in _verdicts(job, one)],
        {f"{kind}, {number} of {turns}": one for (kind, number, turns), one in found.items()},
    )


def _times(found: dict[str, Any]) -> list[float]:
    return [taken / text for text, taken in found["samples"]]


def _rows(found: dict[tuple[str, int, int], dict[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for (kind, conversations, turns), one in found.items():
        times = _times(one)
        half, end = times[SAMPLES // 2 - 1], times[-1]
        rows.append((kind, f"{conversations:,}", f"{turns:,}", f"{half:.1f}", f"{end:.1f}"))
    return rows


def _verdicts(job: tuple[str, int, int], found: dict[str, Any]) -> list[Verdict]:
    kind, conversations, turns = job
    times = _times(found)
    half, end = times[SAMPLES // 2 - 1], times[-1]
    what = f"{kind}, {conversations:,} of {turns:,} turns"
    return [
        Verdict(
            f"{what}: at most {TIMES} bytes for each of text, and no more at the end",
            f"{end:.1f}, {half:.1f} on the way",
            end <= TIMES and end <= half * FLAT,
            ROOM if kind == MEMORY else "",
        )
    ]


if __name__ == "__main__":
    sizes = [int(argument) for argument in sys.argv[1:] if argument.isdecimal()]
    if sizes:
        print(json.dumps(_run(sys.argv[1], *sizes)))
    else:
        print(measure(quick_from_arguments()))
