"""Histories that an application keeps itself: what a run answers, and what it is built on.

What is stored for the model is then a copy, of the one path through the application's messages
that is talked on. It is used as long as it ends where the application says, and made anew from the
application's messages where it does not: after an edit, a regeneration, a change of branch, a
crash, a lost file.

Pure: nothing here reads or writes what is stored.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage

from llmkeep.core.errors import LLMKeepError

from .texts import encodable

#: Gives a call that has no answer the one it shall have.
Answering = Callable[[ToolCall], ToolMessage]


class NothingToAnswer(LLMKeepError):
    """A run was asked for without a message, where the model has said the last word."""

    code = "nothing_to_answer"


@final
@dataclass(frozen=True, slots=True)
class Turn:
    """What a run answers, for an application that keeps the messages itself.

    Raises ValueError for a `head` without `load`: what is stored may be lost at any time.
    """

    messages: Sequence[HumanMessage] = ()
    """New messages of the user, with their ids. None: the history's last message is answered."""
    head: str | None = None
    """The id of the message that stands before them. None: nothing does."""
    load: Callable[[], Awaitable[Sequence[BaseMessage]]] | None = None
    """Gives the messages up to `head`; asked only where what is stored does not end there.

    An answer to a call may stand anywhere, or be missing.
    """
    taken: Collection[str] = ()
    """Ids used elsewhere in the conversation, as in other branches: never given again."""
    is_cut: bool = False
    """Whether the run that told `head` did not come to its end: it was stopped, failed, or died.

    What is stored may then have more of that message, or behind it, and is not relied on.
    """

    def __post_init__(self) -> None:
        if self.head is not None and self.load is None:
            raise ValueError("a turn behind other messages needs `load`, which gives those")


def asked(messages: Iterable[HumanMessage]) -> list[BaseMessage]:
    """Messages of a user as they are stored: with an id, and text that can go over a wire."""
    return [
        message.model_copy(
            update={"id": message.id or str(uuid.uuid4()), "content": _encodable(message.content)}
        )
        for message in messages
    ]


def sound(
    messages: Iterable[BaseMessage], answering: Answering
) -> tuple[list[BaseMessage], list[ToolMessage]]:
    """The messages in a shape that every provider takes, and the answers that had to be added.

    Each call has its one answer directly behind it. An answer to no call is left out, and so is a
    message of the model that neither says nor calls anything.
    """
    messages = [*messages]
    answers = {each.tool_call_id: each for each in messages if isinstance(each, ToolMessage)}
    path: list[BaseMessage] = []
    added: list[ToolMessage] = []
    for message in messages:
        if isinstance(message, ToolMessage) or _is_empty(message):
            continue
        path.append(message)
        for call in message.tool_calls if isinstance(message, AIMessage) else ():
            answer = answers.get(call["id"] or "")
            if answer is None:
                answer = answering(call)
                added.append(answer)
            path.append(answer)
    return path, added


def ids_of(messages: Iterable[BaseMessage]) -> Iterator[str | None]:
    """The ids of messages, and of the calls in them."""
    for message in messages:
        yield message.id
        if isinstance(message, AIMessage):
            yield from (call["id"] for call in message.tool_calls)


def _is_empty(message: BaseMessage) -> bool:
    """Whether the model says and calls nothing in it."""
    return isinstance(message, AIMessage) and not (message.tool_calls or message.text.strip())


def _encodable(content: Any) -> Any:
    if isinstance(content, str):
        return encodable(content)
    if isinstance(content, list):
        return [_encodable(part) for part in content]
    if isinstance(content, dict) and isinstance(content.get("text"), str):
        return {**content, "text": encodable(content["text"])}
    return content
