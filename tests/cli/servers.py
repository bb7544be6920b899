"""Plain HTTP servers that list models, as the usual local ones do."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def serving(
    answer: Callable[[str], tuple[int, bytes]], seen: list[dict[str, str]] | None = None
) -> Iterator[int]:
    """A plain HTTP server on this machine; gives its port. `seen` gets the requests' headers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if seen is not None:
                seen.append(dict(self.headers))
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def listing(*names: str) -> Callable[[str], tuple[int, bytes]]:
    body = json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode()
    return lambda path: (200, body) if path == "/v1/models" else (404, b"")
