"""`llmkeep chat`: a conversation in the terminal, or an answer to each line of a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from contextlib import aclosing
from io import TextIOWrapper
from typing import Final
from urllib.parse import urlsplit

from ag_ui.core import RunFinishedEvent
from rich.console import Console

from llmkeep.agents import ConversationHandler
from llmkeep.agents.choice import split_model
from llmkeep.settings import settings

from .pick import LOOPBACK, Pick, pick
from .screen import Screen

#: Whose conversation it is, and which.
USER: Final = "terminal"
SESSION: Final = "terminal"

PROMPT: Final = "you> "

_DEMONSTRATION: Final = (
    "This is a small demonstration model: it talks, but do not rely on what it says, and it calls "
    "no tools.\nFor a real one set OPENAI_API_KEY or ANTHROPIC_API_KEY, start a local server such "
    "as Ollama, or see --model and --base-url."
)


def talk(model: str | None, base_url: str | None) -> bool:
    """Hold the conversation; the outcome is whether all went well.

    Raises what choosing and making the model raises.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # no terminal is too old for an answer
            stream.reconfigure(errors="replace")
    is_terminal = sys.stdin.isatty()
    answers = Console(highlight=False, markup=False)
    screen = Screen(answers, answers if is_terminal else Console(stderr=True, highlight=False))
    chosen = pick(model, base_url, settings)
    _apply(chosen)
    with asyncio.Runner() as runner:
        handler = runner.run(ConversationHandler.create(USER, None))
        screen.note(" ".join(filter(None, [f"Talking with {chosen.model}", chosen.reason])) + ".")
        if chosen.is_demonstration:
            screen.note(_DEMONSTRATION)
        if is_terminal:
            _converse(runner, handler, screen)
            return True
        return _answer_lines(runner, handler, screen)


def _apply(chosen: Pick) -> None:
    """Make it what handlers use."""
    settings.llm.default_provider, _ = split_model(chosen.model, settings.llm.default_provider)
    settings.llm.base_url = chosen.base_url
    settings.agents.conversation_handler_default_model = chosen.model
    host = urlsplit(chosen.base_url or "").hostname
    if host in LOOPBACK:  # a proxy leads away from this machine
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = ",".join(filter(None, [os.environ.get(name), host]))


def _converse(runner: asyncio.Runner, handler: ConversationHandler, screen: Screen) -> None:
    """Ask and answer until the end of input. Ctrl-C stops an answer, never the program."""
    with contextlib.suppress(ImportError):  # not everywhere; lines can be edited where it is
        import readline  # noqa: F401
    screen.note("Ctrl-C stops an answer, Ctrl-D ends.")
    while True:
        try:
            line = input(PROMPT).strip()
        except KeyboardInterrupt:
            print()
            continue
        except EOFError:
            print()
            return
        if line:
            with contextlib.suppress(KeyboardInterrupt):
                _answer(runner, handler, screen, line)
                continue
            screen.note("stopped")


def _answer_lines(runner: asyncio.Runner, handler: ConversationHandler, screen: Screen) -> bool:
    """Answer each line of the input; one that fails does not keep the next from its answer."""
    outcomes = [
        _answer(runner, handler, screen, line.strip()) for line in sys.stdin if line.strip()
    ]
    return all(outcomes)


def _answer(
    runner: asyncio.Runner, handler: ConversationHandler, screen: Screen, message: str
) -> bool:
    return runner.run(_stream(handler, screen, message))


async def _stream(handler: ConversationHandler, screen: Screen, message: str) -> bool:
    """Show one answer; the outcome is whether the run finished."""
    finished = False
    async with aclosing(handler.stream_response(message, SESSION)) as events:
        async for event in events:
            screen.show(event)
            finished = isinstance(event, RunFinishedEvent)
    return finished
