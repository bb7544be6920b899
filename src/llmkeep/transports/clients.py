"""Real httpx2 or httpx clients over our transports, with every option that those have.

Not here: what the options mean; the library documents its clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from .fork_transport import ForkSafeTransport
from .libraries import load
from .loop_transport import AsyncLoopTransport
from .proxies import environment_proxies
from .recipe import TransportOptions

if TYPE_CHECKING:
    import httpx
    import httpx2


@overload
def async_client(
    *, library: Literal["httpx2"] | None = None, **options: Any
) -> httpx2.AsyncClient: ...
@overload
def async_client(*, library: Literal["httpx"], **options: Any) -> httpx.AsyncClient: ...
@overload
def async_client(*, library: str | None, **options: Any) -> Any: ...
def async_client(*, library: str | None = None, **options: Any) -> Any:
    """An `AsyncClient` that every event loop, thread and forked child of the process may use.

    `library` is "httpx2" or "httpx", by default httpx2 if it is installed. `options` are those of
    the library's `AsyncClient`, and `retries`, `uds`, `local_address` and `socket_options` of its
    `AsyncHTTPTransport`. SDKs have defaults of their own for the clients they make themselves
    (openai and anthropic: `follow_redirects=True`, wider `limits`): give them here.

    `aclose()` closes it for every loop. Raises TypeError for `transport`, and for a mounted
    transport that belongs to one loop; ImportError where the library is missing.
    """
    module = load(library)
    return module.AsyncClient(**_options(module, AsyncLoopTransport, options))


@overload
def client(*, library: Literal["httpx2"] | None = None, **options: Any) -> httpx2.Client: ...
@overload
def client(*, library: Literal["httpx"], **options: Any) -> httpx.Client: ...
@overload
def client(*, library: str | None, **options: Any) -> Any: ...
def client(*, library: str | None = None, **options: Any) -> Any:
    """A `Client` that every thread and forked child of the process may use.

    As `async_client()`, for synchronous callers.
    """
    module = load(library)
    return module.Client(**_options(module, ForkSafeTransport, options))


def _options(
    module: Any,
    transport: type[AsyncLoopTransport | ForkSafeTransport],
    options: dict[str, Any],
) -> dict[str, Any]:
    """The library's options for a client over `transport`.

    Where the library makes its transports itself it looks at `proxy` and at the environment; with
    a transport given it does not, so that is done here.
    """
    if options.pop("transport", None) is not None:
        raise TypeError(
            "this client makes its transport: give it retries=, uds=, ... directly, "
            f"or give {transport.__name__}(...) to the library's own client"
        )
    mounts: Mapping[str, Any] = options.pop("mounts", None) or {}
    for pattern, mounted in mounts.items():
        if isinstance(mounted, module.AsyncHTTPTransport | module.HTTPTransport):
            raise TypeError(
                f"the transport mounted at {pattern!r} cannot be shared by loops and forked "
                f"children: mount {transport.__name__}(...)"
            )
    ours = {name: options.pop(name) for name in TransportOptions.__annotations__ if name in options}
    proxy = ours.pop("proxy", None)
    proxies: Mapping[str, Any] = {}
    if proxy is not None:
        proxies = {"all://": proxy}
    elif ours.get("trust_env", True) and ours.get("uds") is None:
        proxies = environment_proxies(module)

    def make(**more: Any) -> AsyncLoopTransport | ForkSafeTransport:
        return transport(library=module.__name__, **ours, **more)

    ways = {way: None if proxy is None else make(proxy=proxy) for way, proxy in proxies.items()}
    # These three matter to the client as well: it says what is missing for HTTP/2.
    for name in ours.keys() & {"http1", "http2", "trust_env"}:
        options[name] = ours[name]
    return {**options, "transport": make(), "mounts": {**ways, **mounts}}
