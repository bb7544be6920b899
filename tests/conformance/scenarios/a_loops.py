"""Event loops: one client, used on more than one."""

from __future__ import annotations

import asyncio

from tests.conformance.stage import Stage, scenario

GROUP = "Event loops"


@scenario(GROUP, needs="model")
def loops_in_turn(stage: Stage) -> None:
    """Twenty `asyncio.run` in turn, one call in each: all are answered, each is sent once."""
    llm = stage.asker()
    for _ in range(20):
        stage.call(asyncio.run, llm.aask(stage.prompt()))
    stage.look_at_sockets()
    llm.shut()


@scenario(GROUP, needs="model")
def loops_on_threads(stage: Stage) -> None:
    """Eight threads with ten `asyncio.run` each: all are answered, no socket stays open."""
    llm = stage.asker()

    def work(_: int) -> None:
        for _ in range(10):
            stage.call(asyncio.run, llm.aask(stage.prompt()))

    stage.patience = 30.0
    stage.together(8, work)
    stage.look_at_sockets()
    llm.shut()


@scenario(GROUP, needs="model")
def streams_on_loops(stage: Stage) -> None:
    """Ten loops in turn that each read a stream to its end: none breaks."""
    llm = stage.asker()

    async def read(prompt: str) -> None:
        pieces = [piece async for piece in llm.astream(prompt)]
        stage.wrong(not "".join(pieces))

    for _ in range(10):
        stage.call(asyncio.run, read(stage.prompt()))
    stage.look_at_sockets()
    llm.shut()
