"""What a request carries to say who sends it, and how it is refused."""

from __future__ import annotations

from typing import Final, TypeGuard

from starlette.requests import HTTPConnection

from llmkeep.service.errors import Unauthorized
from llmkeep.settings import MAX_USER_LENGTH

#: Never `Basic`: a browser would open a window of its own.
_CHALLENGE: Final = 'Bearer realm="llmkeep"'


def bearer_token(connection: HTTPConnection) -> str:
    """The token of `Authorization: Bearer ...`.

    Raises Unauthorized where there is none, or more than one such header: two readers could
    then see two users.
    """
    given = connection.headers.getlist("authorization")
    if not given:
        raise nobody("sign in: send the header Authorization: Bearer <token>")
    scheme, _, token = given[0].partition(" ")
    token = token.strip()
    if len(given) > 1 or scheme.lower() != "bearer" or not token:
        raise refused("the Authorization header is not of the form: Bearer <token>")
    return token


def nobody(detail: str) -> Unauthorized:
    """The answer to a request that says of nobody that he sends it."""
    return Unauthorized(detail, headers={"WWW-Authenticate": _CHALLENGE})


def refused(detail: str) -> Unauthorized:
    """The answer to credentials that do not sign anybody in."""
    return Unauthorized(
        detail, headers={"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'}
    )


def is_user_name(name: object) -> TypeGuard[str]:
    """Whether somebody may be called that: 1 to 128 printable characters."""
    return isinstance(name, str) and 1 <= len(name) <= MAX_USER_LENGTH and name.isprintable()
