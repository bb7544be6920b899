"""A provider behind TLS, and pytest sessions that have the plugin and pytest-asyncio alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

# Before a session runs inside this one: what it imports first is forgotten after it.
import httpcore  # noqa: F401
import httpcore2  # noqa: F401
import httpx  # noqa: F401
import httpx2  # noqa: F401
import pytest

import llmkeep.models
import llmkeep.testing.watching
from tests.support.standin import StandIn

#: Runs pytest on the source of a test: in this process, or with `apart=True` in one of its own, for
#: tests that leave sockets behind.
Session = Callable[..., pytest.RunResult]


@pytest.fixture(scope="session")
def running_standin() -> Iterator[StandIn]:
    with StandIn() as standin:
        yield standin


@pytest.fixture
def standin(running_standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A provider that the SDKs reach by their environment; it always answers."""
    running_standin.reset()
    running_standin.llm.reply("hello", times=None)
    monkeypatch.setenv("SSL_CERT_FILE", str(running_standin.authority))
    monkeypatch.setenv("PLAIN", f"{running_standin.url}/plain")
    monkeypatch.setenv("DRIP", f"{running_standin.url}/drip")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-anthropic")
    monkeypatch.setenv("OPENAI_API_BASE", running_standin.base_url("openai"))
    monkeypatch.setenv("OPENAI_BASE_URL", running_standin.base_url("openai"))
    monkeypatch.setenv("ANTHROPIC_API_URL", running_standin.base_url("anthropic"))
    monkeypatch.setenv("ANTHROPIC_BASE_URL", running_standin.base_url("anthropic"))
    return running_standin


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugins = ("-p", "llmkeep.testing.plugin", "-p", "pytest_asyncio.plugin")
    mode = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")

    def run(source: str, *options: str, apart: bool = False) -> pytest.RunResult:
        pytester.makepyfile(test_it=source)
        start = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        return start(*plugins, *mode, *options)

    yield run
    llmkeep.models.close(timeout=5)
