"""I9 to the very end: a child that ends as interpreters do finalises nothing of its parent's."""

from __future__ import annotations

import os

import pytest

from tests.core.tools import program

if not hasattr(os, "fork"):
    pytest.skip("there is no fork here", allow_module_level=True)

PROGRAM = """
import asyncio, gc, os, sys, threading
from llmkeep import ClientCache, Scope

parent = os.getpid()

def say(what):
    os.write(1, (("parent " if os.getpid() == parent else "child ") + what + chr(10)).encode())

class Client:
    def __init__(self, spec):
        self.spec, self.made_by = spec, os.getpid()
        self.myself = self  # collected by the collector, and when modules are cleared
    def whose(self):
        return "own" if self.made_by == os.getpid() else "inherited"
    def __del__(self):
        say("finalises " + self.whose())

def close(client):
    say("closes " + client.whose())

cache = ClientCache(Client, close=close, {options})
{before}
child = os.fork()
if child == 0:
    {in_child}
else:
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    {after}
"""


def run(options: str = "", before: str = "", in_child: str = "", after: str = "pass") -> list[str]:
    source = PROGRAM.format(
        options=options, before=before, in_child=in_child or "sys.exit(0)", after=after
    )
    outcome = program(source)
    assert outcome.returncode == 0, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert "Exception" not in outcome.stderr
    return outcome.stdout.splitlines()


WARM = "cache.warm('k')"
LEASED = "lease = cache.lease('k'); lease.__enter__()"
RETIRED = LEASED + "; cache.invalidate('k')"
IN_A_LOOP = """
async def main():
    async with cache.lease("k"):
        pass
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
"""


@pytest.mark.parametrize(
    ("options", "before"),
    [
        ("", WARM),
        ("", LEASED),
        ("", RETIRED),
        ("scope=Scope.LOOP", IN_A_LOOP),
        ("scope=Scope.exclusive(1)", LEASED),
    ],
    ids=["idle", "leased", "retired", "on a loop", "exclusive"],
)
@pytest.mark.parametrize(
    "ending",
    ["sys.exit(0)", "gc.collect(); del cache; gc.collect()", "cache.close(); gc.collect()"],
    ids=["exit", "dropped", "closed"],
)
def test_i9_what_the_parent_opened_is_not_finalised_in_the_child(
    options: str, before: str, ending: str
) -> None:
    """At its exit neither, when modules are cleared and finalizers run."""
    told = run(options, before, ending)

    assert [line for line in told if line.startswith("child")] == []


def test_i9_what_the_child_opened_is_closed_by_the_child() -> None:
    """At its exit, as in any process; and the parent closes its own."""
    told = run("", WARM, "cache.warm('k')")

    child = [line for line in told if line.startswith("child")]
    assert child[0] == "child closes own"
    assert "child closes inherited" not in told
    assert "child finalises inherited" not in told
    assert "parent closes own" in told


def test_i9_a_lease_carried_across_is_not_named_by_the_child() -> None:
    """It is the parent's, and the parent names it."""
    outcome = program(PROGRAM.format(options="", before=LEASED, in_child="pass", after="pass"))

    assert outcome.returncode == 0
    assert outcome.stderr.count("leases were still out at exit") == 1


def test_i9_a_build_of_the_parents_does_not_keep_the_child_from_ending() -> None:
    """Nor does a closer, a housekeeper or a waiter that only the parent has."""
    before = """
go = threading.Event()
started = threading.Event()
def slow(spec):
    started.set()
    go.wait(20)
    return Client(spec)
threads = [threading.Thread(target=cache.warm, args=("k",), kwargs=dict(build=slow)) for _ in "ab"]
for thread in threads:
    thread.start()
started.wait(20)
"""
    after = "go.set(); [thread.join(20) for thread in threads]; say(str(cache.stats().builds_ok))"
    told = run("", before, "cache.warm('k'); cache.warm('other')", after)

    assert "parent 1" in told
    assert told.count("child closes own") == 2
