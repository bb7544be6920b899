"""A snapshot: the conversation as it was at the end of a run, for a log that was compacted."""

from __future__ import annotations

from collections.abc import Sequence

from ag_ui.core import (
    AssistantMessage,
    FunctionCall,
    MessagesSnapshotEvent,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from ag_ui.core import Message as ToldMessage

from llmkeep.service.interfaces import Store
from llmkeep.service.records import Message, Run

from .events import serialised


async def snapshot(store: Store, run: Run) -> str:
    """The event with all messages from the first of the thread to the last of the run."""
    thread = await store.thread(run.user, run.thread_id, deleted=True)
    if thread is None:
        return serialised(MessagesSnapshotEvent(messages=[]))
    messages = await store.messages(thread)
    path = _with_answers(_path(messages, _last_of(run, messages)), messages)
    return serialised(MessagesSnapshotEvent(messages=[told(each) for each in path]))


def _last_of(run: Run, messages: Sequence[Message]) -> str | None:
    """The last message of the run's chain; where it has none, the last before its end."""
    own = [each for each in messages if each.run_id == run.run_id]
    if not own:
        before = [each for each in messages if run.ended_at and each.created_at <= run.ended_at]
        return before[-1].message_id if before else None
    parents = {each.parent_id for each in own}
    return next(each.message_id for each in own if each.message_id not in parents)


def _path(messages: Sequence[Message], message_id: str | None) -> Sequence[Message]:
    by_id = {each.message_id: each for each in messages}
    path: list[Message] = []
    while message_id is not None and (message := by_id.get(message_id)) is not None:
        path.append(message)
        message_id = message.parent_id
    return path[::-1]


def _with_answers(path: Sequence[Message], messages: Sequence[Message]) -> Sequence[Message]:
    """The path, with the answers to its calls that hang elsewhere: behind their calls."""
    on_path = {each.message_id for each in path}
    beside = [each for each in messages if each.message_id not in on_path and each.tool_call_id]
    whole: list[Message] = []
    for message in path:
        calls = {call.id for call in message.calls}
        whole += [message, *(each for each in beside if each.tool_call_id in calls)]
    return whole


def told(message: Message) -> ToldMessage:
    """The message as AG-UI has it."""
    match message.role:
        case "user":
            return UserMessage(id=message.message_id, content=message.content)
        case "assistant":
            calls = [
                ToolCall(
                    id=call.id, function=FunctionCall(name=call.name, arguments=call.arguments)
                )
                for call in message.calls
            ]
            return AssistantMessage(
                id=message.message_id,
                content=message.content or None,
                tool_calls=calls or None,
                metadata={"status": message.status},
            )
        case "tool":
            metadata = {"status": message.status, "duration": message.duration}
            return ToolMessage(
                id=message.message_id,
                tool_call_id=message.tool_call_id or "",
                content=message.content,
                error=message.content if message.status == "error" else None,
                metadata={key: each for key, each in metadata.items() if each is not None},
            )
