"""What the two adapters with HTTP clients put into a model, and what they leave alone."""

from __future__ import annotations

import asyncio
import importlib.metadata
import socket
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_openai import AzureChatOpenAI, ChatOpenAI

import llmkeep
from llmkeep.models import ModelConfigurationError, chat_model
from llmkeep.models.adapters import Kept
from llmkeep.models.anthropic_adapter import AnthropicAdapter
from llmkeep.models.http_clients import clients_for, keepalive_options, library_of
from llmkeep.models.providers import PROVIDERS
from llmkeep.transports import async_client, client
from tests.models.fakes import FakeClient, KeyedStandIn, fake_adapter


def kept_of(llm: Any) -> Kept:
    """What a handle's next lease would get."""
    resolved = llm.llmkeep_configuration.resolve()
    with llmkeep.default_cache().of(resolved).lease(resolved.spec) as kept:
        return kept


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"stream_usage": False},
        {"base_url": "https://compatible.example/v1"},
        {"openai_proxy": "http://proxy.example:1"},
        {"use_responses_api": True},
        {"streaming": True, "n": 1},
    ],
)
@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OPENAI_BASE_URL": "https://other.example/v1"},
        {"OPENAI_API_BASE": "https://other.example/v1"},
        {"OPENAI_PROXY": "http://proxy.example:2"},
        {"LANGSMITH_GATEWAY": "true", "LANGSMITH_GATEWAY_API_KEY": "lsv2_key"},
        {"LANGSMITH_GATEWAY": "https://gateway.example", "OPENAI_API_BASE": "https://x.example"},
    ],
)
def test_with_our_clients_openai_behaves_as_with_its_own(parameters, variables, monkeypatch):
    """Every field, and which fields count as set, are what the class alone would have made."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    bare = ChatOpenAI(model="gpt-4o-mini", **parameters)
    llm = chat_model("openai:gpt-4o-mini", **parameters)
    model = kept_of(llm).model
    ignored = {name for name in ChatOpenAI.model_fields if "client" in name}
    for name in ChatOpenAI.model_fields.keys() - ignored:
        assert getattr(model, name) == getattr(bare, name), name
    assert model.model_fields_set - ignored == bare.model_fields_set - ignored
    assert llm.model_fields_set - ignored == bare.model_fields_set - ignored


def test_so_does_azure(monkeypatch):
    """It asks for usage in streams where its endpoint is its own."""
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://azure.example")
    monkeypatch.setenv("OPENAI_API_VERSION", "2026-01-01")
    bare = AzureChatOpenAI(model="gpt-4o-mini")
    llm: Any = chat_model("azure_openai:gpt-4o-mini")
    assert isinstance(llm, AzureChatOpenAI)
    assert (llm.stream_usage, llm.azure_endpoint) == (bare.stream_usage, bare.azure_endpoint)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://other.example")
    chat_model("azure_openai:gpt-4o-mini")
    assert llmkeep.stats().builds == 2


def test_the_gateway_is_reached_as_init_chat_model_does(monkeypatch):
    """LangSmith's gateway is ChatOpenAI with another address and key."""
    monkeypatch.setenv("LANGSMITH_GATEWAY_API_KEY", "lsv2_key")
    llm: Any = chat_model("langsmith:gpt-4o-mini")
    assert isinstance(llm, ChatOpenAI)
    assert "smith.langchain.com" in str(llm.openai_api_base)


def test_the_clients_of_openai_are_ours():
    """Both SDK clients, with the SDK's own defaults for redirects and limits."""
    kept = kept_of(chat_model("openai:gpt-4o-mini"))
    model: Any = kept.model
    assert (model.http_client, model.http_async_client) == kept.owned
    assert all(each.follow_redirects for each in kept.owned)
    assert isinstance(model.root_client, openai.OpenAI)
    assert not openai.DefaultHttpxClient().is_closed


def test_the_clients_of_anthropic_are_ours():
    """They are there before the first use: the class would make them without a lock."""
    kept = kept_of(chat_model("anthropic:claude-haiku-4-5", timeout=3, max_retries=1))
    sync_client, async_client_ = vars(kept.model)["_client"], vars(kept.model)["_async_client"]
    assert isinstance(sync_client, anthropic.Anthropic)
    assert isinstance(async_client_, anthropic.AsyncAnthropic)
    assert (sync_client.timeout, sync_client.max_retries) == (3, 1)
    assert str(sync_client.default_headers["User-Agent"]).startswith("langchain-anthropic/")


def test_a_release_of_langchain_anthropic_that_is_not_known_is_refused(tmp_path, monkeypatch):
    """With the name that is gone, and not by clients that are not loop-safe."""
    (tmp_path / "renamed_anthropic.py").write_text(
        "from langchain_anthropic import ChatAnthropic\n"
        "class Chat(ChatAnthropic):\n"
        "    @property\n"
        "    def _async_client(self):\n"
        "        return None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    anthropic_ = PROVIDERS["anthropic"]
    llmkeep.models.register(
        AnthropicAdapter(
            "renamed",
            "renamed_anthropic:Chat",
            "x",
            anthropic_.scope,
            "a test",
            anthropic_.environment,
            key=anthropic_.key,
            sealed=anthropic_.sealed,
        )
    )
    with pytest.raises(ModelConfigurationError, match="_async_client is gone"):
        chat_model("renamed:x", max_tokens=1)


def test_the_library_is_the_sdk_s():
    """httpx2 since openai 3 and anthropic 2."""
    major = int(importlib.metadata.version("openai").partition(".")[0])
    assert library_of("openai").__name__ == ("httpx2" if major >= 3 else "httpx")
    assert library_of("anthropic").__name__ == "httpx2"


def test_a_client_of_the_caller_is_used_and_not_closed(standin: KeyedStandIn):
    """It stays the caller's; the one that was not given is ours."""
    with client(verify=standin.trust(), headers={"X-Mine": "yes"}) as mine:
        llm: Any = chat_model("openai:gpt-4o-mini", http_client=mine)
        llm.invoke("hello")
        kept = kept_of(llm)
        assert kept.model.http_client is mine  # type: ignore[attr-defined]
        assert len(kept.owned) == 1
        llmkeep.close()
        assert kept.owned[0].is_closed
        assert not mine.is_closed
        assert mine.get(f"{standin.url}/plain").json() == {"plain": True}


async def test_a_proxy_is_gone_through(standin: KeyedStandIn):
    """By both clients, for both providers: what arrives at the proxy is a CONNECT."""
    seen: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readline())
        writer.write(b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        for name, parameter in (("openai:x", "openai_proxy"), ("anthropic:x", "anthropic_proxy")):
            settings: Any = {parameter: proxy, "max_retries": 0, "max_tokens": 1}
            llm = chat_model(name, **settings)
            with pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)):
                await llm.ainvoke("hello")
            with pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)):
                await asyncio.to_thread(llm.invoke, "hello")
    assert [line.split()[0] for line in seen] == [b"CONNECT"] * 4
    assert standin.requests == []


def test_sockets_notice_a_silent_peer_as_langchain_openai_s_do(monkeypatch):
    """The same options by default, the same variables to change them."""
    names = dict(keepalive_options_by_name())
    assert (names["SO_KEEPALIVE"], names["TCP_KEEPIDLE"], names["TCP_KEEPCNT"]) == (1, 60, 3)
    monkeypatch.setenv("LANGCHAIN_OPENAI_TCP_KEEPIDLE", "7")
    monkeypatch.setenv("LANGCHAIN_OPENAI_TCP_KEEPCNT", "many")
    names = dict(keepalive_options_by_name())
    assert (names["TCP_KEEPIDLE"], names["TCP_KEEPCNT"]) == (7, 3)
    monkeypatch.setenv("LANGCHAIN_OPENAI_TCP_KEEPALIVE", "0")
    assert keepalive_options() == ()


def keepalive_options_by_name() -> list[tuple[str, int]]:
    names = {(socket.SOL_SOCKET, socket.SO_KEEPALIVE): "SO_KEEPALIVE"}
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT"):
        names[(socket.IPPROTO_TCP, getattr(socket, name))] = name
    return [(names[level, option], value) for level, option, value in keepalive_options()]


class Closable:
    """Records that it was closed, and may fail."""

    def __init__(self, log: list[str], name: str, *, fails: bool = False) -> None:
        self.log, self.name, self.fails = log, name, fails

    def close(self) -> None:
        self.log.append(self.name)
        if self.fails:
            raise OSError(self.name)


class AsyncClosable(Closable):
    async def aclose(self) -> None:
        self.close()


def test_closing_goes_on_after_a_failure():
    """Every client is closed; the first failure is told."""
    log: list[str] = []
    model: Any = None
    plain = Kept(model, (Closable(log, "a", fails=True), Closable(log, "b")))
    with pytest.raises(OSError, match="a"):
        plain.close()
    assert log == ["a", "b"]
    log.clear()
    mixed = Kept(
        model,
        (
            Closable(log, "c", fails=True),
            AsyncClosable(log, "d", fails=True),
            AsyncClosable(log, "e"),
        ),
    )
    closing: Any = mixed.close()
    with pytest.raises(OSError, match="c"):
        asyncio.run(closing)
    assert log == ["c", "d", "e"]


@pytest.mark.parametrize("given", [True, False])
def test_a_class_s_own_clients_are_closed_wherever_it_keeps_them(given):
    """In a field or in a private attribute; but not one that came from the caller."""
    settings: Any = {"path": "tests.models.fakes:ChatSyncFake", "key": None, "environment": {}}
    adapter = fake_adapter(**settings)
    theirs = FakeClient("theirs")
    kept = adapter.construct({"model": "a", **({"client": theirs} if given else {})})
    kept.close()
    closes = {client.key: client.closes for client in FakeClient.made}
    assert closes.pop("theirs") == 0
    assert set(closes.values()) == {1}
    assert closes.keys() == ({"hidden"} if given else {"hidden", "sync"})


def test_counting_tokens_leases_too(standin: KeyedStandIn):
    """Anthropic counts by asking its server, and the stand-in knows no such request."""
    llm = chat_model("anthropic:claude-haiku-4-5")
    before = llmkeep.stats().acquired
    with pytest.raises(anthropic.NotFoundError):
        llm.get_num_tokens_from_messages([HumanMessage("hello")])
    assert llmkeep.stats().acquired == before + 1
    assert isinstance(llm, ChatAnthropic)
    assert [request.path for request in standin.requests][-1].endswith("count_tokens")


def test_clients_for_an_sdk_are_real_clients_of_its_library():
    """So that the SDK accepts them."""
    sync_client, other = clients_for("anthropic")
    assert isinstance(sync_client, httpx2.Client)
    assert isinstance(other, httpx2.AsyncClient)
    sync_client.close()
    asyncio.run(other.aclose())
    asyncio.run(async_client().aclose())
