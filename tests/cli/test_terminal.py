"""`llmkeep chat` in a terminal, as a person sees it; one program for most of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.emulator import Terminal, terminal
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Args, Call, Failure, Gate, Text

ROUNDS = 20


@pytest.fixture(scope="module")
def provider() -> Iterator[Scripted]:
    with Scripted() as server:
        # Nothing is left behind by a test whose program goes on.
        server._server.config.timeout_keep_alive = 0
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "kept"


@pytest.fixture(scope="module")
def environment(provider: Scripted, folder: Path) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": provider.base_url("openai"),
        "OPENAI_API_KEY": "not-a-key",
        "LLMKEEP_DATA_FOLDER": str(folder),
        "AGENTS__TOOLS": "tests.cli.waiting_tools:wait_for",
    }


@pytest.fixture(scope="module")
def program(environment: dict[str, str]) -> Iterator[Terminal]:
    with terminal(**environment) as it:
        it.until_prompt()
        yield it
        assert it.end() == 0


@pytest.fixture
def it(program: Terminal, provider: Scripted) -> Iterator[Terminal]:
    """The program, in a new conversation and at its prompt; it is there again afterwards."""
    provider.reset()
    program.enter("/new")
    program.until_prompt()
    program.forget()
    yield program
    program.until_prompt()


def test_two_calls_at_once_in_a_terminal(it: Terminal, provider: Scripted):
    """Each has a box, with its arguments as they arrive, and its own result."""
    gate = Gate()
    provider.say(
        Text("Let me **see**."),
        Call(0, "c1", "calculator"),
        Call(1, "c2", "current_time"),
        Args(0, '{"expression": "6 '),
        Args(1, '{"time_zone": "Mars'),
        gate,
        Args(1, '/Olympus"}'),
        Args(0, '* 7"}'),
    )
    provider.say(Text("It is **42**, and no time."))
    it.enter("6 * 7, and the time on Mars?")
    it.until('(?s)"6 .*"Mars')
    gate.opened.set()
    it.until("and no time")
    it.until_prompt()
    lines = it.text.splitlines()
    at = lines.index("Let me see.")
    assert lines[at + 1].startswith("╭─ calculator ─")
    assert lines[at + 2].startswith('│ expression="6 * 7"')
    assert lines[at + 3].startswith("│ 42")
    assert "✓" in lines[at + 4]
    assert lines[at + 5].startswith("╭─ current_time ─")
    assert lines[at + 6].startswith('│ time_zone="Mars/Olympus"')
    assert "there is no time zone" in lines[at + 7]
    assert "✗ error" in "".join(lines[at + 8 : at + 10])
    assert "It is 42, and no time." in lines


def test_ctrl_c_stops_every_answer(it: Terminal, provider: Scripted):
    """By key or by signal, while chunks arrive or none does; the connection goes each time."""
    for n in range(ROUNDS):
        gate = Gate()
        pieces = [Text(f"w{n}x{k} ") for k in range(10)]
        provider.say(*pieces[: n % 7 + 1], gate, *pieces)
        it.enter(f"talk {n}")
        it.until(f"w{n}x0")
        if n % 3 == 0:
            gate.reached.wait()
        it.interrupt() if n % 2 else it.signal()
        it.until_stopped()
        provider.asked[-1].dropped.wait()
    provider.say(Text("Here I am."))
    it.enter("still there?")
    it.until("Here I am")


def test_ctrl_c_right_after_enter_is_never_lost(it: Terminal, provider: Scripted):
    """A key until the line is sent, a signal from then on: nothing is answered."""
    provider.answers = lambda _asked: (Gate(), Text("never"))
    for n in range(0, ROUNDS, 2):
        it.enter("talk")
        time.sleep(n / 1000)  # a schedule, not a wait: whatever comes of it is right
        it.interrupt()
        it.settle()
    assert "never" not in it.text


def test_ctrl_c_stops_calls(it: Terminal, provider: Scripted, tmp_path: Path):
    """One that has ended keeps its result; one under way, and one that arrives, are cancelled."""
    first, second = tmp_path / "first", tmp_path / "second"
    provider.say(
        Call(0, "c1", "wait_for", f'{{"path": "{first}"}}'),
        Call(1, "c2", "wait_for", f'{{"path": "{second}"}}'),
    )
    it.enter("wait for both")
    it.until(r"(?s)[1-9] s ─╯.*[1-9] s ─╯")  # both timers run
    first.write_text("here it is")
    it.until("here it is")
    it.interrupt()
    it.until_stopped()
    assert it.text.count("✓") == 1
    assert it.text.count("■ cancelled") == 1
    provider.say(Call(0, "c3", "calculator"), Args(0, '{"expression": "1'), Gate())
    it.enter("1 + 1?")
    it.until('"expression": "1')
    it.interrupt()
    it.until_stopped()
    assert it.text.count("■ cancelled") == 2


def test_ctrl_c_clears_the_line(it: Terminal, provider: Scripted):
    provider.say(Text("Right."))
    it.send("wrong")
    it.until("you> wrong")
    it.interrupt()
    it.until(lambda terminal: terminal.cursor_line == "you>")
    it.send("wrong again")
    it.until("you> wrong again")
    it.signal()
    it.until(lambda terminal: terminal.cursor_line == "you>")
    it.enter("right")
    it.until("Right.")
    assert provider.asked[-1].messages[-1]["content"] == "right"


def test_a_message_may_have_several_lines(it: Terminal, provider: Scripted):
    """By a backslash, Ctrl-J and Alt-Enter; a pasted text keeps its lines, and is not sent."""
    provider.say(Text("Verse."))
    it.send("one\\\rtwo\nthree\x1b\rfour\r")
    it.until("Verse")
    it.until_prompt()
    assert provider.asked[-1].messages[-1]["content"] == "one\ntwo\nthree\nfour"
    provider.say(Text("Pasted."))
    it.send("\x1b[200~a\r\nb\n\x1b[201~")
    it.until("...> b")
    it.send("\r")
    it.until("Pasted")
    assert provider.asked[-1].messages[-1]["content"] == "a\nb"


def test_what_is_typed_during_an_answer_is_there_afterwards(it: Terminal, provider: Scripted):
    """And is not drawn into the answer."""
    gate = Gate()
    provider.say(Text("Slow"), gate, Text(" answer."))
    provider.say(Text("Second."))
    it.enter("first")
    it.until("Slow")
    it.send("second\r")
    gate.opened.set()
    it.until("Second.")
    assert "Slow answer." in it.text
    assert it.text.count("second") == 1


def test_commands(it: Terminal, provider: Scripted):
    for command, shown in [
        ("/help", "/sessions"),
        ("/stats", "builds ok"),
        ("/model", "Talking with openai:gpt-5-mini"),
        ("/nosuch", "there is no command /nosuch"),
        ("/model nosuch:thing", "unknown provider|nosuch"),
        ("/sessions nosuch", "there is no conversation nosuch"),
        ("/model openai:gpt-5", "Talking with openai:gpt-5"),
    ]:
        it.enter(command)
        it.until(shown)
        it.until_prompt()
    provider.say(Text("No command."))
    it.enter("//text")
    it.until("No command")
    assert provider.asked[-1].messages[-1]["content"] == "/text"
    assert provider.asked[-1].body["model"] == "gpt-5"


def test_an_error_is_a_line_and_the_conversation_goes_on(it: Terminal, provider: Scripted):
    provider.say(Text("Half"), Failure("overloaded"))
    it.enter("hi")
    it.until("error: ")
    it.until_prompt()
    provider.say(Text("Fine."))
    it.enter("hi")
    it.until("Fine.")


def test_a_conversation_is_gone_on_with(
    it: Terminal, provider: Scripted, environment: dict[str, str], folder: Path
):
    """From the same program, and from another; what was said is known to both."""
    provider.say(Text("I shall."))
    it.enter("Remember 4711")
    it.until("I shall")
    it.until_prompt()
    it.enter("/sessions")
    it.until(r"\* +\d+ +just now +1 +Remember 4711")
    it.until_prompt()
    name = it.found(r"\* +(\d+) +just now +1 +Remember 4711")
    with terminal("--session", name, **environment) as other:
        other.until(f"Going on with {name}: Remember 4711 \\(1 turn")
        other.until("I shall")
        other.until_prompt()
        provider.say(Text("4711."))
        other.send("\x1b[A\x1b[A\x15which?\r")  # up twice: the history is there, and is left
        other.until("4711\\.")
        other.until_prompt()
        assert other.end() == 0
        assert f"--session {name}" in other.text
    sent = str(provider.asked[-1].messages)
    assert "Remember 4711" in sent
    assert "which?" in sent
    modes = {each.name: each.stat().st_mode & 0o777 for each in folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_call_waits_for_a_yes(provider: Scripted, environment: dict[str, str]):
    """Other arguments, a no, and one that is left waiting until the conversation is resumed."""
    provider.reset()
    approve = {**environment, "AGENTS__APPROVE_TOOLS": "calculator"}
    with terminal("--session", "asked", **approve) as it:
        it.until_prompt()
        provider.say(Call(0, "c1", "calculator", '{"expression": "6 * 7"}'))
        provider.say(Text("Done."))
        it.enter("6 * 7?")
        it.until("Allow it")
        it.enter("edit")
        it.until("arguments>")
        it.enter("\x15nonsense")
        it.until("that is no JSON")
        it.enter('\x15{"expression": "6 * 8"}')
        it.until("Done")
        it.until_prompt()
        assert '│ expression="6 * 8"' in it.text
        assert "│ 48" in it.text
        provider.say(Call(0, "c2", "calculator", '{"expression": "1 + 1"}'))
        provider.say(Text("As you like."))
        it.enter("1 + 1?")
        it.until('\\(expression="1 \\+ 1"\\)')
        it.enter("n")
        it.until("As you like")
        it.until_prompt()
        assert "declined" in it.text
        provider.say(Call(0, "c3", "calculator", '{"expression": "2 + 2"}'))
        it.enter("2 + 2?")
        it.until('\\(expression="2 \\+ 2"\\)')
        it.interrupt()
        it.until("It waits on")
        it.until_prompt()
        assert it.end() == 0
    with terminal("--session", "asked", **approve) as it:
        it.until("Allow it")
        provider.say(Text("Four."))
        it.enter("y")
        it.until("Four")
        it.until_prompt()
        assert "│ 4 " in it.text
        assert it.end() == 0


def test_a_folder_that_cannot_be_written_to_is_said(environment: dict[str, str], tmp_path: Path):
    """One can talk without."""
    (tmp_path / "file").touch()
    wrong = {**environment, "LLMKEEP_DATA_FOLDER": str(tmp_path / "file")}
    with terminal(**wrong) as it:
        it.until("conversations cannot be kept in")
        it.until_prompt()
        it.enter("/quit")
        assert it.ended() == 0
