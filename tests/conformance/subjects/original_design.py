"""The design that llmkeep began as: a dict of models keyed by provider, model and temperature.

A check outside any lock for synchronous callers, one class-level `asyncio.Lock` for the others,
and a key in which endpoint and API key are missing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tests.conformance.chat_models import ChatModel, arguments
from tests.conformance.functions import Functions, no_bound
from tests.conformance.subject import Asking, Bounds, Factory, Keeping, Model, Subject

_kept: dict[tuple[str, str, float], Any] = {}


class Original(Subject):
    """A class-level dict and lock."""

    name = "the original design"
    about = "a class-level dict keyed by (provider, model, temperature), and an `asyncio.Lock`"
    distributions = ("langchain-openai",)
    modules = ("langchain_openai", "asyncio")

    def keep(self, factory: Factory, bounds: Bounds) -> Keeping:
        """A dict."""
        no_bound(bounds.ttl, "has no expiry")
        no_bound(bounds.most, "has no bound")
        kept: dict[str, Any] = {}
        lock = asyncio.Lock()

        def get(key: str) -> Any:
            if key not in kept:
                kept[key] = factory.build(key)
            return kept[key]

        async def aget(key: str) -> Any:
            if key in kept:
                return kept[key]
            async with lock:
                if key not in kept:
                    kept[key] = await factory.on_loop(key)
                return kept[key]

        return Functions(get, aget, forget=lambda key: kept.pop(key, None), clear=kept.clear)

    def model(self, model: Model) -> Asking:
        """The kept model of that key."""
        from langchain_openai import ChatOpenAI

        key = ("openai", "gpt-5-mini", model.temperature)
        if key not in _kept:
            _kept[key] = ChatOpenAI(**arguments(model, "openai"))
        return Forgetting(_kept[key])


class Forgetting(ChatModel):
    """A model that the dict can let go."""

    def forget(self) -> None:
        """Empty the dict; whoever has the model keeps it."""
        _kept.clear()


SUBJECT = Original()
