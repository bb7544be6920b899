"""Making a conversation fit: what may be left out, and what never is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from llmkeep.agents.trimming import count_tokens, fit, tokens_of

sizes = some.one_of(some.integers(0, 40), some.integers(0, 4000), some.just(100_000))


def called(*ids: str, said: str = "") -> AIMessage:
    return AIMessage(said, tool_calls=[{"name": "look", "args": {"q": "x"}, "id": i} for i in ids])


def result(call: str, size: int = 20) -> ToolMessage:
    return ToolMessage("r" * size, tool_call_id=call)


@some.composite
def turns(draw: Any, numbers: Any) -> list[BaseMessage]:
    """A message of the user, some rounds of parallel calls, perhaps an answer."""
    turn: list[BaseMessage] = [HumanMessage("q" * draw(sizes))]
    for _ in range(draw(some.integers(0, 4))):
        calls = [f"c{next(numbers)}" for _ in range(draw(some.integers(1, 4)))]
        turn.append(called(*calls, said="s" * draw(sizes)))
        turn += [result(call, draw(sizes)) for call in draw(some.permutations(calls))]
    if draw(some.booleans()):
        turn.append(AIMessage("a" * draw(sizes)))
    return turn


@some.composite
def histories(draw: Any) -> list[BaseMessage]:
    numbers = itertools.count()
    found = [each for _ in range(draw(some.integers(1, 6))) for each in draw(turns(numbers))]
    if draw(some.booleans()):
        found.insert(0, SystemMessage("be brief"))
    return [each.model_copy(update={"id": str(n)}) for n, each in enumerate(found)]


def calls_in(messages: Sequence[BaseMessage]) -> set[str]:
    return {
        str(call["id"])
        for each in messages
        if isinstance(each, AIMessage)
        for call in each.tool_calls
    }


def results_in(messages: Sequence[BaseMessage]) -> set[str]:
    return {each.tool_call_id for each in messages if isinstance(each, ToolMessage)}


@settings(max_examples=300, deadline=None)
@given(histories(), some.integers(1, 30_000))
def test_whatever_is_left_out_calls_keep_their_results(history, room):
    """A call goes with all its results; the newest message of the user is there, whole."""
    sent = fit(history, room)

    places = [int(each.id or "") for each in sent]
    assert places == sorted(places)
    assert calls_in(sent) == results_in(sent)
    newest = [each for each in history if isinstance(each, HumanMessage)][-1]
    assert newest in sent
    rest = [each for each in sent if not isinstance(each, SystemMessage)]
    assert isinstance(rest[0], HumanMessage)
    assert len(sent) - len(rest) == sum(isinstance(each, SystemMessage) for each in history)
    if count_tokens(history) <= room:
        assert sent is history
    assert count_tokens(sent) <= max(room, count_tokens(smallest(history)))


def smallest(history: Sequence[BaseMessage]) -> list[BaseMessage]:
    """What is never left out: the head, the newest message, the newest step, its results cut."""
    newest = max(n for n, each in enumerate(history) if isinstance(each, HumanMessage))
    head = [each for each in history if isinstance(each, SystemMessage)]
    since = history[newest + 1 :]
    last = max((n for n, each in enumerate(since) if isinstance(each, AIMessage)), default=0)
    cut = "r" * (4 * (64 + 28))
    return [
        *head,
        history[newest],
        *(
            each.model_copy(update={"content": cut}) if isinstance(each, ToolMessage) else each
            for each in since[last:]
        ),
    ]


def test_a_conversation_that_fits_exactly_is_sent_as_it_is():
    history = [HumanMessage("one"), AIMessage("two"), HumanMessage("three")]
    assert fit(history, count_tokens(history)) is history
    assert fit(history, count_tokens(history) - 1) == [HumanMessage("three")]


def test_as_many_turns_are_sent_as_there_is_room_for():
    history = [each for n in range(9) for each in (HumanMessage(f"q{n}"), AIMessage(f"a{n}"))]
    for kept in range(1, 10):
        part = history[-2 * kept :]
        assert fit(history, count_tokens(part)) == part
        assert fit(history, count_tokens(part) + tokens_of(history[0]) - 1) == part


def test_a_long_result_loses_its_middle_before_a_turn_is_left_out():
    """A result of a megabyte does not end a conversation, nor push the rest of it out."""
    long = ToolMessage(f"begin {'m' * 1_000_000} end", tool_call_id="c")
    history = [HumanMessage("q"), called("c"), long, AIMessage("a"), HumanMessage("next")]

    sent = fit(history, 2000)

    assert [type(each) for each in sent] == [type(each) for each in history]
    text = str(sent[2].content)
    assert text.startswith("begin mmm")
    assert text.endswith("mmm end")
    assert "characters left out ...]" in text
    assert tokens_of(sent[2]) <= 500
    assert long.content == f"begin {'m' * 1_000_000} end"


def test_many_long_results_at_once_share_the_room():
    calls = [f"c{n}" for n in range(8)]
    history = [HumanMessage("q"), called(*calls), *(result(call, 50_000) for call in calls)]
    sent = fit(history, 2000)
    assert results_in(sent) == set(calls)
    assert count_tokens(sent) <= 2000


def test_a_long_run_of_calls_keeps_its_question_and_the_newest_steps():
    steps = [each for n in range(50) for each in (called(f"c{n}"), result(f"c{n}", 100))]
    history = [HumanMessage("old"), AIMessage("old"), HumanMessage("question"), *steps]
    sent = fit(history, 500)
    assert sent[0] == HumanMessage("question")
    assert list(sent[1:]) == steps[-(len(sent) - 1) :]
    assert 500 - 50 < count_tokens(sent) <= 500


def test_a_message_that_is_too_long_alone_is_sent_whole_and_gone_with_the_next():
    history: list[BaseMessage] = [
        HumanMessage("old"),
        AIMessage("old"),
        HumanMessage("x" * 100_000),
    ]
    assert fit(history, 1000) == history[2:]
    history.append(HumanMessage("short"))
    assert fit(history, 1000) == [HumanMessage("short")]


def test_a_summary_stays_at_the_head():
    summary = HumanMessage("so far", additional_kwargs={"lc_source": "summarization"})
    history = [summary, HumanMessage("q" * 900), AIMessage("a" * 900), HumanMessage("new")]
    assert fit(history, 100) == [summary, HumanMessage("new")]


def test_a_result_that_came_after_the_next_message_is_not_parted_from_its_call():
    late = [HumanMessage("one"), called("c"), HumanMessage("two"), result("c"), HumanMessage("3")]
    history = [HumanMessage("x" * 4000), AIMessage("y"), *late]
    assert fit(history, count_tokens(late)) == late
    assert fit(history, count_tokens(late) - 1) == [HumanMessage("3")]


def test_the_newest_message_stays_where_a_result_comes_after_it():
    history = [HumanMessage("1"), called("c"), HumanMessage("2"), result("c", 90_000)]
    assert [each.type for each in fit(history, 100)] == ["human", "ai", "human", "tool"]
    astray = [called("c"), HumanMessage("1"), result("c", 90_000)]
    assert fit(astray, 50) == [HumanMessage("1")]


def test_text_beyond_ascii_counts_by_its_bytes():
    """A character of Chinese is about a token, and not a quarter of one."""
    assert tokens_of(HumanMessage("x" * 400)) == 104
    assert tokens_of(HumanMessage("字" * 400)) == 304
    cut = str(
        fit([HumanMessage("q"), called("c"), ToolMessage("字" * 9000, tool_call_id="c")], 900)[
            2
        ].content
    )
    assert cut.startswith("字字")
    assert cut.endswith("字字")


def test_pictures_count_as_pictures_and_blocks_of_text_are_cut_as_text():
    picture = {"type": "image", "base64": "A" * 1_000_000, "mime_type": "image/png"}
    assert tokens_of(HumanMessage([{"type": "text", "text": "look"}, picture])) == 1005
    blocks: list[Any] = [{"type": "text", "text": "t" * 100_000}, "u" * 100_000, picture]
    history = [HumanMessage("q"), called("c"), ToolMessage(blocks, tool_call_id="c")]
    first, second, third = list(fit(history, 8000)[2].content)
    assert third == picture
    assert isinstance(first, dict)
    assert first["type"] == "text"
    assert len(first["text"]) == len(second) < 4100


@pytest.mark.parametrize("history", [[], [AIMessage("hello")], [called("c"), result("c", 9000)]])
def test_a_conversation_without_a_user_is_sent_as_far_as_it_goes(history):
    assert calls_in(fit(history, 1)) == results_in(fit(history, 1))
    assert len(fit(history, 1)) == len(history)
