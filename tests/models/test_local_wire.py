"""Messages to requests and events to chunks: plain values, no model."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from llmkeep.models import local_wire
from llmkeep.models.local_engine import LocalModelError
from llmkeep.models.local_gguf import read_header

CALL = AIMessage(
    "Let me see.", tool_calls=[{"id": "c1", "name": "calculator", "args": {"expression": "2*3"}}]
)
RESULT = ToolMessage("6", tool_call_id="c1", name="calculator")


def wire(*messages: BaseMessage, renders_tools: bool = False, **settings: Any) -> Any:
    return local_wire.request(messages, settings, renders_tools=renders_tools)


def test_each_role_has_its_name() -> None:
    """System, human, AI and custom roles keep their order and their text."""
    request = wire(
        SystemMessage("be brief"),
        HumanMessage("hello"),
        AIMessage("hi"),
        HumanMessage([{"type": "text", "text": "in "}, {"type": "text", "text": "blocks"}]),
        ChatMessage(content="as it is", role="developer"),
    )

    assert [(each["role"], each["content"]) for each in request["messages"]] == [
        ("system", "be brief"),
        ("user", "hello"),
        ("assistant", "hi"),
        ("user", "in blocks"),
        ("developer", "as it is"),
    ]


def test_tool_call_and_result_keep_their_shape_where_the_template_knows_them() -> None:
    """A template with tools gets calls and results by id."""
    call, result = wire(CALL, RESULT, renders_tools=True)["messages"]

    assert call["content"] == "Let me see."
    (function,) = call["tool_calls"]
    assert function["id"] == result["tool_call_id"] == "c1"
    assert json.loads(function["function"]["arguments"]) == {"expression": "2*3"}
    assert (result["role"], result["name"], result["content"]) == ("tool", "calculator", "6")


def test_tool_call_and_result_are_text_where_the_template_drops_them() -> None:
    """A template without tools still shows the model what was called and what came of it."""
    call, result = wire(CALL, RESULT)["messages"]

    assert call == {
        "role": "assistant",
        "content": 'Let me see.\n{"name": "calculator", "arguments": {"expression": "2*3"}}',
    }
    assert result == {"role": "user", "content": "calculator returned: 6"}


def test_settings_are_sent_and_those_of_none_are_not() -> None:
    """What was set goes along under llama.cpp's names; nobody can switch streaming off."""
    request = wire(HumanMessage("x"), temperature=0.0, seed=None, stream=False, strict=True)

    assert request["temperature"] == 0.0
    assert "seed" not in request
    assert "strict" not in request
    assert request["stream"] is True


@pytest.mark.parametrize(
    ("messages", "settings", "said"),
    [
        ([], {}, "no message"),
        ([HumanMessage([{"type": "image_url", "image_url": {}}])], {}, "'image_url' block"),
        ([FunctionMessage(content="x", name="f")], {}, "no FunctionMessage"),
        ([RemoveMessage("x")], {}, "no RemoveMessage"),
    ],
)
def test_what_the_model_cannot_take_is_refused(
    messages: list[BaseMessage], settings: dict[str, Any], said: str
) -> None:
    """Images and odd messages are errors, not silently dropped."""
    with pytest.raises(LocalModelError, match=said):
        wire(*messages, **settings)


def test_events_without_content_make_no_chunk() -> None:
    """Progress and the opening of the role say nothing."""
    opening = {"choices": [{"delta": {"role": "assistant", "content": None}}]}

    assert local_wire.chunk(opening, "m") is None
    assert local_wire.chunk({**opening, "prompt_progress": {"total": 9}}, "m") is None


def test_chunks_add_up_to_an_answer() -> None:
    """Thought, text, reason and usage end up in the places LangChain has for them."""
    events: list[dict[str, Any]] = [
        {"choices": [{"delta": {"reasoning_content": "hm"}, "finish_reason": None}]},
        {"choices": [{"delta": {"content": "yes"}, "finish_reason": None}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 7,
                "completion_tokens": 2,
                "total_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": 5},
            },
        },
    ]
    chunks = [chunk for event in events if (chunk := local_wire.chunk(event, "m")) is not None]

    message = (chunks[0] + chunks[1:]).message

    assert message.content == "yes"
    assert message.additional_kwargs == {"reasoning_content": "hm"}
    assert message.response_metadata["finish_reason"] == "stop"
    assert message.response_metadata["model_name"] == "m"
    assert message.usage_metadata == {  # type: ignore[attr-defined]
        "input_tokens": 7,
        "output_tokens": 2,
        "total_tokens": 9,
        "input_token_details": {"cache_read": 5},
    }
    assert message.chunk_position == "last"  # type: ignore[attr-defined]


def test_native_calls_stream_by_their_index() -> None:
    """As llama.cpp sent them for two calls of a template with tools (release 2026.10)."""

    def event(calls: list[dict[str, Any]], reason: str | None = None) -> dict[str, Any]:
        return {"choices": [{"delta": {"tool_calls": calls}, "finish_reason": reason, "index": 0}]}

    def begun(index: int, name: str) -> dict[str, Any]:
        function = {"name": name, "arguments": "{"}
        return {"index": index, "id": f"id{index}", "type": "function", "function": function}

    def more(index: int, text: str) -> dict[str, Any]:
        return {"index": index, "function": {"arguments": text}}

    events = [
        {"choices": [{"delta": {"role": "assistant", "content": None}, "finish_reason": None}]},
        event([begun(0, "calculator")]),
        *(
            event([more(0, each)])
            for each in ('"', "expression", '":', ' "', "2", "*", "3", '"', "}")
        ),
        event([begun(1, "current_time")]),
        *(event([more(1, each)]) for each in ('"zone":', ' "Rome"', "}")),
        {"choices": [{"delta": {}, "finish_reason": "tool_calls", "index": 0}]},
    ]
    chunks = [chunk for each in events if (chunk := local_wire.chunk(each, "m")) is not None]

    whole = (chunks[0] + chunks[1:]).message
    assert isinstance(whole, AIMessageChunk)
    assert [(each["id"], each["name"], each["args"]) for each in whole.tool_calls] == [
        ("id0", "calculator", {"expression": "2*3"}),
        ("id1", "current_time", {"zone": "Rome"}),
    ]
    assert whole.text == ""
    assert whole.response_metadata["finish_reason"] == "tool_calls"


def gguf(tmp_path: Path, **values: str | int) -> Path:
    """A file with this header and no weights."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    content = b"GGUF" + struct.pack("<IQQ", 3, 0, len(values))
    for name, value in values.items():
        content += text(name.replace("__", "."))
        content += (
            struct.pack("<II", 4, value)
            if isinstance(value, int)
            else struct.pack("<I", 8) + text(value)
        )
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    return path


def test_header_tells_context_and_template(tmp_path: Path) -> None:
    """The context of the file's own architecture, and whether the template knows tools."""
    header = read_header(
        gguf(
            tmp_path,
            general__architecture="qwen",
            qwen__context_length=4096,
            tokenizer__chat_template="{% if message.tool_calls %} é",
        )
    )

    assert header.context_length == 4096
    assert header.renders_tools
    assert header.chat_template.endswith("é")


def test_header_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    """Missing values and a file that ends in the middle of one are unknown, not failures."""
    path = gguf(tmp_path, general__architecture="llama")
    bare = read_header(path)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(path.read_bytes()[:-9])

    assert (bare.context_length, bare.chat_template, bare.renders_tools) == (None, "", False)
    assert read_header(cut).context_length is None


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """Four bytes decide."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"\x7fELF and more")

    with pytest.raises(ValueError, match="is not a GGUF file"):
        read_header(path)
