"""Models: keys, tenants, rotation, clients that somebody else closes, and invalidation."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

from tests.conformance.outcome import DoesNotApply
from tests.conformance.stage import Stage, scenario, start, until
from tests.conformance.upstream import OTHER

GROUP = "Models"


@scenario(GROUP, needs="model")
def two_tenants(stage: Stage) -> None:
    """Two models that differ in the API key alone: each request carries its own tenant's key."""
    models = {key: stage.asker(api_key=key) for key in ("key-alice", "key-bob")}
    _keep_apart(stage, models, lambda received: str(received["key"]))


@scenario(GROUP, needs="model")
def two_endpoints(stage: Stage) -> None:
    """Two models that differ in the endpoint alone: each request goes to its own."""
    models = {"": stage.asker(), OTHER: stage.asker(prefix=OTHER)}
    _keep_apart(stage, models, lambda received: OTHER * received["path"].startswith(OTHER))


def _keep_apart(
    stage: Stage, models: dict[str, Any], whose: Callable[[dict[str, Any]], str]
) -> None:
    """Ask each of two models on three threads; `whose` says whose a request was."""
    asked: dict[str, str] = {}

    def caller(number: int) -> None:
        name = list(models)[number % 2]
        for _ in range(3):
            prompt = stage.prompt()
            asked[prompt] = name
            stage.call(models[name].ask, prompt)

    stage.together(6, caller)
    for each in _received(stage):
        stage.wrong(asked[each["prompt"]] != whose(each))
    for llm in models.values():
        llm.shut()


@scenario(GROUP, needs="model")
def key_is_rotated(stage: Stage) -> None:
    """The key in the environment changes under load: later calls carry the new one, none fails."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        os.environ[name] = "key-old"
    llm = stage.asker(api_key=None)
    rotated, stop = threading.Event(), threading.Event()

    def caller() -> None:
        while not stop.is_set():
            when = "after" if rotated.is_set() else "before"
            stage.call(llm.ask, stage.prompt(when))

    callers = [start(caller) for _ in range(3)]
    until(lambda: stage.outcome.calls > 10)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        os.environ[name] = "key-new"
    rotated.set()
    seen = stage.outcome.calls
    until(lambda: stage.outcome.calls > seen + 20)
    stop.set()
    stage.results(callers)
    for each in _received(stage):
        stage.wrong(each["prompt"].startswith("after") and each["key"] != "key-new")
    llm.shut()


@scenario(GROUP, needs="model")
def closed_behind_our_back(stage: Stage) -> None:
    """Somebody closes the client of one model, as far as it can be reached: the other works on."""
    first, second = stage.asker(temperature=0.0), stage.asker(temperature=1.0)
    stage.call(first.ask, stage.prompt())
    try:
        first.break_in()
    except LookupError:
        stage.call(first.ask, stage.prompt())  # could not be reached: nothing may have happened
    for _ in range(3):
        stage.call(second.ask, stage.prompt())
    second.shut()


@scenario(GROUP, needs="model")
def invalidated_under_load(stage: Stage) -> None:
    """A model is renewed again and again while threads and loops ask it: no call fails."""
    llm = stage.asker()
    stop = threading.Event()

    async def on_loop() -> None:
        for _ in range(10):
            await stage.acall(llm.aask(stage.prompt()))

    def caller(number: int) -> None:
        if number == 0:
            while not stop.wait(0.01):
                llm.forget()
        elif number == 1:
            asyncio.run(on_loop())
        else:
            for _ in range(10):
                stage.call(llm.ask, stage.prompt())
        if number:
            done.release()
            if done.acquire(blocking=False):
                done.release()

    done = threading.Semaphore(0)
    callers = [start(caller, number) for number in (1, 2, 3)]
    stopper = start(caller, 0)
    stage.patience = 20.0
    stage.results(callers)
    stop.set()
    stage.results([stopper])
    llm.shut()


@scenario(GROUP, needs="model")
def stream_survives_invalidation(stage: Stage) -> None:
    """A model is renewed while its stream is being read: the stream ends as it should."""
    llm = stage.asker()
    pieces = llm.stream(stage.prompt("hold"))
    first = stage.call(next, pieces)
    llm.forget()
    stage.upstream.control("release")
    rest = stage.call("".join, pieces)
    stage.wrong(not f"{first or ''}{rest or ''}")
    stage.call(llm.ask, stage.prompt())
    llm.shut()


@scenario(GROUP, needs="model")
def stream_is_left_early(stage: Stage) -> None:
    """Ten streams are left after their first piece: their connections do not stay open."""
    llm = stage.asker()

    async def look(prompt: str) -> None:
        async for _ in llm.astream(prompt):
            break

    for _ in range(10):
        stage.call(asyncio.run, look(stage.prompt("hold")))
    stage.look_at_sockets()
    stage.upstream.control("release")
    llm.shut()


@scenario(GROUP, needs="model")
def loop_inside_a_loop(stage: Stage) -> None:
    """Code on a loop calls synchronously, and runs another loop on a thread: both are answered.

    Loops patched to be entered again (`nest_asyncio` and its like) are out: they run tasks inside
    tasks, which no library can keep apart.
    """
    llm = stage.asker()

    async def inner() -> None:
        await stage.acall(llm.aask(stage.prompt()))

    async def main() -> None:
        await stage.acall(llm.aask(stage.prompt()))
        stage.call(llm.ask, stage.prompt())  # on the loop's thread, which stands still meanwhile
        await asyncio.to_thread(asyncio.run, inner())
        await stage.acall(llm.aask(stage.prompt()))

    asyncio.run(main())
    asyncio.run(main())
    llm.shut()


@scenario(GROUP, needs="model")
def call_keeps_its_context(stage: Stage) -> None:
    """Context variables that a caller has set are there after its call, and during its stream."""
    from contextvars import ContextVar

    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    llm = stage.asker()

    async def caller(name: str) -> None:
        tenant.set(name)
        async for _ in llm.astream(stage.prompt()):
            stage.wrong(tenant.get() != name)
        await stage.acall(llm.aask(stage.prompt()))
        stage.wrong(tenant.get() != name)

    async def main() -> None:
        await asyncio.gather(*(caller(f"tenant {n}") for n in range(5)))

    stage.call(asyncio.run, main())
    llm.shut()


def _received(stage: Stage) -> list[dict[str, Any]]:
    received: list[dict[str, Any]] = stage.upstream.control("tell")["received"]
    if not received:
        raise DoesNotApply("nothing was received")
    return received
