"""Running a factory: on the caller's thread, on one of ours, or as a task on the caller's loop.

Every call ends in exactly one report to the ledger, `published` or `failed`.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from contextvars import Context
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, final

from .deadlocks import building
from .loops import hold_until_closed
from .workers import workers

if TYPE_CHECKING:
    import asyncio

    from .slots import Flight


@final
class Builder:
    """Runs the builds of one cache."""

    def __init__(
        self, label: Callable[[Any], str] | None, weigh: Callable[[Any], float] | None
    ) -> None:
        self._label: Final = label
        self._weigh: Final = weigh

    def launch(self, flight: Flight) -> None:
        """Start the build, unless its caller runs it itself."""
        failure: BaseException = GeneratorExit()  # the loop is gone, and nobody there to be told
        try:
            if not flight.is_task:
                if not flight.inline:
                    workers.run("build", partial(self.run, flight))
                return
            loop = flight.loop
            if loop is not None:
                loop.call_soon_threadsafe(self._start_task, flight, loop)
                return
        except RuntimeError as error:
            if not flight.is_task:
                failure = error  # no thread can be started
        flight.ledger.inbox.append(partial(flight.ledger.failed, flight, failure))

    def run(self, flight: Flight) -> None:
        """Run a blocking build here."""
        _context(flight).run(self._run, flight)

    def _run(self, flight: Flight) -> None:
        if not flight.claim():
            return
        building.set(flight)
        instance = flight.instance
        try:
            build = flight.starter.factory.build
            assert build is not None
            instance.client = build(flight.starter.spec.thaw())
            if isinstance(instance.client, CoroutineType):
                instance.client.close()
                instance.client = None
                raise TypeError("build returned a coroutine: pass an asynchronous build as abuild=")
            label, weight = self._describe(flight)
        except BaseException as error:
            _report_failure(flight, error)
            if flight.inline and not isinstance(error, Exception):
                raise  # it concerns the caller, also when the build had been overtaken
        else:
            _report_success(flight, label, weight)

    def _start_task(self, flight: Flight, loop: asyncio.AbstractEventLoop) -> None:
        if not flight.claim():
            return
        task = loop.create_task(self._arun(flight), context=_context(flight))
        flight.task = weakref.ref(task)
        held = hold_until_closed(loop, task)

        def ended(task: asyncio.Task[None]) -> None:
            held.cancel()
            if not flight.over:  # it was cancelled before it began
                _report_failure(flight, sys.modules["asyncio"].CancelledError())

        task.add_done_callback(ended)

    async def _arun(self, flight: Flight) -> None:
        building.set(flight)
        try:
            abuild = flight.starter.factory.abuild
            assert abuild is not None
            flight.instance.client = await abuild(flight.starter.spec.thaw())
            label, weight = self._describe(flight)
        except BaseException as error:
            _report_failure(flight, error)
            if not isinstance(error, (Exception, KeyboardInterrupt, SystemExit)):
                raise  # it was cancelled, or its loop is gone
        else:
            _report_success(flight, label, weight)

    def _describe(self, flight: Flight) -> tuple[str, float]:
        client = flight.instance.client
        label = type(client).__name__
        if self._label is not None:
            label = self._label(flight.starter.spec.thaw())
        weight = 0.0 if self._weigh is None else float(self._weigh(client))
        if not weight >= 0:
            raise ValueError(f"weigh must return 0 or more, not {weight}")
        return label, weight


def _report_success(flight: Flight, label: str, weight: float) -> None:
    ledger = flight.ledger
    ledger.leave_word(ledger.published, flight, label, weight)


def _report_failure(flight: Flight, error: BaseException) -> None:
    ledger = flight.ledger
    ledger.leave_word(ledger.failed, flight, error)


def _context(flight: Flight) -> Context:
    """Empty, or a copy of the caller's: one that runs already cannot be entered again."""
    given = flight.starter.factory.context
    return Context() if given is None else given.copy()
