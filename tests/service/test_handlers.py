"""The agents of the service: which models there are, and what a run's handler is made of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from llmkeep.agents import ConversationHandler, SqliteMemory, Turn, thread_of
from llmkeep.agents.answers import UNREADABLE
from llmkeep.models import ModelConfigurationError
from llmkeep.service.agent import ConfiguredModel, ServiceHandlers, messages_of
from llmkeep.service.errors import Invalid, Unavailable
from llmkeep.service.records import Call, Message
from llmkeep.settings import SettingsError, settings
from tests.cli.servers import listing, serving
from tests.support.scripted import Scripted
from tests.support.scripted_signal import Signal
from tests.support.scripted_wire import Gate, Text

KEYS = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY")


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[SqliteMemory]:
    memory = SqliteMemory(tmp_path / "memory.sqlite3")
    yield memory
    await memory.aclose()


@pytest.fixture
def no_keys(own_settings: Any, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing of models."""
    for name in (*KEYS, "LLMKEEP_LOCAL_MODEL"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def sessions() -> None:
    """Stands for what makes database sessions; nothing here uses one."""


def handlers_on(memory: SqliteMemory, **more: Any) -> ServiceHandlers:
    return ServiceHandlers(memory, sessions, **more)


# --- which models there are ----------------------------------------------------------------------


async def test_without_anything_there_is_the_model_in_the_box(no_keys, memory):
    """It is marked as a demonstration."""
    [box] = await handlers_on(memory).models()
    assert box == ConfiguredModel("local:smollm2", "local", "smollm2", True, True)


async def test_a_key_decides_and_a_setting_before_it(no_keys, memory):
    """The default is what the terminal would talk with, too."""
    no_keys.setenv("ANTHROPIC_API_KEY", "x")
    assert (await handlers_on(memory).name(None)).startswith("anthropic:")
    settings.agents.conversation_handler_default_model = "openai:gpt-x"
    assert await handlers_on(memory).name(None) == "openai:gpt-x"


async def test_models_that_are_listed_are_all_that_there_are(no_keys, memory):
    """The first is the default, and no other can be chosen; the refusal does not repeat it."""
    no_keys.setenv("OPENAI_API_KEY", "x")
    names = ["anthropic:claude-x", "gpt-x", "openai:gpt-x"]
    handlers = handlers_on(memory, models=names)
    assert [(each.id, each.is_default) for each in await handlers.models()] == [
        ("anthropic:claude-x", True),
        ("openai:gpt-x", False),
    ]
    assert await handlers.name("openai:gpt-x") == "openai:gpt-x"
    with pytest.raises(Invalid) as refused:
        await handlers.handler("u", "openai:gpt-secret")
    assert refused.value.code == "invalid_model"
    assert "gpt-secret" not in str(refused.value)


def test_a_model_of_no_provider_is_refused_at_start(no_keys, memory):
    """In a line that names the setting."""
    with pytest.raises(SettingsError, match=r"SERVICE__MODELS: .*nosuch"):
        handlers_on(memory, models=["nosuch:thing"])


async def test_a_server_of_ones_own_is_asked_off_the_loop_when_it_is_up(no_keys, memory):
    """Until then there is no model, and whoever asks is told what to do; it is asked once more."""
    with serving(lambda _path: (503, b"")) as port:
        settings.llm.base_url = f"http://user:secret@127.0.0.1:{port}/v1"
        handlers = handlers_on(memory)
        with pytest.raises(Unavailable) as refused:
            await handlers.models()
        assert refused.value.code == "no_model"
        assert "secret" not in str(refused.value)
    asked, may_answer = Signal(), Signal()

    def answer(path: str) -> tuple[int, bytes]:
        asked.set()
        may_answer.wait()
        return listing("embed", "llama3.2:3b")(path)

    seen: list[dict[str, str]] = []
    with serving(answer, seen) as port:
        settings.llm.base_url = f"http://127.0.0.1:{port}/v1"
        looking = [asyncio.create_task(handlers.name(None)) for _ in range(3)]
        await asked.come()  # the loop goes on meanwhile
        may_answer.set()
        assert {*await asyncio.gather(*looking)} == {"openai:llama3.2:3b"}
    assert len(seen) == 1
    handler = await handlers.handler("u", None)
    assert handler.llm.openai_api_base == settings.llm.base_url  # type: ignore[attr-defined]


async def test_a_model_without_its_key_is_said_when_it_is_needed(no_keys, memory):
    """The check fails with a line; nothing fails before."""
    handlers = handlers_on(memory, models=["anthropic:claude-x"])
    with pytest.raises(ModelConfigurationError, match="ANTHROPIC_API_KEY"):
        await handlers.check()


async def test_whether_a_model_will_have_to_be_made(no_keys, memory):
    """Not again while it is kept."""
    no_keys.setenv("OPENAI_API_KEY", "x")
    handlers = handlers_on(memory)
    assert handlers.will_load(None)
    await handlers.check()
    assert not handlers.will_load(None)
    assert not handlers.will_load(await handlers.name(None))
    assert handlers.will_load("openai:other")
    ConversationHandler.clear_llm_cache()
    assert handlers.will_load(None)


# --- the handler of a run ------------------------------------------------------------------------


async def test_a_run_is_its_users_in_the_shared_memory_and_observed(
    own_settings, scripted: Scripted, memory
):
    """Two users have a thread of one name, and neither sees the other's."""
    steps = []

    @contextmanager
    def observe(step):
        steps.append(step)
        yield

    handlers = handlers_on(memory, models=["openai:gpt-x"], observe=observe)
    scripted.answers = lambda _asked: [Text("Yes.")]
    for user in ("ann", "bob"):
        handler = await handlers.handler(user, None)
        assert handler.db_session is sessions
        turn = Turn([HumanMessage(f"I am {user}", id="m1")])
        async for _ in handler.run(turn, "t", run_id="r"):
            pass
    assert "ann" not in json.dumps(scripted.asked[-1].messages)
    assert [step.name for step in steps] == ["openai:gpt-x"] * 2
    await handlers.delete("ann", "t")
    assert await _stored(memory, "ann") is None
    assert await _stored(memory, "bob") is not None


async def test_a_thread_is_forgotten_when_its_run_has_ended(
    own_settings, scripted: Scripted, memory
):
    """Or the run would store it anew."""
    handlers = handlers_on(memory, models=["openai:gpt-x"])
    scripted.say(Text("Hel"), gate := Gate(), Text("lo"))
    handler = await handlers.handler("ann", None)
    deleting: asyncio.Task[None] | None = None
    async for event in handler.run(Turn([HumanMessage("hi", id="m1")]), "t"):
        if event.type.value == "TEXT_MESSAGE_CONTENT" and deleting is None:
            deleting = asyncio.create_task(handlers.delete("ann", "t"))
            await asyncio.sleep(0)
            gate.opened.set()
    assert deleting is not None
    await deleting
    assert await _stored(memory, "ann") is None


async def _stored(memory: SqliteMemory, user: str) -> Any:
    return await memory.aget_tuple({"configurable": {"thread_id": thread_of(user, "t")}})


# --- messages as a model is told of them ---------------------------------------------------------


def message(role: Any, name: str, content: str = "", **more: Any) -> Message:
    return Message(
        message_id=name,
        parent_id=None,
        run_id="r",
        role=role,
        content=content,
        created_at=datetime.now(UTC),
        **more,
    )


def test_each_kind_of_message_is_told_with_its_id():
    """Calls with their arguments as they were read, results with how they ended."""
    calls = (Call("c1", "add", '{"a": 1}'), Call("c2", "add", ""), Call("c3", "add", "[1"))
    question, answer, result = messages_of(
        [
            message("user", "u1", "hi"),
            message("assistant", "a1", "see", calls=calls),
            message("tool", "c1", "1", tool_call_id="c1", status="cancelled"),
        ]
    )
    assert isinstance(question, HumanMessage)
    assert (question.id, question.text) == ("u1", "hi")
    assert isinstance(answer, AIMessage)
    assert (answer.id, answer.text) == ("a1", "see")
    assert [(call["id"], call["name"], call["args"]) for call in answer.tool_calls] == [
        ("c1", "add", {"a": 1}),
        ("c2", "add", {}),
        ("c3", "add", {UNREADABLE: "[1"}),
    ]
    assert isinstance(result, ToolMessage)
    assert (result.id, result.tool_call_id, result.name) == ("c1", "c1", "add")
    assert (result.status, result.response_metadata["status"]) == ("error", "cancelled")


def test_of_a_message_that_was_cut_the_whole_calls_are_told():
    """As they are in the memory after a stop."""
    calls = (Call("c1", "add", '{"a": 1}'), Call("c2", "add", '{"a":'), Call("c3", "add", ""))
    [cut] = messages_of([message("assistant", "a1", "see", calls=calls, status="partial")])
    assert isinstance(cut, AIMessage)
    assert [call["id"] for call in cut.tool_calls] == ["c1"]
