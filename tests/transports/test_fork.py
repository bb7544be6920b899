"""A forked child has its own connections, and the parent notices nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.standin import StandIn
from tests.transports.conftest import PATIENCE

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def test_i9_child_and_parent_share_no_connection(standin: StandIn, library: str) -> None:
    """The child opens its own; the parent goes on over its own, a half-read one included."""
    program = Path(__file__).with_name("fork_program.py")
    arguments = [sys.executable, str(program), library, standin.url, str(standin.authority)]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        line = process.stdout.readline()
        standin.release()
        output, errors = process.communicate("released\n" if line == "forked\n" else None)
        watchdog.cancel()
        watchdog.join()
    assert process.returncode == 0, errors
    assert errors == ""
    seen = json.loads(output)

    child = seen["child"]
    assert child.pop("told") == 0
    assert "belongs to the parent process" in child.pop("read")
    assert len({*seen["before"].values(), *child.values()}) == 5  # all opened anew
    assert seen["bodies"] == ["firstlast"] * 2
    assert len(standin.requests) == 9
