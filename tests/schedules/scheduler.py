"""A scheduler that decides, at every step, who goes on: actors, and what they wait for.

An actor is a thread of the program under test, run as a greenlet: all share one thread of the
system, and nobody else runs until the running one comes to a *point* (it asks for the lock, looks
for word, takes a job, waits, wakes). So a run is nothing but its choices, and repeats exactly.

Not here: which choices are tried (`explorer`), what the core's names are made to mean (`seams`).
The idea of the controlled scheduler that counts preemptions is CHESS's (Musuvathi and Qadeer).
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped, unused-ignore]

#: Points after which a run is taken for endless.
MOST_POINTS: Final = 20_000


class Violation(AssertionError):
    """Something that must always hold did not."""


class Choice(NamedTuple):
    """Who goes on."""

    actor: str
    #: Whether its time limit has run out, and not what it waits for come about.
    late: bool = False

    def __str__(self) -> str:
        return self.actor + "!" * self.late


class Step(NamedTuple):
    """One choice that was made where there were several."""

    chosen: Choice
    options: tuple[Choice, ...]
    #: Who goes on where a plan says nothing.
    default: Choice
    #: Whether whoever ran last cannot go on: then it costs nothing who follows.
    free: bool

    def cost(self, choice: Choice) -> int:
        """How many preemptions `choice` is."""
        if choice == self.default:
            return 0
        return int(choice.late or not self.free)


class Actor:
    """One thread of the program; lives as long as the run."""

    def __init__(self, scheduler: Scheduler, name: str, work: Callable[[], object]) -> None:
        self.name: Final = name
        #: What it waits for; None: it can go on.
        self.condition: Callable[[], bool] | None = None
        #: When it no longer waits, on the scheduler's clock.
        self.deadline: float | None = None
        self.late = False
        #: While it runs an event loop: the loop, its task, its hooks for asynchronous generators.
        self._loop: Any = None
        self._greenlet: Final = greenlet(work, parent=scheduler.hub)

    @property
    def is_over(self) -> bool:
        """Whether it has nothing more to do."""
        return bool(self._greenlet.dead)

    @property
    def can_go_on(self) -> bool:
        """Whether nothing holds it up."""
        return self.condition is None or self.condition()

    def resume(self) -> None:
        """Let it go on to its next point. What a thread of its own would keep is its own."""
        hooks = sys.get_asyncgen_hooks()
        if self._loop is not None:
            loop, task, its_hooks = self._loop
            asyncio._set_running_loop(loop)
            _swap_task(loop, task)
            sys.set_asyncgen_hooks(*its_hooks)
        try:
            self._greenlet.switch()
        finally:
            loop = asyncio._get_running_loop()
            self._loop = None
            if loop is not None:
                self._loop = (loop, _swap_task(loop, None), sys.get_asyncgen_hooks())
                asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    def kill(self) -> None:
        """Unwind it."""
        if not self.is_over:
            self._greenlet.throw()


class Scheduler:
    """One run."""

    def __init__(self, plan: dict[int, Choice]) -> None:
        self.hub: Final = getcurrent()
        self.now = 1000.0
        self.actors: Final[list[Actor]] = []
        self.current: Actor | None = None
        #: The choices made so far, where there were several.
        self.steps: Final[list[Step]] = []
        #: Whether choices are still written down; the end of a run is not explored.
        self.exploring = True
        self._plan: Final = plan
        self._points = 0
        self._last: Actor | None = None
        self._aborted = False
        self._is_child = False

    def spawn(self, work: Callable[[], object]) -> Actor:
        """One more actor; named in order: a, b, c ..."""
        number = len(self.actors)
        name = chr(ord("a") + number) if number < 26 else f"({number})"
        actor = Actor(self, name, work)
        self.actors.append(actor)
        return actor

    # -- for actors --------------------------------------------------------------------------------

    def point(self) -> None:
        """Somebody else may go on here."""
        actor = self.current
        if actor is not None and not self._aborted:
            actor.condition = actor.deadline = None
            self.hub.switch()

    def block(self, condition: Callable[[], bool], deadline: float | None = None) -> bool:
        """Go on once `condition` holds (True), or once `deadline` has passed (False)."""
        actor = self.current
        if self._aborted:
            return True
        if actor is None:
            assert condition(), "who looks at a run may not have to wait"
            return True
        actor.condition, actor.deadline, actor.late = condition, deadline, False
        self.hub.switch()
        actor.condition = actor.deadline = None
        return not actor.late

    def fork(self, checks: Callable[[], object]) -> None:
        """Fork; `checks` run in the child, where this actor is the only one."""
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            if status:
                raise Violation(f"the forked child failed: status {status}, see its traceback")
            return
        self._is_child, self.exploring = True, False
        assert self.current is not None
        self.actors[:] = [self.current]
        self.steps.clear()
        try:
            checks()
            self.point()
        except BaseException:
            self._die()
        # The hub runs what is left of the child's own threads, and ends it.
        self.block(lambda: len([each for each in self.actors if not each.is_over]) == 1)
        os._exit(0)

    # -- for the hub -------------------------------------------------------------------------------

    def run(self, check: Callable[[], None]) -> None:
        """Until everybody has ended, with a `check` after each step.

        Raises Violation, or what an actor raised.
        """
        while True:
            living = [each for each in self.actors if not each.is_over]
            if not living:
                return
            choice = self._choose(living)
            try:
                self._go_on(choice)
                if not self._is_child:
                    check()
            except BaseException:
                if self._is_child:
                    self._die()
                raise

    def _go_on(self, choice: Choice) -> None:
        actor = next(each for each in self.actors if each.name == choice.actor)
        if choice.late:
            assert actor.deadline is not None
            actor.late = True
            self.now = max(self.now, actor.deadline)
        self._last = actor
        self.current = actor
        try:
            actor.resume()
        finally:
            self.current = None

    def _choose(self, living: list[Actor]) -> Choice:
        ready = [each for each in living if each.can_go_on]
        options = [Choice(each.name) for each in ready]
        timed = [each for each in living if each.deadline is not None and each not in ready]
        options += [Choice(each.name, late=True) for each in sorted(timed, key=_deadline)]
        if not options:
            waiting = ", ".join(each.name for each in living)
            self._fail(f"nobody can go on: {waiting} will never be answered")
        free = self._last not in ready
        default = options[0] if free or self._last is None else Choice(self._last.name)
        self._points += 1
        if self._points > MOST_POINTS:
            self._fail("the run does not end")
        if len(options) == 1 or not self.exploring:
            return default
        chosen = self._plan.get(len(self.steps), default)
        if chosen not in options:
            chosen = default  # a seed of a former version of the core
        self.steps.append(Step(chosen, tuple(options), default, free))
        return chosen

    def _fail(self, why: str) -> NoReturn:
        if self._is_child:
            os.write(2, f"in the child: {why}\n".encode())
            os._exit(3)
        raise Violation(why)

    def _die(self) -> NoReturn:
        os.write(2, traceback.format_exc().encode())
        os._exit(2)

    def abort(self) -> None:
        """Unwind who is left; nothing is scheduled any more, and nobody waits."""
        self._aborted = True
        for actor in self.actors:
            self.current = actor
            try:
                actor.kill()
            except BaseException:  # whatever comes of it: the violation was found before
                pass
        self.current = None


def _deadline(actor: Actor) -> float:
    assert actor.deadline is not None
    return actor.deadline


def _swap_task(loop: Any, task: Any) -> Any:
    """Which task runs is kept by thread from CPython 3.14 on, and by loop before."""
    if sys.version_info < (3, 14):
        return None
    return asyncio.tasks._swap_current_task(loop, task)


# -- what actors wait on ---------------------------------------------------------------------------


class ScheduledLock:
    """A reentrant lock whose every taking is a point."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler: Final = scheduler
        self._count = 0
        self.owner: Actor | str | None = None
        #: How often it has been given up: whether a section has ended since one looked.
        self.releases = 0

    @property
    def is_free(self) -> bool:
        """Whether nobody has it."""
        return self.owner is None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As threading.RLock's."""
        me = self._scheduler.current or "the hub"
        if self.owner is not me:
            if blocking:
                self._scheduler.block(self._free)
            else:
                self._scheduler.point()
                if self.owner is not None:
                    return False
        self.owner = me
        self._count += 1
        return True

    def _free(self) -> bool:
        return self.owner is None

    def release(self) -> None:
        """As threading.RLock's."""
        if self.owner is not (self._scheduler.current or "the hub"):
            raise RuntimeError("cannot release un-acquired lock")
        if self._count == 1:
            self._scheduler.point()  # all has been looked at, and others still find it taken
        self._count -= 1
        if not self._count:
            self.owner = None
            self.releases += 1

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class ScheduledSleep:
    """The lock on which a thread sleeps until another one releases it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler: Final = scheduler
        self._locked = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As threading.Lock's."""
        if self._locked:
            scheduler = self._scheduler
            deadline = None if timeout < 0 else scheduler.now + timeout
            if not scheduler.block(lambda: not self._locked, deadline):
                return False
        self._locked = True
        return True

    def release(self) -> None:
        """As threading.Lock's."""
        if not self._locked:
            raise RuntimeError("release unlocked lock")
        self._locked = False


class ScheduledLoop(asyncio.BaseEventLoop):
    """asyncio's own loop, whose selector waits for the scheduler instead of for sockets."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._woken = False
        super().__init__()
        self._selector = self

    def time(self) -> float:
        """The scheduler's clock."""
        return self._scheduler.now

    def select(self, timeout: float | None) -> list[Any]:
        """Wait until somebody wakes the loop, or its next timer is due."""
        if timeout is None or timeout > 0:
            scheduler = self._scheduler
            # A timer a day away is none: nobody will ever wait for it.
            deadline = None if timeout is None or timeout > 3600 else scheduler.now + timeout
            scheduler.block(lambda: self._woken, deadline)
        else:
            self._scheduler.point()
        self._woken = False
        return []

    def call_soon_threadsafe(self, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        """A point, as every waking."""
        self._scheduler.point()
        return super().call_soon_threadsafe(*args, **options)

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        self._woken = True

    def run_to_its_end(self, work: Any) -> None:
        """As asyncio.run does, without its signal handlers."""
        try:
            self.run_until_complete(work)
        finally:
            left = asyncio.all_tasks(self)
            for task in left:
                task.cancel()
            if left:
                self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self.run_until_complete(self.shutdown_asyncgens())
            self.close()
