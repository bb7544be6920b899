"""The lock discipline of a cache, written down once.

1. A cache has one lock. It guards all bookkeeping, and every section under it is short.
2. Nothing foreign runs under it: no factory, close, weigher, label, subscriber or `__eq__`, no
   waiting, no waking. What has to be done is put into `outbox` and done after the release,
   by whoever released it.
3. Nobody takes a second lock while holding it.
4. Returning a lease never waits for it (a finalizer, the collector or a signal handler may be the
   one who returns): if the lock is taken the return is queued in `returned`, and whoever holds
   the lock handles the queue after releasing it. No return is lost: whoever queues one looks once
   more whether the lock has become free.
5. The lock is reentrant only so that a finalizer or a signal handler which runs *inside* a section,
   on the same thread, can find that out (`inside`) instead of hanging. Everything that such a
   handler may do without the lock is queueing; anything else is refused.

The idea of deciding under the lock and acting after it is httpcore's connection pool's.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Self

from .errors import WouldDeadlock


class Guard:
    """The lock, and what waits for its release."""

    __slots__ = ("inside", "lock", "outbox", "returned")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        #: Whether a section is being executed; written by the lock's holder only.
        self.inside = False
        #: Leases returned while the lock was taken: (instance, token, site of a dropped lease).
        self.returned: Final[deque[tuple[Any, ...]]] = deque()
        #: What is to be done outside the lock.
        self.outbox: Final[deque[Callable[[], object]]] = deque()

    def enter(self) -> None:
        """Begin a section; whoever does ends it with `inside = False` and `lock.release()`."""
        try:
            self.lock.acquire()
            if self.inside:
                self.lock.release()
                raise reentered()
            self.inside = True
        except BaseException:
            self.undo_entry()
            raise

    def try_enter(self) -> bool:
        """Begin a section if that needs no waiting and nobody, this thread included, is in one."""
        try:
            if not self.lock.acquire(False):
                return False
            if self.inside:
                self.lock.release()
                return False
            self.inside = True
        except BaseException:
            self.undo_entry()
            raise
        return True

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self.inside = False
        self.lock.release()
        if self.returned or self.outbox:
            self.settle()

    def settle(self) -> None:
        """Handle what was queued while the lock was taken, then do what is to be done outside."""
        while self.returned or self.outbox:
            if self.returned:
                if not self.try_enter():
                    return  # its holder settles
                try:
                    while self.returned:
                        self.handle_return(*self.returned.popleft())
                finally:
                    self.inside = False
                    self.lock.release()
            while self.outbox:
                try:
                    job = self.outbox.popleft()
                except IndexError:
                    break  # another thread did it
                try:
                    job()
                except BaseException:
                    self.settle()  # the rest must not wait for whoever comes next
                    raise

    def freeze_forever(self) -> None:
        """In a forked child: nobody enters any more, and returns stay in the queue.

        The lock may be held by a thread of the parent, which is not here to release it.
        """
        self.inside = True
        self.lock = threading.RLock()

    def handle_return(self, instance: Any, token: int, dropped: Any) -> None:
        """One queued return, under the lock."""
        raise NotImplementedError

    def undo_entry(self) -> None:
        """After an entry that did not come to its end."""
        # A signal handler raised (Ctrl-C, a soft time limit) between taking the lock and
        # knowing it. Releasing a lock that is not this thread's raises, so this is exact.
        if not self.inside:
            try:
                self.lock.release()
            except RuntimeError:
                pass


def reentered() -> WouldDeadlock:
    """What a finalizer or signal handler gets that came inside a section."""
    return WouldDeadlock(
        "the cache was used from inside its own bookkeeping, by a finalizer or a signal handler "
        "on the same thread: from there only returning a lease is possible"
    )
