"""`llmkeep chat` between pipes: one message or many, events, conversations, approvals, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.processes import COMMAND, PATIENCE, run
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Call, Gate, Text


@pytest.fixture(scope="module")
def server() -> Iterator[Scripted]:
    with Scripted() as it:
        yield it


@pytest.fixture
def provider(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    server.reset()
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    return server


def events_of(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_once_takes_the_whole_input_as_one_message(provider: Scripted, data_folder: Path):
    """And leaves nothing on the disk."""
    provider.say(Text("Both."))
    ended = run("chat", "--once", lines="one\ntwo\n")
    assert (ended.stdout, ended.returncode) == ("Both.\n", 0)
    assert provider.asked[0].messages[-1]["content"] == "one\ntwo"
    assert not data_folder.exists()


def test_json_gives_the_events_and_nothing_else(provider: Scripted):
    provider.say(Call(0, "c1", "calculator", '{"expression": "6 * 7"}'))
    provider.say(Text("42"))
    ended = run("chat", "--json", "--once", lines="6 * 7?")
    assert ended.returncode == 0
    events = events_of(ended.stdout)
    assert [each["type"] for each in events] == [
        "RUN_STARTED",
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "TOOL_CALL_RESULT",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert events[4]["content"] == "42"
    assert events[-1]["usage"][0]["inputTokens"] > 0
    assert ended.stderr.startswith("Talking with openai:gpt-5-mini")


def test_a_named_conversation_goes_on_and_an_unnamed_one_does_not(provider: Scripted):
    for session in (["--session", "a"], [], ["--session", "a"]):
        provider.say(Text("Yes."))
        assert run("chat", "--once", *session, lines="hi").returncode == 0
    lengths = [
        sum(message["role"] == "user" for message in asked.messages) for asked in provider.asked
    ]
    assert lengths == [1, 1, 2]


def test_a_call_that_needs_approval_gets_a_no_unless_told_otherwise(provider: Scripted):
    for arguments, word in (([], "declined"), (["--yes"], "→ calculator: 42")):
        provider.say(Call(0, "c1", "calculator", '{"expression": "6 * 7"}'))
        provider.say(Text("Well."))
        ended = run(
            "chat", "--once", *arguments, lines="6 * 7?", AGENTS__APPROVE_TOOLS="calculator"
        )
        assert ended.stdout == "Well.\n"
        assert word in ended.stderr
        assert ended.returncode == 0


def started(*arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*COMMAND, "chat", *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


posix = pytest.mark.skipif(os.name != "posix", reason="signals and pipes are others there")


@posix
def test_ctrl_c_ends_a_pipe_after_stopping_its_answer(provider: Scripted):
    """The events end in order, and the status says what happened."""
    provider.say(Text("Half"), Gate(), Text("never"))
    with started("--json") as program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write("one\ntwo\n")
        program.stdin.flush()
        head = [program.stdout.readline() for _ in range(3)]
        program.send_signal(signal.SIGINT)
        output, _ = program.communicate(timeout=PATIENCE)
    events = events_of("".join(head) + output)
    assert program.returncode == 130
    assert events[2]["delta"] == "Half"
    assert [each["type"] for each in events[3:]] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert events[-1]["outcome"]["type"] == "cancelled"
    provider.asked[0].dropped.wait()
    assert len(provider.asked) == 1


@posix
def test_ctrl_c_ends_a_pipe_that_waits_for_input(provider: Scripted):
    provider.say(Text("First."))
    with started() as program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write("one\n")
        program.stdin.flush()
        assert program.stdout.readline() == "First.\n"
        program.send_signal(signal.SIGINT)
        program.wait(PATIENCE)
        errors = program.stderr.read() if program.stderr else ""
    assert program.returncode == 130
    assert "Traceback" not in errors


@posix
def test_nobody_reads_on_is_no_error_to_tell(provider: Scripted):
    provider.answers = lambda _asked: [Text("word " * 100_000)]
    with started() as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        program.stdin.write("one\ntwo\n")
        program.stdin.close()
        program.wait(PATIENCE)
        errors = program.stderr.read()
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
