"""What a turn asks a local model and makes of its answers; the model is a list of texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGenerationChunk

from llmkeep.models.local_engine import LocalModelError
from llmkeep.models.local_turns import Model, Question, turn

Conversation = str | Sequence[BaseMessage]
SMALL = Model("small", renders_tools=False, is_small=True)
LARGE = Model("large", renders_tools=False, is_small=False)
NATIVE = Model("native", renders_tools=True, is_small=False)


def tool(
    name: str, description: str, hints: dict[str, Any] | None = None, **properties: Any
) -> Any:
    """A tool as it is bound, every argument required."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function, **({"llmkeep": hints} if hints else {})}


ADD = tool(
    "add",
    "Add numbers.",
    {
        "patterns": [r"(?P<sum>\d+( *\+ *\d+)+)", r"\d.* plus "],
        "examples": [{"message": "1 plus 1", "arguments": {"sum": "1 + 1"}}],
    },
    sum={"type": "string"},
)
WEATHER = tool("weather", "Tell the weather in a city.", city={"type": "string"})
ROLL = tool("roll", "Roll a dice.")
TOOLS = [ADD, WEATHER, ROLL]


class Reading:
    """A turn read to its end: what the model was asked, and what came of it."""

    def __init__(
        self,
        said: str | Sequence[BaseMessage],
        *answers: str,
        model: Model = SMALL,
        **settings: Any,
    ) -> None:
        messages = [HumanMessage(said)] if isinstance(said, str) else said
        self.requests: list[Any] = []
        self.chunks: list[ChatGenerationChunk] = []
        waiting = list(answers)
        for step in turn(messages, {"temperature": 0.7, **settings}, model):
            if isinstance(step, Question):
                self.requests.append(step.request)
                events = self.events(waiting.pop(0))
                made = [chunk for event in events if (chunk := step.read(event)) is not None]
                self.chunks.extend(made)
            else:
                self.chunks.append(step)
        assert not waiting, "the model was not asked this often"

    @staticmethod
    def events(answer: str) -> list[dict[str, Any]]:
        """The events of llama.cpp for an answer, three characters each."""
        pieces = [answer[start : start + 3] for start in range(0, len(answer), 3)]
        reason = "length" if answer.endswith("…") else "stop"
        usage = {"prompt_tokens": 10, "completion_tokens": len(pieces), "total_tokens": 99}
        return [
            {"choices": [{"delta": {"role": "assistant", "content": None}}]},
            {"choices": [], "prompt_progress": {"total": 10}},
            *({"choices": [{"delta": {"content": each}}]} for each in pieces),
            {"choices": [{"delta": {}, "finish_reason": reason}]},
            {"choices": [], "usage": usage},
        ]

    @property
    def message(self) -> AIMessageChunk:
        whole = (self.chunks[0] + self.chunks[1:]).message
        assert isinstance(whole, AIMessageChunk)
        return whole

    @property
    def calls(self) -> list[tuple[str, Any]]:
        return [(call["name"], call["args"]) for call in self.message.tool_calls]

    def schema(self, number: int) -> Any:
        """What bound the model's answer to a question."""
        return self.requests[number]["response_format"]["json_schema"]["schema"]


# --- calls ----------------------------------------------------------------------------------------


def test_pattern_of_a_tool_decides_without_the_model() -> None:
    """Where a tool's own pattern gives all arguments, the call is made and nothing is asked."""
    reading = Reading("What is 12 + 30?", tools=TOOLS)

    assert reading.calls == [("add", {"sum": "12 + 30"})]
    assert reading.requests == []
    assert reading.message.response_metadata["finish_reason"] == "tool_calls"
    assert reading.message.usage_metadata == {
        "input_tokens": 0,
        "output_tokens": 0,
        "total_tokens": 0,
    }


def test_pattern_without_arguments_asks_for_them() -> None:
    """A pattern that only shows that the tool fits leaves the arguments to the model."""
    reading = Reading("12 plus 30", '{"sum": "12 + 30"}', tools=TOOLS)

    assert reading.calls == [("add", {"sum": "12 + 30"})]
    assert reading.schema(0)["properties"] == {"sum": {"type": "string"}}
    assert reading.schema(0)["required"] == ["sum"]
    assert reading.schema(0)["additionalProperties"] is False
    assert [each["content"] for each in reading.requests[0]["messages"][1:]] == [
        "1 plus 1",
        '{"sum": "1 + 1"}',
        "12 plus 30",
    ]


def test_arguments_stream_behind_the_call_they_belong_to() -> None:
    """First name, id and index; then the arguments piece by piece, by index alone."""
    reading = Reading("12 plus 30", '{"sum": "12 + 30"}', tools=TOOLS)

    pieces = [
        piece
        for chunk in reading.chunks
        if isinstance(chunk.message, AIMessageChunk)
        for piece in chunk.message.tool_call_chunks
    ]
    first, *rest = pieces
    assert (first["name"], first["args"], first["index"]) == ("add", "", 0)
    assert first["id"]
    assert len(rest) == 6
    assert {(each["name"], each["id"], each["index"]) for each in rest} == {(None, None, 0)}
    assert "".join(str(each["args"]) for each in rest) == '{"sum": "12 + 30"}'
    last = reading.chunks[-1].message
    assert isinstance(last, AIMessageChunk)
    assert last.chunk_position == "last"


def test_several_finds_are_calls_side_by_side() -> None:
    """One tool twice and another one are three calls, in the message's order, with ids apart."""
    clock = tool("clock", "Tell the time.", {"patterns": [r"what time"]})
    reading = Reading("1+2 and what time is it and 3+4", tools=[clock, ADD])

    assert reading.calls == [("add", {"sum": "1+2"}), ("clock", {}), ("add", {"sum": "3+4"})]
    assert len({call["id"] for call in reading.message.tool_calls}) == 3


def test_of_overlapping_finds_the_first_counts() -> None:
    """What stands inside another tool's find is a part of it."""
    note = tool("note", "Note.", {"patterns": [r"^note: (?P<text>.*)"]}, text={"type": "string"})
    reading = Reading("Note: 1+2 is 3", tools=[ADD, note])

    assert reading.calls == [("note", {"text": "1+2 is 3"})]


def test_model_chooses_among_tools_that_share_a_word() -> None:
    """The choice is bound to their names and none, and is asked without the caller's sampling."""
    reading = Reading("weather in Rome?", '"weather"', '{"city": "Rome"}', tools=TOOLS)

    assert reading.schema(1)["properties"] == {
        "city": {"enum": ["weather", "weather in", "weather in Rome", "in", "in Rome", "Rome"]}
    }
    assert reading.calls == [("weather", {"city": "Rome"})]
    assert reading.schema(0) == {"enum": ["weather", "reply"]}
    assert {request["temperature"] for request in reading.requests} == {0}
    assert reading.message.usage_metadata is not None
    assert reading.message.usage_metadata["input_tokens"] == 20, "both questions count"


def test_model_may_choose_none() -> None:
    """Then the conversation is answered as if there were no tools, with the caller's settings."""
    reading = Reading("I like this weather.", '"reply"', "So do I.", tools=TOOLS)

    assert reading.message.text == "So do I."
    assert reading.calls == []
    assert reading.requests[1]["temperature"] == 0.7
    assert "tools" not in reading.requests[1]
    assert "response_format" not in reading.requests[1]
    assert reading.message.response_metadata["finish_reason"] == "stop"


def test_nothing_fits_and_nothing_is_chosen() -> None:
    """A message that shares no word with any tool is answered at once."""
    reading = Reading("Hello, who are you?", "A model.", tools=TOOLS)

    assert reading.message.text == "A model."
    assert len(reading.requests) == 1


def test_tool_without_arguments_is_called_with_none() -> None:
    """Nobody is asked for arguments that there are not."""
    assert Reading("roll!", '"roll"', tools=TOOLS).calls == [("roll", {})]


def test_value_that_the_message_names_is_taken() -> None:
    """Of an argument with a list of values, the one in the message counts, also behind a slash."""
    zone = {"enum": ["Europe/Rome", "America/New_York"]}
    clock = tool("clock", "Tell the time.", zone=zone)
    reading = Reading("time in new york", '"clock"', tools=[clock])

    assert reading.calls == [("clock", {"zone": "America/New_York"})]


@pytest.mark.parametrize(
    ("said", "bound"),
    [
        ("roll 3 or 20", {"enum": [3, 20]}),
        ("roll 2.5", None),
        ("roll!", None),
    ],
)
def test_numbers_are_taken_from_the_message(said: str, bound: Any) -> None:
    """A number that may be left out is one that the user said, or none."""
    dice = tool("roll", "Roll a dice.", sides={"type": "integer"}, again={"type": "boolean"})
    dice["function"]["parameters"]["required"] = []
    reading = Reading(said, '"roll"', "{}", tools=[dice])

    assert reading.schema(1)["properties"].get("sides") == bound


def test_long_message_offers_no_parts_and_bounds_the_text() -> None:
    """A text that cannot be taken from the message has an end all the same."""
    reading = Reading("weather " * 30, '"weather"', '{"city": "x"}', tools=TOOLS)

    assert reading.schema(1)["properties"] == {"city": {"type": "string", "maxLength": 200}}


def test_tool_with_patterns_is_called_by_them_alone() -> None:
    """Its patterns are decisive both ways: a shared word is not enough."""
    assert Reading("I like to add numbers.", "So do I.", tools=TOOLS).message.text == "So do I."


@pytest.mark.parametrize(
    "hints",
    [{"patterns": ["("]}, {"patterns": [3]}, {"examples": [{"message": "x"}]}, {"examples": ["x"]}],
)
def test_wrong_hints_are_one_line_that_names_the_tool(hints: Any) -> None:
    """What a tool says wrongly of itself is refused when it is bound."""
    with pytest.raises(LocalModelError, match=r"tool add: extras.*cannot be read"):
        Reading("x", tools=[tool("add", "Add.", hints)])


def test_known_arguments_are_fixed_while_others_are_asked_for() -> None:
    """What a pattern gave stands in the schema as a constant."""
    mail = tool(
        "mail",
        "Mail.",
        {"patterns": [r"mail to (?P<to>\w+)"]},
        to={"type": "string"},
        text={"type": "string"},
    )
    reading = Reading("Mail to Ann that I am late", '{"to":"Ann","text":"late"}', tools=[mail])

    properties = reading.schema(0)["properties"]
    assert properties["to"] == {"const": "Ann"}
    assert "I am late" in properties["text"]["enum"]
    assert reading.calls == [("mail", {"to": "Ann", "text": "late"})]


def test_arguments_that_were_cut_are_no_call() -> None:
    """Half of the arguments are an error that says what to change, and never a call."""
    with pytest.raises(LocalModelError, match="no end of the arguments of add: raise max_tokens"):
        Reading("12 plus 30", '{"sum": "12 +…', tools=TOOLS)


@pytest.mark.parametrize("choice", ["any", "required", True])
def test_demanded_call_is_made(choice: Any) -> None:
    """`any` leaves the model no way around a tool."""
    reading = Reading("Hello!", '"roll"', tools=TOOLS, tool_choice=choice)

    assert reading.calls == [("roll", {})]
    assert reading.schema(0) == {"enum": ["add", "weather", "roll"]}


@pytest.mark.parametrize("choice", ["add", {"type": "function", "function": {"name": "add"}}])
def test_named_tool_is_called(choice: Any) -> None:
    """A name leaves nothing to choose; its arguments are asked for."""
    reading = Reading("What weather!", '{"sum": "0"}', tools=TOOLS, tool_choice=choice)

    assert reading.calls == [("add", {"sum": "0"})]


def test_none_means_no_tool() -> None:
    """`none` is plain talk, whatever would fit."""
    assert Reading("1 + 2", "3", tools=TOOLS, tool_choice="none").message.text == "3"


@pytest.mark.parametrize(
    ("choice", "said"), [("multiply", "no such tool is bound"), (3, "give auto, any, none")]
)
def test_wrong_choice_is_one_line(choice: Any, said: str) -> None:
    """A choice that means nothing is refused."""
    with pytest.raises(LocalModelError, match=said):
        Reading("x", tools=TOOLS, tool_choice=choice)


def test_large_model_is_shown_all_tools_and_the_conversation() -> None:
    """Only a small one is spared what does not seem to fit."""
    said = [
        SystemMessage("Be brief."),
        HumanMessage("Hi."),
        AIMessage("Hi!"),
        HumanMessage("Rome?"),
    ]
    reading = Reading(said, '"weather"', '{"city": "Rome"}', model=LARGE, tools=TOOLS)

    assert reading.schema(0) == {"enum": ["add", "weather", "roll", "reply"]}
    contents = [each["content"] for each in reading.requests[0]["messages"]]
    assert contents[-3:] == ["Hi.", "Hi!", "Rome?"]
    assert "Be brief." not in contents


# --- results --------------------------------------------------------------------------------------

CALLED = AIMessage(
    "",
    tool_calls=[
        {"name": "add", "args": {"sum": "1+2"}, "id": "c1"},
        {"name": "weather", "args": {"city": "Rome"}, "id": "c2"},
    ],
)


def result(text: Any, name: str | None = "add", **values: Any) -> ToolMessage:
    return ToolMessage(text, name=name, tool_call_id="c1", **values)


@pytest.mark.parametrize("tools", [TOOLS, []])
def test_result_is_quoted_as_it_is(tools: Any) -> None:
    """One result is the answer, to the letter; the model is not asked."""
    reading = Reading([HumanMessage("1+2?"), CALLED, result("3.000000004")], tools=tools)

    assert reading.message.text == "3.000000004"
    assert reading.requests == []
    assert reading.message.response_metadata["finish_reason"] == "stop"


def test_several_results_are_told_by_name_one_per_line() -> None:
    """Parallel results keep their order."""
    said = [HumanMessage("?"), CALLED, result("3"), result("sunny", "weather")]

    assert Reading(said, tools=TOOLS).message.text == "add: 3\nweather: sunny"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (result("too large", status="error"), "add failed: too large"),
        (result("", status="error"), "add failed: it did not say why"),
        (result("  "), "add returned nothing that can be read."),
        (result("3", name=None), "3"),
        (result([{"type": "text", "text": "3"}, {"type": "image", "url": "x"}]), "3"),
    ],
)
def test_errors_and_empty_results_are_told_as_such(message: ToolMessage, told: str) -> None:
    """A failure reads as a failure; what is no text is left out."""
    assert Reading([HumanMessage("?"), CALLED, message], tools=TOOLS).message.text == told


def test_only_results_that_nobody_answered_are_quoted() -> None:
    """Earlier ones belong to earlier answers."""
    said = [HumanMessage("?"), CALLED, result("3"), AIMessage("3"), HumanMessage("Thanks.")]

    assert Reading(said, "Welcome.", tools=TOOLS).message.text == "Welcome."


def test_results_under_a_schema_are_answered_by_the_model() -> None:
    """A structured answer cannot be a quotation."""
    schema = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    said = [HumanMessage("?"), CALLED, result("3")]
    reading = Reading(said, "{}", tools=TOOLS, response_format=schema)

    assert reading.message.text == "{}"
    assert reading.requests[0]["response_format"] == schema


def test_demanded_call_after_a_result_is_of_another_tool() -> None:
    """Or it would be the same call again and again."""
    said = [HumanMessage("weather 1+2"), CALLED, result("3")]
    reading = Reading(said, '{"city": "x"}', tools=[ADD, WEATHER], tool_choice="any")

    assert reading.calls == [("weather", {"city": "x"})]


def test_large_model_answers_results_and_does_not_call_again() -> None:
    """Without tools in its template it cannot say that it wants another call."""
    reading = Reading(
        [HumanMessage("1+2?"), CALLED, result("3")], "It is 3.", model=LARGE, tools=TOOLS
    )

    assert reading.message.text == "It is 3."
    assert reading.requests[0]["messages"][-1]["content"] == "add returned: 3"


# --- the template's own way -----------------------------------------------------------------------


def test_template_with_tools_is_given_them() -> None:
    """The request carries the tools in OpenAI's shape, without what is for small models alone."""
    reading = Reading("1 + 2", "Let me think.", model=NATIVE, tools=TOOLS)

    (request,) = reading.requests
    assert [each["function"]["name"] for each in request["tools"]] == ["add", "weather", "roll"]
    assert "llmkeep" not in json.dumps(request)
    assert request["parallel_tool_calls"] is True
    assert "tool_choice" not in request


def test_template_with_tools_sees_results() -> None:
    """Such a model may call again, so nothing is quoted for it."""
    said = [HumanMessage("1+2?"), CALLED, result("3")]
    reading = Reading(said, "3.", model=NATIVE, tools=TOOLS, parallel_tool_calls=False)

    (request,) = reading.requests
    assert request["messages"][-1]["role"] == "tool"
    assert request["parallel_tool_calls"] is False
    assert len(request["tools"]) == 3


def test_demanded_call_is_bound_by_a_schema_in_every_model() -> None:
    """llama.cpp lets a model talk where a call was required: only a schema binds it."""
    reading = Reading("Hello!", '"roll"', model=NATIVE, tools=TOOLS, tool_choice="any")

    assert reading.calls == [("roll", {})]
    assert "tools" not in reading.requests[0]
