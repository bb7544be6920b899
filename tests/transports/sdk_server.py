"""A provider on a loopback socket that behaves as the header `x-scene` of a request says.

It speaks enough of OpenAI's and Anthropic's formats for one answer, and remembers what it was sent.
Not here: what a provider says; that is the stand-in's.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple, Self

ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "/v1/chat/completions": {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "any",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "hello"},
            }
        ],
    },
    "/v1/messages": {
        "id": "1",
        "type": "message",
        "role": "assistant",
        "model": "any",
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    "/v1/files": {
        "id": "file-1",
        "object": "file",
        "type": "file",
        "bytes": 3,
        "size_bytes": 3,
        "created_at": 1,
        "filename": "a.txt",
        "mime_type": "text/plain",
        "purpose": "assistants",
        "status": "processed",
    },
}
#: One event of each kind, which all of either SDK's streams begin with.
EVENTS: Final = {
    "/v1/chat/completions": b'data: {"id":"1","object":"chat.completion.chunk","created":1,'
    b'"model":"any","choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n',
    "/v1/messages": b"event: ping\ndata: {}\n\nevent: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"hello"}}\n\n',
}


class Seen(NamedTuple):
    """One request, as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Server(ThreadingHTTPServer):
    """Lives as long as its `with` block; a handler that waits is let go at its end."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[Seen] = []
        self.connections: set[int] = set()
        self.gone = threading.Semaphore(0)  # released once for each stream that was left
        self.released = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="sdk-server")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers on one connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append(Seen(self.command, self.path, headers, body))
        self.server.connections.add(self.client_address[1])
        path, asked = self.path.partition("?")[0], headers.get("x-scene", "answer")
        if path.startswith("/elsewhere"):
            path, asked = path.removeprefix("/elsewhere"), "answer"
        first = len([each for each in self.server.seen if each.path == self.path]) == 1
        if asked == "fail" or (asked == "fail once" and first):
            self._answer(500, {"error": {"message": "no", "type": "x"}}, retry_after_ms="1")
        elif asked == "redirect":
            self._answer(307, {}, location=f"{self.server.url}/elsewhere{path}")
        elif asked == "stall":
            self.server.released.wait()
            self.close_connection = True
        elif asked in ("stream", "endless"):
            self._stream(EVENTS[path], endless=asked == "endless")
        else:
            self._answer(200, ANSWERS[path])

    def _answer(self, status: int, content: dict[str, Any], **headers: str) -> None:
        written = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(written)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(written)

    def _stream(self, event: bytes, *, endless: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self._chunk(event)
        if endless:
            self.close_connection = True
            if not self.connection.recv(1):  # nothing comes any more but the end
                self.server.gone.release()
            return
        if "messages" in self.path:
            self._chunk(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
        else:
            self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def log_message(self, *_: object) -> None:
        """Not on the test's output."""
