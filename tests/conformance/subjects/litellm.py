"""litellm as it comes: `completion` and `acompletion`, and the cache they keep their clients in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from tests.conformance.functions import Functions
from tests.conformance.outcome import DoesNotApply
from tests.conformance.subject import Asking, Bounds, Factory, Keeping, Model, Subject


class Completions:
    """The two functions, with one set of arguments."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given

    def _asked(self, prompt: str, **more: Any) -> dict[str, Any]:
        return {**self._given, "messages": [{"role": "user", "content": prompt}], **more}

    def ask(self, prompt: str) -> str:
        """The answer."""
        import litellm

        return str(litellm.completion(**self._asked(prompt)).choices[0].message.content)

    async def aask(self, prompt: str) -> str:
        """The answer, on a loop."""
        import litellm

        answer: Any = await litellm.acompletion(**self._asked(prompt))
        return str(answer.choices[0].message.content)

    def stream(self, prompt: str) -> Iterator[str]:
        """The answer in pieces."""
        import litellm

        for piece in litellm.completion(**self._asked(prompt, stream=True)):
            yield piece.choices[0].delta.content or ""

    async def astream(self, prompt: str) -> AsyncIterator[str]:
        """The answer in pieces, on a loop."""
        import litellm

        pieces: Any = await litellm.acompletion(**self._asked(prompt, stream=True))
        async for piece in pieces:
            yield piece.choices[0].delta.content or ""

    def forget(self) -> None:
        """Empty the cache of clients."""
        import litellm

        litellm.in_memory_llm_clients_cache.flush_cache()

    def break_in(self) -> None:
        """Its clients are its own."""
        raise DoesNotApply("its clients are out of its callers' reach")

    def shut(self) -> None:
        """Empty the cache of clients."""
        self.forget()


class LiteLlm(Subject):
    """`litellm.completion`, and `LLMClientCache` with what it evicts closed later."""

    name = "litellm"
    about = (
        "`litellm.acompletion`; its `LLMClientCache`, filled as its HTTP handlers do, keeps one "
        "client per loop and closes what it evicted after a grace of 900 s"
    )
    distributions = ("litellm", "openai", "httpx")
    modules = ("litellm", "litellm.caching.llm_caching_handler", "asyncio")

    def keep(self, factory: Factory, bounds: Bounds) -> Keeping:
        """Its cache of clients."""
        from litellm.caching.llm_caching_handler import LLMClientCache

        cache: Any = LLMClientCache(
            max_size_in_memory=bounds.most or 200,
            default_ttl=bounds.ttl or 600,  # type: ignore[arg-type]
        )

        def get(key: str) -> Any:
            client = cache.get_cache(key)
            if client is None:
                client = factory.build(key)
                cache.set_cache(key, client, litellm_owned_client=True)
            return client

        async def aget(key: str) -> Any:
            client = cache.get_cache(key)
            if client is None:
                client = await factory.on_loop(key)
                cache.set_cache(key, client, litellm_owned_client=True)
            return client

        return Functions(get, aget, forget=cache.delete_cache, clear=cache.flush_cache)

    def model(self, model: Model) -> Asking:
        """Its two functions."""
        given = {
            "model": "openai/gpt-5-mini",
            "base_url": model.base_url("openai"),
            "api_key": model.api_key,
        }
        return Completions({name: value for name, value in given.items() if value is not None})


SUBJECT = LiteLlm()
