"""The instances that all agents share: one build each, a view of them, and letting them go."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from ag_ui.core import TextMessageContentEvent
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from pydantic import SecretStr

import llmkeep
from llmkeep.agents import ConversationHandler, StatefulAgent
from llmkeep.models import Adapter, register
from llmkeep.models.adapters import Kept
from llmkeep.settings import SettingsError, settings
from tests.agents.loops import on_loops_at_once

SECRET = "Zx81Qw77Lp30"

get_or_create = StatefulAgent._get_or_create_llm_async


def a_model() -> BaseChatModel:
    return FakeListChatModel(responses=["hi"])


# --- one build -------------------------------------------------------------------------------


def test_i1_one_build_for_callers_on_loops_and_threads_at_once():
    """One build, whoever asks."""
    calls: list[int] = []
    given: list[BaseChatModel] = []
    waiting = threading.Barrier(4)

    def factory() -> BaseChatModel:
        calls.append(1)
        assert all_wait.wait(10)
        return a_model()

    all_wait = threading.Event()

    async def many(_loop: int) -> None:
        asking = [asyncio.create_task(get_or_create("shared", factory)) for _ in range(25)]
        await asyncio.sleep(0)  # they ask now
        if waiting.wait(10) == 0:
            all_wait.set()
        given.extend(await asyncio.gather(*asking))

    on_loops_at_once(many)
    assert len(calls) == 1
    assert len(given) == 100
    assert len({id(model) for model in given}) == 1


async def test_i2_a_blocking_factory_does_not_block_the_loop():
    """A blocking factory runs on a thread of ours."""
    started, proceed = threading.Event(), threading.Event()

    def factory() -> BaseChatModel:
        started.set()
        assert proceed.wait(10)  # set by the loop itself, which must go on for it
        return a_model()

    waiting = asyncio.create_task(get_or_create("slow", factory))
    while not started.is_set():
        await asyncio.sleep(0)
    proceed.set()
    assert isinstance(await waiting, FakeListChatModel)


async def test_a_factory_may_be_a_coroutine_function():
    async def factory() -> BaseChatModel:
        await asyncio.sleep(0)
        return a_model()

    first, second = await asyncio.gather(*(get_or_create("async", factory) for _ in range(2)))
    assert first is second


async def test_i6_a_failed_build_is_told_to_all_and_not_kept():
    """All who waited get the error, the next caller builds anew."""
    calls = []

    def failing() -> BaseChatModel:
        calls.append(1)
        raise ZeroDivisionError

    outcomes = await asyncio.gather(
        *(get_or_create("failing", failing) for _ in range(5)), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {ZeroDivisionError}
    assert "failing" not in StatefulAgent._llm_cache
    assert isinstance(await get_or_create("failing", a_model), FakeListChatModel)


async def test_what_is_handed_out_bare_is_never_closed():
    class Closing(FakeListChatModel):
        closed: bool = False

        def close(self) -> None:
            self.closed = True

    model = await get_or_create("bare", lambda: Closing(responses=[]))
    StatefulAgent.clear_llm_cache()
    llmkeep.close()
    assert isinstance(model, Closing)
    assert not model.closed


async def test_a_key_must_be_printable():
    for key in (object(), ("a", object()), ["a"], 1, None):
        with pytest.raises(TypeError, match="cache_key must be text"):
            await get_or_create(key, a_model)  # type: ignore[arg-type]


async def test_an_instance_that_was_put_there_is_what_handlers_use():
    """As in the original design: the key of a handler's configuration is anybody's to use."""
    model = await get_or_create(("openai", "gpt-5-mini", None), a_model)
    assert ConversationHandler("u", None).llm is model
    assert await ConversationHandler("u", None).respond("hello") == "hi"


# --- the view --------------------------------------------------------------------------------


async def test_the_view_can_be_read_and_not_written():
    cache: Any = StatefulAgent._llm_cache
    model = await get_or_create("one", a_model)
    await get_or_create(("x", 1, None, True, 0.5), a_model)
    assert list(cache) == ["one", ("x", 1, None, True, 0.5)]
    assert cache["one"] is model
    assert dict(cache.items())["one"] is model
    assert cache.get("two") is None
    assert "two" not in cache
    assert ["unhashable"] not in cache
    assert "one" in repr(cache)
    with pytest.raises(TypeError):
        cache["two"] = model
    with pytest.raises(TypeError):
        del cache["one"]


async def test_looking_at_the_view_builds_nothing():
    before = StatefulAgent.get_cache_stats()["builds"]
    with pytest.raises(KeyError):
        StatefulAgent._llm_cache[("openai", "gpt-5-mini", None)]
    assert StatefulAgent.get_cache_stats()["builds"] == before
    assert llmkeep.stats().live == 0


def test_the_statistics_can_be_printed():
    ConversationHandler("u", None)
    figures = StatefulAgent.get_cache_stats()
    assert figures["size"] == 1
    assert json.loads(json.dumps(figures["keys"])) == [["openai", "gpt-5-mini", None]]
    assert figures["acquired"] == figures["hits"] + figures["built"] + figures["joined"]


async def test_i3_clearing_empties_the_view_and_breaks_no_stream(llmock):
    """The view is empty at once, and a stream goes on to its end."""
    llmock.reply("one two three four five six").stall(after_chunks=4, seconds=1.0)
    handler = ConversationHandler("u", None)
    text: list[str] = []
    async for event in handler.stream_response("hi", "s"):
        if isinstance(event, TextMessageContentEvent):
            if not text:
                ConversationHandler.clear_llm_cache()
                assert len(ConversationHandler._llm_cache) == 0
                assert llmkeep.stats().retired == 1
            text.append(event.delta)
    assert "".join(text) == "one two three four five six"
    assert llmkeep.stats().live == 0


# --- what is shared --------------------------------------------------------------------------


class Other(StatefulAgent):
    """An agent of its own that comes to the same model."""

    def _get_default_model(self) -> str:
        return "openai:gpt-5-mini"


class Warm(Other):
    def _get_temperature(self) -> float | None:
        return 0


async def test_agents_with_equal_settings_share_one_instance():
    handler, other = ConversationHandler("u", None), await Other.create("v", None)
    assert handler.llm is other.llm
    assert len(StatefulAgent._llm_cache) == 1
    settings.agents.conversation_handler_temperature = 0.0
    assert ConversationHandler("u", None).llm is Warm("v", None).llm
    assert len(StatefulAgent._llm_cache) == 2


async def test_graphs_are_shared_by_equal_tools_and_not_by_others():
    graphs = [
        (await agent._prepare("s")).graph
        for agent in (ConversationHandler("u", None), ConversationHandler("v", None), Other("u", 1))
    ]
    assert graphs[0] is graphs[1]
    assert graphs[0] is not graphs[2]


class Tenant(ConversationHandler):
    def _get_parameters(self, provider: str) -> dict[str, Any]:
        return {"api_key": self.user}


@pytest.mark.parametrize("kind", [str, SecretStr])
def test_i11_i12_agents_that_differ_in_a_credential_share_nothing_and_show_nothing(kind: Any):
    """Two credentials are two agents, and no key shows either."""
    one, same, two = (Tenant("u", None, user=kind(key)) for key in (SECRET, SECRET, SECRET + "2"))
    assert one.llm is same.llm
    assert one.llm is not two.llm
    assert len(StatefulAgent._llm_cache) == 2
    shown = f"{StatefulAgent.get_cache_stats()} {StatefulAgent._llm_cache} {one.llm} {one._choice}"
    assert SECRET not in shown


class Inner(FakeListChatModel):
    model: str = ""


STARTED, PROCEED = threading.Event(), threading.Event()


class SlowAdapter(Adapter):
    def construct(self, arguments: dict[str, Any]) -> Kept:
        STARTED.set()
        assert PROCEED.wait(10)
        return Kept(Inner(responses=["hi"], **arguments))


async def test_i2_create_does_not_block_the_loop():
    """Other tasks run while `create` waits for a build."""
    register(
        SlowAdapter("slow", f"{__name__}:Inner", "nothing", llmkeep.Scope.PROCESS, "a test's own")
    )
    settings.agents.conversation_handler_default_model = "slow:model"
    creating = asyncio.create_task(ConversationHandler.create("u", None))
    while not STARTED.is_set():
        await asyncio.sleep(0)
    PROCEED.set()  # the loop went on
    handler = await creating
    assert list(ConversationHandler._llm_cache) == [("slow", "model", None)]
    assert isinstance(handler.llm, Inner)


async def test_the_model_of_a_provider_that_has_none_of_its_own_must_be_named():
    settings.llm.default_provider = "groq"
    with pytest.raises(SettingsError, match=r"^AGENTS__CONVERSATION_HANDLER_DEFAULT_MODEL: name"):
        ConversationHandler("u", None)
    with pytest.raises(SettingsError, match=r"^AGENTS__CONVERSATION_HANDLER_DEFAULT_MODEL: name"):
        await ConversationHandler.create("u", None)


async def test_a_missing_key_is_one_line_when_a_handler_is_made(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(llmkeep.LLMKeepError, match="OPENAI_API_KEY") as refused:
        ConversationHandler("u", None)
    assert "\n" not in str(refused.value)
    with pytest.raises(llmkeep.LLMKeepError, match="OPENAI_API_KEY"):
        await ConversationHandler.create("u", None)


async def test_a_key_that_cannot_be_read_back_is_refused():
    """One such key would break the view of all."""
    with pytest.raises(TypeError, match="finite"):
        await StatefulAgent._get_or_create_llm_async(("p", "m", float("inf")), lambda: None)  # type: ignore[arg-type]
    assert ConversationHandler.get_cache_stats()["size"] == 0
