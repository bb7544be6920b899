"""A million distinct keys through a cache of 64: does anything grow?

Each client is a pair of connected sockets, so that what is not closed shows as open descriptors.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

from llmkeep import ClientCache

from .harness import Report, Table, Verdict, in_fresh_process, quick_from_arguments

KEPT: Final = 64
#: How far memory may move once the cache is full, in megabytes.
FLAT: Final = 16.0
#: How many more descriptors there may be than the kept clients have: closes run behind builds.
BEHIND: Final = 4 * KEPT

Pair = tuple[socket.socket, socket.socket]


def _build(_key: int) -> Pair:
    return socket.socketpair()


def _close(pair: Pair) -> None:
    for each in pair:
        each.close()


def resident_megabytes() -> float:
    """Of this process, now (Linux), or at its largest so far (elsewhere)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        import resource

        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest / (2**20 if sys.platform == "darwin" else 2**10)
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def _descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def _run(keys: int) -> dict[str, Any]:
    """In a process of its own: lease every key once, and look around now and then."""
    cache = ClientCache(_build, close=_close, max_idle=KEPT)
    at_first = _descriptors()
    samples: list[tuple[int, float, int]] = []
    begin = time.perf_counter()
    for key in range(keys):
        with cache.lease(key):
            pass
        if key % (keys // 50) == keys // 100:
            samples.append((key, resident_megabytes(), _descriptors() - at_first))
    seconds = time.perf_counter() - begin
    closed, live = cache.stats().closed, cache.stats().live
    cache.close()
    gc.collect()
    return {
        "keys": keys,
        "seconds": seconds,
        "processor seconds": time.process_time(),
        "samples": samples,
        "closed": closed,
        "live": live,
        "descriptors after close": _descriptors() - at_first,
    }


def measure(quick: bool) -> Report:
    """One run, in a process of its own."""
    keys = 20_000 if quick else 1_000_000
    found = in_fresh_process("-m", "benchmarks.million", str(keys), limit=600)
    memory = [megabytes for _, megabytes, _ in found["samples"]]
    descriptors = [count for *_, count in found["samples"]]
    grown = max(memory) - memory[0]
    wall, processor = (found[each] / keys * 1e6 for each in ("seconds", "processor seconds"))
    rows = [
        ("keys", f"{keys:,}"),
        ("resident memory at first", f"{memory[0]:.1f} MB"),
        ("resident memory then", f"{min(memory[1:]):.1f}-{max(memory[1:]):.1f} MB"),
        ("descriptors", f"{min(descriptors)}-{max(descriptors)}"),
        ("descriptors after close()", str(found["descriptors after close"])),
        ("clients closed, and kept", f"{found['closed']:,}, {found['live']}"),
        ("each key", f"{wall:.0f} us ({processor:.0f} us of processor time)"),
        ("in all", f"{found['seconds']:.0f} s"),
    ]
    return Report(
        f"{keys:,} distinct keys",
        f"Through a cache that keeps {KEPT}; each client is a pair of connected sockets. Memory "
        "is looked at fifty times, the first time after a hundredth of the keys. Descriptors are "
        f"those beyond what the process had before; {2 * KEPT} belong to what is kept.",
        [Table(("", "found"), rows)],
        [
            Verdict(f"memory stays flat within {FLAT:.0f} MB", f"{grown:+.1f} MB", grown <= FLAT),
            Verdict(
                "descriptors stay flat, and none is left after close()",
                f"at most {max(descriptors)}, then {found['descriptors after close']}",
                max(descriptors) <= 2 * KEPT + BEHIND and found["descriptors after close"] <= 0,
            ),
        ],
        found,
    )


if __name__ == "__main__":
    numbers = [argument for argument in sys.argv[1:] if argument.isdecimal()]
    if numbers:
        print(json.dumps(_run(int(numbers[0]))))
    else:
        print(measure(quick_from_arguments()))
