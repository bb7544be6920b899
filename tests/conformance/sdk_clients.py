"""The `openai` and `anthropic` SDKs as something that asks: one pair of clients for all callers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from .subject import Model

_LIMIT = 100


class Clients:
    """A synchronous and an asynchronous client of one SDK."""

    def __init__(self, client: Any, aclient: Any, model: Model) -> None:
        self.client, self.aclient, self._model = client, aclient, model

    def forget(self) -> None:
        """Nothing: one keeps a client until one makes another."""

    def break_in(self) -> None:
        """Close the synchronous client."""
        self.client.close()

    def shut(self) -> None:
        """Close the synchronous client; the other can only be closed on its loop."""
        self.client.close()


class OpenAIClients(Clients):
    """Chat completions."""

    def _asked(self, prompt: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt}]
        return {"model": "gpt-5-mini", "messages": messages}

    def ask(self, prompt: str) -> str:
        """The answer."""
        answer = self.client.chat.completions.create(**self._asked(prompt))
        return str(answer.choices[0].message.content)

    async def aask(self, prompt: str) -> str:
        """The answer, on a loop."""
        answer = await self.aclient.chat.completions.create(**self._asked(prompt))
        return str(answer.choices[0].message.content)

    def stream(self, prompt: str) -> Iterator[str]:
        """The answer in pieces."""
        with self.client.chat.completions.create(**self._asked(prompt), stream=True) as pieces:
            for piece in pieces:
                yield _text(piece)

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        """The answer in pieces, on a loop."""
        asked = {**self._asked(prompt), "stream": True}
        async with await self.aclient.chat.completions.create(**asked) as pieces:
            async for piece in pieces:
                yield _text(piece)


class AnthropicClients(Clients):
    """Messages."""

    def _asked(self, prompt: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt}]
        return {"model": "claude-sonnet-5", "messages": messages, "max_tokens": _LIMIT}

    def ask(self, prompt: str) -> str:
        """The answer."""
        return str(self.client.messages.create(**self._asked(prompt)).content[0].text)

    async def aask(self, prompt: str) -> str:
        """The answer, on a loop."""
        return str((await self.aclient.messages.create(**self._asked(prompt))).content[0].text)

    def stream(self, prompt: str) -> Iterator[str]:
        """The answer in pieces."""
        with self.client.messages.stream(**self._asked(prompt)) as pieces:
            yield from pieces.text_stream

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        """The answer in pieces, on a loop."""
        async with self.aclient.messages.stream(**self._asked(prompt)) as pieces:
            async for text in pieces.text_stream:
                yield text


def options(model: Model, provider: str) -> dict[str, Any]:
    """What an SDK's client takes."""
    given: dict[str, Any] = {"base_url": model.base_url(provider)}
    if provider == "anthropic":
        given["base_url"] = given["base_url"].removesuffix("/v1")
    if model.api_key is not None:
        given["api_key"] = model.api_key
    if model.max_retries is not None:
        given["max_retries"] = model.max_retries
    return given


def _text(piece: Any) -> str:
    return "".join(choice.delta.content or "" for choice in piece.choices)
