"""Constructing a conversation handler when its model is there already."""

from __future__ import annotations

import os
from typing import Any, Final

from .harness import (
    Report,
    Spread,
    Table,
    Verdict,
    in_turn,
    quick_from_arguments,
    ratio,
    repeated,
)

#: How many times as long the original design's constructor takes, at least.
TARGET: Final = 50

WARM: Final = "ConversationHandler(user, session)"
READY: Final = "await ConversationHandler.create(user, session)"
CACHED: Final = "original constructor, its model cached"
NAIVE: Final = "original constructor, model and all"


def _tools() -> tuple[Any, ...]:
    from langchain_core.tools import StructuredTool

    def answer(query: str, limit: int = 10) -> str:
        return query[:limit]

    names = ("search", "lookup", "add", "remember", "now")
    return tuple(
        StructuredTool.from_function(answer, name=name, description=name) for name in names
    )


def _names() -> dict[str, Any]:
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI
    from langgraph.checkpoint.memory import InMemorySaver

    from llmkeep.agents import ConversationHandler

    five = _tools()
    model = ChatOpenAI(model="gpt-5-mini")

    class Handler(ConversationHandler):
        tools = five

    def original(llm: Any = None) -> Any:
        llm = llm or ChatOpenAI(model="gpt-5-mini")
        return create_agent(llm, list(five), checkpointer=InMemorySaver())

    Handler("user", None)
    return {"Handler": Handler, "original": original, "model": model}


def measure(quick: bool) -> Report:
    """Ours and the original design's, in turn, with the same five tools."""
    os.environ["OPENAI_API_KEY"] = "no-request-is-made"
    rounds = 7 if quick else 31
    names = _names()
    samples = in_turn(
        {
            WARM: repeated("Handler('user', None)", names, 50),
            READY: repeated("await Handler.create('user', None)", names, 50),
            CACHED: repeated("original(model)", names, 2),
            NAIVE: repeated("original()", names, 2),
        },
        rounds,
    )
    times = {what: Spread.of(each * 1e6 for each in samples[what]) for what in samples}
    against = {what: ratio(samples[what], samples[WARM]) for what in samples}
    return Report(
        "Constructing a warm handler",
        "Processor time of one construction with the same five tools. The original design compiles "
        "a graph for every handler (`create_agent` with an `InMemorySaver`), and its model is made "
        "for it, or taken from its cache where there is one by now.",
        [
            Table(
                ("", "one takes", "beside a warm handler"),
                [
                    (what, times[what].shown(".0f", "us"), against[what].shown(".1f"))
                    for what in samples
                ],
            )
        ],
        [
            Verdict(
                f"a warm handler is constructed at least {TARGET} times faster than {what}",
                against[what].shown(".0f"),
                against[what].median >= TARGET,
            )
            for what in (NAIVE, CACHED)
        ],
        {what: spread.median for what, spread in times.items()},
    )


if __name__ == "__main__":
    print(measure(quick_from_arguments()))
