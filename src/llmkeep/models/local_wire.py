"""Between LangChain's messages and llama.cpp's requests and events, which follow OpenAI's shape.

Plain functions of values: nothing here knows when or where a model runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from .local_engine import LocalModelError

#: Sent with every request. Progress is asked for because an answer can be stopped at each event,
#: and without it there is none before the whole prompt has been taken.
_ALWAYS: Final = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "return_progress": True,
}
#: What LangChain passes along and llama.cpp is not told.
_NOT_SENT: Final = frozenset({"messages", "model", "stream", "stream_options", "strict"})


def request(
    messages: Sequence[BaseMessage], settings: Mapping[str, Any], *, renders_tools: bool
) -> dict[str, Any]:
    """The request for an answer to `messages`; settings of None are left to llama.cpp.

    Raises LocalModelError for what the model cannot take: no message, anything but text.
    """
    if not messages:
        raise LocalModelError("there is no message to answer")
    return request_of(wire(messages, renders_tools=renders_tools), settings)


def wire(messages: Sequence[BaseMessage], *, renders_tools: bool) -> list[dict[str, Any]]:
    """The messages in llama.cpp's shape.

    Raises LocalModelError for anything but text, which only in a tool's result is left out: it
    would end the conversation that it is in for good.
    """
    return [_message(message, renders_tools=renders_tools) for message in messages]


def request_of(messages: list[dict[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The request for an answer to messages that have that shape already."""
    sent = {
        name: value
        for name, value in settings.items()
        if value is not None and name not in _NOT_SENT
    }
    return {**sent, **_ALWAYS, "messages": messages}


def chunk(event: Mapping[str, Any], model_name: str) -> ChatGenerationChunk | None:
    """The chunk for one event; None for those without content: progress, the role's opening."""
    choice = (event.get("choices") or [{}])[0]
    delta = choice.get("delta") or {}
    text, thought, calls = (
        delta.get(name) for name in ("content", "reasoning_content", "tool_calls")
    )
    reason, usage = choice.get("finish_reason"), event.get("usage")
    if not (text or thought or calls or reason or usage):
        return None
    message = AIMessageChunk(
        content=text or "", tool_call_chunks=[_call_chunk(each) for each in calls or ()]
    )
    if thought:
        message.additional_kwargs["reasoning_content"] = thought
    if reason:
        message.response_metadata = ending(reason, model_name)
    if usage:  # the last event
        message.usage_metadata = _usage(usage)
        message.chunk_position = "last"
    return ChatGenerationChunk(message=message)


def piece(event: Mapping[str, Any]) -> tuple[str, str]:
    """The text in one event, and the reason for the end, each empty where there is none."""
    choice = (event.get("choices") or [{}])[0]
    text = (choice.get("delta") or {}).get("content")
    return text or "", choice.get("finish_reason") or ""


def usage_chunk(event: Mapping[str, Any]) -> ChatGenerationChunk | None:
    """A chunk of the event's token counts alone, for an answer that is followed by another."""
    if not (usage := event.get("usage")):
        return None
    return ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=_usage(usage)))


def ending(reason: str, model_name: str) -> dict[str, Any]:
    """What the metadata of an answer's end says."""
    return {"finish_reason": reason, "model_name": model_name, "model_provider": "local"}


def _call_chunk(call: Mapping[str, Any]) -> ToolCallChunk:
    function = call.get("function") or {}
    return tool_call_chunk(
        name=function.get("name"),
        args=function.get("arguments"),
        id=call.get("id"),
        index=call.get("index"),
    )


def _usage(usage: Mapping[str, Any]) -> UsageMetadata:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    return UsageMetadata(
        input_tokens=usage["prompt_tokens"],
        output_tokens=usage["completion_tokens"],
        total_tokens=usage["total_tokens"],
        input_token_details=InputTokenDetails(cache_read=cached),
    )


def _message(message: BaseMessage, *, renders_tools: bool) -> dict[str, Any]:
    """One message. Tool calls and results become plain text where the template drops them."""
    match message:
        case AIMessage(tool_calls=[_, *_]) if renders_tools:
            calls = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": json.dumps(call["args"])},
                }
                for call in message.tool_calls
            ]
            return {"role": "assistant", "content": message.text or None, "tool_calls": calls}
        case AIMessage():
            said = [str(message.text)] if message.text else []
            said += [
                json.dumps({"name": call["name"], "arguments": call["args"]}, ensure_ascii=False)
                for call in message.tool_calls
            ]
            return {"role": "assistant", "content": "\n".join(said)}
        case ToolMessage() if renders_tools:
            name = {"name": message.name} if message.name else {}
            called = {"tool_call_id": message.tool_call_id, **name}
            return {"role": "tool", "content": str(message.text), **called}
        case ToolMessage():
            return {
                "role": "user",
                "content": f"{message.name or 'The tool'} returned: {message.text}",
            }
        case HumanMessage():
            return {"role": "user", "content": _text(message)}
        case SystemMessage():
            return {"role": "system", "content": _text(message)}
        case ChatMessage():
            return {"role": message.role, "content": _text(message)}
        case _:
            raise LocalModelError(f"the local model takes no {type(message).__name__}")


def _text(message: BaseMessage) -> str:
    for block in message.content:
        if isinstance(block, dict) and block.get("type") != "text":
            raise LocalModelError(
                f"the local model reads text only, and there is a {block.get('type')!r} block"
                f" in a {message.type} message"
            )
    return str(message.text)
