"""The model instances that agents use: one for each configuration, whoever asks.

Kept under a printable key, `(provider, model, temperature)`, with a fingerprint behind it where
there are more parameters. What is kept are handles of `llmkeep.chat_model`, which lease the real
instance for each call; or, bare, what somebody's own factory made. Nothing here is ever closed: it
is dropped, and the instance behind a handle is retired by the rules of the keep.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, final

from langchain_core.language_models.chat_models import BaseChatModel

import llmkeep
from llmkeep.core import ClientCache, LeaseTimeout

from .choice import InstanceKey, ModelChoice

Factory = Callable[[], BaseChatModel] | Callable[[], Awaitable[BaseChatModel]]

#: By the key as it is printed: a text that was leased before is not sealed anew.
_cache: Final = ClientCache[str, BaseChatModel](name="agents", label=str)


def ready(choice: ModelChoice) -> BaseChatModel:
    """The instance of `choice`, made now if there is none. Blocks while it is being made."""
    with _cache.lease(repr(choice.key), build=lambda _key: choice.build()) as instance:
        return instance


async def get_or_create(key: InstanceKey, factory: Factory) -> BaseChatModel:
    """The instance under `key`, made by one call of `factory`, however many ask at once.

    A blocking factory runs on a thread of its own, a coroutine function on the running loop.
    Raises TypeError for a key that cannot be printed, and what the factory raises.
    """
    _check(key)
    async with _cache.lease(repr(key), build=_taking_key(factory)) as instance:
        return instance


def forget_all() -> None:
    """Drop every instance, and retire those behind the handles, whatever the environment says now.

    Calls that are using one keep it until they end.
    """
    _cache.clear()
    llmkeep.clear()


def stats() -> dict[str, int]:
    """The figures of the cache, named as in `llmkeep.core.Stats`."""
    return dict(vars(_cache.stats()))


@final
class ReadyInstances(Mapping[InstanceKey, BaseChatModel]):
    """The instances that are ready now: a view, which nobody can write to."""

    def __getitem__(self, key: InstanceKey) -> BaseChatModel:
        try:
            with _cache.lease(repr(key), timeout=0) as instance:
                return instance
        except LeaseTimeout:  # not ready
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[InstanceKey]:
        return iter([ast.literal_eval(row.label) for row in _ready_rows()])

    def __len__(self) -> int:
        return len(_ready_rows())

    def __repr__(self) -> str:
        return f"<ready instances: {list(self)}>"


READY: Final = ReadyInstances()


def _ready_rows() -> list[Any]:
    return [row for row in _cache.snapshot() if row.state == "ready"]


def _check(key: object) -> None:
    parts = key if isinstance(key, tuple) else (key,)
    if not isinstance(key, str | tuple) or not all(
        part is None or type(part) in (str, int, bool) or _is_finite(part) for part in parts
    ):
        raise TypeError(
            "cache_key must be text, or a tuple of text, finite numbers, booleans and None"
        )


def _is_finite(part: object) -> bool:
    return type(part) is float and math.isfinite(part)


def _taking_key(factory: Factory) -> Callable[[str], Any]:
    if inspect.iscoroutinefunction(factory):

        async def make(_key: str) -> Any:
            return await factory()

        return make
    return lambda _key: factory()
