"""Sign-in by static bearer tokens, for people and programs who are known beforehand.

What is kept is a digest of each token. A plain SHA-256 is enough: a token is long and random, not
chosen by a person.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, Self

from pydantic import SecretStr
from starlette.requests import HTTPConnection

from llmkeep.service.records import Principal
from llmkeep.settings import ServiceSettings, SettingsError, TokenHolder

from .credentials import bearer_token, refused


class TokenSignIn:
    """Who holds which token."""

    def __init__(
        self, tokens: Mapping[SecretStr, TokenHolder], administrators: frozenset[str] = frozenset()
    ) -> None:
        self._holders: Final = tuple(
            (
                _digest(token.get_secret_value()),
                Principal(
                    user=holder.user,
                    is_administrator=holder.administrator or holder.user in administrators,
                ),
            )
            for token, holder in tokens.items()
        )

    @classmethod
    def from_settings(cls, settings: ServiceSettings) -> Self:
        """The tokens of the settings and of their file.

        Raises SettingsError where there are none, or the file cannot be read.
        """
        tokens = settings.all_tokens()
        if not tokens:
            raise SettingsError(
                "SERVICE__TOKENS: with SERVICE__SIGN_IN=token there has to be a token, here or in "
                "SERVICE__TOKENS_FILE"
            )
        return cls(tokens, frozenset(settings.administrators))

    async def user_of(self, connection: HTTPConnection) -> Principal:
        """The holder of the request's token."""
        given = _digest(bearer_token(connection))
        found: Principal | None = None
        # All of them are compared, each in constant time: how long it takes tells nothing.
        for known, holder in self._holders:
            if hmac.compare_digest(known, given):
                found = holder
        if found is None:
            raise refused("this token is not known here")
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
