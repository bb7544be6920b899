"""Translation: what a graph streams, message by message, into AG-UI events.

Pure: no I/O, no loop, no clock. One `Translator` per run; each method gives the events to send.
LangGraph's own stream is keyed by nothing a consumer could use (fragments of several calls come
interleaved, a whole call in one chunk, a result in between), so everything is kept apart here: a
fragment belongs to a call by its index, or by its id where there is no index, and every call goes
out as START, ARGS*, END, RESULT under its own id.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ag_ui.core import (
    PROTOCOL_VERSION,
    Event,
    RunErrorEvent,
    RunFinishedEvent,
    RunFinishedSuccessOutcome,
    RunStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage

#: The node of the graph whose words are the agent's: a tool may ask a model of its own.
MODEL_NODE: Final = "model"

#: How langchain-core begins the ids that it gives where the provider gave none.
_OWN_ID: Final = "lc_run-"


@dataclass(slots=True)
class _Call:
    """One tool call while its arguments arrive; lives until its message is closed."""

    id: str | None = None
    name: str | None = None
    waiting: str = ""
    """Arguments that came before the id and the name were known."""
    announced: bool = False


@dataclass(slots=True)
class _Answer:
    """One message of the model while it arrives; lives until it is closed."""

    id: str
    source: str
    """The run of the model node that it comes from."""
    text_open: bool = False
    calls: list[_Call] = field(default_factory=list)
    current: dict[int | str | None, _Call] = field(default_factory=dict)
    """The call that a fragment with this index belongs to."""


class Translator:
    """Lives as long as one run."""

    def __init__(self, thread_id: str, run_id: str) -> None:
        self._thread_id = thread_id
        self._run_id = run_id
        self._answer: _Answer | None = None
        self._streamed: set[str] = set()
        self._unanswered: set[str] = set()

    def started(self) -> Iterator[Event]:
        """The first event of the run."""
        yield RunStartedEvent(
            thread_id=self._thread_id, run_id=self._run_id, protocol_version=PROTOCOL_VERSION
        )

    def message(self, message: BaseMessage, metadata: Mapping[str, Any]) -> Iterator[Event]:
        """The events for one item of `astream(stream_mode="messages")`."""
        from_model = metadata.get("langgraph_node") == MODEL_NODE
        source = str(metadata.get("langgraph_checkpoint_ns", ""))
        match message:
            case AIMessageChunk() if from_model:
                yield from self._chunk(message, source)
            case AIMessage() if from_model:
                yield from self._whole(message, source)
            case ToolMessage():
                yield from self._result(message, from_model=from_model)

    def finished(self) -> Iterator[Event]:
        """The last event of a run that did what it should, and before it what was still open."""
        yield from self._close()
        yield RunFinishedEvent(
            thread_id=self._thread_id, run_id=self._run_id, outcome=RunFinishedSuccessOutcome()
        )

    def failed(self, message: str, code: str) -> Iterator[Event]:
        """The last event of a run that failed, and before it what was still open."""
        yield from self._close()
        yield RunErrorEvent(message=message, code=code)

    # --- what the model says -----------------------------------------------------------------

    def _chunk(self, chunk: AIMessageChunk, source: str) -> Iterator[Event]:
        answer = self._answer
        if answer is None or not _continues(answer, chunk.id, source):
            yield from self._close()
            answer = self._answer = _Answer(chunk.id or str(uuid.uuid4()), source)
            self._streamed.add(source)
        yield from _text(answer, str(chunk.text))
        for fragment in chunk.tool_call_chunks:
            yield from self._fragment(answer, fragment)
        if chunk.chunk_position == "last":
            yield from self._close()

    def _fragment(self, answer: _Answer, fragment: Mapping[str, Any]) -> Iterator[Event]:
        call = _call_of(answer, fragment)
        call.name = call.name or fragment.get("name")
        arguments = fragment.get("args") or ""
        if not call.announced:
            arguments = call.waiting + arguments
            if not call.id or not call.name:
                call.waiting = arguments
                return
            yield from self._announce(call.id, call.name, answer.id)
            call.announced = True
        if arguments:
            yield ToolCallArgsEvent(tool_call_id=call.id or "", delta=arguments)

    def _whole(self, message: AIMessage, source: str) -> Iterator[Event]:
        """A message that was not streamed: the model cannot, or a middleware wrote it."""
        if source in self._streamed:  # the sum of what has been told
            return
        yield from self._close()
        answer = self._answer = _Answer(message.id or str(uuid.uuid4()), source)
        yield from _text(answer, str(message.text))
        calls = [(call, json.dumps(call["args"])) for call in message.tool_calls]
        broken = [(call, call["args"] or "") for call in message.invalid_tool_calls]
        for index, (call, arguments) in enumerate([*calls, *broken]):
            whole = {"index": index, "id": call["id"], "name": call["name"], "args": arguments}
            yield from self._fragment(answer, whole)
        yield from self._close()

    def _announce(self, call_id: str, name: str, parent: str | None) -> Iterator[Event]:
        self._unanswered.add(call_id)
        yield ToolCallStartEvent(
            tool_call_id=call_id, tool_call_name=name, parent_message_id=parent
        )

    def _close(self) -> Iterator[Event]:
        """End what is open. Calls end with their message: before, more arguments may come."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        if answer.text_open:
            yield TextMessageEndEvent(message_id=answer.id)
        for call in answer.calls:
            if call.announced:
                yield ToolCallEndEvent(tool_call_id=call.id or "")

    # --- what the tools answer ---------------------------------------------------------------

    def _result(self, message: ToolMessage, *, from_model: bool) -> Iterator[Event]:
        call_id = message.tool_call_id
        yield from self._close()
        if call_id not in self._unanswered:
            if from_model:  # a repair of an earlier turn, told before a model is asked
                return
            yield from self._announce(call_id, message.name or "tool", None)
            yield ToolCallEndEvent(tool_call_id=call_id)
        self._unanswered.discard(call_id)
        yield ToolCallResultEvent(
            message_id=message.id or str(uuid.uuid4()),
            tool_call_id=call_id,
            content=_content(message),
            role="tool",
            # The protocol has no field for it yet.
            metadata={"status": message.status},
        )


def _continues(answer: _Answer, chunk_id: str | None, source: str) -> bool:
    """Whether a chunk goes on with `answer`, and is not the first of another message."""
    if answer.source != source:
        return False
    # Within a message the id may change from ours to the provider's. Two of ours are two calls of
    # the model in one run of the node: a retry, or a fallback.
    ids = (answer.id, chunk_id or answer.id)
    return ids[0] == ids[1] or not all(each.startswith(_OWN_ID) for each in ids)


def _text(answer: _Answer, text: str) -> Iterator[Event]:
    if not text:
        return
    if not answer.text_open:
        answer.text_open = True
        yield TextMessageStartEvent(message_id=answer.id, role="assistant")
    yield TextMessageContentEvent(message_id=answer.id, delta=text)


def _call_of(answer: _Answer, fragment: Mapping[str, Any]) -> _Call:
    """The call that a fragment belongs to, a new one if it begins one."""
    call_id = fragment.get("id")
    index = fragment.get("index")
    slot = call_id if index is None else index
    call = answer.current.get(slot)
    if call is None and slot is None and answer.calls:
        return answer.calls[-1]  # no index and no id: the last one goes on
    if call is None or (call_id and call.id and call.id != call_id):
        # Some servers count every call as number 0: another id is another call.
        call = answer.current[slot] = _Call()
        answer.calls.append(call)
    call.id = call.id or call_id
    return call


def _content(message: ToolMessage) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    return str(message.text) or json.dumps(content, default=str)
