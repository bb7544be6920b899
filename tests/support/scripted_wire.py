"""The wire formats of OpenAI and Anthropic, for answers written down piece by piece.

An answer is a list of pieces; each goes out as a chunk of its own, those in a tuple as one chunk:

    [Text("Let me see."), Call(0, "c1", "add"), (Args(0, '{"a"'), Args(0, ": 1}"))]

`Wire.chunks` turns it into what goes over the socket. The end of the message (why it ended, and its
usage) is added where the answer does not break off. Not here: who asks, and when a chunk is sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from tests.support.scripted_signal import Signal


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Call:
    """A tool call begins, with its arguments or some of them; `index` is what others refer to."""

    index: int | None
    id: str
    name: str
    args: str = ""


@dataclass(frozen=True)
class Args:
    """More of the arguments of call `index`."""

    index: int | None
    args: str


@dataclass(frozen=True)
class Thinking:
    """What a model thinks before it speaks; Anthropic alone tells it."""

    text: str
    signature: str


@dataclass(frozen=True)
class Usage:
    """Tokens, those from a cache being among `input`, those of reasoning among `output`."""

    input: int = 10
    output: int = 5
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Failure:
    """The provider gives up in the middle, and says so."""

    message: str


class Broken(Enum):
    """How a connection may end in the middle of an answer."""

    CLOSED = "closed"
    RESET = "reset"


class Gate:
    """What follows goes out when the test opens the gate."""

    def __init__(self) -> None:
        self.reached = Signal()
        self.opened = Signal()


Piece = Text | Thinking | Call | Args | Usage | Failure
Step = Piece | Gate | Broken | tuple[Piece, ...]
Answer = Sequence[Step]
Chunk = bytes | Gate | Broken


class Wire(Protocol):
    """One provider's format."""

    name: str
    path: str

    def chunks(self, answer: Answer) -> Iterator[Chunk]: ...

    def refusal(self, message: str) -> dict[str, Any]: ...


def _breaks_off(answer: Answer) -> bool:
    return bool(answer) and isinstance(answer[-1], Broken | Failure)


def _pieces(answer: Answer) -> Iterator[Piece]:
    for step in answer:
        if isinstance(step, tuple):
            yield from step
        elif not isinstance(step, Gate | Broken):
            yield step


def _usage(answer: Answer) -> Usage:
    return next((each for each in _pieces(answer) if isinstance(each, Usage)), Usage())


def _has_calls(answer: Answer) -> bool:
    return any(isinstance(each, Call) for each in _pieces(answer))


class OpenAI:
    """Chat completions, streamed."""

    name = "openai"
    path = "/v1/chat/completions"

    def chunks(self, answer: Answer) -> Iterator[Chunk]:
        yield self._chunk({"role": "assistant", "content": ""})
        for step in answer:
            match step:
                case Gate() | Broken():
                    yield step
                case Failure():
                    yield _data({"error": {"message": step.message, "type": "server_error"}})
                case Usage():
                    pass
                case _:
                    yield self._chunk(_delta(step if isinstance(step, tuple) else (step,)))
        if not _breaks_off(answer):
            yield self._chunk({}, "tool_calls" if _has_calls(answer) else "stop")
            yield self._usage_chunk(_usage(answer))
            yield b"data: [DONE]\n\n"

    def refusal(self, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": "invalid_request_error", "code": None}}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return self._event([{"index": 0, "delta": delta, "finish_reason": finish}], None)

    def _usage_chunk(self, usage: Usage) -> bytes:
        return self._event(
            [],
            {
                "prompt_tokens": usage.input,
                "completion_tokens": usage.output,
                "total_tokens": usage.input + usage.output,
                "prompt_tokens_details": {"cached_tokens": usage.cached},
                "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
            },
        )

    def _event(self, choices: list[Any], usage: dict[str, Any] | None) -> bytes:
        return _data(
            {
                "id": "chatcmpl-scripted",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "scripted",
                "choices": choices,
                "usage": usage,
            }
        )


def _delta(pieces: tuple[Piece, ...]) -> dict[str, Any]:
    delta: dict[str, Any] = {}
    calls: list[dict[str, Any]] = []
    for piece in pieces:
        match piece:
            case Text():
                delta["content"] = delta.get("content", "") + piece.text
            case Call():
                function = {"name": piece.name, "arguments": piece.args}
                call = {"index": piece.index, "id": piece.id, "type": "function"}
                calls.append({**call, "function": function})
            case Args():
                calls.append({"index": piece.index, "function": {"arguments": piece.args}})
    return {**delta, "tool_calls": calls} if calls else delta


class Anthropic:
    """Messages, streamed."""

    name = "anthropic"
    path = "/v1/messages"

    def chunks(self, answer: Answer) -> Iterator[Chunk]:
        usage, blocks = _usage(answer), _Blocks(answer)
        yield self._start(usage)
        for step in answer:
            match step:
                case Gate() | Broken():
                    yield step
                case Failure():
                    error = {"type": "overloaded_error", "message": step.message}
                    yield _event("error", error=error)
                case Usage():
                    pass
                case _:
                    pieces = step if isinstance(step, tuple) else (step,)
                    yield b"".join(blocks.events(piece) for piece in pieces)
        if not _breaks_off(answer):
            reason = "tool_use" if _has_calls(answer) else "end_turn"
            yield blocks.rest() + _event(
                "message_delta",
                delta={"stop_reason": reason, "stop_sequence": None},
                usage=self._tokens(usage),
            )
            yield _event("message_stop")

    def refusal(self, message: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}

    def _start(self, usage: Usage) -> bytes:
        message: dict[str, Any] = {
            "id": "msg_scripted",
            "type": "message",
            "role": "assistant",
            "model": "scripted",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**self._tokens(usage), "output_tokens": 1},
        }
        return _event("message_start", message=message)

    def _tokens(self, usage: Usage) -> dict[str, Any]:
        return {
            "input_tokens": usage.input - usage.cached,
            "cache_read_input_tokens": usage.cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": usage.output,
            "output_tokens_details": {"thinking_tokens": usage.reasoning},
        }


class _Blocks:
    """The content blocks of one message; each is closed when nothing more of it will come."""

    def __init__(self, answer: Answer) -> None:
        self._left = [_key(piece) for piece in _pieces(answer) if not isinstance(piece, Usage)]
        self._opened = 0
        self._open: dict[int | str | None, int] = {}

    def events(self, piece: Piece) -> bytes:
        """Everything that tells this piece."""
        key = _key(piece)
        self._left.pop(0)
        events = self._close_unless_needed(key)
        match piece:
            case Text():
                if key not in self._open:
                    events += self._begin(key, {"type": "text", "text": ""})
                events += self._more(key, {"type": "text_delta", "text": piece.text})
            case Thinking():
                block = {"type": "thinking", "thinking": "", "signature": ""}
                events += self._begin(key, block)
                events += self._more(key, {"type": "thinking_delta", "thinking": piece.text})
                signature = {"type": "signature_delta", "signature": piece.signature}
                events += self._more(key, signature)
            case Call():
                call = {"type": "tool_use", "id": piece.id, "name": piece.name, "input": {}}
                events += self._begin(key, call)
                if piece.args:
                    events += self._more(key, _json(piece.args))
            case Args():
                events += self._more(key, _json(piece.args))
        return events

    def rest(self) -> bytes:
        """The ends of what is open at the end of the message."""
        self._left.clear()
        return self._close_unless_needed(None)

    def _begin(self, key: int | str | None, block: dict[str, Any]) -> bytes:
        self._open[key] = index = self._opened
        self._opened += 1
        return _event("content_block_start", index=index, content_block=block)

    def _more(self, key: int | str | None, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", index=self._open[key], delta=delta)

    def _close_unless_needed(self, key: int | str | None) -> bytes:
        more = [each for each in self._left if each != "text"]  # text goes on in another block
        done = [each for each in self._open if each != key and each not in more]
        return b"".join(_event("content_block_stop", index=self._open.pop(each)) for each in done)


def _key(piece: Piece) -> int | str | None:
    if isinstance(piece, Call | Args):
        return piece.index
    return "thinking" if isinstance(piece, Thinking) else "text"


def _json(fragment: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": fragment}


def _data(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def _event(kind: str, **payload: Any) -> bytes:
    return f"event: {kind}\n".encode() + _data({"type": kind, **payload})


WIRES: dict[str, Wire] = {"openai": OpenAI(), "anthropic": Anthropic()}
