"""Odd places to lease in, and closes that misbehave."""

from __future__ import annotations

import gc
import signal
import threading
from typing import Any

from tests.conformance.outcome import DoesNotApply
from tests.conformance.stage import Made, Stage, Thing, scenario, start, until

GROUP = "Odd places, bad closes"


@scenario(GROUP)
def signal_handler_leases(stage: Stage) -> None:
    """A signal handler leases while the thread it interrupts leases: served or refused, no hang."""
    made = Made()
    kept = stage.keeper(made, most=5)
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        _served_or_refused(stage, kept, f"handler {handled % 10}")

    signal.signal(signal.SIGALRM, handler)
    for turn in range(400):
        # One signal per turn, a little later each time: it falls into every part of a lease.
        signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + turn % 100))
        for each in range(3):
            with kept.use(f"key {(turn + each) % 10}"):
                pass
    stage.wrong(not handled)
    stage.call(_take, kept, "after")
    kept.shut()


@scenario(GROUP)
def finalizers_lease(stage: Stage) -> None:
    """Finalizers lease wherever the collector happens to run: served or refused, no hang."""
    made = Made()
    kept = stage.keeper(made, most=5)
    collected = 0

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            nonlocal collected
            collected += 1
            _served_or_refused(stage, kept, f"finalizer {collected % 10}")

    def work(number: int) -> None:
        for turn in range(100):
            Cycle()
            with kept.use(f"{number} {turn % 10}"):
                pass

    before = gc.get_threshold()
    gc.set_threshold(7)
    stage.together(3, work)
    gc.set_threshold(*before)
    gc.collect()
    stage.call(_take, kept, "after")
    kept.shut()


def _closing(stage: Stage, made: Made) -> Any:
    """Something that keeps and closes; `made` closes as it does."""
    kept = stage.keeper(made, most=1, close_timeout=0.3)
    client = _take(kept, "probe")
    kept.forget("probe")
    if not until(lambda: client.is_closed, 1.0):
        raise DoesNotApply("closes nothing that it kept")
    return kept


@scenario(GROUP)
def close_raises(stage: Stage) -> None:
    """A close raises: no caller is told of it in place of its client, others are closed as ever."""

    class Raises(Thing):
        def close(self) -> None:
            super().close()
            raise ConnectionResetError("while closing")

    made = Made(lambda key: Raises() if key == "bad" else Thing())
    kept = _closing(stage, made)
    for key in ("bad", "good", "another"):
        stage.call(_take, kept, key)
    stage.call(kept.shut)
    until(lambda: not made.unclosed(), 1.0)
    stage.outcome.unclosed = made.unclosed()


@scenario(GROUP)
def close_hangs(stage: Stage) -> None:
    """A close hangs: nobody waits for it, others are closed, and the end comes in time."""
    opened = threading.Event()

    class Hangs(Thing):
        def close(self) -> None:
            opened.wait(30)
            super().close()

    made = Made(lambda key: Hangs() if key == "bad" else Thing())
    kept = _closing(stage, made)

    def use(_: int) -> None:
        for key in ("bad", "good", "another"):
            stage.call(_take, kept, key)

    stage.patience = 3.0
    stage.together(1, use)
    ending = start(kept.shut)
    until(ending.done, 3.0)
    stage.hanging(not ending.done())
    good = [client for client in made.clients if not isinstance(client, Hangs)]
    until(lambda: all(client.is_closed for client in good), 1.0)
    stage.outcome.unclosed = sum(not client.is_closed for client in good)
    opened.set()
    until(ending.done)


def _take(kept: Any, key: str) -> Any:
    with kept.use(key) as client:
        return client


def _served_or_refused(stage: Stage, kept: Any, key: str) -> None:
    """Lease; an error that says why it cannot be done here is as good as a client."""
    from llmkeep import LLMKeepError

    stage.count()
    try:
        _take(kept, key)
    except LLMKeepError:
        pass
    except Exception as error:
        stage.fail(error)
