"""What is examined, behind two faces: something that keeps clients, something that asks a model.

A subject is a module in `subjects/` with one `SUBJECT`. To add a peer, write such a file: derive
from `Subject` and override what it can do. What it cannot do stays as it is here, and the report
says why it does not apply.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar, Protocol

from .outcome import DoesNotApply


@dataclass(frozen=True)
class Bounds:
    """What a scenario asks of something that keeps clients; times in seconds."""

    most: int | None = None
    ttl: float | None = None
    #: The clients belong to the loop that they were made on.
    per_loop: bool = False
    build_timeout: float | None = None
    close_timeout: float = 10.0


@dataclass(frozen=True)
class Factory:
    """How clients are made and closed: on a thread, and on a loop."""

    build: Callable[[str], Any]
    #: None: the factory blocks, and can only be awaited on a thread.
    abuild: Callable[[str], Coroutine[Any, Any, Any]] | None
    close: Callable[[Any], Any]

    async def on_loop(self, key: str) -> Any:
        """Make one on a loop, as the user of a library does that has no thread for it."""
        if self.abuild is None:
            return await asyncio.to_thread(self.build, key)
        return await self.abuild(key)


class Keeping(Protocol):
    """Something that keeps one client per key."""

    def use(self, key: str) -> AbstractContextManager[Any]:
        """The client of `key`, for the time of a `with` block, on a thread."""

    def ause(self, key: str) -> AbstractAsyncContextManager[Any]:
        """The same on a loop."""

    def forget(self, key: str) -> None:
        """Let nobody get the client of `key` from now on."""

    def clear(self) -> None:
        """Let nobody get any client from now on that is kept."""

    def shut(self) -> None:
        """End in the most orderly way that is offered."""


class Asking(Protocol):
    """Something that puts a prompt to the upstream, from anywhere."""

    def ask(self, prompt: str) -> str:
        """The answer."""

    async def aask(self, prompt: str) -> str:
        """The answer, on a loop."""

    def stream(self, prompt: str) -> Iterator[str]:
        """The answer in pieces."""

    def astream(self, prompt: str) -> AsyncIterator[str]:
        """The answer in pieces, on a loop."""

    def forget(self) -> None:
        """Let later calls have a new client."""

    def break_in(self) -> None:
        """Close the client behind its user's back, as far as it can be reached."""

    def shut(self) -> None:
        """End in the most orderly way that is offered."""


class Talking(Protocol):
    """The handler of one user's message, made for it and dropped after it."""

    async def say(self, text: str) -> str:
        """The answer."""


@dataclass(frozen=True)
class Model:
    """What is asked; None: whatever the environment says."""

    base_url: Callable[[str], str]
    api_key: str | None = "key-0"
    temperature: float = 0.0
    max_retries: int | None = None


class Subject:
    """One thing that is examined."""

    name: ClassVar[str]
    ours: ClassVar[bool] = False
    #: What it does when used as its documentation shows, in one sentence.
    about: ClassVar[str] = ""
    #: The distributions whose versions matter.
    distributions: ClassVar[tuple[str, ...]] = ()
    #: Modules that are imported before a scenario begins, so that it is not timed.
    modules: ClassVar[tuple[str, ...]] = ()
    #: How the names of threads begin which it starts once per process and says so.
    process_threads: ClassVar[tuple[str, ...]] = ()
    #: Why it keeps no clients, and why it asks nothing.
    keeps_not: ClassVar[str] = "keeps no clients of its user's making"
    asks_not: ClassVar[str] = "keeps whatever it is given and asks no model by itself"

    #: Why it leads no conversations.
    talks_not: ClassVar[str] = "leads no conversations"

    def keep(self, factory: Factory, bounds: Bounds) -> Keeping:
        """Something that keeps clients; raises DoesNotApply."""
        raise DoesNotApply(self.keeps_not)

    def model(self, model: Model) -> Asking:
        """Something that asks; raises DoesNotApply."""
        raise DoesNotApply(self.asks_not)

    def converse(self, model: Model) -> Callable[[str], Talking]:
        """What makes the handler of a user's next message; raises DoesNotApply."""
        raise DoesNotApply(self.talks_not)

    def lacks(self, face: str) -> str | None:
        """Why it has not the face of that name; None if it has."""
        if getattr(type(self), face) is not getattr(Subject, face):
            return None
        return {"keep": self.keeps_not, "model": self.asks_not}.get(face, self.talks_not)

    def versions(self) -> dict[str, str]:
        """What was examined."""
        return {name: version(name) for name in self.distributions}


def names() -> list[str]:
    """The names of the modules in `subjects/`."""
    from . import subjects

    return sorted(module.name for module in pkgutil.iter_modules(subjects.__path__))


def load(name: str) -> Subject:
    """The subject that the module `subjects/NAME.py` describes."""
    subject: Subject = importlib.import_module(f"{__package__}.subjects.{name}").SUBJECT
    return subject
