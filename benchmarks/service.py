"""A turn through the service: what it costs, and how long the first token takes, beside others.

Four servers, each a process of its own, ask the same provider, which streams 20 tokens; 50 clients
ask each of them at once, in conversations that are new. What is counted is the processor time of
the server's process: what it is asked by, and what it asks, are other processes. The peers are in
`service_peers`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from .harness import Report, Spread, Table, Verdict, quick_from_arguments, ratio
from .provider import KEY, MODEL, TOKENS, provider

#: Seconds after which a server counts as stuck.
LIMIT: Final = 30.0
#: How many ask at once.
CLIENTS: Final = 50
#: The tools of every agent here.
TOOLS: Final = ("calculator", "current_time")
#: What a turn may take beside the endpoint written by hand, and beside a client for each request.
BESIDE_HAND: Final = 1.3
BESIDE_CLIENTS: Final = 1 / 4

PASS: Final = "(a) plain httpx pass-through"
HAND: Final = "(b) by hand: FastAPI, one model, one graph, AsyncSqliteSaver"
EACH: Final = "(c) the same with a client for each request"
OURS: Final = "(d) llmkeep serve"

#: Turns of one round, and at how many at once.
TURNS: Final = {PASS: 200, HAND: 200, EACH: 50, OURS: 200}

#: Limits of one user that would end the measurement.
_LIMITS: Final = ("REQUESTS_PER_MINUTE", "CONCURRENT_RUNS")
_TOKEN: Final = b"token "
_numbers = count()


@dataclass
class Server:
    """A running server."""

    pid: int
    port: int

    def seconds(self) -> float:
        """Processor time that its process has used, all threads together (Linux)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Memory that is resident (Linux)."""
        pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE") / 2**20


@dataclass
class Samples:
    """One server, round by round."""

    #: Milliseconds of processor time for each turn.
    costs: list[float] = field(default_factory=list)
    #: Milliseconds to the first token: the median of those who ask at once, and asked alone.
    first: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    #: Turns each second.
    rates: list[float] = field(default_factory=list)


# --- the servers ---


@contextmanager
def _started(command: list[str], environment: dict[str, str]) -> Iterator[Server]:
    """The process, until the block ends; it prints its port, or an address with one."""
    with subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a log of requests, which ours writes and pays for
        text=True,
        env={**os.environ, **environment},
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := re.search(r"(?:127\.0\.0\.1:|^)(\d+)", line):
                    yield Server(process.pid, int(found[1]))
                    break
            else:
                raise RuntimeError(f"{' '.join(command)} did not start")
        finally:
            process.terminate()
            try:
                process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def _servers(folder: Path) -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        base_url = stack.enter_context(provider())
        environment = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": base_url}
        servers = {}
        for name, kind in {PASS: "pass-through", HAND: "hand", EACH: "clients"}.items():
            own = folder / kind
            own.mkdir()
            command = ["-m", "benchmarks.service_peers", kind, str(own)]
            servers[name] = stack.enter_context(_started(command, environment))
        servers[OURS] = stack.enter_context(_ours(folder / "ours", environment))
        yield servers


def _ours(folder: Path, environment: dict[str, str]) -> Any:
    more = {
        "SERVICE__DATA_DIR": str(folder),
        "AGENTS__BUILTIN_TOOLS": ",".join(TOOLS),
        "AGENTS__CONVERSATION_HANDLER_DEFAULT_MODEL": f"openai:{MODEL}",
        **{f"SERVICE__{name}": "1000000" for name in _LIMITS},
        "PYTHONUNBUFFERED": "1",
    }
    command = ["-m", "llmkeep.cli", "serve", "--host", "127.0.0.1", "--port", "0"]
    return _started(command, {**environment, **more})


# --- those who ask ---


async def _turn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    """One turn in a new conversation; seconds until its first token."""
    number = next(_numbers)
    body = json.dumps(
        {
            "threadId": f"thread-{number}",
            "runId": f"run-{number}",
            "messages": [{"id": f"message-{number}", "role": "user", "content": "hello"}],
            "tools": [],
            "context": [],
            "state": {},
            "forwardedProps": {},
            "protocolVersion": "1.0",
        }
    ).encode()
    begin = time.perf_counter()
    writer.write(
        b"POST /api/agent HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        b"accept: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )
    head = await reader.readuntil(b"\r\n\r\n")
    first = 0.0
    tokens = 0
    while size := int(await reader.readuntil(b"\r\n"), 16):
        part = (await reader.readexactly(size + 2))[:-2]
        if found := part.count(_TOKEN):
            first = first or time.perf_counter() - begin
            tokens += found
    await reader.readexactly(2)
    assert tokens == TOKENS, f"{tokens} tokens came, after {head!r}"
    return first


async def _ask(server: Server, turns: int, at_once: int) -> list[float]:
    """So many turns, by so many who keep their connections; seconds to each first token."""
    left = count()
    found: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while next(left) < turns:
            found.append(await _turn(reader, writer))
        writer.close()

    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one())
    return found


def _measured(server: Server, turns: int, samples: Samples) -> None:
    alone = asyncio.run(_ask(server, 5, 1))
    used, begin = server.seconds(), time.perf_counter()
    first = asyncio.run(_ask(server, turns, CLIENTS))
    took = time.perf_counter() - begin
    samples.costs.append((server.seconds() - used) / turns * 1e3)
    samples.rates.append(turns / took)
    samples.first.append(Spread.of(first).median * 1e3)
    samples.alone.append(Spread.of(alone).median * 1e3)


def _run(rounds: int, names: list[str]) -> tuple[dict[str, Samples], dict[str, float]]:
    found = {name: Samples() for name in names}
    with tempfile.TemporaryDirectory() as folder, _servers(Path(folder)) as servers:
        for name in names:
            asyncio.run(_ask(servers[name], CLIENTS, 10))  # imports, pools, statements
        for number in range(rounds):
            for name in names[:: 1 if number % 2 == 0 else -1]:
                _measured(servers[name], TURNS[name], found[name])
        return found, {name: servers[name].megabytes() for name in names}


# --- the report ---


def measure(quick: bool) -> Report:
    """All four servers, in turn."""
    found, memory = _run(3 if quick else 8, list(TURNS))
    costs = {name: samples.costs for name, samples in found.items()}
    against = {name: ratio(costs[name], costs[HAND]) for name in found}
    clients = ratio(costs[OURS], costs[EACH])
    return Report(
        f"A turn of {TOKENS} streamed tokens through the service",
        f"{CLIENTS} clients at once, every turn in a new conversation. Processor time is that of "
        "the server's process for each turn, all its threads together. The first token: the median "
        f"of {CLIENTS} who ask at once, and of one who asks alone. The service keeps threads, "
        "messages and runs, and the log of all events, beside what the others keep.",
        [_table(found, against, memory)],
        [
            Verdict(
                f"a turn takes at most {BESIDE_HAND} times one by hand",
                against[OURS].shown(".2f"),
                against[OURS].median <= BESIDE_HAND,
            ),
            Verdict(
                "a turn takes at most a quarter of one with a client for each request",
                clients.shown(".2f"),
                clients.median <= BESIDE_CLIENTS,
            ),
        ],
        {name: Spread.of(samples).median for name, samples in costs.items()}
        | {f"first token, {name}": Spread.of(each.first).median for name, each in found.items()},
    )


def _table(
    found: dict[str, Samples], against: dict[str, Spread], memory: dict[str, float]
) -> Table:
    return Table(
        ("", "one turn", "beside (b)", "first token", "alone", "turns a second", "memory"),
        [
            (
                name,
                Spread.of(samples.costs).shown(".2f", "ms"),
                against[name].shown(".2f"),
                Spread.of(samples.first).shown(".0f", "ms"),
                Spread.of(samples.alone).shown(".1f", "ms"),
                Spread.of(samples.rates).shown(".0f"),
                f"{memory[name]:.0f} MB",
            )
            for name, samples in found.items()
        ],
    )


if __name__ == "__main__":
    print(measure(quick_from_arguments()))
