"""One TLS context per TLS configuration in the process, built once, on first use.

A context costs 10-50 ms and about 1 MB, nearly all of it the trusted certificates. It may be
shared by threads and event loops. A forked child builds its own: another thread of the parent may
have held one of OpenSSL's locks in that moment, and nobody in the child would ever release it.

Not here: contexts that users made themselves. Those are used as they are.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from llmkeep.core import ClientCache

#: What a client certificate may be: a file, or (certificate, key), or (certificate, key, password).
Certificate = str | tuple[str, str] | tuple[str, str, str]

# Bounded by count alone: a context that is dropped lives on in the pools that use it.
_contexts: ClientCache[Mapping[str, Any], ssl.SSLContext] = ClientCache(
    name="tls", max_idle=64, idle_ttl=None
)


@dataclass(frozen=True, kw_only=True, repr=False)
class TLSConfiguration:
    """What decides about a context; the parameters are those of httpx's transports."""

    library: Any
    verify: ssl.SSLContext | str | bool = True
    cert: Certificate | None = None
    trust_env: bool = True
    http1: bool = True
    http2: bool = False

    def context(self) -> ssl.SSLContext:
        """The shared context. Raises what the library raises where it cannot be built."""
        if isinstance(self.verify, ssl.SSLContext):
            return self._build(None)
        with _contexts.lease(self._key(), build=self._build) as context:
            return context

    async def acontext(self) -> ssl.SSLContext:
        """As `context()`, but where one must be built the loop goes on."""
        if isinstance(self.verify, ssl.SSLContext):
            return self._build(None)
        async with _contexts.lease(self._key(), build=self._build) as context:
            return context

    def _build(self, _: object) -> ssl.SSLContext:
        context: ssl.SSLContext = self.library.create_ssl_context(
            verify=self.verify, cert=self.cert, trust_env=self.trust_env
        )
        return context

    def _key(self) -> Mapping[str, Any]:
        cert = (self.cert,) if isinstance(self.cert, str) else self.cert or ()
        return _with_files(
            {
                "library": self.library.__name__,
                "verify": self.verify,
                "cert": cert,
                "environment": _environment(self.trust_env),
                # httpcore sets the protocols to be negotiated on the context, before each
                # handshake: clients that differ in them must not share one.
                "protocols": (self.http1, self.http2),
            },
            self.verify,
            *cert[:2],
        )


def proxy_context(library: Any) -> ssl.SSLContext:
    """The shared context for connections to HTTPS proxies, where httpcore builds one for each."""

    def build(_: object) -> ssl.SSLContext:
        httpcore = import_module(library.__name__.replace("httpx", "httpcore"))
        context: ssl.SSLContext = httpcore.default_ssl_context()
        return context

    key = _with_files({"library": library.__name__, "proxy": True, "environment": _environment()})
    with _contexts.lease(key, build=build) as context:
        return context


def _environment(trust_env: bool = True) -> tuple[str | None, ...]:
    # Python's own default contexts look at the last one, whatever trust_env says.
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR") if trust_env else ()
    return tuple(os.environ.get(name) for name in (*names, "SSLKEYLOGFILE"))


def _with_files(key: dict[str, Any], *named: object) -> dict[str, Any]:
    """`key`, and which file each name stood for: a renewed file is another configuration."""
    for name in (*named, *key["environment"][:-1]):
        if isinstance(name, str):
            try:
                stat = Path(name).stat()
            except OSError:  # the library says what is wrong with it
                continue
            key[f"file {name}"] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return key
