"""A turn whose tool waits for approval, held where a test says."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from ag_ui.core import Event, ResumeEntry, RunFinishedEvent
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver

from llmkeep.agents import ConversationHandler
from llmkeep.agents.memory import SHARED_MEMORY
from llmkeep.settings import settings
from tests.agents.events import assert_well_formed
from tests.support.scripted import Asked
from tests.support.scripted_signal import Signal
from tests.support.scripted_talk import Heard, ask
from tests.support.scripted_wire import Answer, Call, Text


class Site:
    """A tool that waits for approval beside one that does not; lives as long as a conversation."""

    def __init__(self, user: str, memory: BaseCheckpointSaver[Any] = SHARED_MEMORY) -> None:
        #: Arguments of `dig` as it was executed.
        self.dug: list[int] = []
        #: The calls of it that have begun.
        self.begun: list[str] = []
        #: `look` ends when this is set.
        self.looked = Signal()
        #: `dig` ends when this is set.
        self.done = Signal()
        site = self

        @tool
        async def dig(depth: int) -> str:
            """Dig."""
            site.begun.append("c-dig")
            site.dug.append(depth)
            await site.done.come()
            return f"dug {depth}"

        @tool
        async def look() -> str:
            """Look around."""
            await site.looked.come()
            return "seen"

        class Agent(ConversationHandler):
            @property
            def tools(self):
                return (dig, look)

            @property
            def checkpointer(self):
                return memory

        settings.agents.approve_tools = ("dig",)
        self.handler = Agent(user, None)
        self._announced: list[Event] = []

    def answer_to(self, asked: Asked) -> Answer:
        """Both tools at first; then words."""
        last = str(asked.messages[-1])
        if "next" in last:
            return [Text("fine")]
        if "go" in last:
            return [Call(0, "c-dig", "dig", '{"depth": 3}'), Call(1, "c-look", "look")]
        return [Text("It is "), Text("done.")]

    async def wait_for_approval(self) -> str:
        """The first turn, to its interrupt; gives the interrupt's id."""
        self.looked.set()
        heard = await ask(self.handler, "go")
        [interrupt] = _interrupts(heard)
        assert interrupt.tool_call_id == "c-dig"
        assert heard.calls["c-look"].result == "seen"
        assert heard.calls["c-dig"].result is None
        self._announced = [e for e in heard.events if getattr(e, "tool_call_id", "") == "c-dig"]
        return str(interrupt.id)

    def assert_goes_on(self, heard: Heard) -> None:
        """A run after the first is in order, when one knows the call that the first announced."""
        started, *rest = heard.events
        assert_well_formed([started, *self._announced, *rest])

    def yes(self, interrupt_id: str) -> AsyncGenerator[Event, None]:
        """Say yes to the call that waits."""
        entry = ResumeEntry(
            interrupt_id=interrupt_id, status="resolved", payload={"approved": True}
        )
        return self.handler.resume([entry], "s")


def _interrupts(heard: Heard) -> list[Any]:
    end = heard.events[-1]
    assert isinstance(end, RunFinishedEvent)
    assert end.outcome is not None
    assert end.outcome.type == "interrupt"
    return list(end.outcome.interrupts)
