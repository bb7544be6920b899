"""pydantic-ai as it comes: one model, whose provider keeps one HTTP client.

Since version 2 the client is the provider's own; before, one client was cached for the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from tests.conformance.outcome import DoesNotApply
from tests.conformance.subject import Asking, Model, Subject


class Direct:
    """One model, asked through `pydantic_ai.direct`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def ask(self, prompt: str) -> str:
        """The answer: the synchronous face runs the loop of its thread."""
        from pydantic_ai.direct import model_request_sync

        return _text(model_request_sync(self._model, [_message(prompt)]))

    async def aask(self, prompt: str) -> str:
        """The answer, on a loop."""
        from pydantic_ai.direct import model_request

        return _text(await model_request(self._model, [_message(prompt)]))

    def stream(self, prompt: str) -> Iterator[str]:
        """Whole: its synchronous streams run a loop on a thread of their own."""

        async def read() -> list[str]:
            return [piece async for piece in self.astream(prompt)]

        yield from asyncio.run(read())

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        """The answer in pieces, on a loop."""
        from pydantic_ai.direct import model_request_stream

        async with model_request_stream(self._model, [_message(prompt)]) as pieces:
            async for piece in pieces:
                yield str(piece)

    def forget(self) -> None:
        """Nothing: one keeps a model until one makes another."""

    def break_in(self) -> None:
        """Its client can only be closed on a loop."""
        raise DoesNotApply("its one client is asynchronous")

    def shut(self) -> None:
        """Nothing: `async with model` would have to be on every loop."""


class Bare(Subject):
    """`OpenAIChatModel(provider=OpenAIProvider(...))`."""

    name = "pydantic-ai"
    about = "one `OpenAIChatModel` for the process, asked through `pydantic_ai.direct`"
    distributions = ("pydantic-ai-slim", "openai", "httpx2")
    modules = ("pydantic_ai.models.openai", "pydantic_ai.direct", "asyncio")

    def model(self, model: Model) -> Asking:
        """A model."""
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        provider = OpenAIProvider(base_url=model.base_url("openai"), api_key=model.api_key)
        return Direct(OpenAIChatModel("gpt-5-mini", provider=provider))


def _message(prompt: str) -> Any:
    from pydantic_ai.messages import ModelRequest

    return ModelRequest.user_text_prompt(prompt)


def _text(answer: Any) -> str:
    return "".join(getattr(part, "content", "") for part in answer.parts)


SUBJECT = Bare()
