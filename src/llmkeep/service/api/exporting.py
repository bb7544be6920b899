"""A conversation in Markdown, for people to read elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llmkeep.service.records import Message, Thread


def as_markdown(thread: Thread, path: Sequence[Message]) -> str:
    """The messages of one path, oldest first."""
    return "\n\n".join(_parts(thread, path)) + "\n"


def _parts(thread: Thread, path: Sequence[Message]) -> Iterator[str]:
    title = " ".join(thread.title.split()) or "Conversation"
    yield f"# {title}"
    names = {call.id: call.name for message in path for call in message.calls}
    for message in path:
        moment = f"{message.created_at:%Y-%m-%d %H:%M} UTC"
        match message.role:
            case "user":
                yield f"## You, {moment}"
                yield message.content
            case "assistant":
                yield f"## {message.model or 'Assistant'}, {moment}"
                if message.content:
                    yield message.content
                if message.status == "partial":
                    yield "*(stopped here)*"
                for call in message.calls:
                    yield f"Calls `{call.name}`:\n\n{_fenced(call.arguments, 'json')}"
            case "tool":
                name = names.get(message.tool_call_id or "", "tool")
                yield f"`{name}` ({message.status}):\n\n{_fenced(message.content)}"


def _fenced(text: str, language: str = "") -> str:
    """Text as it is, whatever fences are in it."""
    longest = max((len(fence) for fence in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
