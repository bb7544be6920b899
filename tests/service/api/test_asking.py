"""What is taken of an AG-UI client's body, and what is refused, by which code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmkeep.service.api.asking import Asked, understand
from llmkeep.service.errors import Invalid
from llmkeep.service.records import UserMessage

SECRET = "a word that must not come back"


def body(**more: Any) -> dict[str, Any]:
    """The least that a client sends, and more."""
    return {
        "threadId": "t",
        "runId": "r",
        "messages": [{"id": "m", "role": "user", "content": "hello"}],
        "tools": [],
        "context": [],
        "state": {},
        "forwardedProps": {},
        **more,
    }


def ask(value: Any, **more: Any) -> Asked:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    options: dict[str, Any] = {"longest": 100, "on_disconnect": None, "multitask_strategy": None}
    return understand(raw, **{**options, **more})


def refusal(value: Any) -> Invalid:
    with pytest.raises(Invalid) as refused:
        ask(value)
    return refused.value


def test_the_users_messages_are_taken() -> None:
    """Text is taken as it is, of parts the texts together."""
    parts = [{"type": "text", "text": "how "}, {"type": "text", "text": "are you"}]
    messages = [
        {"id": "m1", "role": "user", "content": "hello"},
        {"id": "m2", "role": "user", "content": parts},
    ]
    asked = ask(body(messages=messages))
    assert asked.request.messages == (UserMessage("m1", "hello"), UserMessage("m2", "how are you"))
    assert asked.unclear == ()


def test_what_else_a_client_remembers_is_not_looked_at() -> None:
    """Messages that the server has itself may be of any form: half calls, foreign fields."""
    messages = [
        {"role": "assistant", "toolCalls": "half"},
        {"role": "tool"},
        {"role": "reasoning", "id": 5},
        {"role": "activity", "content": None},
        {"id": "m", "role": "user", "content": "hello", "name": "Ada", "metadata": {"a": 1}},
    ]
    assert ask(body(messages=messages)).request.messages == (UserMessage("m", "hello"),)


@pytest.mark.parametrize(
    ("code", "more"),
    [
        ("invalid_tools", {"tools": [{"name": "x", "description": SECRET}]}),
        ("invalid_state", {"state": {"a": SECRET}}),
        ("invalid_state", {"state": 1}),
        ("invalid_context", {"context": [{"description": "x", "value": SECRET}]}),
        (
            "invalid_system_message",
            {"messages": [{"id": "s", "role": "system", "content": SECRET}]},
        ),
        (
            "invalid_system_message",
            {"messages": [{"id": "s", "role": "developer", "content": SECRET}]},
        ),
        ("invalid_messages", {"messages": [{"id": "s", "role": SECRET, "content": "x"}]}),
        ("invalid_messages", {"messages": [{"id": "s", "role": {SECRET: 1}, "content": "x"}]}),
        ("invalid_messages", {"messages": [{"id": "s", "role": ["user"], "content": "x"}]}),
        ("invalid_messages", {"messages": [{}]}),
        (
            "invalid_messages",
            {
                "messages": [
                    {"id": "m", "role": "user", "content": SECRET},
                    {"id": "m", "role": "user", "content": "another"},
                ]
            },
        ),
        ("invalid_content", {"messages": [{"id": "m", "role": "user", "content": {"a": SECRET}}]}),
        ("invalid_id", {"messages": [{"id": "", "role": "user", "content": SECRET}]}),
        ("invalid_id", {"messages": [{"id": 7, "role": "user", "content": SECRET}]}),
        ("invalid_id", {"threadId": ".."}),
        ("invalid_id", {"runId": "a\nb"}),
        ("invalid_id", {"forwardedProps": {"parent_message_id": "a\x00"}}),
        ("invalid_id", {"threadId": "x" * 129}),
        ("invalid_request", {"runId": 5}),
        ("invalid_request", {"messages": SECRET}),
        ("invalid_request", {"forwardedProps": SECRET}),
        ("invalid_request", {"forwardedProps": {"on_disconnect": SECRET}}),
        ("invalid_request", {"forwardedProps": {"multitask_strategy": SECRET}}),
        ("invalid_request", {"resume": [{"interruptId": "i", "status": SECRET}]}),
    ],
)
def test_what_would_be_ignored_is_refused(code: str, more: dict[str, Any]) -> None:
    """Each has a code of its own, and the refusal repeats nothing of what came."""
    error = refusal(body(**more))
    assert (error.code, error.status) == (code, 422)
    assert SECRET not in error.detail


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"1", b'{"threadId": NaN}', b"\xff", b'"\\ud800"']
)
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    """Whatever the bytes are, the answer is a refusal."""
    assert refusal(raw).status == 422


def test_empty_things_that_every_client_sends_are_fine() -> None:
    """Empty tools, context, state and properties mean what their absence means."""
    nothing = {"tools": None, "context": None, "state": None, "forwardedProps": None}
    several: list[dict[str, Any]] = [{}, nothing, {"state": []}, {"resume": []}, {"resume": None}]
    for more in several:
        assert ask(body(**more)).request.messages


def test_messages_without_text_are_left_to_be_judged() -> None:
    """Pictures, empty and long messages are for the server to know already, or to refuse."""
    messages = [
        {"id": "picture", "role": "user", "content": [{"type": "binary", "data": "x"}]},
        {"id": "empty", "role": "user", "content": " \n"},
        {"id": "long", "role": "user", "content": "x" * 101},
        {"id": "fine", "role": "user", "content": "x"},
    ]
    assert ask(body(messages=messages)).unclear == ("picture", "empty", "long")


def test_where_a_run_hangs_is_absent_null_or_an_id() -> None:
    """`parent_message_id`: absent appends, null begins anew, an id is a place."""
    placed = [
        ask(body(forwardedProps=props)).request
        for props in ({}, {"parent_message_id": None}, {"parent_message_id": "p"})
    ]
    assert [(each.is_placed, each.parent_id) for each in placed] == [
        (False, None),
        (True, None),
        (True, "p"),
    ]


def test_the_address_wins() -> None:
    """Choices in the query are taken before those in the body, and those before the defaults."""
    props = {"on_disconnect": "continue", "multitask_strategy": "reject", "model": "a:b"}
    inside = ask(body(forwardedProps=props)).request
    assert (inside.on_disconnect, inside.multitask_strategy, inside.model) == (
        "continue",
        "reject",
        "a:b",
    )
    outside = ask(
        body(forwardedProps=props), on_disconnect="cancel", multitask_strategy="interrupt"
    ).request
    assert (outside.on_disconnect, outside.multitask_strategy) == ("cancel", "interrupt")
    neither = ask(body()).request
    assert (neither.on_disconnect, neither.multitask_strategy) == ("cancel", "enqueue")


def test_bodies_that_mean_the_same_have_one_fingerprint() -> None:
    """Order of members, spaces and the protocol's version change nothing; anything else does."""
    one = ask(body(protocolVersion="1.0")).request.fingerprint
    turned = dict(reversed(body().items()))
    assert ask(json.dumps(turned, indent=3).encode()).request.fingerprint == one
    assert ask(body(protocolVersion="1.1")).request.fingerprint == one
    assert ask(body(forwardedProps={"a": 1})).request.fingerprint != one
    assert ask(body(parentRunId="p")).request.fingerprint != one


def test_answers_to_interrupts_are_taken() -> None:
    """`resume` comes as it was sent, payload and all."""
    entry = {"interruptId": "i", "status": "resolved", "payload": {"approved": True}}
    (answer,) = ask(body(resume=[entry])).request.resume
    assert (answer.interrupt_id, answer.payload) == ("i", {"approved": True})
