"""A provider that costs next to nothing, in a process of its own, and looks at a loaded process.

Whoever asks says how much is to come: the last user message is `pace(tokens, gap)`. It reads no
history; `scripted` does that. The looks are Linux's.

    with load_provider() as base_url: ...
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.scripted_signal import PATIENCE
from tests.support.service import ROOT, Service


def pace(tokens: int, gap: float, *, size: int = 0, together: int = 1) -> str:
    """What to say for so many tokens, `gap` seconds apart, of at least `size` characters each.

    `together`: the first comes when so many have asked.
    """
    return json.dumps({"tokens": tokens, "gap": gap, "size": size, "together": together})


@contextmanager
def load_provider() -> Iterator[str]:
    """The provider, running; gives the base address for OpenAI's SDK."""
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()


# --- clients that misbehave ---


def silent_reader(service: Service, body: Mapping[str, Any]) -> socket.socket:
    """Asks for the events of the run that `body` started, and reads none."""
    path = f"/api/threads/{body['threadId']}/runs/{body['runId']}/stream"
    return connected(service, "GET", path, None)


def connected(
    service: Service, method: str, path: str, body: Mapping[str, Any] | None
) -> socket.socket:
    """A request that has been sent, with as little room for its answer as there can be."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(2 * PATIENCE)
    connection.connect(("127.0.0.1", service.port))
    content = json.dumps(body).encode() if body is not None else b""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


# --- looks at a process ---


def megabytes(pid: int) -> float:
    """Memory of a process that is resident."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE") / 2**20


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used, all threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads(pid: int) -> int:
    """How many it has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def connections_at(port: int) -> int:
    """Connections to a port of this machine that its server has not closed."""
    wanted = f"{port:04X}"
    found = 0
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        open_states = ("01", "08")  # established, and left by the client alone
        found += fields[1].endswith(f":{wanted}") and fields[3] in open_states
    return found


# --- the provider's process ---


def _part(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "load", "object": "chat.completion.chunk", "created": 1, "model": "load"}
    body = b"data: " + json.dumps({**head, "choices": [choice], **more}).encode() + b"\n\n"
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_USAGE = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
_TAIL = _part({}, "stop", usage=_USAGE) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


_waiting: list[asyncio.Future[None]] = []


async def _meet(number: int) -> None:
    """Wait until so many are here."""
    _waiting.append(asyncio.get_running_loop().create_future())
    if len(_waiting) < number:
        await _waiting[-1]
        return
    for each in _waiting:
        each.set_result(None)
    _waiting.clear()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, length = head.partition(b"content-length:")
            body = json.loads(await reader.readexactly(int(length.split(b"\r\n", 1)[0])))
            wanted = json.loads([m for m in body["messages"] if m["role"] == "user"][-1]["content"])
            writer.write(_HEAD + _part({"role": "assistant", "content": ""}))
            if wanted["together"] > 1:
                await _meet(wanted["together"])
            for number in range(wanted["tokens"]):
                await asyncio.sleep(wanted["gap"])
                writer.write(_part({"content": f"token{number} ".ljust(wanted["size"])}))
                await writer.drain()
            writer.write(_TAIL)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _serve() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # it goes with whoever started it
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
