"""Making a conversation fit into so many tokens, in a shape that every provider takes.

A call of a tool goes with its results, or not at all; the first message is the user's; the newest
message of the user is always there. Nothing here knows a model: tokens are estimated, from UTF-8
bytes, which is close for most languages where counting characters is far off for some.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

#: UTF-8 bytes that make a token, about.
BYTES_PER_TOKEN: Final = 4

#: What every message takes beside its content.
TOKENS_PER_MESSAGE: Final = 4

#: What a picture or a file takes, whose bytes are no text.
TOKENS_PER_FILE: Final = 1000
_FILES: Final = frozenset(
    ("image", "image_url", "input_image", "audio", "input_audio", "video", "file", "document")
)

#: A tool result gets at most this share of the room where there is not enough, and at least so
#: many tokens.
RESULT_SHARE: Final = 0.25
LEAST_RESULT: Final = 64

#: What a result takes beside its text: itself, the call's id, the line that says what is missing.
_AROUND_RESULT: Final = 28

Messages = Sequence[BaseMessage]


def count_tokens(messages: Iterable[Any]) -> int:
    """How many tokens the messages take, about."""
    return sum(map(tokens_of, messages))


def tokens_of(message: BaseMessage) -> int:
    """How many tokens a message takes, about."""
    size = _size(message.content)
    if isinstance(message, AIMessage):
        for call in message.tool_calls:
            size += len(call["name"]) + _size(str(call["args"])) + len(call["id"] or "")
    elif isinstance(message, ToolMessage):
        size += len(message.tool_call_id)
    return TOKENS_PER_MESSAGE + -(-size // BYTES_PER_TOKEN)


def fit(messages: Messages, room: int) -> Messages:
    """What of `messages` to send where there is room for so many tokens; themselves if they fit.

    Long tool results lose their middle first, then the oldest turns are left out, then the oldest
    calls of the newest turn. The user's newest message stays whole, even where it alone is too
    long.
    """
    sizes = [*map(tokens_of, messages)]
    if sum(sizes) <= room:
        return messages
    short = [_shorten(each, int(room * RESULT_SHARE)) for each in messages]
    sizes = [*map(tokens_of, short)]
    pinned = _pinned(short)
    left = room - sum(sizes[:pinned])
    begin, *earlier = _turns(short, pinned)
    taken = sum(sizes[begin:])
    if taken > left:
        return [*short[:pinned], *_fit_turn(short[begin:], left)]
    for start in earlier:
        taken += sum(sizes[start:begin])
        if taken > left:
            break
        begin = start
    return [*short[:pinned], *short[begin:]]


# --- the parts of a conversation -----------------------------------------------------------------


def _pinned(messages: Messages) -> int:
    """How many messages at the head always stay: instructions, and a summary of what was before."""
    for index, message in enumerate(messages):
        is_summary = message.additional_kwargs.get("lc_source") == "summarization"
        if not (isinstance(message, SystemMessage) or is_summary):
            return index
    return len(messages)


def _turns(messages: Messages, first: int) -> list[int]:
    """Where the conversation may begin, the last place first; there is at least one.

    At a message of the user, after which no result comes whose call is before it.
    """
    starts = []
    missing: set[str] = set()
    for index in range(len(messages) - 1, first - 1, -1):
        message = messages[index]
        if isinstance(message, ToolMessage):
            missing.add(message.tool_call_id)
        elif isinstance(message, AIMessage):
            missing.difference_update(call["id"] or "" for call in message.tool_calls)
        elif isinstance(message, HumanMessage) and not missing:
            starts.append(index)
    return starts or [first]


def _fit_turn(messages: Messages, room: int) -> list[BaseMessage]:
    """The user's message, and as many of the newest steps that followed as there is room for."""
    steps = _steps(messages)
    said = [step for step in steps if isinstance(messages[step[0]], HumanMessage)]
    kept = {index for step in (*said[:1], *said[-1:]) for index in step}
    begin = min(kept, default=0)
    room -= sum(tokens_of(messages[index]) for index in kept)
    shown = {index: messages[index] for index in kept}
    is_newest = True
    for step in reversed(steps):
        if step[0] in kept or step[0] < begin:
            continue
        parts = [messages[index] for index in step]
        if is_newest:
            parts = _squeeze(parts, room)
        room -= count_tokens(parts)
        if room < 0 and not is_newest:
            break
        shown.update(zip(step, parts, strict=True))
        is_newest = False
    return [shown[index] for index in sorted(shown)]


def _steps(messages: Messages) -> list[list[int]]:
    """The places of the messages that belong together: a call with its results, or one alone."""
    steps: list[list[int]] = []
    step_of: dict[str, list[int]] = {}
    for index, message in enumerate(messages):
        if isinstance(message, ToolMessage) and message.tool_call_id in step_of:
            step_of[message.tool_call_id].append(index)
            continue
        steps.append([index])
        if isinstance(message, AIMessage):
            step_of.update((call["id"] or "", steps[-1]) for call in message.tool_calls)
    return steps


# --- making one message shorter ------------------------------------------------------------------


def _squeeze(step: list[BaseMessage], room: int) -> list[BaseMessage]:
    """The messages of a step, its results cut so that it fits, as far as that can be."""
    if count_tokens(step) <= room:
        return step
    results = [each for each in step if isinstance(each, ToolMessage)]
    others = sum(tokens_of(each) for each in step if not isinstance(each, ToolMessage))
    share = (room - others) // max(1, len(results))
    return [_shorten(each, share) for each in step]


def _shorten(message: BaseMessage, tokens: int) -> BaseMessage:
    """A tool result that takes more than so many tokens, without its middle."""
    if not isinstance(message, ToolMessage) or tokens_of(message) <= tokens:
        return message
    size = BYTES_PER_TOKEN * max(LEAST_RESULT, tokens - _AROUND_RESULT)
    content: Any = message.content
    if isinstance(content, str):
        content = _without_middle(content, size)
    else:
        texts = sum(_text_of(block) is not None for block in content)
        content = [_shorten_block(block, size // max(1, texts)) for block in content]
    return message.model_copy(update={"content": content})


def _shorten_block(block: str | dict[str, Any], size: int) -> str | dict[str, Any]:
    text = _text_of(block)
    if text is None:
        return block
    short = _without_middle(text, size)
    return short if isinstance(block, str) else {**block, "text": short}


def _text_of(block: str | dict[str, Any]) -> str | None:
    text = block if isinstance(block, str) else block.get("text")
    return text if isinstance(text, str) else None


def _without_middle(text: str, size: int) -> str:
    """The beginning and the end of a text, in `size` bytes and a line that says what is missing."""
    whole = text.encode("utf-8", "replace")
    if len(whole) <= size:
        return text
    head, tail = size * 2 // 3, size // 3
    begin = whole[:head].decode("utf-8", "ignore")
    end = whole[len(whole) - tail :].decode("utf-8", "ignore")
    missing = len(text) - len(begin) - len(end)
    return f"{begin}\n[... {missing} characters left out ...]\n{end}"


def _size(content: Any) -> int:
    """The bytes of a message's content."""
    if isinstance(content, str):
        return len(content) if content.isascii() else len(content.encode("utf-8", "replace"))
    return sum(map(_size_of_block, content))


def _size_of_block(block: str | dict[str, Any]) -> int:
    if isinstance(block, str):
        return _size(block)
    if block.get("type") in _FILES:
        return TOKENS_PER_FILE * BYTES_PER_TOKEN
    text = _text_of(block)
    return _size(str(block) if text is None else text)
