"""Logs: the standard library's loggers, formatted by structlog in one place, secrets blotted out.

Code of the service logs with `logging.getLogger(__name__)` and `extra={...}`; the run and thread
it is about come from the context (`log_context`), and the user, whose name is plain in the log.

Libraries of others are heard from WARNING on, whatever the level: at DEBUG the SDKs write whole
requests with every message in them, HTTP clients their headers, database drivers their parameters.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, TextIO

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import EventDict, Processor, WrappedLogger

from llmkeep.agents.faults import blotted
from llmkeep.models.masking import MASK, masked
from llmkeep.settings import ServiceSettings, SettingsError

#: Loggers that are heard at the level of the settings.
OWN_LOGGERS: Final = ("llmkeep", "uvicorn")

#: What pydantic quotes of a value that it refuses.
_INPUT: Final = re.compile(r"input_value=.*?(, input_type=)", re.DOTALL)

#: Parts of a line that were made here.
_OURS: Final = frozenset({"level", "logger", "time"})

#: In characters; most values of a line are shorter, and looking for secrets costs 10 us.
_SHORTEST_SECRET: Final = 8

#: What is a value of its own in a line of the log; anything else becomes text.
_SCALARS: Final = (bool, int, float, type(None))


def log_context(**names: Any) -> AbstractContextManager[None]:
    """Add `run_id=...` and the like to each line that is logged within, by tasks made there too."""
    return bound_contextvars(**names)


def configure_logging(settings: ServiceSettings, stream: TextIO | None = None) -> None:
    """Write all logs of the process to `stream`, standard error if there is none.

    For a program: an application that embeds the service has logging of its own.
    """
    handler = make_handler(settings, stream or sys.stderr)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OWN_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(settings.log_level.upper())
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)  # `uvicorn.Config` may have set one
    logging.getLogger("uvicorn.access").disabled = True  # `requests` says it, without queries
    logging.captureWarnings(True)


def make_handler(settings: ServiceSettings, stream: TextIO) -> logging.Handler:
    """A handler that writes to `stream` what may be read there."""
    handler = _Handler(stream)
    handler.addFilter(_is_for_operators)
    is_terminal = stream.isatty()
    is_json = settings.log_format == "json" or (settings.log_format is None and not is_terminal)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[
                add_log_level,
                add_logger_name,
                ExtraAdder(),
                merge_contextvars,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                structlog.processors.format_exc_info,
            ],
            processors=[
                ProcessorFormatter.remove_processors_meta,
                Redactor(_secrets_of(settings)),
                *(_json() if is_json else _console(has_colors=is_terminal)),
            ],
        )
    )
    return handler


class _Handler(logging.StreamHandler[TextIO]):
    """The standard one, but silent about what is in a line that cannot be written."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name there
        """Say whose line it was; the standard one shows the arguments, whatever they are."""
        with suppress(OSError, ValueError):  # the stream itself may be gone
            self.stream.write(f"a line of {record.name} cannot be logged\n")


def _is_for_operators(record: logging.LogRecord) -> bool:
    """Also where somebody has set a level of its own for a library (OPENAI_LOG=debug does)."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] in OWN_LOGGERS


class Redactor:
    """A processor: no credential in any part of a line.

    Hidden are values under a name that says so, what looks like a credential, and those of this
    process: in its environment, and `secrets`.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets: Final = sorted(filter(None, secrets), key=len, reverse=True)

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """The line without them."""
        event.pop("color_message", None)  # uvicorn's, the same with escape sequences
        return {
            name: value if name in _OURS else self._plain(masked(value, name))
            for name, value in event.items()
        }

    def _plain(self, value: Any) -> Any:
        if isinstance(value, _SCALARS):
            return value
        if isinstance(value, Mapping):
            return {self._text(key): self._plain(each) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._plain(each) for each in value]
        return self._text(value)

    def _text(self, value: object) -> str:
        text = str(value)
        if len(text) < _SHORTEST_SECRET:
            return text
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return blotted(_INPUT.sub(rf"input_value={MASK}\1", text))


def _secrets_of(settings: ServiceSettings) -> Iterable[str]:
    if settings.jwt_secret is not None:
        yield settings.jwt_secret.get_secret_value()
    try:
        tokens = settings.all_tokens()
    except SettingsError:  # told by whoever makes the sign-in
        tokens = settings.tokens
    for token in tokens:
        yield token.get_secret_value()


def _json() -> list[Processor]:
    return [structlog.processors.JSONRenderer(ensure_ascii=False)]


def _console(*, has_colors: bool) -> list[Processor]:
    return [
        structlog.dev.ConsoleRenderer(
            colors=has_colors,
            timestamp_key="time",
            # Rich's would show the variables of each frame.
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]
