"""What is told of a failure: one line for a person, with no secret in it.

An exception's text is foreign: a provider quotes the key it refused, an HTTP client the address
with its token. So it is shortened to a line, and what looks like a credential, or is one of this
process's own, is blotted out.
"""

from __future__ import annotations

import os
import re
import sqlite3
from functools import lru_cache
from typing import Final

from langgraph.errors import GraphRecursionError

from llmkeep.core.errors import LLMKeepError

#: Characters of a foreign text that are passed on.
MAX_LENGTH: Final = 500

_BLOT: Final = "***"

#: Environment variables whose value is never shown.
_SECRET_NAME: Final = re.compile(r"KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|AUTH|DSN", re.IGNORECASE)

#: The shortest value that is taken for a secret: shorter ones are words, and would blot out text.
_SECRET_LENGTH: Final = 8

_SHAPES: Final = (
    # user:password@ in an address
    (re.compile(r"(?<=://)[^/\s@]+@"), f"{_BLOT}@"),
    # ?api_key=..., "token": "...", API key provided: ..., Authorization: Bearer ...
    (
        re.compile(
            r"(?i)((?:(?:api|access)[-_ ]?key|[?&]key|token|secret|passw(?:or)?d|authorization)"
            r"(?: provided)?[\"']?\s*[=:]\s*[\"']?(?:bearer\s+|basic\s+)?)[^\s\"'&,;)}]+"
        ),
        rf"\1{_BLOT}",
    ),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]+"), rf"\1{_BLOT}"),
    # The forms that keys of OpenAI, Anthropic, Google, AWS, GitHub, Slack ... and JWTs have
    (re.compile(r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|xox[abps])[-_][\w*.-]{6,}"), _BLOT),
    (re.compile(r"\b(?:AIza|AKIA|ASIA|eyJ)[\w.*-]{12,}"), _BLOT),
)


def blotted(text: str) -> str:
    """The text with credentials blotted out."""
    for secret in _own_secrets():
        text = text.replace(secret, _BLOT)
    for shape, blot in _SHAPES:
        text = shape.sub(blot, text)
    return text


def redacted(text: str) -> str:
    """The text in one line of at most `MAX_LENGTH` characters, credentials blotted out."""
    text = " ".join(blotted(text).split())
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."


def told_to_model(error: Exception) -> str:
    """What the model reads of a tool's failure."""
    return redacted(f"{type(error).__name__}: {error}".removeprefix("ToolException: "))


def told_to_user(error: BaseException) -> tuple[str, str]:
    """What a person reads of a failed run, and a code for programs."""
    status = getattr(error, "status_code", None)
    if isinstance(error, LLMKeepError):  # our own text: it says what to change, and no secret
        return " ".join(str(error).split()), getattr(error, "code", "configuration")
    if isinstance(error, GraphRecursionError):
        return "the answer took too many steps and was stopped: see AGENTS__MAX_STEPS", "max_steps"
    if status in (401, 403):  # the text quotes the key
        return f"the provider refused the API key (HTTP {status})", "refused_key"
    if isinstance(status, int):
        return redacted(f"the provider answered HTTP {status}: {error}"), f"http_{status}"
    if isinstance(error, sqlite3.DatabaseError):
        return "what is kept of conversations cannot be read or written: see the log", "storage"
    if _is_unreachable(error):
        return f"the provider cannot be reached ({type(error).__name__})", "unreachable"
    return redacted(f"{type(error).__name__}: {error}"), "failed"


def _is_unreachable(error: BaseException) -> bool:
    """Every SDK has its own class for it, most of them with one of these names among the bases."""
    names = {base.__name__ for base in type(error).__mro__}
    return bool(names & {"APIConnectionError", "TransportError", "ConnectionError"})


def _own_secrets() -> list[str]:
    """The longest first: one may be a part of another."""
    values = [os.environ.get(name, "") for name in os.environ if _is_secret(name)]
    return sorted({each for each in values if len(each) >= _SECRET_LENGTH}, key=len, reverse=True)


@lru_cache(maxsize=1024)
def _is_secret(variable: str) -> bool:
    return _SECRET_NAME.search(variable) is not None
