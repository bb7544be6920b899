"""A provider in a process of its own: 20 tokens for whoever asks, in OpenAI's wire format.

What it sends was written down before anybody asked, so that it takes next to no time of its own;
the tokens come one by one, `GAP` apart, as a model makes them. It understands just enough HTTP for
that, reads no request's meaning, and keeps connections open.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

TOKENS: Final = 20
#: Seconds from one token to the next: longer than anybody here takes for one.
GAP: Final = 0.0015

#: The arguments of a model that asks here; the key is no key.
MODEL: Final = "gpt-5-mini"
KEY: Final = "no-key-is-looked-at"


@contextmanager
def provider() -> Iterator[str]:
    """The provider, running; gives the base address for OpenAI's SDK."""
    command = [sys.executable, "-m", "benchmarks.provider"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()


def _chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": MODEL,
        "choices": [choice],
        **more,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _part(body: bytes) -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
_PARTS: Final = [
    _HEAD + _part(_chunk({"role": "assistant", "content": "token "})),
    *(_part(_chunk({"content": f"token {number} "})) for number in range(1, TOKENS)),
    _part(
        _chunk(
            {},
            "stop",
            usage={"prompt_tokens": 90, "completion_tokens": TOKENS, "total_tokens": 90 + TOKENS},
        )
        + b"data: [DONE]\n\n"
    )
    + b"0\r\n\r\n",
]


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, length = head.partition(b"content-length:")
            await reader.readexactly(int(length.split(b"\r\n", 1)[0]))
            begin = loop.time()
            for number, part in enumerate(_PARTS):
                await asyncio.sleep(begin + number * GAP - loop.time())
                writer.write(part)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _run() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # It goes with whoever started it.
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_run())
