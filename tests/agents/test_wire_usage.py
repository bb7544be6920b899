"""Usage as the providers tell it: in the terminal event, and summed per conversation."""

from __future__ import annotations

from typing import Any

from ag_ui.core import RunFinishedEvent

from tests.support.scripted import Scripted
from tests.support.scripted_agent import Agent
from tests.support.scripted_talk import ask
from tests.support.scripted_wire import Call, Text, Usage


class Counting(Agent):
    """Asks for usage also where the address is not OpenAI's own."""

    def _get_parameters(self, provider: str) -> dict[str, Any]:
        return {"stream_usage": True}


async def test_usage_is_told_at_the_end_and_summed_per_conversation(wire: str, scripted: Scripted):
    """Tokens in, out, cached and of reasoning: of the run's calls, and of all runs so far."""
    scripted.say(Call(0, "c1", "add", '{"a": 1}'), Usage(100, 20, cached=60, reasoning=8))
    scripted.say(Text("One."), Usage(130, 10, cached=90))
    scripted.say(Text("And on."), Usage(150, 7))
    handler = Counting("u", None)
    ends = [(await ask(handler, question)).events[-1] for question in ("go", "next")]
    assert [_tokens(end) for end in ends] == [(230, 30, 150, 8), (150, 7, 0, 0)]
    summed = [(end.metadata or {})["conversationUsage"] for end in ends]
    assert [(each["input_tokens"], each["output_tokens"]) for each in summed] == [
        (230, 30),
        (380, 37),
    ]


def _tokens(end: Any) -> tuple[int, ...]:
    assert isinstance(end, RunFinishedEvent)
    assert end.usage
    return tuple(
        sum(getattr(each, name) or 0 for each in end.usage)
        for name in ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
    )
