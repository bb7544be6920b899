"""The lock discipline of a cache, written down once.

1. A cache has one lock. It guards all bookkeeping, and every section under it is short.
2. Nothing foreign runs under it: no factory, close, weigher, label, subscriber or `__eq__`, no
   waiting, no waking. A decision made under it leaves what is to be done in `outbox`, and whoever
   releases the lock does that.
3. Nobody takes a second lock while holding it, but for the housekeeper's bell after an interruption
   (rule 6).
4. Returning a lease never waits for it (a finalizer, the collector or a signal handler may be the
   one who returns), and neither does the end of a wait or of a build: where the lock is taken, word
   is left in `inbox`. It is read at the beginning of every section, so that what a thread has
   returned is returned for whatever it does next, and by whoever releases the lock. Nothing is
   lost: whoever leaves word looks once more whether the lock has become free. What is done from the
   outbox leaves word too instead of deciding.
5. The lock is reentrant only so that a finalizer or a signal handler which runs *inside* a section,
   on the same thread, can find that out (`inside`) instead of hanging. All that such a one may do
   is leave word; anything else is refused.
6. A signal handler that raises (Ctrl-C, a soft time limit) never leaves the lock held: CPython runs
   handlers at calls, so a release is never behind one. What it left half done in a section the
   housekeeper mends (`Ledger.mend`), and what it kept from being done after one, too.

The idea of deciding under the lock and acting after it is httpcore's connection pool's.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from .errors import CacheClosed, LLMKeepError, WouldDeadlock

R = TypeVar("R")


class Guard:
    """The lock, and what waits for its release."""

    __slots__ = ("frozen", "inbox", "inside", "lock", "news", "outbox")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        #: Whether a section is being executed; written by the lock's holder only.
        self.inside = False
        #: Whether these are the books of a parent process.
        self.frozen = False
        #: What is to be decided under the lock by whoever holds it next.
        self.inbox: Final[deque[Callable[[], object]]] = deque()
        #: What is to be done outside the lock.
        self.outbox: Final[deque[Callable[[], object]]] = deque()
        #: What is to be told to subscribers, after that: they may take their time.
        self.news: Final[deque[Callable[[], object]]] = deque()

    def decide(self, decision: Callable[..., R], *arguments: Any) -> R:
        """Make a decision under the lock, then do what follows from it."""
        try:
            try:
                with self.lock:
                    if self.inside:
                        raise self.refusal()
                    self.inside = True
                    try:
                        if self.inbox:
                            self.read_inbox()
                        return decision(*arguments)
                    finally:
                        self.inside = self.frozen
            finally:
                if self.inbox or self.outbox or self.news:
                    self.settle()
        except Exception:
            raise
        except BaseException:
            self.interrupted()
            raise

    def leave_word(self, decision: Callable[..., object], *arguments: Any) -> None:
        """Have a decision made, here if the lock is free; never waits and never refuses."""
        try:
            self.inbox.append(partial(decision, *arguments))
            self.settle()
        except Exception:
            raise
        except BaseException:
            self.interrupted()
            raise

    def settle(self) -> None:
        """Decide what was left to be decided, then do what is to be done."""
        while self.inbox or self.outbox or self.news:
            if self.frozen:
                return  # a signal handler has forked inside the section: the parent does it
            if not self._enter_and_read():
                return  # whoever holds the lock settles
            queue = self.outbox or self.news
            try:
                # Taken by a loop and not by a call: no signal handler comes between taking a job
                # and having it.
                for job in iter(queue.popleft, None):  # noqa: B007 - used after the loop
                    break
            except IndexError:
                continue  # another thread did it
            try:
                job()
            except BaseException as error:
                if not isinstance(error, Exception) and queue is self.outbox:
                    queue.appendleft(job)  # interrupted; each of these may be done twice
                self.settle()  # the rest must not wait for whoever comes next
                raise

    def read_inbox(self) -> None:
        """Decide what was left to be decided. Under the lock."""
        while self.inbox:
            try:
                self.inbox[0]()
            except Exception:
                self.inbox.popleft()
                raise
            self.inbox.popleft()

    def _enter_and_read(self) -> bool:
        """False if the lock is taken, by this thread's own section perhaps."""
        lock = self.lock
        owned = False
        try:
            owned = lock.acquire(False)
            if not owned or self.inside:
                return False
            self.inside = True
            try:
                self.read_inbox()
            except BaseException:
                self.interrupted()
                raise
            finally:
                self.inside = False
        finally:
            if owned:
                lock.release()
            else:
                self.undo_acquire()
        return True

    def undo_acquire(self) -> None:
        """For the case that a handler raised between taking the lock and knowing it.

        Releasing a lock that is not this thread's raises, so this is exact.
        """
        if not self.inside:
            try:
                self.lock.release()
            except RuntimeError:
                pass

    def interrupted(self) -> None:
        """A section, or what follows from it, was left half done."""
        raise NotImplementedError

    def freeze_forever(self) -> None:
        """In a forked child: nobody enters any more, and word is never read.

        The lock may be held by a thread of the parent, which is not here to release it.
        """
        self.frozen = self.inside = True
        self.lock = threading.RLock()

    def refusal(self) -> LLMKeepError:
        """What one gets who may not enter."""
        if self.frozen:
            return CacheClosed("this was begun before the fork: in the child, begin anew")
        return WouldDeadlock(
            "the cache was used from inside its own bookkeeping, by a finalizer or a signal "
            "handler on the same thread: from there only returning a lease is possible"
        )
