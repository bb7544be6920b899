"""The line that one writes: history, several lines, and what Ctrl-C and Ctrl-D do in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.filters import is_searching
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.shortcuts import CompleteStyle

from .interrupts import Interrupts
from .screen import PROMPT

CONTINUED: Final = "...> "


@final
class Prompt:
    """Asks for lines; lives as long as the program.

    Enter sends; Alt-Enter, Ctrl-J or a backslash at the end goes on in a new line. Ctrl-C clears
    what was written, Ctrl-D in an empty line is the end of input.
    """

    def __init__(
        self, interrupts: Interrupts, history: Path | None, commands: Sequence[str]
    ) -> None:
        self._interrupts: Final = interrupts
        kept: History = InMemoryHistory() if history is None else FileHistory(history)
        self._session: Final[PromptSession[str]] = PromptSession(
            message=[("bold", PROMPT)],
            multiline=True,
            prompt_continuation=CONTINUED,
            history=kept,
            completer=WordCompleter(list(commands), sentence=True),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            key_bindings=self._bindings(),
        )

    async def ask(self) -> str:
        """The next message. Raises EOFError at the end of input."""
        self._interrupts.forget()
        with self._interrupts.handled_by(self._clear):
            line = await self._session.prompt_async(
                handle_sigint=False, set_exception_handler=False
            )
        self._take_late_keys()
        return line

    async def question(self, text: str, default: str = "") -> str:
        """The answer to a question of the program's. Raises EOFError for Ctrl-C and Ctrl-D."""
        session: PromptSession[str] = PromptSession(
            message=[("bold", f"{text} ")], interrupt_exception=EOFError
        )
        is_left = False

        def leave() -> None:
            nonlocal is_left
            is_left = True
            if session.app.is_running and not session.app.is_done:
                session.app.exit(exception=EOFError)

        with self._interrupts.handled_by(leave):
            if is_left:
                raise EOFError
            answer = await session.prompt_async(
                default=default, handle_sigint=False, set_exception_handler=False
            )
        self._take_late_keys()
        return answer

    def _take_late_keys(self) -> None:
        """A Ctrl-C that came after Enter was still a key, not a signal: it is meant for the answer.

        From here on the terminal makes it a signal again; what came before has been read, or waits
        to be.
        """
        keyboard = self._session.app.input
        keys = [*get_typeahead(keyboard), *keyboard.read_keys()]
        presses = [at for at, each in enumerate(keys) if each.key == Keys.ControlC]
        if presses:
            keys = keys[presses[-1] + 1 :]
            self._interrupts.keep()
        store_typeahead(keyboard, keys)

    def _clear(self) -> None:
        self._session.default_buffer.reset()
        self._session.app.invalidate()

    def _bindings(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-c", filter=~is_searching)
        def _(_event: KeyPressEvent) -> None:
            self._clear()

        @keys.add("enter", filter=~is_searching)
        def _(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if buffer.document.is_cursor_at_the_end and buffer.text.endswith("\\"):
                buffer.delete_before_cursor()
                buffer.newline(copy_margin=False)
            elif buffer.text.strip():
                self._interrupts.release()  # from here on, Ctrl-C is meant for the answer
                buffer.validate_and_handle()

        @keys.add("escape", "enter")
        @keys.add("c-j")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.newline(copy_margin=False)

        return keys
