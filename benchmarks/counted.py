"""The subjects of `benchmarks.instructions`: each does one small thing as often as it is told.

    python -m benchmarks.counted core

runs the subjects of a group, each once with few and once with more repetitions, with a call of
`mark` around each run. Valgrind is told to cut its count there. Nothing is measured here.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from typing import Any, Final, NamedTuple

#: Does it so many times.
Run = Callable[[int], object]


class Subject(NamedTuple):
    """One thing to count."""

    run: Run
    #: How often at first; then four times as often.
    few: int


def mark() -> None:
    """A call that nothing else makes, in the C library: valgrind cuts its count here."""
    os.ctermid()


def _loop(statement: str, names: dict[str, Any]) -> Run:
    """`statement` in a loop of its own; one with `async` or `await` in it on an event loop."""
    is_async = "async " in statement or "await " in statement
    head = f"{'async ' if is_async else ''}def run(number):\n    for _ in range(number):\n"
    space = dict(names)
    exec(compile(f"{head}        {statement}\n", f"<{statement}>", "exec"), space)
    run = space["run"]
    return (lambda number: asyncio.run(run(number))) if is_async else run


# -- the core --------------------------------------------------------------------------------------


def core() -> dict[str, Subject]:
    """A hot lease in its forms, and the blocks that it is held against."""
    import llmkeep
    from llmkeep import ClientCache, Scope

    @contextlib.contextmanager
    def empty() -> Iterator[None]:
        yield

    @contextlib.asynccontextmanager
    async def aempty() -> Any:
        yield

    names = {
        "empty": empty,
        "aempty": aempty,
        "lock": threading.Lock(),
        "frozen": llmkeep.freeze({"model": "m", "temperature": 0}),
        **{
            name: ClientCache(lambda _spec: object(), scope=scope)
            for name, scope in (
                ("cache", Scope.PROCESS),
                ("exclusive", Scope.exclusive()),
                ("per_loop", Scope.LOOP),
            )
        },
    }
    statements = {
        "an empty @contextmanager block": "with empty(): pass",
        "with threading.Lock()": "with lock: pass",
        "with cache.lease(frozen)": "with cache.lease(frozen): pass",
        "with cache.lease('text')": "with cache.lease('text'): pass",
        "with exclusive.lease(frozen)": "with exclusive.lease(frozen): pass",
        "an empty @asynccontextmanager block": "async with aempty(): pass",
        "async with cache.lease(frozen)": "async with cache.lease(frozen): pass",
        "async with exclusive.lease(frozen)": "async with exclusive.lease(frozen): pass",
        "async with per_loop.lease(frozen)": "async with per_loop.lease(frozen): pass",
    }
    return {what: Subject(_loop(each, names), 1000) for what, each in statements.items()}


# -- the handle ------------------------------------------------------------------------------------


def models() -> dict[str, Subject]:
    """Calls and streamed chunks of a model that answers at once, bare and through a handle."""
    import llmkeep

    from .scripted import Scripted, register_scripted

    register_scripted()
    names = {"model": Scripted(model="m"), "handle": llmkeep.chat_model("scripted:m")}

    def chunks(name: str) -> Subject:
        model = names[name]

        def run(number: int) -> None:
            for _ in model.stream("hello", tokens=number):
                pass

        return Subject(run, 100)

    def achunks(name: str) -> Subject:
        model = names[name]

        async def run(number: int) -> None:
            async for _ in model.astream("hello", tokens=number):
                pass

        return Subject(lambda number: asyncio.run(run(number)), 100)

    found: dict[str, Subject] = {}
    for name in names:
        found |= {
            f"{name}.invoke": Subject(_loop(f"{name}.invoke('hello')", names), 50),
            f"await {name}.ainvoke": Subject(_loop(f"await {name}.ainvoke('hello')", names), 50),
            f"a stream opened, {name}.stream": Subject(
                _loop(f"for _ in {name}.stream('hello', tokens=1): pass", names), 50
            ),
            f"a stream opened, {name}.astream": Subject(
                _loop(f"async for _ in {name}.astream('hello', tokens=1): pass", names), 50
            ),
            f"a chunk of {name}.stream": chunks(name),
            f"a chunk of {name}.astream": achunks(name),
        }
    return found


# -- the agent -------------------------------------------------------------------------------------


def agents() -> dict[str, Subject]:
    """A turn of 20 tokens in a conversation of its own: ours, and a graph that is used as it is."""
    from langchain.agents import create_agent
    from langchain_core.messages import HumanMessage, SystemMessage
    from langgraph.checkpoint.memory import InMemorySaver

    from llmkeep.agents import ConversationHandler
    from llmkeep.agents.handler import PROMPT
    from llmkeep.agents.memory import SHARED_MEMORY
    from llmkeep.agents.tools import builtin_tools

    from .scripted import Scripted, register_scripted

    register_scripted()
    numbers = count()
    saver = InMemorySaver()
    model = Scripted(model="m")
    tools = list(builtin_tools(("calculator", "current_time"), database=False))
    graph = create_agent(model, tools, system_prompt=PROMPT, checkpointer=saver)
    bound = model.bind_tools(tools)

    class Handler(ConversationHandler):
        @property
        def checkpointer(self) -> Any:
            return saver

        def _get_default_model(self) -> str:
            return "scripted:m"

    class Default(Handler):
        @property
        def checkpointer(self) -> Any:
            return SHARED_MEMORY

    async def ours(kind: type[ConversationHandler]) -> None:
        handler = await kind.create(f"user {next(numbers)}", None)
        async for _ in handler.stream_response("hello", "session"):
            pass

    async def hand() -> None:
        config: Any = {"configurable": {"thread_id": f"thread {next(numbers)}"}}
        said: Any = {"messages": [HumanMessage("hello")]}
        async for _ in graph.astream(said, config, stream_mode="messages"):
            pass

    async def bare() -> None:
        async for _ in bound.astream([SystemMessage(PROMPT), HumanMessage("hello")]):
            pass

    def turns(turn: Callable[[], Awaitable[None]]) -> Subject:
        return Subject(_loop("await turn()", {"turn": turn}), 5)

    return {
        "the model's stream alone": turns(bare),
        "by hand: create_agent, astream": turns(hand),
        "ConversationHandler, same saver": turns(lambda: ours(Handler)),
        "ConversationHandler, its own memory": turns(lambda: ours(Default)),
    }


GROUPS: Final[dict[str, Callable[[], dict[str, Subject]]]] = {
    "core": core,
    "models": models,
    "agents": agents,
}


def main() -> None:
    """Run a group. What the subjects are called goes to standard output, one a line."""
    subjects = GROUPS[sys.argv[1]]()
    gc.disable()
    for what, (run, few) in subjects.items():
        run(few)  # warm
        gc.collect()
        for number in (few, few * 4):
            mark()
            run(number)
            mark()
        print(few * 3, what, flush=True)


if __name__ == "__main__":
    main()
