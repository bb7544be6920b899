"""LangChain chat models as something that asks: what ours and the bare ones have in common."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from .subject import Model


class ChatModel:
    """One chat model, shared by all callers."""

    def __init__(self, llm: Any) -> None:
        self.llm = llm

    def ask(self, prompt: str) -> str:
        """The answer."""
        return str(self.llm.invoke(prompt).content)

    async def aask(self, prompt: str) -> str:
        """The answer, on a loop."""
        return str((await self.llm.ainvoke(prompt)).content)

    def stream(self, prompt: str) -> Iterator[str]:
        """The answer in pieces."""
        for piece in self.llm.stream(prompt):
            yield piece.text

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        """The answer in pieces, on a loop."""
        async for piece in self.llm.astream(prompt):
            yield piece.text

    def forget(self) -> None:
        """Nothing: one keeps a model until one makes another."""

    def break_in(self) -> None:
        """Close the HTTP client that the model uses."""
        for name in ("root_client", "_client"):
            if hasattr(self.llm, name):
                getattr(self.llm, name).close()
                return
        raise LookupError("no client can be reached")

    def shut(self) -> None:
        """Nothing: a chat model has no close."""


def arguments(model: Model, provider: str) -> dict[str, Any]:
    """What both the bare class and the handle take."""
    name = "gpt-5-mini" if provider == "openai" else "claude-sonnet-5"
    given: dict[str, Any] = {
        "model": name,
        "base_url": model.base_url(provider),
        "temperature": model.temperature,
    }
    if model.api_key is None:
        os.environ.setdefault(f"{provider.upper()}_API_KEY", "key-0")
    else:
        given["api_key"] = model.api_key
    if model.max_retries is not None:
        given["max_retries"] = model.max_retries
    return given
