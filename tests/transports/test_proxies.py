"""Proxies: explicit ones, and those of the environment, which httpx reads only for its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import pytest

from llmkeep.transports import async_client, client
from llmkeep.transports.proxies import environment_proxies
from tests.support.proxy import Proxy
from tests.support.sockets import connections_to
from tests.support.standin import StandIn
from tests.transports.conftest import plain


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def no_proxies_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def ask(standin: StandIn, library: str, **options: Any) -> None:
    """One request per kind of client, the asynchronous one on two loops."""
    shared: Any = async_client(library=library, verify=standin.trust(), **options)
    asyncio.run(plain(standin, shared))
    asyncio.run(plain(standin, shared))
    asyncio.run(shared.aclose())
    with client(library=library, verify=standin.trust(), **options) as sync:
        assert sync.get(f"{standin.url}/plain").status_code == 200


def test_explicit_proxy(standin: StandIn, library: str, proxy: Proxy) -> None:
    """All requests go through `proxy`, each loop over a tunnel of its own."""
    ask(standin, library, proxy=proxy.url)

    assert proxy.asked == [f"CONNECT localhost:{standin.port}"] * 3
    assert len(standin.requests) == 3
    assert connections_to(proxy.port) == 0


def test_i12_proxy_with_a_password(standin: StandIn, library: str) -> None:
    """The password is used, and shown by nothing."""
    with Proxy(user="user", password="s3cret") as proxy:
        address = proxy.url.replace("//", "//user:s3cret@")
        ask(standin, library, proxy=address)
        assert len(proxy.asked) == 3

        shared: Any = async_client(library=library, proxy=address)
        transports = [shared._transport, *shared._mounts.values()]
        assert "s3cret" not in repr(transports)
        wrong: Any = client(library=library, proxy=proxy.url)
        with pytest.raises((httpx.ProxyError, httpx2.ProxyError), match="407"):
            wrong.get(f"{standin.url}/plain")
        wrong.close()


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_proxy_of_the_environment(
    standin: StandIn,
    library: str,
    proxy: Proxy,
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment's proxy is used, without a scheme too."""
    monkeypatch.setenv(variable, proxy.url.removeprefix("http://"))

    ask(standin, library)

    assert len(proxy.asked) == 3


def test_environment_is_ignored_on_request(
    standin: StandIn, library: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`trust_env=False`, `NO_PROXY`, and the environment's absence lead past the proxy."""
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    ask(standin, library, trust_env=False)
    monkeypatch.setenv("NO_PROXY", "example.com, localhost")
    ask(standin, library)

    assert proxy.asked == []
    assert len(standin.requests) == 6


def test_mounts_win_over_the_environment(
    standin: StandIn, library: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's own mounts are kept, None for "no proxy" included."""
    monkeypatch.setenv("ALL_PROXY", proxy.url)

    ask(standin, library, mounts={"all://localhost": None})

    assert proxy.asked == []


ENVIRONMENTS = [
    {},
    {"HTTP_PROXY": "http://one:1", "HTTPS_PROXY": "two:2", "ALL_PROXY": "socks5://three:3"},
    {"ALL_PROXY": "http://one:1", "NO_PROXY": "*"},
    {"ALL_PROXY": "http://one:1", "NO_PROXY": "example.com,.example.org, ,localhost,LOCALHOST"},
    {"ALL_PROXY": "http://one:1", "NO_PROXY": "127.0.0.1,::1,10.0.0.0/8,http://host:80"},
    {"NO_PROXY": "example.com"},
]
NEWER_RULES = [
    {"ALL_PROXY": "http://one:1", "NO_PROXY": "*.example.com,[::1],fe80::/10,host/path"},
    {"ALL_PROXY": "http://one:1", "NO_PROXY": "10.0.0.0/99,http://[broken,fine.example"},
]


@pytest.mark.parametrize("environment", ENVIRONMENTS + NEWER_RULES)
def test_environment_is_read_as_httpx2_reads_it(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our reading and httpx2's private one agree."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert environment_proxies(httpx2) == httpx2._utils.get_environment_proxies()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environment_is_read_as_httpx_reads_it(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As does httpx's, where it does not fail."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert environment_proxies(httpx) == httpx._utils.get_environment_proxies()


@pytest.mark.parametrize("environment", NEWER_RULES)
def test_environment_that_httpx_cannot_read(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where httpx fails or matches nothing a client is made all the same."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    client(library="httpx").close()


def test_i5_proxied_connections_end_with_their_loop(
    run: Callable[[Any], Any], standin: StandIn, library: str, proxy: Proxy
) -> None:
    """A tunnel is closed with its loop like any other connection."""
    shared: Any = async_client(library=library, verify=standin.trust(), proxy=proxy.url)

    run(plain(standin, shared))

    assert proxy.asked
    assert connections_to(proxy.port) == 0
    asyncio.run(shared.aclose())
