"""Which histories OpenAI and Anthropic refuse: those that would poison a conversation for ever.

Written after their documented errors, and stricter in one place: a call that is answered twice is
refused by both.
"""

from __future__ import annotations

from typing import Any


def refused_by_openai(body: dict[str, Any]) -> str | None:
    """Why OpenAI would answer this request with 400, if it would."""
    pending: list[str] = []
    for number, message in enumerate(body["messages"]):
        where = f"messages[{number}]"
        if message["role"] == "tool":
            if message.get("tool_call_id") not in pending:
                return f"{where}: a message with role 'tool' must answer a preceding 'tool_calls'"
            pending.remove(message["tool_call_id"])
            continue
        if pending:
            return f"{where}: tool_call_ids without response messages: {', '.join(pending)}"
        pending = [call["id"] for call in message.get("tool_calls") or ()]
        if not pending and message.get("content") is None:
            return f"{where}: content must be given where there are no tool_calls"
        if len(set(pending)) != len(pending):
            return f"{where}: two tool calls with one id"
    if pending:
        return f"the end: tool_call_ids without response messages: {', '.join(pending)}"
    if body["messages"][-1]["role"] == "assistant":
        return "the end: nobody has asked anything"
    return None


def refused_by_anthropic(body: dict[str, Any]) -> str | None:
    """Why Anthropic would answer this request with 400, if it would."""
    pending: list[str] = []
    seen: set[str] = set()
    roles = [message["role"] for message in body["messages"]]
    if roles[0] != "user" or roles[-1] != "user":
        return "messages: the first and the last message must be the user's"
    for number, message in enumerate(body["messages"]):
        where = f"messages.{number}"
        blocks = _blocks(message["content"])
        if not blocks or any(_is_empty(block) for block in blocks):
            return f"{where}: text content blocks must be non-empty"
        kinds = [block["type"] for block in blocks]
        answers = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(answers) != sorted(pending):
            return f"{where}: tool_use {pending} must be answered here, and is by {answers}"
        if "tool_result" in kinds[len(answers) :]:
            return f"{where}: tool_result blocks must come first"
        pending = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if seen.intersection(pending) or len(set(pending)) != len(pending):
            return f"{where}: tool_use ids must be unique"
        if any(not isinstance(b["input"], dict) for b in blocks if b["type"] == "tool_use"):
            return f"{where}: tool_use.input must be an object"
        seen.update(pending)
    if seen and not body.get("tools"):
        return "tools: requests with tool_use or tool_result blocks must define tools"
    return None


def _blocks(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _is_empty(block: dict[str, Any]) -> bool:
    return block["type"] == "text" and not block["text"].strip()


REFUSALS = {"openai": refused_by_openai, "anthropic": refused_by_anthropic}
