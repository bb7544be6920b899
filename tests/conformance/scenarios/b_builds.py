"""Builds: one key wanted by many at once, and builds that fail, hang or lose their caller."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Final

from tests.conformance.stage import Made, Stage, auntil, scenario, start, until
from tests.conformance.subject import Keeping

GROUP = "Builds"

#: Seconds that a build takes where it matters that it takes some.
BUILD: Final = 0.1


def take(kept: Keeping, key: str) -> Any:
    """Get a client, on a thread."""
    with kept.use(key) as client:
        return client


async def atake(kept: Keeping, key: str) -> Any:
    """Get a client, on a loop."""
    async with kept.ause(key) as client:
        return client


def slow() -> Made:
    """A factory whose builds take their time, as a client's do: that is what is replayed."""
    return Made(before=lambda _: time.sleep(BUILD), abefore=lambda _: asyncio.sleep(BUILD))


@scenario(GROUP)
def one_key_many_threads(stage: Stage) -> None:
    """A hundred threads want one key at once: it is built once, and all get the same client."""
    made = slow()
    kept = stage.keeper(made)
    got = stage.together(100, lambda _: stage.call(take, kept, "key"))
    stage.outcome.builds = made.builds["key"]
    stage.wrong(len({id(each) for each in got}) - 1)
    kept.shut()


@scenario(GROUP)
def one_key_many_tasks(stage: Stage) -> None:
    """A hundred tasks of one loop want one key at once: it is built once."""

    async def main() -> None:
        got = await asyncio.gather(*(stage.acall(atake(kept, "key")) for _ in range(100)))
        stage.wrong(len({id(each) for each in got}) - 1)

    made = slow()
    kept = stage.keeper(made)
    asyncio.run(main())
    stage.outcome.builds = made.builds["key"]
    kept.shut()


@scenario(GROUP)
def threads_and_loops(stage: Stage) -> None:
    """50 threads, and 25 tasks on each of four loops, want one key at once: built once, for all."""

    async def tasks() -> None:
        await asyncio.gather(*(stage.acall(atake(kept, "key")) for _ in range(25)))

    def caller(number: int) -> None:
        if number < 4:
            asyncio.run(tasks())
        else:
            stage.call(take, kept, "key")

    made = slow()
    kept = stage.keeper(made)
    stage.together(54, caller)
    stage.outcome.builds = made.builds["key"]
    kept.shut()


@scenario(GROUP)
def slow_key_on_threads(stage: Stage) -> None:
    """While the build of one key hangs, ten threads with keys of their own get theirs."""
    opened = threading.Event()
    made = Made(before=lambda key: None if key != "stuck" else void(opened.wait(30)))
    kept = stage.keeper(made)
    stuck = start(take, kept, "stuck")
    until(lambda: made.begun)
    stage.patience = 2.0
    stage.together(10, lambda number: stage.call(take, kept, f"key {number}"))
    opened.set()
    until(stuck.done)
    kept.shut()


@scenario(GROUP)
def slow_keys_on_loop(stage: Stage) -> None:
    """While ten blocking builds hang, a task of the same loop gets its key."""
    opened = threading.Event()
    made = Made(before=lambda key: None if key == "mine" else void(opened.wait(30)))
    kept = stage.keeper(made, blocking=True)

    async def main() -> None:
        hanging = [asyncio.create_task(atake(kept, f"stuck {n}")) for n in range(10)]
        await auntil(lambda: len(made.begun) >= 6)
        mine = asyncio.create_task(stage.acall(atake(kept, "mine")))
        done, _ = await asyncio.wait([mine], timeout=2.0)
        stage.hanging(len(done) == 0)
        opened.set()
        await asyncio.gather(mine, *hanging, return_exceptions=True)

    watchdog = threading.Timer(4.0, opened.set)  # where the loop itself stands still
    watchdog.start()
    began = time.monotonic()
    asyncio.run(main())
    stage.hanging(time.monotonic() - began > 3.5 and not stage.outcome.hanging)
    watchdog.cancel()
    watchdog.join()
    kept.shut()


@scenario(GROUP)
def first_caller_is_cancelled(stage: Stage) -> None:
    """The task that began the build is cancelled: the ten others get their client."""
    gate, blocking = asyncio.Event(), threading.Event()

    async def pause(_: str) -> None:
        await gate.wait()

    made = Made(abefore=pause, before=lambda _: void(blocking.wait(5)))
    kept = stage.keeper(made)

    async def main() -> None:
        first = asyncio.create_task(atake(kept, "key"))
        await auntil(lambda: len(made.begun) > 0)
        others = [asyncio.create_task(_caught(stage, kept)) for _ in range(10)]
        # One pass of the loop starts the others, the next has them in their wait.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        gate.set()
        blocking.set()
        _, pending = await asyncio.wait(others, timeout=stage.patience)
        stage.hanging(len(pending))

    asyncio.run(main())
    stage.outcome.builds = made.builds["key"]
    kept.shut()


@scenario(GROUP)
def failure_is_told_not_kept(stage: Stage) -> None:
    """A build fails: all who wait are told its own error, and the next caller builds anew."""

    def fail_first(key: str) -> None:
        if made.builds[key] == 1:
            opened.wait(30)
            raise ConnectionRefusedError("not yet")

    async def afail_first(key: str) -> None:
        fail_first(key)

    opened = threading.Event()
    made = Made(before=fail_first, abefore=afail_first)
    kept = stage.keeper(made)
    waiting = [start(take, kept, "key") for _ in range(10)]
    until(lambda: made.begun)
    opened.set()
    until(lambda: all(each.done() for each in waiting))
    stage.hanging(sum(not each.done() for each in waiting))
    for each in waiting:
        error = each.exception() if each.done() else None
        stage.wrong(error is not None and not isinstance(error, ConnectionRefusedError))
    stage.call(take, kept, "key")
    kept.shut()


@scenario(GROUP)
def build_that_never_returns(stage: Stage) -> None:
    """A build hangs for ever: its callers are told in time, other keys are served, all ends."""
    opened = threading.Event()
    made = Made(before=lambda key: None if key != "stuck" else void(opened.wait(30)))
    kept = stage.keeper(made, build_timeout=0.2)
    stuck = [start(take, kept, "stuck") for _ in range(3)]
    until(lambda: made.begun)
    stage.call(_within(stage, take), kept, "another")
    until(lambda: all(each.done() for each in stuck), 3.0)
    stage.hanging(sum(not each.done() for each in stuck))
    opened.set()
    until(lambda: all(each.done() for each in stuck))
    kept.shut()


@scenario(GROUP)
def factory_wants_its_own_key(stage: Stage) -> None:
    """A factory asks for the key that it builds: an error, not a wait for ever, nor recursion."""

    def again(key: str) -> None:
        if made.builds[key] < 50:
            take(kept, key)

    made = Made(before=again)
    kept = stage.keeper(made, blocking=True)
    caller = start(take, kept, "key")
    until(caller.done, 2.0)
    stage.hanging(not caller.done())
    stage.outcome.builds = made.builds["key"]
    if caller.done():
        kept.shut()


@scenario(GROUP)
def build_keeps_no_callers_context(stage: Stage) -> None:
    """A shared client must not carry the first caller's tenant: builds see no caller's context."""
    from contextvars import ContextVar

    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    seen: list[str] = []

    async def alook(_: str) -> None:
        seen.append(tenant.get())

    made = Made(before=lambda _: seen.append(tenant.get()), abefore=alook)
    kept = stage.keeper(made)

    def caller() -> None:
        tenant.set("alice")
        with kept.use("key"):
            stage.wrong(tenant.get() != "alice")

    async def acaller() -> None:
        tenant.set("alice")
        async with kept.ause("another"):
            stage.wrong(tenant.get() != "alice")

    stage.call(caller)
    stage.call(asyncio.run, acaller())
    stage.wrong(seen.count("alice"))
    kept.shut()


def void(_: object) -> None:
    """Nothing, of something."""


async def _caught(stage: Stage, kept: Keeping) -> None:
    stage.count()
    try:
        await atake(kept, "key")
    except BaseException as error:  # somebody else's cancellation is a failure
        stage.fail(error)


def _within(stage: Stage, work: Any) -> Any:
    def call(*arguments: Any) -> Any:
        return start(work, *arguments).result(stage.patience)

    return call
