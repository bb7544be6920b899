"""HTTP clients that one process can share between all its threads, event loops and forked children.

`async_client()` and `client()` make real `httpx2` (or `httpx`) clients, so that every SDK which
takes an HTTP client takes these; the transports are public for those who build a client
themselves. Not here: retries, authentication, anything about models.
"""

from .clients import async_client, client
from .fork_transport import ForkSafeTransport
from .loop_transport import AsyncLoopTransport
from .recipe import TransportOptions

__all__ = [
    "AsyncLoopTransport",
    "ForkSafeTransport",
    "TransportOptions",
    "async_client",
    "client",
]
