"""What of a conversation a model is shown, as part of LangChain's agent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import PrivateAttr
from typing_extensions import override

from llmkeep.agents.context_window import context_middleware
from llmkeep.agents.trimming import count_tokens

LOG = "llmkeep.agents.context_window"
CONFIG: Any = {"configurable": {"thread_id": "t"}}


class Model(BaseChatModel):
    """Says what it is told to, and remembers what it was asked."""

    says: Callable[[Sequence[BaseMessage]], AIMessage | Exception] = lambda _: AIMessage("fine")
    _asked: list[list[BaseMessage]] = PrivateAttr(default_factory=list)

    @property
    def asked(self) -> list[list[BaseMessage]]:
        return self._asked

    @property
    @override
    def _llm_type(self) -> str:
        return "written down"

    @override
    def bind_tools(self, tools: Any, **more: Any) -> Any:
        return self

    @override
    def _generate(self, messages: list[BaseMessage], *_: Any, **more: Any) -> ChatResult:
        self._asked.append(messages)
        answer = self.says(messages)
        if isinstance(answer, Exception):
            raise answer
        return ChatResult(generations=[ChatGeneration(message=answer)])


@tool
def look(q: str) -> str:
    """Look something up."""
    return "found " * 10


def agent_with(model: Model, *, tokens: int | None = None, strategy: str = "trim", **more: Any):
    middleware = context_middleware(model, tokens=tokens, strategy=strategy)
    return create_agent(model, [look], middleware=middleware, checkpointer=InMemorySaver(), **more)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Callable[[Any, Sequence[Any]], list[BaseMessage]]:
    """Give messages to an agent, both ways; gives those of the state."""

    def say(agent: Any, messages: Sequence[Any]) -> list[BaseMessage]:
        given = {"messages": list(messages)}
        if request.param == "sync":
            return list(agent.invoke(given, CONFIG)["messages"])
        return list(asyncio.run(agent.ainvoke(given, CONFIG))["messages"])

    return say


def long_talk(turns: int = 20, size: int = 400) -> list[BaseMessage]:
    return [
        each
        for n in range(turns)
        for each in (HumanMessage(f"q{n}", id=f"q{n}"), AIMessage("a" * size, id=f"a{n}"))
    ]


# --- trimming ------------------------------------------------------------------------------------


def test_what_is_sent_fits_and_what_is_stored_is_whole(ask):
    """At most three quarters of the window are filled; the state keeps every message."""
    model = Model()
    stored = ask(agent_with(model, tokens=1000), [*long_talk(), HumanMessage("now", id="now")])
    assert len(stored) == 42
    assert count_tokens(model.asked[0]) <= 750
    assert count_tokens(model.asked[0]) > 500
    assert isinstance(model.asked[0][0], HumanMessage)
    assert model.asked[0][-1].content == "now"


def test_prompt_and_tools_are_part_of_what_is_sent(ask):
    model = Model()
    ask(agent_with(model, tokens=1000, system_prompt="p" * 1200), long_talk())
    assert 400 < count_tokens(model.asked[0]) <= 750 - 50
    assert model.asked[0][0].type == "system"


def test_a_short_conversation_is_sent_as_it_is_and_no_node_is_added():
    model = Model()
    agent = agent_with(model)
    agent.invoke({"messages": [HumanMessage("hi")]}, CONFIG)
    assert [each.content for each in model.asked[0]] == ["hi"]
    assert {*agent.nodes} == {"__start__", "model", "tools"}


@pytest.mark.parametrize(
    ("profile", "tokens", "window"),
    [
        (None, None, 8192),
        ({}, None, 8192),
        ({"max_input_tokens": 2000}, None, 2000),
        ({"max_input_tokens": 2000}, 3000, 3000),
    ],
)
def test_the_window_is_what_is_set_or_what_the_model_says_or_8192(profile, tokens, window):
    model = Model(profile=profile)
    agent_with(model, tokens=tokens).invoke({"messages": long_talk(400)}, CONFIG)
    sent = count_tokens(model.asked[0])
    assert window * 0.75 - 200 < sent <= window * 0.75


def test_a_result_of_a_megabyte_does_not_end_a_conversation(ask):
    def says(messages: Sequence[BaseMessage]) -> AIMessage:
        if isinstance(messages[-1], HumanMessage) and messages[-1].content == "look":
            return AIMessage("", tool_calls=[{"name": "dump", "args": {}, "id": "c"}])
        return AIMessage("seen")

    @tool
    def dump() -> str:
        """Everything."""
        return "x" * 1_000_000

    model = Model(says=says)
    middleware = context_middleware(model, tokens=4000, strategy="trim")
    agent = create_agent(model, [dump], middleware=middleware, checkpointer=InMemorySaver())
    ask(agent, [HumanMessage("look")])
    stored = ask(agent, [HumanMessage("and?")])
    assert [each.type for each in stored] == ["human", "ai", "tool", "ai", "human", "ai"]
    assert max(count_tokens(each) for each in model.asked) <= 3000
    assert [each.type for each in model.asked[-1]] == ["human", "ai", "tool", "ai", "human"]


class TooMuch(Exception):
    """A server of one's own refuses, and LangChain does not know why."""

    status_code = 400


@pytest.mark.parametrize(
    "refusal",
    [
        ContextOverflowError("too much"),
        TooMuch("This model's maximum context length is 512 tokens"),
        TooMuch("the request exceeds the available context size, try increasing it"),
    ],
)
def test_less_is_sent_where_the_provider_finds_it_too_much(ask, refusal):
    """A wrong estimate, or a window that is smaller than it says, is no end."""
    model = Model(says=lambda sent: AIMessage("ok") if count_tokens(sent) < 400 else refusal)
    stored = ask(agent_with(model, tokens=1600), long_talk())
    assert stored[-1].content == "ok"
    sent = [*map(count_tokens, model.asked)]
    assert len(sent) == 3
    assert sent == sorted(sent, reverse=True)


def test_where_it_seemed_to_fit_less_is_sent_too():
    model = Model(says=lambda sent: AIMessage("ok") if len(sent) < 3 else ContextOverflowError(""))
    agent_with(model).invoke({"messages": long_talk(2)[:3]}, CONFIG)
    assert [len(each) for each in model.asked] == [3, 1]


@pytest.mark.parametrize(
    ("messages", "refusal", "asked"),
    [
        ([HumanMessage("x" * 9000)], ContextOverflowError("too much"), 1),
        (long_talk(), ContextOverflowError("too much"), 3),
        (long_talk(), ValueError("context length"), 1),
        (long_talk(), TooMuch("no such model"), 1),
    ],
)
def test_a_refusal_that_less_does_not_help_is_raised(ask, messages, refusal, asked):
    """The provider's own error reaches the caller, after as many attempts as make sense."""
    model = Model(says=lambda _: refusal)
    with pytest.raises(type(refusal)):
        ask(agent_with(model, tokens=1000), messages)
    assert len(model.asked) == asked


def test_a_prompt_that_leaves_no_room_is_said_once(caplog):
    model = Model()
    agent = agent_with(model, tokens=400, system_prompt="p" * 4000)
    with caplog.at_level(logging.WARNING, logger=LOG):
        for text in ("one", "two"):
            agent.invoke({"messages": [HumanMessage(text)]}, CONFIG)
    assert [record.message[-60:] for record in caplog.records] == [
        "1059 of the 300 tokens that are sent: see AGENTS__CONTEXT_TOKENS"[-60:]
    ]
    assert model.asked[-1][-1].content == "two"


def test_tools_are_counted_once():
    (middleware,) = context_middleware(Model(), tokens=None, strategy="trim")
    counted = middleware._count_tools([look])  # type: ignore[attr-defined]
    known = middleware._tools[0]  # type: ignore[attr-defined]
    assert counted > 10
    assert middleware._count_tools([look]) == counted  # type: ignore[attr-defined]
    assert middleware._tools[0] is known  # type: ignore[attr-defined]
    assert middleware._count_tools([]) == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(("tokens", "strategy"), [(0, "trim"), (None, "forget")])
def test_a_wrong_window_is_refused(tokens, strategy):
    with pytest.raises(ValueError, match=r"at least 1 token|trim or summarize"):
        context_middleware(Model(), tokens=tokens, strategy=strategy)


# --- summarising ---------------------------------------------------------------------------------


def is_summary_asked(messages: Sequence[BaseMessage]) -> bool:
    return "Context Extraction Assistant" in str(messages[0].content)


def summarising(summary: AIMessage | Exception) -> Model:
    return Model(says=lambda sent: summary if is_summary_asked(sent) else AIMessage("fine"))


USED: Any = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}


def test_a_long_conversation_is_summarised_before_its_next_turn(ask):
    """The beginning is replaced by a summary, once, and the newest part stays; needs no profile."""
    model = summarising(AIMessage("the gist", usage_metadata=USED))
    stored = ask(
        agent_with(model, tokens=4000, strategy="summarize"), [*long_talk(), HumanMessage("now")]
    )
    summary, *rest = stored
    assert "the gist" in summary.content
    assert [each.content for each in rest[-2:]] == ["now", "fine"]
    assert 5 < len(rest) < 22
    assert [is_summary_asked(each) for each in model.asked] == [True, False]
    assert "q0" in str(model.asked[0][0].content)
    assert model.asked[1] == stored[:-1]


def test_a_short_conversation_is_not_summarised():
    model = summarising(AIMessage("the gist"))
    agent_with(model, strategy="summarize").invoke({"messages": long_talk(3)}, CONFIG)
    assert len(model.asked) == 1


@pytest.mark.parametrize("summary", [AIMessage("  "), RuntimeError("no, sk-secretsecret says no")])
def test_i12_a_summary_that_fails_is_logged_and_the_run_goes_on_trimmed(ask, summary, caplog):
    """Neither a failure nor an empty summary ends a run or loses a message."""
    model = summarising(summary)
    with caplog.at_level(logging.WARNING, logger=LOG):
        stored = ask(
            agent_with(model, tokens=1000, strategy="summarize"),
            [*long_talk(), HumanMessage("now")],
        )
    assert len(stored) == 42
    assert stored[-1].content == "fine"
    assert count_tokens(model.asked[-1]) <= 750
    assert len(caplog.records) == 1
    assert "could not be summarised, and is trimmed" in caplog.text
    assert "secretsecret" not in caplog.text


def test_a_summary_does_not_part_a_call_from_its_result(ask):
    calls: Any = [{"name": "look", "args": {"q": "x" * 200}, "id": "c"}]
    talk = [
        *long_talk(8),
        HumanMessage("find"),
        AIMessage("", tool_calls=calls),
        ToolMessage("r" * 1500, tool_call_id="c"),
        AIMessage("found"),
        HumanMessage("now"),
    ]
    for tokens in range(900, 3000, 300):
        model = summarising(AIMessage("the gist"))
        agent = agent_with(model, tokens=tokens, strategy="summarize")
        sent = [each.type for each in ask(agent, talk)]
        assert sent.count("tool") == sum(
            bool(getattr(m, "tool_calls", None)) for m in model.asked[-1]
        )


def test_a_summary_is_no_answer_and_its_tokens_can_be_told():
    """Where it is streamed at all it is marked as a summary; its usage is in the update."""
    model = summarising(AIMessage("the gist", usage_metadata=USED))
    middleware = context_middleware(model, tokens=2000, strategy="summarize")
    state: Any = {"messages": [*long_talk(), HumanMessage("now")]}
    update = middleware[0].before_agent(state, None)  # type: ignore[arg-type]
    assert update is not None
    assert update["usage"] == USED
    streamed: Any = create_agent(model, middleware=middleware).stream(state, stream_mode="messages")
    answers = {
        chunk.content
        for chunk, metadata in streamed
        if isinstance(chunk, AIMessage) and metadata.get("lc_source") != "summarization"
    }
    assert answers - {""} == {"fine"}
