"""`llmkeep chat`: a conversation in the terminal, or answers for a pipe."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from llmkeep.settings import settings

from .options import Options
from .pick import pick


def talk(options: Options) -> int:
    """Hold the conversation; the exit status.

    Raises what choosing and making the model raises.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # no terminal is too old for an answer
            stream.reconfigure(errors="replace")
    chosen = pick(options.model, options.base_url, settings)
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if is_terminal and not options.once and not options.as_json:
        from .terminal import converse

        converse(options, chosen)
        return 0
    from .pipe import answer_input

    return answer_input(options, chosen)
