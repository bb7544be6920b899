"""What mutation testing of the interpreter's exit found unproved."""

from __future__ import annotations

import pytest

from tests.core.tools import program

#: Two caches are left open, the first with a lease out; the second tells of its close.
LEFT_OPEN = """
import sys
from llmkeep import ClientCache

class Unspeakable(str):
    def __repr__(self):
        raise ZeroDivisionError

first = ClientCache(lambda spec: spec, name={name})
leased = first.lease("leased")
leased.__enter__()
second = ClientCache(lambda spec: spec, close=lambda client: print("closed", client, flush=True))
second.warm("other")
{body}
"""


def test_i4_at_exit_a_cache_that_raises_costs_no_other_its_closes() -> None:
    """What it raised is told by its type, and the others go on."""
    outcome = program(LEFT_OPEN.format(name="Unspeakable()", body=""))

    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout == "closed other\n"
    assert outcome.stderr == "llmkeep: closing at exit raised ZeroDivisionError\n"


@pytest.mark.parametrize("name", ["'named'", "Unspeakable()"])
@pytest.mark.parametrize("body", ["sys.stderr = None", "sys.stderr.close()"])
def test_i4_at_exit_a_program_that_cannot_be_told_has_its_closes(name: str, body: str) -> None:
    """One without a terminal may have no error output, or a closed one."""
    outcome = program(LEFT_OPEN.format(name=name, body=body))

    assert (outcome.returncode, outcome.stdout) == (0, "closed other\n")
