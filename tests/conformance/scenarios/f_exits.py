"""Ends of the interpreter: with leases out, with daemon threads at work, inside `atexit`."""

from __future__ import annotations

import asyncio
import atexit
import threading
from typing import Any

from tests.conformance.stage import Made, Stage, scenario, until

GROUP = "Ends of the interpreter"

#: What lives until the interpreter ends.
_held: list[Any] = []


@scenario(GROUP)
def exit_with_leases_out(stage: Stage) -> None:
    """The interpreter ends while two clients are in use: it ends, in order and at once."""
    kept = stage.keeper(Made())
    for key in ("a", "b"):
        block = kept.use(key)
        block.__enter__()
        _held.append((kept, block))


@scenario(GROUP)
def exit_with_daemon_threads(stage: Stage) -> None:
    """The interpreter ends while daemon threads build and lease: it ends, and nothing crashes."""
    made = Made()
    kept = stage.keeper(made, most=5)

    def forever(number: int) -> None:
        turn = 0
        while True:
            turn += 1
            with kept.use(f"{number} {turn % 10}"):
                pass

    for number in range(4):
        threading.Thread(
            target=_quietly, args=(forever, number), name="scenario", daemon=True
        ).start()
    until(lambda: len(made.begun) > 40)


@scenario(GROUP, needs="model")
def exit_with_streams_open(stage: Stage) -> None:
    """The interpreter ends while a thread and a loop read streams: it ends, with no complaint."""
    llm = stage.asker()
    reading = threading.Semaphore(0)

    def read() -> None:
        for _ in llm.stream(stage.prompt("hold")):
            reading.release()

    async def aread() -> None:
        async for _ in llm.astream(stage.prompt("hold")):
            reading.release()

    def on_loop() -> None:
        asyncio.run(aread())

    for work in (read, on_loop):
        _start_daemon(work)
    for _ in range(2):
        stage.hanging(not reading.acquire(timeout=stage.patience))


@scenario(GROUP, needs="model")
def asked_inside_atexit(stage: Stage) -> None:
    """A function registered with `atexit` asks once more: it is answered."""
    llm = stage.asker()
    stage.call(llm.ask, stage.prompt())
    prompt = stage.prompt("at exit")

    @atexit.register
    def ask() -> None:
        llm.ask(prompt)  # what it raises is printed


@scenario(GROUP, needs="model")
def never_shut(stage: Stage) -> None:
    """A program asks from threads and loops and ends without closing anything: no complaint."""
    llm = stage.asker()
    stage.together(3, lambda _: stage.call(llm.ask, stage.prompt()))
    for _ in range(2):
        stage.call(asyncio.run, llm.aask(stage.prompt()))
    _held.append(llm)


def _start_daemon(work: Any, *arguments: Any) -> None:
    given = (work, *arguments)
    threading.Thread(target=_quietly, args=given, name="scenario", daemon=True).start()


def _quietly(work: Any, *arguments: Any) -> None:
    """What a daemon thread raises while the interpreter is being taken apart is its own affair."""
    try:
        work(*arguments)
    except Exception:
        if not _ending.is_set():
            raise


_ending = threading.Event()
atexit.register(_ending.set)
