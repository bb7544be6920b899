"""Checks that run in a forked child."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable

import pytest

from tests.core.tools import WAIT


def in_child(checks: Callable[[], object]) -> None:
    """Fork, run `checks` in the child, and fail with its traceback if it has one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            checks()
            status = 0
        except BaseException:
            os.write(writing, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(status)
    os.close(writing)
    deadline = time.monotonic() + WAIT
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.002)  # between two looks; the deadline decides
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as told:
        text = told.read().decode()
    if ended[0] == 0:
        pytest.fail("the child hangs")
    assert ended[1] == 0, text
