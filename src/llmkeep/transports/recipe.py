"""What the pools of one transport are made from: httpx's own transport options, checked at once.

Not here: when a pool is made, and who closes it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any, TypedDict

from llmkeep.core.fork import keep_forever

from .libraries import load
from .tls import Certificate, TLSConfiguration, proxy_context


class TransportOptions(TypedDict, total=False):
    """The options of httpx's `HTTPTransport`, with the same meanings and defaults.

    `limits` hold for each event loop and each process apart.
    """

    verify: ssl.SSLContext | str | bool
    cert: Certificate | None
    trust_env: bool
    http1: bool
    http2: bool
    limits: Any
    proxy: Any
    uds: str | None
    local_address: str | None
    retries: int
    socket_options: Iterable[Any] | None


class PoolRecipe:
    """What makes a transport's pools; lives as long as the transport.

    Raises where the transport is made: TypeError for an unknown option, ImportError for a missing
    library, and what the library raises for a wrong value.
    """

    def __init__(self, library: str | None, options: TransportOptions) -> None:
        rest: dict[str, Any] = {**options}
        if unknown := rest.keys() - TransportOptions.__annotations__.keys():
            raise TypeError(f"unknown transport options: {', '.join(sorted(unknown))}")
        self.library = load(library)
        self._tls = TLSConfiguration(
            library=self.library,
            **{name: rest.pop(name) for name in ("verify", "cert", "trust_env") if name in rest},
            **{name: rest[name] for name in ("http1", "http2") if name in rest},
        )
        if rest.get("socket_options") is not None:
            rest["socket_options"] = list(rest["socket_options"])
        rest["proxy"] = self._proxy(rest.get("proxy"))
        self._options = rest
        #: Built at once, as httpx does, so that its errors show where they are made.
        self.context: ssl.SSLContext | None = self._tls.context()
        self.make("HTTPTransport")

    def make(self, kind: str) -> Any:
        """A pool: the library's transport called `kind`, with no connection yet."""
        context = self.context = self.context or self._tls.context()
        return getattr(self.library, kind)(verify=context, **self._options)

    async def prepare(self) -> None:
        """Have the context, without holding the loop up where it must be built again."""
        self.context = self.context or await self._tls.acontext()

    def forget_parent(self) -> None:
        """In a forked child: have a context of its own; see `tls`."""
        keep_forever(self.context)
        self.context = None

    def _proxy(self, proxy: Any) -> Any:
        if proxy is None:
            return None
        if not isinstance(proxy, self.library.Proxy):
            proxy = self.library.Proxy(proxy)
        if proxy.url.scheme != "https" or proxy.ssl_context is not None:
            return proxy
        return self.library.Proxy(
            proxy.url,
            ssl_context=proxy_context(self.library),
            auth=proxy.auth,
            headers=proxy.headers,
        )
