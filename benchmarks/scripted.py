"""A model that answers at once, with tokens from nowhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from llmkeep import Scope
from llmkeep.models import Adapter, register

TOKENS = 20


class Scripted(BaseChatModel):
    """Streams as many tokens as it is told."""

    model: str

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        """Nothing is called; but an agent leaves the tools out of a model that cannot bind them."""
        return self.bind()

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> Any:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("token"))])

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any
    ) -> Any:
        return self._generate(messages)

    def _stream(
        self,
        messages: Any,
        stop: Any = None,
        run_manager: Any = None,
        *,
        tokens: int = TOKENS,
        **_: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for _number in range(tokens):
            yield ChatGenerationChunk(message=AIMessageChunk(content="token "))

    async def _astream(
        self,
        messages: Any,
        stop: Any = None,
        run_manager: Any = None,
        *,
        tokens: int = TOKENS,
        **_: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for _number in range(tokens):
            yield ChatGenerationChunk(message=AIMessageChunk(content="token "))


def register_scripted() -> None:
    """Make it known to `llmkeep.chat_model` as `scripted:...`."""
    register(
        Adapter(
            provider="scripted",
            path=f"{__name__}:Scripted",
            package="llmkeep",
            scope=Scope.PROCESS,
            reason="it holds nothing",
            # As many variables as a provider's table has: they are looked at for each lease.
            environment=dict.fromkeys(f"SCRIPTED_{number}" for number in range(30)),
        )
    )
