"""Tool calls of the model in the box, and of a GGUF file whose template knows tools."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from langchain.agents import create_agent
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.tools import BaseTool, ToolException, tool

import llmkeep
from llmkeep.models.adapters import MissingExtra
from llmkeep.models.local import BOXES, VARIABLE, ChatLocal, LocalModelError
from llmkeep.models.local_engine import Engine, Job

PATIENCE = 60.0

try:
    ChatLocal(model="smollm2")
    FILE = BOXES["smollm2"].path()
except MissingExtra as missing:
    pytest.skip(str(missing), allow_module_level=True)


@tool(
    extras={
        "llmkeep": {
            "patterns": [r"(?P<expression>\d+(?: *[-+*/] *\d+)+)", r"\d.* times "],
            "examples": [
                {"message": "What is 3 times 14?", "arguments": {"expression": "3 * 14"}},
                {"message": "5 times 2", "arguments": {"expression": "5 * 2"}},
            ],
        }
    }
)
def calculator(expression: str) -> str:
    """Compute an arithmetic expression."""
    numbers = [int(each) for each in expression.split("*")]
    if 0 in numbers:
        raise ToolException("no zeros, please")
    return str(numbers[0] * numbers[1])


calculator.handle_tool_error = True


@tool
def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    return f"sunny in {city}"


TOOLS: Final[list[BaseTool]] = [calculator, get_weather]


@pytest.fixture(scope="module")
def llm() -> Iterator[ChatLocal]:
    model = ChatLocal(model="smollm2", temperature=0, max_tokens=40, context_size=1024)
    model.load()
    yield model
    model.close()


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The requests that are made in this test."""
    made: list[Job] = []
    start = Engine.start

    def spy(*arguments: Any) -> Job:
        made.append(start(*arguments))
        return made[-1]

    monkeypatch.setattr(Engine, "start", spy)
    return made


def asking(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


def pieces_of(chunks: list[Any]) -> list[Any]:
    return [each for chunk in chunks for each in chunk.tool_call_chunks]


def texts(messages: list[BaseMessage]) -> list[str]:
    return [str(each.text) for each in messages]


# --- the model in the box -------------------------------------------------------------------------


def test_agent_calls_and_quotes(llm: ChatLocal) -> None:
    """A question that a tool's pattern finds is a call, and its result is the answer."""
    _, call, result, answer = create_agent(llm, TOOLS).invoke(asking("What is 12 * 34?"))[
        "messages"
    ]

    assert [(each["name"], each["args"]) for each in call.tool_calls] == [
        ("calculator", {"expression": "12 * 34"})
    ]
    assert isinstance(result, ToolMessage)
    assert answer.text == "408"


def test_agent_talks_where_no_tool_fits(llm: ChatLocal) -> None:
    """The answer is the one that the model gives without tools."""
    _, answer = create_agent(llm, TOOLS).invoke(asking("Hello, who are you?"))["messages"]

    assert answer.text == llm.invoke("Hello, who are you?").text
    assert answer.tool_calls == []


def test_agent_tells_an_error_as_an_error(llm: ChatLocal) -> None:
    """What a tool refused is not told as its result."""
    messages = create_agent(llm, TOOLS).invoke(asking("0 * 5"))["messages"]

    assert texts(messages)[-1] == "calculator failed: no zeros, please"


def test_calls_side_by_side_are_quoted_in_order(llm: ChatLocal) -> None:
    """Two expressions are two calls of one turn."""
    messages = create_agent(llm, TOOLS).invoke(asking("2 * 3 and 4 * 5"))["messages"]

    assert [len(each.tool_calls) for each in messages if isinstance(each, AIMessage)] == [2, 0]
    assert texts(messages)[-1] == "calculator: 6\ncalculator: 20"


def test_model_writes_arguments_as_it_was_shown(llm: ChatLocal) -> None:
    """Where a pattern gives no arguments the model does, and they arrive piece by piece."""
    chunks = list(llm.bind_tools(TOOLS).stream("What is 9 times 13?"))

    pieces = pieces_of(chunks)
    assert len(pieces) > 5
    assert (pieces[0]["name"], pieces[0]["args"]) == ("calculator", "")
    assert {each["index"] for each in pieces} == {0}
    whole = chunks[0] + chunks[1:]
    assert isinstance(whole, AIMessageChunk)
    assert whole.tool_calls[0]["args"] == {"expression": "9 * 13"}
    assert whole.response_metadata["finish_reason"] == "tool_calls"
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] > 5


async def test_model_chooses_a_tool_that_says_nothing_of_itself(llm: ChatLocal) -> None:
    """A tool without hints is chosen by the model, which copies the argument."""
    answer = await llm.bind_tools(TOOLS).ainvoke("What's the weather in Paris?")

    (call,) = answer.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})


def test_demanded_call_is_made_whatever_is_said(llm: ChatLocal) -> None:
    """`tool_choice` binds; a name that is not bound is refused."""
    for choice in ("any", "get_weather"):
        answer = llm.bind_tools(TOOLS, tool_choice=choice).invoke("Hello!")
        assert len(answer.tool_calls) == 1
    assert answer.tool_calls[0]["name"] == "get_weather"

    assert not llm.bind_tools(TOOLS, tool_choice="none").invoke("2 * 3").tool_calls
    with pytest.raises(LocalModelError, match="no such tool is bound"):
        llm.bind_tools(TOOLS, tool_choice="nothing").invoke("2 * 3")


def test_wrong_hints_are_refused_when_they_are_bound(llm: ChatLocal) -> None:
    """Not in the middle of a conversation."""
    wrong = get_weather.model_copy(update={"extras": {"llmkeep": {"patterns": ["("]}}})

    with pytest.raises(LocalModelError, match="tool get_weather"):
        llm.bind_tools([wrong])


def test_handle_calls_tools_under_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """`chat_model` gives the same calls, one caller at a time."""
    monkeypatch.delenv(VARIABLE, raising=False)
    handle = llmkeep.chat_model("local:smollm2", context_size=1024)

    assert handle.profile is not None
    assert handle.profile["tool_calling"] is True
    assert handle.profile["max_input_tokens"] == 1024
    answers = [*handle.bind_tools(TOOLS).batch(["12 * 34", "What is 9 times 13?"])]
    assert [each.tool_calls[0]["args"]["expression"] for each in answers] == ["12 * 34", "9 * 13"]


@pytest.mark.parametrize("asked", ["What's the weather in Paris?", "What is 9 times 13?"])
async def test_i7_cancelled_while_it_chooses(llm: ChatLocal, jobs: list[Job], asked: str) -> None:
    """A turn cancelled in a question about tools asks no more, and the next call works."""
    task = asyncio.create_task(llm.bind_tools(TOOLS).ainvoke(asked))
    while not jobs:
        await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert jobs[0].stopped
    assert (await llm.ainvoke("x", max_tokens=1)).response_metadata
    assert len(jobs) == 2, "the cancelled turn went on"
    assert jobs[0].finished.is_set()


async def test_i7_left_between_two_questions(llm: ChatLocal, jobs: list[Job]) -> None:
    """A stream that is left when the call has begun stops the question about its arguments."""
    stream: Any = llm._astream([HumanMessage("9 times 13")], tools=bound())
    assert (await anext(stream)).message.tool_call_chunks[0]["name"] == "calculator"
    assert (await anext(stream)).message.tool_call_chunks[0]["args"]

    await stream.aclose()

    assert [job.stopped for job in jobs] == [True]
    assert (await llm.ainvoke("x", max_tokens=1)).response_metadata


def bound() -> Any:
    bound: Any = ChatLocal(model="smollm2").bind_tools(TOOLS)
    return bound.kwargs["tools"]


# --- a file whose template knows tools ------------------------------------------------------------

#: As Hermes and Qwen have it, in short.
TEMPLATE: Final = r"""
{%- if tools %}{{- '<|im_start|>system\n# Tools\n\nYou may call one or more functions to assist ' }}
{{- 'with the user query.\n\nYou are provided with function signatures within ' }}
{{- '<tools></tools> XML tags:\n<tools>' }}
{%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\n</tools>\n\nFor each function call, return a json object with function name and ' }}
{{- 'arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, ' }}
{{- '"arguments": <args-json-object>}\n</tool_call><|im_end|>\n' }}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'assistant' and message.tool_calls %}{{- '<|im_start|>assistant' }}
{%- for call in message.tool_calls %}{%- set call = call.function %}
{{- '\n<tool_call>\n{"name": "' + call.name + '", "arguments": ' }}
{{- call.arguments | tojson }}{{- '}\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\n<tool_response>\n' + message.content + '\n</tool_response><|im_end|>\n' }}
{%- else %}{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""


@pytest.fixture(scope="module")
def file_with_tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in the box with another template, so long that the weights stay aligned."""
    content = FILE.read_bytes()
    at = content.index(b"tokenizer.chat_template") + len(b"tokenizer.chat_template") + 4
    (length,) = struct.unpack_from("<Q", content, at)
    template = TEMPLATE.encode()
    template += b" " * ((length - len(template)) % 32)
    path = tmp_path_factory.mktemp("gguf") / "tools.gguf"
    rest = content[at + 8 + length :]
    path.write_bytes(content[:at] + struct.pack("<Q", len(template)) + template + rest)
    return path


@pytest.fixture(scope="module")
def native(file_with_tools: Path) -> Iterator[ChatLocal]:
    model = ChatLocal(model=str(file_with_tools), temperature=0, max_tokens=100, context_size=2048)
    model.load()
    yield model
    model.close()


def answered() -> list[BaseMessage]:
    """A conversation that ends with two results."""
    called = AIMessage(
        "",
        tool_calls=[
            {"name": "calculator", "args": {"expression": "2*3"}, "id": "c1"},
            {"name": "get_weather", "args": {"city": "Rome"}, "id": "c2"},
        ],
    )
    results = [ToolMessage("6", tool_call_id="c1"), ToolMessage("sunny", tool_call_id="c2")]
    return [HumanMessage("What is 2*3 and the weather in Rome?"), called, *results]


def test_template_with_tools_talks_and_demands(native: ChatLocal) -> None:
    """Without a reason to call it talks; where a call is demanded a schema binds it."""
    tools = native.bind_tools(TOOLS)

    spoken, shown = tools.invoke("Say hello."), native.invoke("Say hello.")
    assert spoken.text
    assert spoken.usage_metadata is not None
    assert shown.usage_metadata is not None
    assert spoken.usage_metadata["input_tokens"] > shown.usage_metadata["input_tokens"] + 100
    demanded = native.bind_tools(TOOLS, tool_choice="get_weather").invoke("The weather in Rome?")
    (call,) = demanded.tool_calls
    assert call["name"] == "get_weather"
    assert isinstance(json.loads(json.dumps(call["args"]))["city"], str)


def test_results_are_answered_by_a_model_of_the_users_own(native: ChatLocal) -> None:
    """Only the model in the box is kept from phrasing results; the field says otherwise."""
    said = answered()

    assert native.quotes_results is False
    assert native.bind_tools(TOOLS).invoke(said).text != "The tool: 6"
    quoting = native.model_copy(update={"quotes_results": True})
    assert quoting.bind_tools(TOOLS).invoke(said).text == "The tool: 6\nThe tool: sunny"
