"""Ctrl-C in a terminal, at every point of a conversation: it stops an answer, never the program."""

from __future__ import annotations

import signal

import pytest

from tests.cli.emulator import Terminal, terminal

ROUNDS = 20


@pytest.fixture(scope="module")
def talk(standin):
    """One program for all tests of this file, which is the harder test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", standin.base_url("openai"))
        patch.setenv("OPENAI_API_KEY", "not-a-key")
        with terminal() as it:
            it.until_prompt()
            yield it
            assert it.end() == 0


def test_ctrl_c_while_chunks_arrive_stops_every_answer(llmock, talk: Terminal):
    """Twenty answers, each interrupted at another point of its stream, by key or by signal."""
    for n in range(ROUNDS):
        llmock.reset()
        words = " ".join(f"w{n}x{k}" for k in range(80))
        llmock.reply(words).stall(after_chunks=12 + n % 7, seconds=60)
        talk.enter(f"talk {n}")
        talk.until(f"w{n}x{n % 7}")
        talk.interrupt() if n % 2 else talk.signal()
        talk.until_stopped()
        assert not llmock.requests[-1].completed
    llmock.reset()
    llmock.reply("Here I am.")
    talk.enter("still there?")
    talk.until("Here I am")
    talk.until_prompt()
