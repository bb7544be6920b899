"""What of a conversation is sent to the model: no more than fits into its context window."""

from __future__ import annotations

from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models.chat_models import BaseChatModel


def context_middleware(
    llm: BaseChatModel, *, tokens: int | None, strategy: str
) -> tuple[AgentMiddleware[Any, Any, Any], ...]:
    """The middleware that keeps what is sent within the window; everything is sent for now."""
    return ()
