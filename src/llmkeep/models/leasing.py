"""The methods of a handle that lease: each runs the model class's own on the kept instance.

For a stream the lease lasts as long as the generator: until it is exhausted, closed or collected.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from langchain_core.language_models import BaseChatModel

from .adapters import Adapter
from .configuration import Configuration

Sealed = Callable[[Any], Configuration]
"""Gets a handle's configuration."""


def leased_methods(
    model_class: type[BaseChatModel], adapter: Adapter, sealed: Sealed
) -> dict[str, Callable[..., Any]]:
    """What a handle of `model_class` overrides.

    A method that the class does not have itself is left to LangChain's base, which builds it from
    the others on a thread: that thread then holds the lease, also when the task that waits for it
    is cancelled.
    """
    methods = {}
    for name in (*_KINDS, *adapter.leased):
        method = getattr(model_class, name, None)
        if method is not None and method is not getattr(BaseChatModel, name, None):
            wrap = _KINDS.get(name) or _kind_of(method)
            methods[name] = _with_signature(wrap(name, method, sealed), method)
    return methods


def _with_signature(leased: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
    # LangChain asks for it at each call, and finding it takes several times as long as a lease.
    # Without one it is found: of a builtin; with Python 3.14 where annotations are for a checker.
    with contextlib.suppress(TypeError, ValueError, NameError):
        leased.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    return leased


def _call(name: str, method: Callable[..., Any], sealed: Sealed) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with sealed(self).lease() as model:
            return getattr(model, name)(*args, **kwargs)

    return call


def _coroutine(name: str, method: Callable[..., Any], sealed: Sealed) -> Callable[..., Any]:
    @functools.wraps(method)
    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        async with sealed(self).lease() as model:
            return await getattr(model, name)(*args, **kwargs)

    return call


def _stream(name: str, method: Callable[..., Any], sealed: Sealed) -> Callable[..., Any]:
    @functools.wraps(method)
    def stream(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with sealed(self).lease() as model:
            yield from getattr(model, name)(*args, **kwargs)

    return stream


def _async_stream(name: str, method: Callable[..., Any], sealed: Sealed) -> Callable[..., Any]:
    @functools.wraps(method)
    async def stream(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with sealed(self).lease() as model:
            chunks = getattr(model, name)(*args, **kwargs)
            try:
                async for chunk in chunks:
                    yield chunk
            finally:
                # `async for` does not close what it leaves early: the response must be closed
                # before the instance is returned.
                if hasattr(chunks, "aclose"):
                    await chunks.aclose()

    return stream


_KINDS: Final[dict[str, Callable[..., Callable[..., Any]]]] = {
    "_generate": _call,
    "_agenerate": _coroutine,
    "_stream": _stream,
    "_astream": _async_stream,
    "_stream_chat_model_events": _stream,
    "_astream_chat_model_events": _async_stream,
}


def _kind_of(method: Callable[..., Any]) -> Callable[..., Callable[..., Any]]:
    if inspect.isasyncgenfunction(method):
        return _async_stream
    if inspect.iscoroutinefunction(method):
        return _coroutine
    return _stream if inspect.isgeneratorfunction(method) else _call
