"""What is in the log, and what never is."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import warnings
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from llmkeep.service.observability import configure_logging, log_context
from llmkeep.settings import ServiceSettings
from tests.support.scripted import Scripted
from tests.support.scripted_agent import Agent
from tests.support.scripted_talk import ask
from tests.support.scripted_wire import Call, Text

KEY = "sk-planted-0123456789abcdef"
TOKEN = "planted-bearer-token-of-anna"
MESSAGE = "the-patient-has-a-rare-disease"

logger = logging.getLogger("llmkeep.service.test")


class Terminal(io.StringIO):
    """A stream that people read."""

    def isatty(self) -> bool:
        return True


def configured(stream: io.StringIO | None = None, **settings: Any) -> io.StringIO:
    stream = stream or io.StringIO()
    configure_logging(ServiceSettings.model_validate(settings), stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


# --- what there is -------------------------------------------------------------------------------


async def test_a_line_says_what_it_is_about():
    """Ids come from the context, in tasks that were made within, too; the rest from the line."""
    stream = configured()

    async def work() -> None:
        logger.info("written %d", 3, extra={"seconds": 0.5})

    with log_context(run_id="r1", thread_id="t1", user="anna"):
        await asyncio.create_task(work())
    logger.info("after")
    within, after = lines(stream)
    assert within.pop("time").endswith("Z")
    assert within == {
        "event": "written 3",
        "level": "info",
        "logger": "llmkeep.service.test",
        "run_id": "r1",
        "thread_id": "t1",
        "user": "anna",
        "seconds": 0.5,
    }
    assert "run_id" not in after


def test_the_level_is_that_of_the_settings():
    """For what is ours, and the server's; others are heard when something is wrong."""
    stream = configured(log_level="warning")
    for name in ("llmkeep.x", "uvicorn.error", "httpx", "somebody"):
        logging.getLogger(name).info("info of %s", name)
        logging.getLogger(name).warning("warning of %s", name)
    assert [line["event"] for line in lines(stream)] == [
        f"warning of {name}" for name in ("llmkeep.x", "uvicorn.error", "httpx", "somebody")
    ]
    stream = configured(log_level="debug")
    for name in ("llmkeep.x", "uvicorn.error", "httpx", "somebody"):
        logging.getLogger(name).debug("debug of %s", name)
    assert [line["event"] for line in lines(stream)] == [
        "debug of llmkeep.x",
        "debug of uvicorn.error",
    ]


def test_people_get_lines_and_programs_json():
    """Unless the settings say otherwise."""
    for stream, settings, is_json in (
        (io.StringIO(), {}, True),
        (Terminal(), {}, False),
        (Terminal(), {"log_format": "json"}, True),
        (io.StringIO(), {"log_format": "console"}, False),
    ):
        configured(stream, **settings)
        logger.info("hello", extra={"status": 200})
        text = stream.getvalue()
        assert text.count("\n") == 1
        assert text.startswith("{") is is_json
        assert "hello" in text
        assert "200" in text


def test_uvicorn_speaks_through_it_and_its_own_log_of_requests_is_off():
    """That one has whole addresses, with ids and queries."""
    stream = configured()
    logging.getLogger("uvicorn.error").info("started", extra={"color_message": "\x1b[1mstarted"})
    logging.getLogger("uvicorn.access").info('%s - "GET /?token=x"', "127.0.0.1")
    assert [line["event"] for line in lines(stream)] == ["started"]
    assert "color_message" not in stream.getvalue()


def test_warnings_of_the_interpreter_are_logged():
    """They would stand in the way of a program that reads the log."""
    stream = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("that is old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    (line,) = lines(stream)
    assert "that is old" in line["event"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_comes_with_its_traceback_and_without_variables(form: str):
    """Where it was, and what it says; not what was there at the time."""
    stream = configured(log_format=form)
    try:
        secret = "variable-of-the-frame"
        raise ValueError(f"broken {len(secret)}")
    except ValueError:
        logger.exception("it failed")
    text = stream.getvalue()
    assert "ValueError: broken 21" in text
    assert text.count("test_logs.py") == 1
    assert "test_logs.py" in text
    assert 'secret = "variable-of-the-frame"' not in text.replace("\\", "")


# --- what there never is -------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "console"])
def test_i12_no_secret_is_in_any_part_of_a_line(monkeypatch, tmp_path, form: str):
    """In the text, beside it, in an exception; known by its form, by its name, or itself."""
    monkeypatch.setenv("SHOP_API_KEY", "planted0environment")
    file = tmp_path / "tokens.json"
    file.write_text('{"planted0in0the0file": {"user": "boris"}}')
    stream = configured(
        log_format=form,
        log_level="debug",
        tokens={"planted0of0settings": {"user": "anna"}},
        tokens_file=file,
        jwt_secret="planted0secret" * 3,
    )
    for text in (
        f"key {KEY}",
        "planted0environment, planted0of0settings, planted0in0the0file",
        "planted0secret" * 3,
        "Authorization: Bearer planted0header",
        "GET https://me:planted0password@example.org/?api_key=planted0query",
        "{'x-api-key': 'planted0quoted', 'token': \"planted0too\"}",
    ):
        logger.debug(text)
        logger.info("%s", text)
        logger.warning("beside", extra={"said": text, "nested": {"deep": [text, (text,)]}})
        logging.getLogger("httpx").error(text)
        try:
            raise RuntimeError(text)
        except RuntimeError:
            logger.exception("failed")
    logger.info("headers", extra={"headers": {"X-Odd": "planted0odd"}, "password": "planted0name"})
    logger.info("raw", extra={"said": b"planted0of0settings", "thing": ValueError(KEY)})
    assert "planted" not in stream.getvalue()
    assert stream.getvalue().count("***") > 30


@pytest.mark.parametrize("is_open", [True, False])
def test_a_line_that_cannot_be_written_is_not_shown_elsewhere(capfd, is_open: bool):
    """The standard library prints it with its arguments, secrets and all."""
    stream = configured()
    if not is_open:
        stream.close()
    logger.info("%d", KEY)
    assert capfd.readouterr() == ("", "")
    if is_open:
        assert stream.getvalue() == "a line of llmkeep.service.test cannot be logged\n"


def test_what_pydantic_refused_is_not_quoted():
    """It may be what a user said."""

    class Model(BaseModel):
        number: int

    stream = configured()
    try:
        Model.model_validate({"number": MESSAGE})
    except ValidationError:
        logger.exception("refused")
    assert MESSAGE not in stream.getvalue()
    assert "int_parsing" in stream.getvalue()


class Everything(logging.Handler):
    """Hears what was logged at all, by whom."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""
        self.names: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.text += f"{record.getMessage()}\n"
        self.names.add(record.name.partition(".")[0])


async def test_i12_nothing_of_a_conversation_is_logged_at_debug_level(
    wire: str, scripted: Scripted, monkeypatch, tmp_path
):
    """Though the SDKs, HTTP clients and databases log whole requests, and were told to."""
    from llmkeep.agents import SqliteMemory

    stream = configured(log_level="debug", tokens={TOKEN: {"user": "anna"}})
    everything = Everything()
    logging.getLogger().addHandler(everything)
    for name in (
        "",
        "openai",
        "anthropic",
        "httpx",
        "httpx2",
        "httpcore",
        "httpcore2",
        "aiosqlite",
    ):
        logging.getLogger(name).setLevel(logging.DEBUG)  # as OPENAI_LOG=debug and the like do
    monkeypatch.setenv(f"{wire.upper()}_API_KEY", KEY)
    scripted.say(Call(0, "c1", "add", '{"a": 1}'))
    scripted.say(Text("An answer-about-the-disease."))
    memory = SqliteMemory(tmp_path / "memory.sqlite3")

    class Remembering(Agent):
        @property
        def checkpointer(self) -> Any:
            return memory

    try:
        heard = await ask(Remembering("u", None), MESSAGE)
    finally:
        await memory.aclose()
    assert list(heard.texts.values()) == ["An answer-about-the-disease."]
    # As earlier releases of both SDKs did, and the one of Anthropic does.
    logging.getLogger(f"{wire}._base_client").debug("Request options: %s", {"content": MESSAGE})
    assert MESSAGE in everything.text
    assert {wire, "aiosqlite"} <= everything.names, "they were expected to log"
    logger.debug("the end")
    told = stream.getvalue()
    assert "the end" in told
    for planted in (MESSAGE, KEY, TOKEN, "answer-about-the-disease"):
        assert planted not in told
