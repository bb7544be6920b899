"""llmkeep's conversations: a `ConversationHandler` per request."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.conformance.subject import Model, Subject, Talking


class Handler:
    """A handler that is made for one message."""

    def __init__(self, user: str) -> None:
        self._user = user

    async def say(self, text: str) -> str:
        """The answer."""
        from llmkeep.agents import ConversationHandler

        handler = await ConversationHandler.create(self._user, None)
        return await handler.respond(text, "session")


class Conversations(Subject):
    """Handlers whose memory is not theirs."""

    name = "llmkeep ConversationHandler"
    ours = True
    about = "a `ConversationHandler` per request"
    distributions = ("llmkeep", "langgraph", "langchain-openai")
    modules = ("llmkeep.agents", "langchain_openai", "asyncio")
    process_threads = ("llmkeep-housekeeper", "llmkeep-idle")
    keeps_not = asks_not = "only leads conversations here; its models are examined by themselves"

    def converse(self, model: Model) -> Callable[[str], Talking]:
        """Handlers as a web framework makes them."""
        from llmkeep.settings import settings

        os.environ["OPENAI_BASE_URL"] = model.base_url("openai")
        os.environ["OPENAI_API_KEY"] = str(model.api_key)
        settings.agents.builtin_tools = ()  # the upstream calls any tool that it is shown
        return Handler


SUBJECT = Conversations()
