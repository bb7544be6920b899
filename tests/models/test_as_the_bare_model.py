"""Whatever asks a handle gets the answer of the model that it stands for."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware
from langchain_anthropic import ChatAnthropic
from langchain_anthropic.middleware import AnthropicPromptCachingMiddleware
from langchain_core._api import LangChainBetaWarning
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

import llmkeep
from llmkeep.models import chat_model
from llmkeep.models.providers import find
from tests.models.fakes import TOKENS

OPENAI = "openai:gpt-4o-mini"
ANTHROPIC = "anthropic:claude-haiku-4-5"


@contextlib.contextmanager
def bare(name: str, **parameters: Any) -> Iterator[BaseChatModel]:
    """The provider's own class, over HTTP clients that are closed afterwards."""
    adapter, model = find(name)
    kept = adapter.construct({"model": model, **parameters})
    assert type(kept.model) is adapter.model_class()
    yield kept.model
    closing = kept.close()
    assert closing is not None
    asyncio.run(closing)  # type: ignore[arg-type]


@contextlib.contextmanager
def kept(name: str, **parameters: Any) -> Iterator[BaseChatModel]:
    """A handle for the same."""
    yield chat_model(name, **parameters)


class Answer(BaseModel):
    """An answer."""

    text: str


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@pytest.mark.parametrize(("name", "kind"), [(OPENAI, ChatOpenAI), (ANTHROPIC, ChatAnthropic)])
def test_a_handle_is_an_instance_of_its_class(name, kind):
    """Type, name, tracing, serialisation and profile are those of the bare model."""
    handle, model = (
        chat_model(name, temperature=0.5),
        kind(model=name.split(":")[1], temperature=0.5),
    )
    assert isinstance(handle, kind)
    assert type(handle).__name__ == type(model).__name__
    assert handle._llm_type == model._llm_type
    assert handle._identifying_params == model._identifying_params
    assert handle._get_ls_params(stop=["x"]) == model._get_ls_params(stop=["x"])
    assert handle.get_name() == model.get_name()
    assert handle.lc_id() == model.lc_id()
    assert handle.profile == model.profile
    assert handle.metadata == model.metadata
    assert dumpd(handle)["id"] == dumpd(model)["id"]
    assert dumpd(handle)["kwargs"].keys() == dumpd(model)["kwargs"].keys()


def test_serialised_it_is_the_bare_model():
    """What LangChain's `dumpd` writes of a handle, `load` reads as the provider's own class."""
    handle = chat_model(OPENAI, temperature=0.5)
    written = dumpd(handle)
    assert written == dumpd(ChatOpenAI(model="gpt-4o-mini", temperature=0.5))
    with pytest.warns(LangChainBetaWarning):
        read = load(written, secrets_from_env=True, allowed_objects="all")
    assert type(read) is ChatOpenAI


@pytest.mark.parametrize("name", [OPENAI, ANTHROPIC])
def test_an_agent_does_the_same_with_it(name, standin):
    """`create_agent` sends the same requests and ends with the same messages."""
    seen = []
    for either in (bare, kept):
        standin.reset()
        standin.llm.call_tool("weather", {"city": "Bern"})
        standin.llm.reply("It is sunny.")
        with either(name, max_tokens=50) as model:
            agent = create_agent(model, [weather], system_prompt="Be brief.")
            state = agent.invoke(asked("weather in Bern?"))
        seen.append((said(state), [record.body for record in standin.llm.requests]))
    assert same(seen[0], seen[1])
    assert [kind for kind, _, _ in seen[0][0]] == ["human", "ai", "tool", "ai"]


@pytest.mark.parametrize("name", [OPENAI, ANTHROPIC])
def test_an_asynchronous_agent_does_the_same_with_it(name, standin):
    """The same, streamed token by token on an event loop, with structured output."""
    seen = []

    async def stream(model: BaseChatModel) -> list[str]:
        agent = create_agent(model, [weather], response_format=Answer)
        modes: Any = ["messages", "values"]
        chunks = agent.astream(asked("weather in Bern?"), stream_mode=modes)
        return [mode async for mode, _ in chunks]

    for either in (bare, kept):
        standin.reset()
        standin.llm.call_tool("weather", {"city": "Bern"})
        standin.llm.reply('{"text": "sunny"}')
        with either(name, max_tokens=50) as model:
            modes = asyncio.run(stream(model))
        seen.append((modes, [record.body for record in standin.llm.requests]))
    assert same(seen[0], seen[1])


def test_prompt_caching_middleware_takes_it_for_an_anthropic_model(standin):
    """The requests carry the cache marks, which is what saves the money."""
    agent = create_agent(
        chat_model(ANTHROPIC, max_tokens=50),
        [weather],
        system_prompt="Be brief.",
        middleware=[AnthropicPromptCachingMiddleware(unsupported_model_behavior="raise")],
    )
    standin.llm.reply("hello")
    agent.invoke(asked("hello"))
    body = standin.llm.requests[0].body
    assert body["system"][-1]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}
    assert body["tools"][-1]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}


def test_fallback_middleware_goes_on_to_the_next_handle(standin):
    """A provider that is down is replaced by the next one, as with bare models."""
    standin.llm.outage(provider="openai")
    standin.llm.reply("from the other one", provider="anthropic")
    agent = create_agent(
        chat_model(OPENAI, max_retries=0),
        middleware=[ModelFallbackMiddleware(chat_model(ANTHROPIC, max_tokens=50))],
    )
    state = agent.invoke(asked("hello"))
    assert state["messages"][-1].content == "from the other one"
    fallback = chat_model(OPENAI, max_retries=0).with_fallbacks([chat_model("fake:a")])
    assert fallback.invoke("hello").content == "fake-key"


def test_bound_and_chained_it_still_leases(standin):
    """Nothing that is made of a handle holds the instance beside the lease."""
    llm = chat_model(OPENAI)
    standin.llm.reply("hello", times=None)
    chain = ChatPromptTemplate.from_template("{x}") | llm.bind(temperature=0) | StrOutputParser()
    assert chain.invoke({"x": "hi"}) == "hello"
    assert standin.llm.requests[-1].body["temperature"] == 0
    before = llmkeep.stats()
    llm.bind_tools([weather]).invoke("hi")
    assert asyncio.run(llm.with_config(tags=["a"]).abatch(["hi", "ho"]))
    assert llmkeep.stats().acquired - before.acquired == 3
    assert llmkeep.stats().builds == 1


def test_structured_output_is_parsed(standin):
    """`with_structured_output` answers with the schema's class."""
    standin.llm.reply('{"text": "sunny"}')
    model: Any = chat_model(OPENAI).with_structured_output(Answer)
    assert model.invoke("weather?") == Answer(text="sunny")


class Recorder(BaseCallbackHandler):
    """Remembers the names of what happened."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.seen.append(f"start {serialized['id'][-1]} {kwargs['metadata']['ls_provider']}")

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.seen.append("token")

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.seen.append("end")


class CountingLimiter(BaseRateLimiter):
    """Lets everything through and counts."""

    def __init__(self) -> None:
        self.count = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.count += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire()


def test_what_belongs_to_the_caller_stays_on_the_handle():
    """Callbacks, limiter, tags and the rest work, and make no other instance."""
    recorder, limiter = Recorder(), CountingLimiter()
    llm = chat_model(
        "fake:a",
        callbacks=[recorder],
        rate_limiter=limiter,
        tags=["mine"],
        metadata={"tenant": 1},
        disable_streaming=True,
        profile={"tool_calling": True},
        name="my model",
    )
    other = chat_model("fake:a")
    assert llm.invoke("hello").content == "fake-key"
    assert limiter.count == 1
    assert recorder.seen == ["start ChatFake fake", "end"]
    assert [chunk.content for chunk in llm.stream("hello")] == ["fake-key"]
    assert [chunk.content for chunk in other.stream("hello") if chunk.content] == list(TOKENS)
    assert (llm.tags, other.tags, llm.get_name()) == (["mine"], None, "my model")
    assert llm.metadata is not None
    assert llm.metadata["tenant"] == 1
    assert "langchain-core" in llm.metadata["lc_versions"]
    assert llm.profile == {"tool_calling": True}
    assert llmkeep.stats().builds == 1


def test_a_wrong_value_for_the_handle_is_one_clear_line():
    """What the class would refuse, a handle refuses, without quoting it."""
    with pytest.raises(llmkeep.models.ModelConfigurationError, match="fake:a: tags: ") as caught:
        chat_model("fake:a", tags="no list")
    assert "no list" not in str(caught.value)


def test_equal_handles_share_cached_answers_and_different_ones_never_do(monkeypatch):
    """LangChain's global cache tells handles apart by everything that is sent, keys included."""
    set_llm_cache(InMemoryCache())
    try:
        first = chat_model("fake:a", api_key="one")
        assert first.invoke("hello").content == "one"
        assert chat_model("fake:a", api_key="two").invoke("hello").content == "two"
        assert chat_model("fake:a", api_key="one", options={"x": 1}).invoke("hello").content
        acquired = llmkeep.stats().acquired
        assert acquired == 3
        monkeypatch.setenv("FAKE_API_KEY", "one")
        assert chat_model("fake:a", tags=["x"]).invoke("hello").content == "one"
        assert first.model_copy().invoke("hello").content == "one"
        assert llmkeep.stats().acquired == acquired
    finally:
        set_llm_cache(None)


def test_a_cached_answer_is_found_by_the_next_process_too():
    """The text that a persistent cache is searched with does not change from process to process."""
    program = (
        "from tests.models.fakes import fake_adapter\n"
        "import llmkeep.models as m\n"
        "m.register(fake_adapter())\n"
        "print(m.chat_model('fake:a', options={'x': {1, 'a', (2.0, None)}})._get_llm_string())\n"
        "m.close()"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    }
    assert len(runs) == 1
    assert "---" in next(iter(runs))


def asked(text: str) -> Any:
    return {"messages": [("user", text)]}


def said(state: Any) -> list[tuple[str, Any, Any]]:
    return [
        (each.type, each.content, [(call["name"], call["args"]) for call in each.tool_calls])
        if isinstance(each, AIMessage)
        else (each.type, each.content, None)
        for each in state["messages"]
    ]


def same(one: Any, other: Any) -> bool:
    """Equal but for the ids that a server or LangChain draws for each call."""
    return bool(without_ids(one) == without_ids(other))


def without_ids(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            name: without_ids(value)
            for name, value in part.items()
            if name not in ("id", "tool_call_id", "tool_use_id")
        }
    if isinstance(part, (list, tuple)):
        return [without_ids(each) for each in part]
    return part
