"""The scenarios: small programs of two or three actors, each with what it is about.

A thread takes steps one after the other, a loop runs its tasks side by side. `a`, `b`, `c` are the
actors in the order in which they stand here; threads of the cache's own get the next letters.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from llmkeep import CacheClosed, LeaseTimeout, Scope
from llmkeep.core.errors import BuildTimeout
from tests.schedules.explorer import Scenario
from tests.schedules.world import World

TWO: Final[list[Scenario]] = []
THREE: Final[list[Scenario]] = []


def two(scenario: Scenario) -> Scenario:
    """A scenario of two actors."""
    TWO.append(scenario)
    return scenario


def three(scenario: Scenario) -> Scenario:
    """A scenario of three actors."""
    THREE.append(scenario)
    return scenario


# -- building --------------------------------------------------------------------------------------


@two
def two_threads(world: World) -> None:
    """One builds, the other joins or finds it ready."""
    world.open()
    world.thread(world.lease)
    world.thread(world.lease)


@two
def two_loops(world: World) -> None:
    """Tasks on two loops, the build a task on one of them."""
    world.open(asynchronous=True)
    world.loop(world.alease)
    world.loop(world.alease)


@two
def thread_and_loop(world: World) -> None:
    """A thread that builds inline beside tasks whose build runs on a thread of the cache's own."""
    world.open()
    world.thread(world.lease)
    world.loop(world.alease, world.alease)


@two
def failing_build(world: World) -> None:
    """All who joined a failed build are told; who comes later builds anew."""
    world.open(failing=1)
    world.allow(ConnectionError)
    world.thread(world.lease, world.lease)
    world.thread(world.lease)


@two
def failing_build_on_a_loop(world: World) -> None:
    """The same over tasks."""
    world.open(failing=1, asynchronous=True)
    world.allow(ConnectionError)
    world.loop(world.alease)
    world.loop(world.alease, world.alease)


@two
def warming(world: World) -> None:
    """Who warms wants the instance ready, and does not hold it."""
    world.open(max_idle=0)
    world.thread(world.warm)
    world.thread(world.lease)


# -- leaving ---------------------------------------------------------------------------------------


@two
def cancelled_builder(world: World) -> None:
    """The caller who started the build is cancelled; the other still gets it."""
    world.open(asynchronous=True)
    world.allow(asyncio.CancelledError)
    world.loop(world.alease, world.alease)
    world.thread(world.cancel)


@two
def cancelled_turn(world: World) -> None:
    """A cancelled waiter that was given its turn passes it on."""
    world.open(scope=Scope.exclusive(1))
    world.allow(asyncio.CancelledError)
    world.loop(world.alease, world.alease)
    world.thread(partial(world.cancel, 1))


@two
def timed_out_joiner(world: World) -> None:
    """A caller's time limit runs out before, while and after it is served."""
    world.open()
    world.allow(LeaseTimeout)
    world.thread(world.lease)
    world.thread(partial(world.lease, timeout=1.0))


@two
def timed_out_turn(world: World) -> None:
    """The same in the exclusive queue, on a loop."""
    world.open(scope=Scope.exclusive(1))
    world.allow(LeaseTimeout)
    world.thread(world.lease)
    world.loop(partial(world.alease, timeout=1.0))


@two
def build_out_of_time(world: World) -> None:
    """The housekeeper gives a build up at any moment."""
    world.open(build_timeout=50.0)
    world.allow(BuildTimeout)
    world.thread(world.lease, world.lease)
    world.thread(world.time_passes)


# -- retiring --------------------------------------------------------------------------------------


@two
def invalidated_while_leased(world: World) -> None:
    """Invalidation at any moment of a build and a lease."""
    world.open()
    world.thread(world.lease, world.lease)
    world.thread(world.invalidate, world.lease)


@two
def invalidated_on_a_loop(world: World) -> None:
    """The same over a loop."""
    world.open(asynchronous=True)
    world.loop(world.alease)
    world.thread(world.invalidate, world.lease)


@two
def evicted(world: World) -> None:
    """Room for one idle instance, and two keys."""
    world.open(max_idle=1)
    world.thread(partial(world.lease, "a"), partial(world.lease, "b"))
    world.thread(partial(world.lease, "a"))


@two
def expired(world: World) -> None:
    """What is idle for too long goes, what is leased stays."""
    world.open(idle_ttl=50.0)
    world.thread(world.lease, world.lease)
    world.thread(world.time_passes)


@two
def dropped(world: World) -> None:
    """A lease that its finalizer returns."""
    world.open(max_idle=0)
    world.thread(world.lease_and_drop)
    world.thread(world.lease)


# -- ending ----------------------------------------------------------------------------------------


@two
def closed_while_leased(world: World) -> None:
    """close() waits for who leases, and tells who waits."""
    world.open()
    world.allow(CacheClosed)
    world.thread(world.lease, world.lease)
    world.thread(world.close)


@two
def closed_on_a_loop(world: World) -> None:
    """The same over a loop."""
    world.open(asynchronous=True)
    world.allow(CacheClosed)
    world.loop(world.alease, world.alease)
    world.thread(world.close)


@two
def closed_out_of_time(world: World) -> None:
    """close() whose deadline passes breaks leases, and closes each instance once."""
    world.open()
    world.allow(CacheClosed)
    world.thread(world.lease)
    world.thread(partial(world.close, timeout=1.0))


@two
def forked(world: World) -> None:
    """A fork at any moment of another thread's build, lease and return."""
    world.open(max_idle=0)
    world.thread(world.lease)
    world.thread(world.lease_across_a_fork)


# -- three actors ----------------------------------------------------------------------------------


@three
def three_threads(world: World) -> None:
    """One builds, two join."""
    world.open()
    for _ in range(3):
        world.thread(world.lease)


@three
def a_thread_and_two_loops(world: World) -> None:
    """Threads and tasks on two loops at once."""
    world.open(asynchronous=True)
    world.thread(world.lease)
    world.loop(world.alease)
    world.loop(world.alease)


@three
def turns(world: World) -> None:
    """Three in the exclusive queue, one of whom runs out of time."""
    world.open(scope=Scope.exclusive(1))
    world.allow(LeaseTimeout)
    world.thread(world.lease)
    world.thread(world.lease)
    world.thread(partial(world.lease, timeout=1.0))


@three
def cancelled_turn_with_a_thread(world: World) -> None:
    """A turn that is given to a task which is being cancelled goes to the thread behind it."""
    world.open(scope=Scope.exclusive(1))
    world.allow(asyncio.CancelledError)
    world.loop(world.alease)
    world.thread(world.lease)
    world.thread(world.cancel)


@three
def failing_then_invalidated(world: World) -> None:
    """A build fails while it is overtaken."""
    world.open(failing=1)
    world.allow(ConnectionError)
    world.thread(world.lease)
    world.thread(world.lease)
    world.thread(world.invalidate)


@three
def invalidated_twice(world: World) -> None:
    """Two invalidations overtake builds: at most one abandoned call beside the current one."""
    world.open()
    world.thread(world.lease)
    world.thread(world.invalidate, world.lease)
    world.thread(world.invalidate)


@three
def evicted_and_invalidated(world: World) -> None:
    """No room for idle instances, and an invalidation beside."""
    world.open(max_idle=0)
    world.thread(world.lease)
    world.thread(world.lease)
    world.thread(world.clear)


@three
def closed_while_waiting(world: World) -> None:
    """close() beside one who leases and one who waits for a turn."""
    world.open(scope=Scope.exclusive(1))
    world.allow(CacheClosed)
    world.thread(world.lease)
    world.loop(world.alease)
    world.thread(world.close)


@three
def out_of_time_twice(world: World) -> None:
    """A build is given up while another caller joins."""
    world.open(build_timeout=50.0)
    world.allow(BuildTimeout)
    world.thread(world.lease)
    world.loop(world.alease)
    world.thread(world.time_passes, world.time_passes)
