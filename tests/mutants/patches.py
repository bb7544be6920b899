"""One way and more to break each invariant, and the test that has to find it.

Each patch is a change of text in one file of the package; what it does stands beside it. Not here:
applying and running them (`trials`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Patch:
    """A fault to be put into a copy of the package."""

    invariant: int
    """The number of the invariant that no longer holds."""
    name: str
    """What goes wrong, in words."""
    file: str
    """In the package `llmkeep`."""
    before: str
    """The text that is there now, exactly once."""
    after: str
    """What stands there instead."""
    test: str
    """What has to fail: a file below `tests`, `::`, and the name of the test."""

    def __str__(self) -> str:
        return f"I{self.invariant} {self.name}"


PATCHES: Final = (
    Patch(
        1,
        "every caller starts a build of its own",
        "core/ledger.py",
        "elif slot.flight is None and slot.requests:",
        "elif slot.requests:",
        "core/test_one_build.py::test_i1_a_storm_gets_one_build",
    ),
    Patch(
        1,
        "a third abandoned call may run beside the current one",
        "core/ledger.py",
        "if len(slot.abandoned) > 1:",
        "if len(slot.abandoned) > 2:",
        "core/test_abandoned.py::test_i1_beside_two_stuck_calls_further_callers_are_told_at_once",
    ),
    Patch(
        2,
        "what is to be done is done under the lock",
        "core/guard.py",
        "            try:\n                job()\n",
        "            try:\n                with self.lock:\n                    job()\n",
        "core/test_foreign_code.py::test_i2_factory_label_weigher_and_subscriber_run_without_the_lock",
    ),
    Patch(
        2,
        "a blocking build runs on the thread of the loop that awaits it",
        "core/building.py",
        'workers.run("build", partial(self.run, flight))',
        "self.run(flight)",
        "core/test_strangers.py::test_i2_a_loop_runs_on_while_its_tasks_wait",
    ),
    Patch(
        3,
        "what is retired is closed although it is leased",
        "core/ledger.py",
        "if instance.state is State.RETIRED and not instance.leases:",
        "if instance.state is State.RETIRED:",
        "core/test_leases.py::test_i3_a_retired_instance_is_closed_when_its_last_lease_returns",
    ),
    Patch(
        3,
        "a lease that is dropped is not returned",
        "core/lease.py",
        "        if instance is not None:\n            try:",
        "        if False:\n            try:",
        "core/test_dropped.py::test_i3_a_lease_dropped_without_return_comes_back_and_names_its_line",
    ),
    Patch(
        4,
        "what is retired is still given out",
        "core/ledger.py",
        "        instance.move(State.RETIRED)\n        slot.instance = None\n",
        "        instance.move(State.RETIRED)\n",
        "core/test_retiring.py::test_i4_after_an_invalidation_nobody_gets_the_old_instance",
    ),
    Patch(
        5,
        "all loops share the first one's connection pool",
        "transports/loop_transport.py",
        "reference = self._homes.get(loop)",
        "reference = next(iter(self._homes.values()), None)",
        "transports/test_loops.py::test_i5_second_loop_runs_while_the_first_waits",
    ),
    Patch(
        5,
        "a loop that ends leaves its connections open",
        "transports/loop_home.py",
        "return_exceptions=True)\n        await self._close()\n",
        "return_exceptions=True)\n",
        "transports/test_loops.py::test_i5_repeated_runs_share_a_client",
    ),
    Patch(
        6,
        "a failure is kept for those who come later",
        "core/ledger.py",
        "                if self.policy.failure_backoff:\n"
        "                    until = monotonic() + self.policy.failure_backoff\n",
        "                if True:\n                    until = monotonic() + 60.0\n",
        "core/test_failures.py::test_i6_all_who_wait_get_the_builds_exception_unchanged",
    ),
    Patch(
        6,
        "who waits is told of the interrupt of whoever built",
        "core/ledger.py",
        "            if isinstance(error, Exception):\n                if self.policy",
        "            if True:\n                if self.policy",
        "core/test_lost_builders.py::test_i6_a_loop_closed_without_ceremony_hands_the_build_to_a_waiter",
    ),
    Patch(
        7,
        "who leaves keeps the turn it had been given",
        "core/ledger.py",
        "                self.returned(lease.instance, lease.token)\n",
        "",
        "core/test_cancelling.py::test_i7_a_cancel_at_the_very_moment_of_the_grant_leaks_nothing",
    ),
    Patch(
        8,
        "nobody looks who waits for whom",
        "core/deadlocks.py",
        "            if cycle is not None:",
        "            if False:",
        "core/test_deadlocks.py::test_i8_a_factory_that_leases_its_own_key_is_told",
    ),
    Patch(
        9,
        "a forked child goes on with its parent's books",
        "core/cache.py",
        "        inherited = self._ledger\n        inherited.freeze_forever()\n",
        "        return\n        inherited = self._ledger\n        inherited.freeze_forever()\n",
        "core/test_fork.py::test_i9_a_child_starts_anew_and_the_parent_notices_nothing",
    ),
    Patch(
        10,
        "one more may be idle than is allowed",
        "core/ledger.py",
        "        while len(idle) > self._max_idle or",
        "        while len(idle) > self._max_idle + 1 or",
        "core/test_bounds.py::test_i10_the_longest_idle_goes_first",
    ),
    Patch(
        11,
        "the order of a mapping tells specs apart",
        "core/specs.py",
        'return ("mapping", frozenset(self._pairs(part, where)))',
        'return ("mapping", tuple(self._pairs(part, where)))',
        "core/test_specs.py::test_i11_keys_are_equal_exactly_where_values_and_types_are",
    ),
    Patch(
        11,
        "two credentials are one to the key",
        "models/identity.py",
        'lambda value: ("secret", _take(value.get_secret_value())),',
        'lambda value: ("secret",),',
        "models/test_i11_identity.py::test_i11_credentials_count_by_what_they_hold_and_objects_by_identity",
    ),
    Patch(
        12,
        "an event quotes the error of a build",
        "core/ledger.py",
        'self.emit("BuildFailed", flight.instance, type(error).__name__)',
        'self.emit("BuildFailed", flight.instance, str(error))',
        "core/test_secrets.py::test_i12_no_event_and_no_log_line_shows_a_secret",
    ),
    Patch(
        12,
        "a handle shows the credentials it was made with",
        "models/resolving.py",
        "shown = {name: masked(value, name) for",
        "shown = {name: value for",
        "models/test_i12_secrets.py::test_i12_nothing_that_shows_a_handle_shows_a_credential",
    ),
    Patch(
        13,
        "who queued for a ready instance is counted as one that waited for a build",
        "core/ledger.py",
        "        elif request.waited:\n",
        "        else:\n",
        "core/test_truth.py::test_i13_a_lease_that_had_to_queue_found_its_instance_ready",
    ),
    Patch(
        13,
        "an abandoned build is not counted",
        "core/ledger.py",
        "        self.builds_abandoned += 1\n",
        "",
        "core/test_truth.py::test_i13_builds_are_counted_by_how_they_ended",
    ),
    Patch(
        14,
        "a return waits for the lock",
        "core/ledger.py",
        "            if lock.acquire(False):\n",
        "            if lock.acquire():\n",
        "core/test_survivors_guard.py::test_i14_a_return_is_over_while_another_thread_holds_the_lock",
    ),
    Patch(
        14,
        "a lease inside the lock goes on instead of being refused",
        "core/ledger.py",
        "                if self.inside:\n"
        "                    lock.release()\n"
        "                    raise self.refusal()\n",
        "",
        "core/test_anywhere.py::test_i14_using_the_cache_inside_the_lock_is_an_error_and_not_a_hang",
    ),
)
