"""One TLS context per TLS configuration in the process."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import threading
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from llmkeep.transports import AsyncLoopTransport, ForkSafeTransport, async_client, client
from tests.support.certificates import certificates
from tests.support.standin import StandIn


class Built(list[ssl.SSLContext]):
    """Every context that was built while a test ran."""


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    contexts = Built()
    new = ssl.SSLContext.__new__

    def counting(kind: type[ssl.SSLContext], *arguments: Any, **named: Any) -> ssl.SSLContext:
        context = new(kind, *arguments, **named)
        if context.protocol is not ssl.PROTOCOL_TLS_SERVER:  # the stand-in's
            contexts.append(context)
        return context

    monkeypatch.setattr(ssl.SSLContext, "__new__", counting)
    return contexts


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate file that no other test has used, named by the environment."""
    copy = tmp_path / "authority.pem"
    shutil.copy(certificates().authority, copy)
    monkeypatch.setenv("SSL_CERT_FILE", str(copy))
    return copy


def test_context_is_shared(authority: Path, library: str, built: Built) -> None:
    """Clients of one configuration, synchronous or not, share one context."""
    for _ in range(5):
        async_client(library=library)
        client(library=library)

    assert len(built) == 1


def test_context_is_built_once_however_many_ask(
    authority: Path, library: str, built: Built
) -> None:
    """Threads that make clients at the same time wait for one build."""
    start = threading.Barrier(16)

    def make() -> None:
        start.wait()
        client(library=library)

    threads = [threading.Thread(target=make) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(built) == 1


def test_shared_context_serves_loops_and_threads(
    authority: Path, standin: StandIn, library: str, built: Built
) -> None:
    """However many loops use however many clients: one context."""

    async def ask() -> None:
        async with async_client(library=library) as made:
            await made.get(f"{standin.url}/plain")

    threads = [threading.Thread(target=asyncio.run, args=(ask(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(standin.requests) == 4
    assert len(built) == 1


def test_i11_another_configuration_is_another_context(
    authority: Path, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What differs in a value, the environment, or the protocols to negotiate is not shared."""
    variants: list[dict[str, Any]] = [
        {},
        {"library": "httpx"},
        {"verify": False},
        {"http2": True},
        {"http2": True, "http1": False},
        {"trust_env": False},
    ]
    first, second = (
        [ForkSafeTransport(**options)._recipe.context for options in variants] for _ in range(2)
    )
    assert first == second
    assert len(set(first)) == len(variants)
    before = len(built)
    monkeypatch.setenv("SSLKEYLOGFILE", str(authority.with_suffix(".keys")))
    client()
    assert len(built) == before + 1


def test_renewed_certificates_are_read(authority: Path, built: Built) -> None:
    """A certificate file that was replaced is another configuration."""
    client()
    renewed = authority.with_suffix(".new")
    shutil.copy(authority, renewed)
    renewed.replace(authority)

    client()

    assert len(built) == 2


def test_client_certificate(authority: Path, built: Built, library: str) -> None:
    """`cert` is part of the configuration, in each of its forms."""
    server = str(certificates().server)
    for cert in (server, (server, server), (server, server, "password")):
        with pytest.warns(DeprecationWarning, match="cert"):
            client(library=library, cert=cert)
        client(library=library, cert=cert)

    assert len(built) == 3


def test_users_own_context_is_used_as_it_is(standin: StandIn, library: str, built: Built) -> None:
    """A context given as `verify` is not copied, and nothing is built beside it."""
    context = standin.trust()
    before = len(built)
    with client(library=library, verify=context) as made:
        made.get(f"{standin.url}/plain")

    assert len(built) == before


def test_https_proxies_share_a_context(authority: Path, library: str, built: Built) -> None:
    """Left alone, httpcore would build a context for each connection to an HTTPS proxy."""
    for _ in range(3):
        client(library=library, proxy="https://localhost:1")

    assert len(built) == 2  # one for the proxy, one for what is behind it


def test_wrong_certificates_are_an_error_at_once(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be loaded fails where the client is made, each time, and is not kept."""
    missing = tmp_path / "missing.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(missing))
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            async_client(library=library)

    shutil.copy(certificates().authority, missing)
    async_client(library=library)


def test_untrusted_server_is_refused(standin: StandIn, library: str) -> None:
    """A shared context verifies."""

    async def ask() -> None:
        async with async_client(library=library) as made:
            await made.get(f"{standin.url}/plain")

    with pytest.raises(
        (httpx.ConnectError, httpx2.ConnectError), match="CERTIFICATE_VERIFY_FAILED"
    ):
        asyncio.run(ask())


def test_protocols_of_two_clients_are_not_mixed_up(
    http2_standin: StandIn, authority: Path, library: str
) -> None:
    """A client without HTTP/2 beside one with it, each over many handshakes, gets what it wants."""
    url = f"{http2_standin.url}/plain"

    async def ask(http2: bool) -> set[str]:
        transport = {"http2": http2, "limits": httpx2.Limits(max_keepalive_connections=0)}
        async with async_client(library=library, **transport) as made:
            return {(await made.get(url)).http_version for _ in range(10)}

    async def both() -> tuple[set[str], set[str]]:
        with_it, without = await asyncio.gather(ask(http2=True), ask(http2=False))
        return with_it, without

    assert asyncio.run(both()) == ({"HTTP/2"}, {"HTTP/1.1"})


def test_transport_alone_shares_too(authority: Path, built: Built) -> None:
    """The public transport has the same context as the client."""
    AsyncLoopTransport()
    async_client()

    assert len(built) == 1
