"""One instance per configuration, whoever asks, and however many at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import pytest

import llmkeep
from llmkeep.core import Scope
from llmkeep.models import Adapter, chat_model
from llmkeep.models.adapters import Kept
from llmkeep.models.openai_adapter import OpenAIAdapter
from llmkeep.models.providers import PROVIDERS
from tests.models.fakes import FakeClient, fake_adapter


def at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """Run every job on a thread of its own, all from the same moment on."""
    barrier = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)

    def run(number: int) -> None:
        barrier.wait(10)
        try:
            results[number] = jobs[number]()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def ask() -> str:
    return str(chat_model("fake:a").invoke("hello").content)


async def ask_often() -> list[str]:
    async def once() -> str:
        return str((await chat_model("fake:a").ainvoke("hello")).content)

    return await asyncio.gather(*(once() for _ in range(25)))


def test_i1_a_hundred_threads_make_one_client():
    """Each makes its own handle and calls at once; the class is constructed once."""
    assert at_once(*[ask] * 100) == ["fake-key"] * 100
    assert len(FakeClient.made) == 1
    assert llmkeep.stats().builds == 1


def test_i1_threads_and_loops_together_make_one_client():
    """So it is when 50 threads and four event loops of 25 tasks ask at once."""
    results = at_once(*[ask] * 50, *[lambda: asyncio.run(ask_often())] * 4)
    assert results == ["fake-key"] * 50 + [["fake-key"] * 25] * 4
    assert len(FakeClient.made) == 1
    assert FakeClient.made[0].calls == 150


@dataclass(frozen=True)
class Counting(OpenAIAdapter):
    """Counts the models that are constructed."""

    constructed: list[Kept] = field(default_factory=list)

    def construct(self, arguments: dict[str, Any]) -> Kept:
        self.constructed.append(super().construct(arguments))
        return self.constructed[-1]


def test_i1_it_is_so_with_a_real_class():
    """A hundred threads ask for OpenAI at once: one model, one pair of SDK clients."""
    openai = PROVIDERS["openai"]
    settings = {each.name: getattr(openai, each.name) for each in fields(openai) if each.init}
    counting = Counting(**settings)
    llmkeep.models.register(counting)
    handles = at_once(*[lambda: chat_model("openai:gpt-4o-mini", temperature=0)] * 100)
    assert len({id(handle) for handle in handles}) == 100
    assert len(counting.constructed) == 1


def test_i1_a_second_spelling_makes_no_second_instance():
    """Finding out what it means constructs the class; the result is let go, not kept."""
    chat_model("fake:a")
    chat_model("fake:a", temperature=None)
    assert llmkeep.stats().builds == 1
    assert llmkeep.stats().live == 1


def test_loop_scope_gives_every_loop_its_own_instance():
    """One for each event loop and one for all synchronous callers; a loop's ends with it."""
    llm = chat_model("fake_loop:a")

    async def twice() -> None:
        await llm.ainvoke("hello")
        await llm.ainvoke("hello")

    asyncio.run(twice())
    asyncio.run(twice())
    llm.invoke("hello")
    at_once(lambda: llm.invoke("hello"), lambda: llm.invoke("hello"))
    assert [(client.calls, client.closes) for client in FakeClient.made] == [(3, 0), (2, 1), (2, 1)]


def test_i6_a_failure_is_told_and_not_kept():
    """All who wait for a construction that fails get its error, and the next call tries again."""
    failing = [True]

    @dataclass(frozen=True)
    class Failing(Adapter):
        def make(self, arguments: dict[str, Any]) -> Any:
            if failing[0]:
                raise ConnectionError("no such luck")
            return super().make(arguments)

    fake = fake_adapter()
    settings = {each.name: getattr(fake, each.name) for each in fields(fake) if each.init}
    llmkeep.models.register(Failing(**settings))
    results = at_once(*[ask] * 10)
    assert {(type(result), str(result)) for result in results} == {
        (ConnectionError, "no such luck")
    }
    failing[0] = False
    assert ask() == "fake-key"


def test_opening_is_a_part_of_the_build():
    """What an adapter says is slow about an instance happens once, before anybody leases it."""
    opened: list[Kept] = []

    @dataclass(frozen=True)
    class Opening(Adapter):
        def open(self, kept: Kept) -> None:
            opened.append(kept)

    fake = fake_adapter(scope=Scope.exclusive(1))
    settings = {each.name: getattr(fake, each.name) for each in fields(fake) if each.init}
    llmkeep.models.register(Opening(**settings))
    at_once(*[ask] * 10)
    assert len(opened) == 1


@pytest.mark.parametrize("provider", ["fake", "fake_loop", "fake_exclusive"])
def test_i13_the_figures_of_all_scopes_add_up(provider):
    """The default cache tells the sum of its scopes, each consistent in itself."""
    chat_model("fake:first").invoke("hello")
    llm = chat_model(f"{provider}:a")
    stream = llm.stream("hello")
    next(stream)
    stats = llmkeep.stats()
    assert stats.acquired == stats.hits + stats.built + stats.joined == 2
    assert stats.live == stats.leased + stats.idle + stats.retired == 2
    assert (stats.leased, stats.builds) == (1, 2)
    rows = {row.label: row.leases for row in llmkeep.default_cache().snapshot()}
    assert rows == {"fake:first": 0, f"{provider}:a": 1}
    llmkeep.clear()
    assert llmkeep.stats().retired == 1
    stream.close()  # type: ignore[attr-defined]
    assert llmkeep.stats().live == 0
    assert repr(llmkeep.default_cache()) == "<ModelCache: 0 kept (0 leased), 0 building>"


def test_a_subscriber_hears_of_every_scope():
    """Also of one that is first used after it subscribed; not of anything after it left."""
    llmkeep.models.register(fake_adapter("fake_twice", Scope.exclusive(2)))
    labels: list[str] = []
    unsubscribe = llmkeep.default_cache().subscribe(lambda event: labels.append(event.label))
    for provider in ("fake", "fake_loop", "fake_exclusive", "fake_twice"):
        chat_model(f"{provider}:a")
    unsubscribe()
    chat_model("fake:b")
    assert labels == ["fake:a", "fake_loop:a", "fake_exclusive:a", "fake_twice:a"]
    llmkeep.close(timeout=None)


async def test_aclose_closes_every_scope():
    """Also from an event loop, without blocking it; and it waits for the streams."""
    llm, other = chat_model("fake:a"), chat_model("fake_loop:a")
    await other.ainvoke("hello")
    stream = llm.astream("hello")
    await anext(stream)
    closing = asyncio.create_task(llmkeep.models.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    assert FakeClient.made[0].closes == 0
    await stream.aclose()  # type: ignore[attr-defined]
    await closing
    assert [client.closes for client in FakeClient.made] == [1, 1, 1]
