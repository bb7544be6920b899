"""Translation: what a model says and tools answer, into AG-UI events.

Pure: no I/O, no loop, no clock. One `Translator` per run; each method gives the events to send.
What a provider streams is keyed by nothing a consumer could use (fragments of several calls come
interleaved, a whole call in one chunk), so everything is kept apart here: a fragment belongs to a
call by its index, or by its id where there is no index, and every call goes out as START, ARGS*,
END, RESULT under an id that nothing else in the conversation has. Some servers name every first
call `call_0`, or every message alike: those are renamed, on the wire and in what is stored.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ag_ui.core import (
    PROTOCOL_VERSION,
    Event,
    Interrupt,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    RunFinishedOutcome,
    RunFinishedSuccessOutcome,
    RunStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    TokenUsage,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    InvalidToolCall,
    ToolCall,
    ToolMessage,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from .answers import UNREADABLE
from .texts import encodable

#: Names and ids of calls that every provider takes back.
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")
_CALL_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")

#: Tries whether arguments can be stored, with the serializer that savers have.
_SERDE: Final = JsonPlusSerializer()

#: What is told with the end of a message that was cut. The protocol has no field for it.
_CUT: Final = {"status": "partial"}

#: How langchain-core begins the ids that it gives where the provider gave none.
_OWN_ID: Final = "lc_run-"


@dataclass(slots=True, eq=False)
class _Call:
    """One tool call while its arguments arrive; lives until its message is closed."""

    source_id: str | None = None
    """What the provider calls it."""
    name: str | None = None
    arguments: list[str] = field(default_factory=list)
    """As they came."""
    id: str = ""
    """What it is called here, once it has been announced."""


@dataclass(slots=True)
class _Answer:
    """One message of the model while it arrives; lives until it is closed."""

    id: str
    source_id: str | None
    """What the provider calls it."""
    is_streamed: bool
    text_open: bool = False
    calls: list[_Call] = field(default_factory=list)
    current: dict[int | str | None, _Call] = field(default_factory=dict)
    """The call that a fragment with this index belongs to."""


@dataclass(frozen=True, slots=True)
class Spent:
    """The tokens of a run, by model, and of its whole conversation so far."""

    run: Sequence[TokenUsage] = ()
    conversation: Mapping[str, int] = field(default_factory=dict)


class Translator:
    """Lives as long as one run."""

    def __init__(self, thread_id: str, run_id: str) -> None:
        self._thread_id = thread_id
        self._run_id = run_id
        self._answer: _Answer | None = None
        self._taken: set[str] = set()

    def take(self, ids: Iterable[str | None]) -> None:
        """Note the ids of what is in the conversation already."""
        self._taken.update(each for each in ids if each)

    def started(self) -> Iterator[Event]:
        """The first event of the run."""
        yield RunStartedEvent(
            thread_id=self._thread_id, run_id=self._run_id, protocol_version=PROTOCOL_VERSION
        )

    # --- what the model says -----------------------------------------------------------------

    def chunk(self, chunk: AIMessageChunk) -> Iterator[Event]:
        """The events for a fragment of the model's message."""
        answer = self._answer
        if answer is None or not _continues(answer, chunk.id):
            yield from self._close()
            answer = self._begin(chunk.id, is_streamed=True)
        yield from _text(answer, str(chunk.text))
        for fragment in chunk.tool_call_chunks:
            yield from self._fragment(answer, fragment)

    def named(self, message: AIMessage, *, is_cut: bool = False) -> AIMessage:
        """The message as it must be stored: with the ids under which it is told, and sound.

        A call whose arguments are no JSON object (langchain-core completes them where it can)
        becomes one that is refused; it is left out of a message that was cut.
        """
        answer = self._answer or self._begin(message.id, is_streamed=False)
        announced = [call for call in answer.calls if call.id]
        calls: list[ToolCall] = []
        renamed: set[int] = set()
        content = message.content
        if isinstance(content, str):
            content = encodable(content)
        for call in [*message.tool_calls, *map(_refused, message.invalid_tool_calls)]:
            told = next((each for each in announced if each.source_id == call["id"]), None)
            kept = call.copy()
            kept["id"] = told.id if told is not None else self._free_call(call["id"])
            kept["name"] = _name(call["name"])
            if told is not None:
                announced.remove(told)
                kept["args"] = _arguments(call["args"], "".join(told.arguments), is_cut=is_cut)
            elif not _is_sound(call["args"]):
                kept["args"] = {UNREADABLE: encodable(str(call["args"]))}
            if is_cut and UNREADABLE in kept["args"]:
                continue
            calls.append(kept)
            content = _with_call(content, call["id"], kept, renamed)
        return message.model_copy(
            update={
                "id": answer.id,
                "tool_calls": calls,
                "invalid_tool_calls": [],
                "content": content,
            }
        )

    def answered(self, message: AIMessage) -> Iterator[Event]:
        """The events for a `named` message that is whole now: what its chunks have not told."""
        answer = self._answer
        assert answer is not None, "it was named"
        if not answer.is_streamed:
            yield from _text(answer, str(message.text))
        announced = {call.id for call in answer.calls}
        for call in message.tool_calls:
            if call["id"] not in announced:
                arguments = call["args"].get(UNREADABLE)
                if arguments is None:
                    arguments = json.dumps(call["args"], ensure_ascii=False)
                new = _Call(call["id"], call["name"], [arguments])
                answer.calls.append(new)
                yield from self._announce(answer, new, call["id"] or "")
        yield from self._close(metadata=None)

    def _begin(self, source_id: str | None, *, is_streamed: bool) -> _Answer:
        self._answer = _Answer(self._free(source_id), source_id, is_streamed)
        return self._answer

    def _free(self, wanted: str | None) -> str:
        """The id that was wanted, or another if that is taken."""
        free = wanted if wanted and wanted not in self._taken else str(uuid.uuid4())
        self._taken.add(free)
        return free

    def _free_call(self, wanted: str | None) -> str:
        # OpenAI takes 40 characters, Anthropic these.
        return self._free(wanted if wanted and _CALL_ID.fullmatch(wanted) else None)

    def _fragment(self, answer: _Answer, fragment: Mapping[str, Any]) -> Iterator[Event]:
        call = _call_of(answer, fragment)
        call.name = call.name or fragment.get("name")
        arguments = fragment.get("args") or ""
        call.arguments.append(arguments)
        if call.id:
            if arguments:
                yield ToolCallArgsEvent(tool_call_id=call.id, delta=arguments)
        elif call.source_id and call.name:
            yield from self._announce(answer, call, self._free_call(call.source_id))

    def _announce(self, answer: _Answer, call: _Call, call_id: str) -> Iterator[Event]:
        call.id = call_id
        yield ToolCallStartEvent(
            tool_call_id=call_id, tool_call_name=_name(call.name), parent_message_id=answer.id
        )
        if arguments := "".join(call.arguments):
            yield ToolCallArgsEvent(tool_call_id=call_id, delta=arguments)

    def _close(self, metadata: dict[str, Any] | None = _CUT) -> Iterator[Event]:
        """End what is open: what was cut, unless it says otherwise.

        Calls end with their message: before, more arguments may come.
        """
        answer, self._answer = self._answer, None
        if answer is None:
            return
        if answer.text_open:
            yield TextMessageEndEvent(message_id=answer.id, metadata=metadata)
        for call in answer.calls:
            if call.id:
                yield ToolCallEndEvent(tool_call_id=call.id, metadata=metadata)

    # --- what the tools answer ---------------------------------------------------------------

    def results(self, messages: Iterable[ToolMessage]) -> Iterator[Event]:
        """The events for answers of tools; a call of an earlier run was announced by that run."""
        yield from self._close()
        for message in messages:
            yield ToolCallResultEvent(
                message_id=message.id or message.tool_call_id,
                tool_call_id=message.tool_call_id,
                content=_content(message),
                role="tool",
                # The protocol has no field for it yet.
                metadata={"status": message.status, **message.response_metadata},
            )

    # --- the end -----------------------------------------------------------------------------

    def finished(self, spent: Spent) -> Iterator[Event]:
        """The last event of a run that did what it should, and before it what was still open."""
        yield from self._end(RunFinishedSuccessOutcome(), spent)

    def interrupted(self, interrupts: list[Interrupt], spent: Spent) -> Iterator[Event]:
        """The last event of a run that goes on when somebody has answered."""
        yield from self._end(RunFinishedInterruptOutcome(interrupts=interrupts), spent)

    def cancelled(self, spent: Spent) -> Iterator[Event]:
        """The last event of a run that was stopped."""
        yield from self._end(RunFinishedCancelledOutcome(), spent)

    def failed(self, message: str, code: str, spent: Spent | None = None) -> Iterator[Event]:
        """The last event of a run that failed, and before it what was still open."""
        yield from self._close()
        spent = spent or Spent()
        yield RunErrorEvent(
            message=message, code=code, usage=[*spent.run] or None, metadata=_sum_of(spent)
        )

    def _end(self, outcome: RunFinishedOutcome, spent: Spent) -> Iterator[Event]:
        yield from self._close()
        yield RunFinishedEvent(
            thread_id=self._thread_id,
            run_id=self._run_id,
            outcome=outcome,
            usage=[*spent.run] or None,
            metadata=_sum_of(spent),
        )


def _sum_of(spent: Spent) -> dict[str, Any] | None:
    return {"conversationUsage": dict(spent.conversation)} if spent.conversation else None


def _continues(answer: _Answer, chunk_id: str | None) -> bool:
    """Whether a chunk goes on with `answer`, and is not the first of another message."""
    # Within a message the id may change from langchain-core's to the provider's. Two of
    # langchain-core's are two calls of the model: a retry, or a fallback.
    ids = (answer.source_id or "", chunk_id or answer.source_id or "")
    return ids[0] == ids[1] or not all(each.startswith(_OWN_ID) for each in ids)


def _text(answer: _Answer, text: str) -> Iterator[Event]:
    if not text:
        return
    if not answer.text_open:
        answer.text_open = True
        yield TextMessageStartEvent(message_id=answer.id, role="assistant")
    yield TextMessageContentEvent(message_id=answer.id, delta=encodable(text))


def _call_of(answer: _Answer, fragment: Mapping[str, Any]) -> _Call:
    """The call that a fragment belongs to, a new one if it begins one."""
    call_id = fragment.get("id")
    index = fragment.get("index")
    slot = call_id if index is None else index
    call = answer.current.get(slot)
    if call is None and slot is None and answer.calls:
        return answer.calls[-1]  # no index and no id: the last one goes on
    if call is None or (call_id and call.source_id and call.source_id != call_id):
        # Some servers count every call as number 0: another id is another call.
        call = answer.current[slot] = _Call()
        answer.calls.append(call)
    call.source_id = call.source_id or call_id
    return call


def _refused(call: InvalidToolCall) -> ToolCall:
    return ToolCall(
        type="tool_call",
        name=call["name"] or "",
        args={UNREADABLE: call["args"] or ""},
        id=call["id"],
    )


def _name(name: str | None) -> str:
    """A name that can be sent back: some models call what is no name of a tool."""
    return _NO_NAME.sub("_", name or "")[:64] or "unknown"


def arguments_of(came: str, *, is_cut: bool = False) -> dict[str, Any]:
    """The arguments of a call, from what was told of them; as `named` stores them.

    Under `UNREADABLE` alone where they are no JSON object.
    """
    try:
        read = json.loads(came)
    except (ValueError, RecursionError):
        read = None
    return _arguments(read if isinstance(read, dict) else {}, came, is_cut=is_cut)


def _arguments(read: dict[str, Any], came: str, *, is_cut: bool) -> dict[str, Any]:
    """The arguments of a call that was streamed: those that were read, or a refusal."""
    if came.strip() == "null" or not (came or is_cut):
        return {}
    try:
        is_object = isinstance(json.loads(came), dict)
    except (ValueError, RecursionError):
        is_object = False
    return read if is_object and _is_sound(read) else {UNREADABLE: encodable(came)}


def _is_sound(arguments: dict[str, Any]) -> bool:
    """Whether they can be stored, and sent back."""
    try:
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
        _SERDE.dumps_typed(arguments)
    except Exception:  # no number that JSON has, more than 64 bits, half a character, too deep ...
        return False
    return True


def _with_call(
    content: str | list[str | dict[Any, Any]],
    old_id: str | None,
    call: ToolCall,
    renamed: set[int],
) -> str | list[str | dict[Any, Any]]:
    """The content with this call as it is now: some providers repeat calls in it.

    `renamed` are the blocks of calls that have had their turn.
    """
    if isinstance(content, str):
        return content
    for number, block in enumerate(content):
        if isinstance(block, dict) and number not in renamed:
            changed = _block(block, old_id, call)
            if changed is not block:
                renamed.add(number)
                return [*content[:number], changed, *content[number + 1 :]]
    return content


def _block(block: dict[Any, Any], old_id: str | None, call: ToolCall) -> dict[Any, Any]:
    name = next((key for key in ("call_id", "id") if block.get(key) == old_id), None)
    if name is None or old_id is None:
        return block
    changed = {**block, name: call["id"]}
    if "name" in block:
        changed["name"] = call["name"]
    if UNREADABLE in call["args"]:
        changed.pop("partial_json", None)
        if "arguments" in block:
            changed["arguments"] = json.dumps(call["args"])
        else:
            changed["input"] = call["args"]
    return changed


def _content(message: ToolMessage) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    return str(message.text) or json.dumps(content, default=str)
