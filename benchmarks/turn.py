"""One turn of a conversation: what it costs to hand 20 tokens on, and how long the first one takes.

The provider is another process on a real socket. The peer is the agent that one writes by hand:
one model and one compiled graph for all requests, read with `astream(stream_mode="messages")`. It
has the same prompt, the same tools, and the same kind of checkpointer.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
import warnings
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final

from .harness import (
    Case,
    Report,
    Spread,
    Table,
    Verdict,
    in_fresh_process,
    in_turn,
    quick_from_arguments,
    ratio,
)
from .provider import KEY, MODEL, TOKENS, provider

#: What a turn may take, beside the agent written by hand, and beside a client for each request.
BESIDE_HAND: Final = 1.05
AIM: Final = 0.8
BESIDE_CLIENTS: Final = 1 / 5
#: Milliseconds that the agent may add until the first token.
FIRST: Final = 3.0

OURS: Final = "ConversationHandler, a handler for each request"
DEFAULT: Final = "the same with its default memory, pruned after each turn"
HAND: Final = "by hand: one model, one graph"
CLIENTS: Final = "by hand: a model with its own client for each request"
BARE: Final = "the model's stream alone"

#: Answers a message in a conversation of its own; gives when the first token was there.
Turn = Callable[[], Awaitable[float]]


def _turns(base_url: str) -> dict[str, Turn]:
    os.environ |= {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": base_url}
    from ag_ui.core import RunFinishedEvent, TextMessageContentEvent
    from langchain.agents import create_agent
    from langchain_core.messages import HumanMessage, SystemMessage
    from langchain_openai import ChatOpenAI
    from langgraph.checkpoint.memory import InMemorySaver
    from openai import DefaultAsyncHttpxClient

    from llmkeep.agents import ConversationHandler
    from llmkeep.agents.handler import PROMPT
    from llmkeep.agents.tools import builtin_tools

    class Handler(ConversationHandler):
        saver = InMemorySaver()

        @property
        def checkpointer(self) -> Any:
            return self.saver

        def _get_default_model(self) -> str:
            return f"openai:{MODEL}"

    class Default(Handler):
        checkpointer = ConversationHandler.checkpointer

    numbers = count()
    tools = list(builtin_tools(("calculator", "current_time"), database=False))
    saver = InMemorySaver()

    def agent(model: Any) -> Any:
        return create_agent(model, tools, system_prompt=PROMPT, checkpointer=saver)

    model = ChatOpenAI(model=MODEL, stream_usage=True)
    graph = agent(model)
    bound = model.bind_tools(tools)

    async def ours(kind: type[ConversationHandler] = Handler) -> float:
        first = 0.0
        number = 0
        handler = await kind.create(f"user {next(numbers)}", None)
        async for event in handler.stream_response("hello", "session"):
            if isinstance(event, TextMessageContentEvent):
                first = first or time.perf_counter()
                number += 1
        assert number == TOKENS
        assert isinstance(event, RunFinishedEvent)
        return first

    async def read(messages: Any) -> float:
        first = 0.0
        number = 0
        async for message in messages:
            if message.text:
                first = first or time.perf_counter()
                number += 1
        assert number == TOKENS
        return first

    async def hand(graph: Any = graph) -> float:
        config = {"configurable": {"thread_id": f"thread {next(numbers)}"}}
        said = {"messages": [HumanMessage("hello")]}
        pairs = graph.astream(said, config, stream_mode="messages")
        return await read(message async for message, _ in pairs)

    async def clients() -> float:
        async with DefaultAsyncHttpxClient() as client:
            own = ChatOpenAI(model=MODEL, stream_usage=True, http_async_client=client)
            return await hand(agent(own))

    async def bare() -> float:
        return await read(bound.astream([SystemMessage(PROMPT), HumanMessage("hello")]))

    return {
        OURS: ours,
        HAND: hand,
        DEFAULT: lambda: ours(Default),
        CLIENTS: clients,
        BARE: bare,
    }


def _run(rounds: int) -> dict[str, dict[str, list[float]]]:
    """In a process of its own: milliseconds of processor time, and until the first token."""
    warnings.simplefilter("ignore")
    with provider() as base_url, asyncio.Runner() as runner:
        turns = _turns(base_url)

        def costs(turn: Turn, number: int) -> Case:
            async def batch() -> float:
                begin = time.process_time()  # of all threads: hooks may go to an executor
                for _ in range(number):
                    await turn()
                return (time.process_time() - begin) / number * 1e3

            return lambda: runner.run(batch())

        def delays(turn: Turn) -> Case:
            async def one() -> float:
                begin = time.perf_counter()
                return (await turn() - begin) * 1e3

            return lambda: runner.run(one())

        for _ in range(10):
            for turn in turns.values():
                runner.run(turn())  # type: ignore[arg-type]
        gc.collect()
        gc.freeze()  # or now and then a turn pays for looking through all that was imported
        cases = {what: costs(turn, 1 if what == CLIENTS else 4) for what, turn in turns.items()}
        first = {what: delays(turns[what]) for what in (BARE, OURS, HAND)}
        return {"costs": in_turn(cases, rounds), "first": in_turn(first, 3 * rounds)}


def measure(quick: bool) -> Report:
    """All kinds of turn, in turn."""
    found = in_fresh_process("-m", "benchmarks.turn", str(8 if quick else 40), limit=300)
    costs, first = found["costs"], found["first"]
    against = {what: ratio(costs[what], costs[HAND]) for what in costs}
    clients = ratio(costs[OURS], costs[CLIENTS])
    added = {
        what: Spread.of(one - other for one, other in zip(first[what], first[BARE], strict=True))
        for what in first
        if what != BARE
    }
    return Report(
        f"A turn of {TOKENS} streamed tokens",
        "Processor time of one turn in a conversation of its own, in the process that asks; the "
        f"provider is another process, and its tokens come one by one. All but {DEFAULT!r} keep "
        "what was said in an `InMemorySaver`. Until the first token: by how much later it comes "
        "than from the model's own stream.",
        [_table(costs, against, added)],
        [
            Verdict(
                f"a turn takes at most {BESIDE_HAND} times one by hand",
                against[OURS].shown(".2f"),
                against[OURS].median <= BESIDE_HAND,
            ),
            Verdict(
                f"and is to come to {AIM} times that",
                against[OURS].shown(".2f"),
                against[OURS].median <= AIM,
                _share(costs),
            ),
            Verdict(
                "a turn takes at most a fifth of one with a client of its own",
                clients.shown(".2f"),
                clients.median <= BESIDE_CLIENTS,
                f"The stream alone is {ratio(costs[BARE], costs[CLIENTS]).shown('.2f')} of it.",
            ),
            Verdict(
                f"the agent adds less than {FIRST:.0f} ms until the first token",
                added[OURS].shown(".2f", "ms"),
                added[OURS].median < FIRST,
            ),
        ],
        {what: Spread.of(samples).median for what, samples in costs.items()}
        | {f"first token, {what}": spread.median for what, spread in added.items()},
    )


def _share(costs: dict[str, list[float]]) -> str:
    alone = ratio(costs[BARE], costs[HAND])
    return f"The model's stream alone, which both read, is {alone.shown('.2f')} of it."


def _table(
    costs: dict[str, list[float]], against: dict[str, Spread], added: dict[str, Spread]
) -> Table:
    return Table(
        ("", "one turn", "beside one by hand", "first token later by"),
        [
            (
                what,
                Spread.of(samples).shown(".2f", "ms"),
                against[what].shown(".2f"),
                added[what].shown(".2f", "ms") if what in added else "",
            )
            for what, samples in costs.items()
        ],
    )


if __name__ == "__main__":
    numbers = [argument for argument in sys.argv[1:] if argument.isdecimal()]
    if numbers:
        print(json.dumps(_run(int(numbers[0]))))
    else:
        print(measure(quick_from_arguments()))
