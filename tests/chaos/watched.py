"""Models that know whether they are in use, and notice being closed under it.

The adapters are the real ones and make real `ChatOpenAI` and `ChatAnthropic` objects over real
clients; what is added counts who is inside, and how often the kept instance was closed.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final

import langchain_anthropic
import langchain_openai
from pydantic import PrivateAttr

from llmkeep.models.adapters import Adapter, Kept
from llmkeep.models.anthropic_adapter import AnthropicAdapter
from llmkeep.models.openai_adapter import OpenAIAdapter
from llmkeep.models.providers import PROVIDERS
from tests.chaos.plan import MARK


class Usage:
    """Of one kept instance; lives as long as it."""

    #: Every one that was used or closed, and what was seen that must not be.
    known: Final[list[Usage]] = []
    faults: Final[list[str]] = []
    #: One for each instance that a factory has made. (A fork could catch a lock held.)
    built: Final[list[int]] = []

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a finalizer may end a stream inside
        self.process = os.getpid()
        self.inside = self.closes = 0
        #: The numbers of the requests that were made with it.
        self.entered: list[int] = []

    @contextmanager
    def used(self, messages: Any) -> Iterator[None]:
        """While somebody calls the model."""
        mark = MARK.search(str(messages).encode())
        assert mark is not None
        with self.lock:
            if self.closes:
                self.faults.append("I3: a closed instance was leased")
            if not self.entered:
                self.known.append(self)
            self.inside += 1
            self.entered.append(int(mark[1]))
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1

    def close(self) -> None:
        """The instance is being closed: this is among what it owns."""
        with self.lock:
            if not self.entered and not self.closes:
                self.known.append(self)
            self.closes += 1
            if self.process != os.getpid():
                self.faults.append("I9: a forked child closed what its parent opened")
            elif self.inside:
                self.faults.append(f"I3: closed under {self.inside} leases")
            if self.closes > 1:
                self.faults.append("I4: closed twice")

    @classmethod
    def forget_all(cls) -> None:
        """Before another storm."""
        cls.known.clear()
        cls.faults.clear()
        cls.built.clear()


class _Watched:
    _usage: Usage

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with self._usage.used(args or kwargs):
            yield from super()._stream(*args, **kwargs)  # type: ignore[misc]

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with self._usage.used(args or kwargs):
            chunks = super()._astream(*args, **kwargs)  # type: ignore[misc]
            try:
                async for chunk in chunks:
                    yield chunk
            finally:
                await chunks.aclose()


class WatchedOpenAI(_Watched, langchain_openai.ChatOpenAI):
    """ChatOpenAI, watched."""

    _usage: Usage = PrivateAttr(default_factory=Usage)


class WatchedAnthropic(_Watched, langchain_anthropic.ChatAnthropic):
    """ChatAnthropic, watched."""

    _usage: Usage = PrivateAttr(default_factory=Usage)


class _WatchedOpenAIAdapter(OpenAIAdapter):
    def construct(self, arguments: dict[str, Any]) -> Kept:
        return _watched(super().construct(arguments))

    def open(self, kept: Kept) -> None:
        super().open(kept)
        Usage.built.append(id(kept))


class _WatchedAnthropicAdapter(AnthropicAdapter):
    def construct(self, arguments: dict[str, Any]) -> Kept:
        return _watched(super().construct(arguments))

    def open(self, kept: Kept) -> None:
        super().open(kept)
        Usage.built.append(id(kept))


def _watched(kept: Kept) -> Kept:
    model: Any = kept.model
    return Kept(model, (model._usage, *kept.owned))


def adapters() -> list[Adapter]:
    """For `openai` and `anthropic`, in place of the usual ones."""
    found: list[Adapter] = []
    for name, kind, path in (
        ("openai", _WatchedOpenAIAdapter, WatchedOpenAI),
        ("anthropic", _WatchedAnthropicAdapter, WatchedAnthropic),
    ):
        usual = PROVIDERS[name]
        values = {
            field.name: getattr(usual, field.name)
            for field in dataclasses.fields(usual)
            if field.init
        }
        path_name = f"{path.__module__}:{path.__name__}"
        found.append(kind(**{**values, "provider": f"chaos_{name}", "path": path_name}))
    return found
