"""The conversation that is being held: which one, with which model, and where it is kept."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, final
from urllib.parse import urlsplit

from ag_ui.core import Event, ResumeEntry
from langgraph.checkpoint.base import BaseCheckpointSaver

from llmkeep.agents import ConversationHandler, thread_of
from llmkeep.agents.choice import split_model
from llmkeep.agents.conversation import Conversation, Stored
from llmkeep.settings import settings

from .conversations import Row
from .data import Kept
from .pick import LOOPBACK, Pick

#: Whose conversations they are, and the name of one that is not kept.
USER: Final = "terminal"
UNKEPT: Final = "terminal"


@final
class Held:
    """One conversation at a time, with one model at a time; lives as long as the program.

    Without `kept` nothing is written anywhere.
    """

    def __init__(self, kept: Kept | None) -> None:
        self.kept: Final = kept
        #: The model that is talked with.
        self.pick: Pick | None = None
        #: None until the first message of a new conversation.
        self.name: str | None = None
        #: Tokens of the whole conversation, as far as they are known.
        self.usage: dict[str, Any] = {}
        self._handler: ConversationHandler
        self._is_listed = False
        self._unkept = 0

    async def use(self, pick: Pick) -> None:
        """Talk with this model from here on. Where that raises, all is as it was."""
        before = self.pick
        _apply(pick)
        try:
            self._handler = await self._make_handler()
        except BaseException:
            if before is not None:
                _apply(before)
            raise
        self.pick = pick

    def begin_new(self) -> None:
        """Leave the conversation; the next message begins another."""
        self.name, self.usage, self._is_listed = None, {}, False
        self._unkept += 1

    async def resume(self, name: str) -> Row | None:
        """Go on with the conversation of that name; None where it is to begin."""
        self.begin_new()
        self.name = name
        found = None if self.kept is None else await self.kept.conversations.find(name)
        if found is not None:
            self.usage, self._is_listed = found.usage, True
        return found

    async def answer(self, message: str) -> AsyncGenerator[Event, None]:
        """The events of the answer."""
        if self.kept is not None and not self._is_listed:
            self.name = await self.kept.conversations.begin(message, self.name)
            self._is_listed = True
        return self._handler.stream_response(message, self._session)

    async def go_on(self, answers: Sequence[ResumeEntry]) -> AsyncGenerator[Event, None]:
        """The events after calls that waited for approval have their answers."""
        return self._handler.resume(answers, self._session)

    def stop(self) -> bool:
        """Stop the answer under way, if there is one."""
        return self._handler.stop(self._session)

    def take_usage(self, end: Event) -> None:
        """Learn from the last event of a run how many tokens the conversation has taken."""
        usage = (end.metadata or {}).get("conversationUsage")
        if isinstance(usage, dict):
            self.usage = usage

    async def count_turn(self) -> None:
        """A message has been answered."""
        if self.kept is not None and self.name is not None:
            await self.kept.conversations.count(self.name, self.usage)

    async def stored(self) -> Stored:
        """What is in the conversation."""
        agent = self._handler
        thread = thread_of(USER, self._session)
        steps = settings.agents.max_steps
        return await Conversation(agent.graph_agent, agent.checkpointer, thread, steps).stored()

    @property
    def _session(self) -> str:
        return self.name or f"{UNKEPT}-{self._unkept}"

    async def _make_handler(self) -> ConversationHandler:
        if self.kept is None:
            return await ConversationHandler.create(USER, None)
        memory = self.kept.memory

        class KeptHandler(ConversationHandler):
            @property
            def checkpointer(self) -> BaseCheckpointSaver[Any]:
                return memory

        return await KeptHandler.create(USER, self.kept.session)


def _apply(chosen: Pick) -> None:
    """Make it what handlers use."""
    settings.llm.default_provider, _ = split_model(chosen.model, settings.llm.default_provider)
    settings.llm.base_url = chosen.base_url
    settings.agents.conversation_handler_default_model = chosen.model
    host = urlsplit(chosen.base_url or "").hostname
    if host in LOOPBACK:  # a proxy leads away from this machine
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = ",".join(filter(None, [os.environ.get(name), host]))
