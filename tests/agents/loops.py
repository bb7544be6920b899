"""The same coroutine on several event loops at once, each on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PATIENCE = 60.0


def on_loops_at_once(talk: Callable[[int], Coroutine[Any, Any, None]], loops: int = 4) -> None:
    """Run `talk(n)` for each loop n; they start together. Raises the first failure."""
    gate = threading.Barrier(loops)

    def run(loop: int) -> None:
        gate.wait(PATIENCE)
        asyncio.run(talk(loop))

    with ThreadPoolExecutor(loops) as pool:
        for running in [pool.submit(run, loop) for loop in range(loops)]:
            running.result(PATIENCE)
