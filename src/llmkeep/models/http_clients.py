"""The HTTP clients that a kept model gets: ours, with the defaults of the SDK that uses them.

They are the reason why one model serves every thread and event loop of the process: their
transports keep the connections of each loop apart.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Iterable
from typing import Any

from llmkeep.transports import async_client, client

from .sdk_locks import sdk_locks

#: What openai and anthropic give the clients that they make themselves.
_LIMITS = {"max_connections": 1000, "max_keepalive_connections": 100, "keepalive_expiry": 5.0}

SocketOption = tuple[int, int, int]


def library_of(sdk: str) -> Any:
    """The HTTP library (httpx or httpx2) that the installed `sdk` is written for."""
    default = importlib.import_module(sdk).DefaultHttpxClient
    names = (base.__module__.partition(".")[0] for base in default.__mro__)
    return importlib.import_module(next(name for name in names if name in ("httpx", "httpx2")))


def clients_for(
    sdk: str, *, proxy: str | None = None, socket_options: Iterable[SocketOption] | None = None
) -> tuple[Any, Any]:
    """A synchronous and an asynchronous client for `sdk`; both are to be closed with the model."""
    library = library_of(sdk)
    sdk_locks.renew_in_children(sdk)
    options: dict[str, Any] = {
        "library": library.__name__,
        "follow_redirects": True,
        "limits": library.Limits(**_LIMITS),
        "proxy": proxy,
        "socket_options": tuple(socket_options or ()) or None,
    }
    return client(**options), async_client(**options)


#: The variables that `keepalive_options` reads, as langchain-openai does.
KEEPALIVE_VARIABLES = tuple(
    f"LANGCHAIN_OPENAI_TCP_{name}"
    for name in ("KEEPALIVE", "KEEPIDLE", "KEEPINTVL", "KEEPCNT", "USER_TIMEOUT_MS")
)


def keepalive_options() -> tuple[SocketOption, ...]:
    """Socket options that notice a peer which has gone silently within about two minutes.

    The same as langchain-openai gives its own clients, with the same variables to change them;
    `LANGCHAIN_OPENAI_TCP_KEEPALIVE=0` turns them off.
    """
    if os.environ.get("LANGCHAIN_OPENAI_TCP_KEEPALIVE", "1") == "0":
        return ()
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    darwin_idle = 0x10 if sys.platform == "darwin" else None
    for name, number, default in (
        ("KEEPIDLE", getattr(socket, "TCP_KEEPIDLE", darwin_idle), 60),
        ("KEEPINTVL", getattr(socket, "TCP_KEEPINTVL", None), 10),
        ("KEEPCNT", getattr(socket, "TCP_KEEPCNT", None), 3),
        ("USER_TIMEOUT_MS", getattr(socket, "TCP_USER_TIMEOUT", None), 120_000),
    ):
        if number is not None:
            value = _whole(os.environ.get(f"LANGCHAIN_OPENAI_TCP_{name}"), default)
            options.append((socket.IPPROTO_TCP, number, value))
    return tuple(options)


def anthropic_keepalive_options() -> tuple[SocketOption, ...]:
    """The socket options that anthropic gives the clients that it makes itself."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    darwin_interval = 0x10 if sys.platform == "darwin" else None  # as the SDK has it
    for number, value in (
        (getattr(socket, "TCP_KEEPINTVL", darwin_interval), 60),
        (getattr(socket, "TCP_KEEPCNT", None), 5),
        (getattr(socket, "TCP_KEEPIDLE", None), 60),
    ):
        if number is not None:
            options.append((socket.IPPROTO_TCP, number, value))
    return tuple(options)


def _whole(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default
