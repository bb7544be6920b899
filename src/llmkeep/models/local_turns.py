"""What one call of a local model comes to: a plain answer, tool calls, or results repeated.

A turn is a sequence of what the caller gets at once, and of questions for the model whose answers
are read piece by piece. It knows neither engine nor loop: `local_answers` asks the questions.

Where tools are bound, the rules are these, in order:

1. Results of tools that come last are repeated by a small model, never rephrased; any other model
   without tools in its template answers them.
2. A model whose chat template renders tools is given them, unless a call is demanded: llama.cpp
   lets a model talk before a call that it was told to make, and only a schema binds it.
3. What the tools' own patterns find in the user's message is called, at once where nothing is
   missing.
4. Otherwise the tools are offered to the model, to a small one those without patterns that share a
   word with the message, beside just answering; a JSON schema binds its choice, and another one its
   arguments. Where there are none, or the model chooses none, the answer is plain talk.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import AIMessageChunk, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from . import local_wire
from .local_engine import LocalModelError
from .local_tools import (
    Call,
    Tool,
    as_json,
    chosen_call,
    decided_calls,
    fitting,
    read_tool,
    wire_tool,
)

_T = TypeVar("_T")
Event = Mapping[str, Any]
Read = Callable[[Event], ChatGenerationChunk | None]

#: What a choice is called that is no tool, and what is said to get it.
_NO_TOOL: Final = "reply"
_PLAIN_TALK: Final = ("Hello!", "Tell me a story.")
#: A choice and arguments are the likeliest, and not kept from repeating what they must repeat.
_EXACTLY: Final = {"temperature": 0, "repeat_penalty": 1.0}
#: Choices that demand no call.
_FREE: Final = ("auto", "none")
_TOOLS_OPTIONS: Final = frozenset({"tools", "tool_choice", "parallel_tool_calls"})


@dataclass(frozen=True)
class Question:
    """A request to the model, and what the caller gets of each event of its answer."""

    request: Mapping[str, Any]
    read: Read


@dataclass(frozen=True)
class Model:
    """What a turn has to know of the model."""

    name: str
    renders_tools: bool
    """Whether its chat template knows tools."""
    is_small: bool
    """Not trusted to phrase results, or to choose by more than the message and what may fit it."""


Turn = Iterator[Question | ChatGenerationChunk]


def turn(messages: Sequence[BaseMessage], settings: Mapping[str, Any], model: Model) -> Turn:
    """The turn that answers `messages`. Raises LocalModelError for what the model cannot take."""
    choice = _choice(settings.get("tool_choice"))
    bound = [] if choice == "none" else settings.get("tools") or []
    tools = [read_tool(each) for each in bound]
    plain = _plain_question(messages, settings, model)
    results = _results(messages)
    if results and choice in _FREE and model.is_small and not settings.get("response_format"):
        return iter([_quoted(results, model)])
    if tools and choice == "auto" and model.renders_tools:
        return iter([_plain_question(messages, settings, model, tools=bound)])
    if not tools or (results and choice == "auto"):
        return iter([plain])
    answered = {result.name for result in results}
    tools = [tool for tool in tools if tool.name not in answered] or tools
    return _with_tools(_Asking(messages, settings, model), tools, choice, plain)


def _choice(given: Any) -> str:
    """What `tool_choice` says: auto, none, any, or the name of a tool."""
    match given:
        case None | False | "auto":
            return "auto"
        case True | "any" | "required":
            return "any"
        case {"function": {"name": str() as name}} | (str() as name):
            return name
    raise LocalModelError(f"tool_choice={given!r}: give auto, any, none, or the name of a tool")


def _plain_question(
    messages: Sequence[BaseMessage],
    settings: Mapping[str, Any],
    model: Model,
    tools: Sequence[Mapping[str, Any]] = (),
) -> Question:
    """The conversation and the answer as they are; with `tools` in the model's own way."""
    sent = {name: value for name, value in settings.items() if name not in _TOOLS_OPTIONS}
    if tools:
        at_once = settings.get("parallel_tool_calls")
        sent["tools"] = [wire_tool(each) for each in tools]
        sent["parallel_tool_calls"] = True if at_once is None else at_once
    request = local_wire.request(messages, sent, renders_tools=model.renders_tools)
    return Question(request, lambda event: local_wire.chunk(event, model.name))


# --- results repeated -----------------------------------------------------------------------------


def _results(messages: Sequence[BaseMessage]) -> list[ToolMessage]:
    """The results that nobody has answered yet: those at the end."""
    results = itertools.takewhile(lambda each: isinstance(each, ToolMessage), reversed(messages))
    return [each for each in results if isinstance(each, ToolMessage)][::-1]


def _quoted(results: Sequence[ToolMessage], model: Model) -> ChatGenerationChunk:
    """The results as the answer: as they are, and where there are several behind their names."""
    return _last("\n".join(_quote(each, named=len(results) > 1) for each in results), model, "stop")


def _quote(result: ToolMessage, *, named: bool) -> str:
    name, text = result.name or "The tool", str(result.text).strip()
    if result.status == "error":
        return f"{name} failed: {text or 'it did not say why'}"
    if not text:
        return f"{name} returned nothing that can be read."
    return f"{name}: {text}" if named else text


# --- calls bound by a schema ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Asking:
    """What the questions about tools have in common; lives as long as the turn."""

    messages: Sequence[BaseMessage]
    settings: Mapping[str, Any]
    model: Model

    @property
    def said(self) -> str:
        """What the user said last."""
        said = (each for each in reversed(self.messages) if isinstance(each, HumanMessage))
        return str(getattr(next(said, None), "text", ""))

    @property
    def _shown(self) -> list[dict[str, Any]]:
        """What the model is shown of the conversation."""
        if self.model.is_small:
            return [{"role": "user", "content": self.said}]
        shown = [each for each in self.messages if not isinstance(each, SystemMessage)]
        return local_wire.wire(shown, renders_tools=self.model.renders_tools)

    def question(
        self, told: str, examples: Iterable[tuple[str, str]], schema: Mapping[str, Any], read: Read
    ) -> Question:
        """A question about what was said, whose answer `schema` binds."""
        shown: list[dict[str, Any]] = [{"role": "system", "content": told}]
        for said, answer in examples:
            shown.append({"role": "user", "content": said})
            shown.append({"role": "assistant", "content": answer})
        shown += self._shown
        sent = {
            **{name: self.settings.get(name) for name in ("seed", "max_tokens")},
            **_EXACTLY,
            "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
        }
        return Question(local_wire.request_of(shown, sent), read)


def _with_tools(asking: _Asking, tools: list[Tool], choice: str, plain: Question) -> Turn:
    if choice not in ("auto", "any"):
        tools = [tool for tool in tools if tool.name == choice][:1]
        if not tools:
            raise LocalModelError(f"tool_choice={choice!r}: no such tool is bound")
    calls = decided_calls(tools, asking.said)
    if not calls:
        chosen = yield from _chosen(asking, tools, choice)
        if chosen is None:
            yield plain
            return
        calls = [chosen_call(chosen, asking.said)]
    for index, call in enumerate(calls):
        yield _call_chunk(index, name=call.tool.name, args="", id=f"call_{uuid.uuid4().hex}")
        if call.complete:
            yield _call_chunk(index, args=as_json(call.arguments))
        else:
            written = _Written(index)
            yield _arguments_question(asking, call, written)
            if written.cut:  # LangChain would mend them, and the tool be called with half of them
                raise LocalModelError(
                    f"the local model found no end of the arguments of {call.tool.name}:"
                    " raise max_tokens, or use a larger model"
                )
    yield _last("", asking.model, "tool_calls")


def _chosen(
    asking: _Asking, tools: list[Tool], choice: str
) -> Generator[Question | ChatGenerationChunk, None, Tool | None]:
    """The tool that the model chooses, of those that may fit; None where it just answers."""
    offered = fitting(tools, asking.said) if asking.model.is_small else tools
    if choice != "auto":
        offered = offered or tools
        if len(offered) == 1:
            return offered[0]
    if not offered:
        return None
    answers = {tool.name: tool for tool in offered}
    about = [f"{tool.name}: {tool.description}" for tool in offered]
    examples = [[(said, tool.name) for said in tool.asked_for] for tool in offered]
    if choice == "auto":
        about.append(f"{_NO_TOOL}: None of these, just answer.")
        examples.insert(0, [(said, _NO_TOOL) for said in _PLAIN_TALK])
    names = [*answers, *([_NO_TOOL] if choice == "auto" else [])]
    written = _Written()
    yield asking.question(
        "\n".join(["Name the tool that helps with the message.", *about]),
        [(said, as_json(name)) for said, name in _in_turn(examples)],
        {"enum": names},
        written.read,
    )
    return answers.get(written.value())


def _arguments_question(asking: _Asking, call: Call, written: _Written) -> Question:
    tool = call.tool
    about = [
        f"{name}: {schema['description']}"
        for name, schema in tool.properties.items()
        if schema.get("description")
    ]
    return asking.question(
        "\n".join([f"Write the arguments of {tool.name} as JSON. {tool.description}", *about]),
        [(each.message, as_json(each.arguments)) for each in tool.shown],
        call.schema(asking.said if asking.model.is_small else None),
        written.read,
    )


class _Written:
    """What the model writes in answer to one question; the caller sees it as a call's arguments."""

    def __init__(self, index: int | None = None) -> None:
        self._index = index
        self._pieces: list[str] = []
        self.cut = False
        """Whether it ended because no more tokens were allowed."""

    def read(self, event: Event) -> ChatGenerationChunk | None:
        if (usage := local_wire.usage_chunk(event)) is not None:
            return usage
        text, reason = local_wire.piece(event)
        self.cut = self.cut or reason == "length"
        self._pieces.append(text)
        return _call_chunk(self._index, args=text) if text and self._index is not None else None

    def value(self) -> Any:
        """What was written, or None where that is no JSON."""
        try:
            return json.loads("".join(self._pieces))
        except ValueError:  # it was cut
            return None


def _in_turn(lists: Iterable[Iterable[_T]]) -> Iterator[_T]:
    """The first of each, then the second of each: a small model believes what it saw last."""
    for row in itertools.zip_longest(*lists, fillvalue=None):
        yield from (each for each in row if each is not None)


def _call_chunk(index: int | None, **values: str) -> ChatGenerationChunk:
    call = tool_call_chunk(index=index, **values)
    return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[call]))


def _last(text: str, model: Model, reason: str) -> ChatGenerationChunk:
    message = AIMessageChunk(content=text, chunk_position="last")
    message.response_metadata = local_wire.ending(reason, model.name)
    message.usage_metadata = UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)
    return ChatGenerationChunk(message=message)
