"""What the service refuses, and why: each becomes a problem (RFC 9457) in an answer.

`detail` tells a person what to do, and never repeats what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from llmkeep.core.errors import LLMKeepError


class ServiceError(LLMKeepError):
    """A refusal.

    Args:
        detail: a sentence that says what to do.
        code: a name for programs; the class's own where there is none.
        headers: of the answer.
        extras: further members of the problem.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    default_code: ClassVar[str] = "internal"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        **extras: Any,
    ) -> None:
        super().__init__(detail)
        self.detail: Final = detail
        self.code: Final = code or self.default_code
        self.headers: Final[Mapping[str, str]] = headers or {}
        self.extras: Final[Mapping[str, Any]] = extras


class Unauthorized(ServiceError):
    """Nobody is signed in."""

    status, title, default_code = 401, "Sign in", "unauthorized"


class Forbidden(ServiceError):
    """Not for this user, or not from there."""

    status, title, default_code = 403, "Forbidden", "forbidden"


class NotFound(ServiceError):
    """There is none, or it is somebody else's."""

    status, title, default_code = 404, "Not found", "not_found"


class TooSlow(ServiceError):
    """The request did not come in time."""

    status, title, default_code = 408, "Request timeout", "too_slow"


class Conflict(ServiceError):
    """It does not go with what is there."""

    status, title, default_code = 409, "Conflict", "conflict"


class TooLarge(ServiceError):
    """More than is taken."""

    status, title, default_code = 413, "Too large", "too_large"


class UnsupportedMediaType(ServiceError):
    """Not JSON."""

    status, title, default_code = 415, "Unsupported media type", "not_json"


class Invalid(ServiceError):
    """It cannot be understood, or means nothing here."""

    status, title, default_code = 422, "Invalid", "invalid_request"


class TooMany(ServiceError):
    """Above a limit of the user's; `headers` say when to try again."""

    status, title, default_code = 429, "Too many requests", "rate_limited"


class Unavailable(ServiceError):
    """Not now: the server is ending, or not ready."""

    status, title, default_code = 503, "Unavailable", "unavailable"
