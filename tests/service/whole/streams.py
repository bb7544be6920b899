"""Many streams at once, for a while: no error, even shares, memory that stays flat.

    python -m tests.service.whole.streams --streams 200 --seconds 60

Prints, second by second, the memory and processor time of the service and how far the slowest and
the fastest stream are, and fails where a stream does not end as it should.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.scripted_signal import PATIENCE
from tests.support.service import Service
from tests.support.service_client import Client, new_id, run_input
from tests.support.service_load import (
    connections_at,
    load_provider,
    megabytes,
    pace,
    processor_seconds,
    silent_reader,
    threads,
)

#: Seconds after which a reader that takes nothing has been dropped: the service gives it 30. It
#: cannot be seen from here without reading: the end stands behind what was not read.
CUT_OFF: Final = 45.0

#: Seconds from one token of a stream to the next.
GAP: Final = 0.2


@dataclass(frozen=True)
class Look:
    """The process and its streams at one moment."""

    memory: float
    """Megabytes."""
    processor: float
    """Seconds since the beginning."""
    slowest: int
    fastest: int
    """Tokens that have come."""


@dataclass
class Wave:
    """Streams that begin together."""

    looks: list[Look] = field(default_factory=list)
    #: Tokens of each stream so far.
    tokens: list[int] = field(default_factory=list)
    #: What each of the others had when the first was done.
    when_first_ended: list[int] | None = None

    @property
    def share(self) -> float:
        """What the slowest had when the first was done, of what the first had."""
        assert self.when_first_ended is not None
        return min(self.when_first_ended) / max(self.when_first_ended)


async def wave(service: Service, streams: int, tokens: int, *, gap: float = GAP) -> Wave:
    """So many streams of so many tokens, each in a conversation of its own. Raises on any error."""
    found = Wave(tokens=[0] * streams)
    begin = processor_seconds(service.pid)

    async def one(client: Client, index: int) -> None:
        said = pace(tokens, gap, together=streams)
        async with client.post(run_input(new_id("t"), said)) as stream:
            async for told in stream:
                found.tokens[index] += told.kind == "TEXT_MESSAGE_CONTENT"
            assert stream.ended, "a stream merely ended"
            assert told.kind == "RUN_FINISHED", told
        assert found.tokens[index] == tokens
        if found.when_first_ended is None:
            found.when_first_ended = list(found.tokens)

    async def look() -> None:
        while True:
            await asyncio.sleep(1)
            used = processor_seconds(service.pid) - begin
            memory = megabytes(service.pid)
            found.looks.append(Look(memory, used, min(found.tokens), max(found.tokens)))
            print(found.looks[-1], file=sys.stderr, flush=True)

    async with Client(service.address) as client:
        looking = asyncio.create_task(look())
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(streams):
                    group.create_task(one(client, index))
        finally:
            looking.cancel()
    return found


async def nothing_open(port: int) -> None:
    """Until the server has closed what clients have left. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE):
        while connections_at(port):
            await asyncio.sleep(0.01)


async def drop_silent_readers(service: Service, number: int = 20) -> None:
    """Readers that take nothing of a long answer are cut off, and the run goes on."""
    body = run_input(new_id("t"), pace(2_000, 0.0, size=20_000))  # 40 MB: more than sockets hold
    async with Client(service.address) as client:
        async with client.post(body, on_disconnect="continue") as stream:
            await stream.until("TEXT_MESSAGE_CONTENT")
            silent = [silent_reader(service, body) for _ in range(number)]
            told = await stream.rest()
        assert told[-1].kind == "RUN_FINISHED"
        whole = sum(len(json.dumps(each.event)) for each in told)
        await asyncio.sleep(CUT_OFF)
        taken = [await asyncio.to_thread(_all_that_comes, each) for each in silent]
    print(f"{number} silent readers were cut off, with at most {max(taken)} of {whole} bytes")
    assert max(taken) < whole


def _all_that_comes(silent: socket.socket) -> int:
    """Bytes until the other side's end: what lay in sockets, where that has come already."""
    number = 0
    with silent, suppress(ConnectionError):
        while found := silent.recv(2**20):
            number += len(found)
    return number


async def measure(service: Service, streams: int, seconds: int) -> Sequence[Wave]:
    """A short wave, after which everything is there that is made once; then the long one."""
    first = await wave(service, streams, 20, gap=0.05)
    dropping = asyncio.create_task(drop_silent_readers(service))
    before = (megabytes(service.pid), threads(service.pid))
    long = await wave(service, streams, int(seconds / GAP))
    last = await wave(service, streams, 20, gap=0.05)
    await dropping
    await nothing_open(service.port)
    after = (megabytes(service.pid), threads(service.pid))
    print(f"megabytes and threads: before {before}, after {after}")
    for name, one in {"first": first, "long": long, "last": last}.items():
        print(f"{name}: the slowest had {one.share:.0%} of the fastest when that was done")
    return first, long, last


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        load_provider() as base_url,
        Service(Path(folder) / "data", base_url) as service,
    ):
        asyncio.run(measure(service, arguments.streams, arguments.seconds))


if __name__ == "__main__":
    main()
