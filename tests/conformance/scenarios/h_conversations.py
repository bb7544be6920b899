"""Conversations: what is remembered when the object that held them is gone."""

from __future__ import annotations

import asyncio

from tests.conformance.stage import Stage, scenario
from tests.conformance.subject import Model

GROUP = "Conversations"


@scenario(GROUP, needs="converse")
def conversation_outlives_its_handler(stage: Stage) -> None:
    """A handler per request, as web frameworks make them: its user is remembered, nobody else."""
    handler = stage.subject.converse(Model(stage.upstream.base_url))
    expected: dict[str, int] = {}

    async def say(user: str, turns: int) -> None:
        prompt = stage.prompt(f"{user} says")
        expected[prompt] = turns
        await stage.acall(handler(user).say(prompt))

    async def main() -> None:
        for turn in (1, 2, 3):
            await asyncio.gather(say("alice", turn), say("bob", turn))

    asyncio.run(main())
    for each in stage.upstream.control("tell")["received"]:
        stage.wrong(each["turns"] != expected[each["prompt"]])
