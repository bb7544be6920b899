"""Sign-in by JSON Web Tokens, signed with a shared secret or with the issuer's private key.

What a token may be signed with is decided here, never by the token: the algorithms are listed,
those of secrets and those of keys are not mixed, `none` is not among them. A token has to end
(`exp`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import jwt
from pydantic import SecretStr
from starlette.requests import HTTPConnection

from llmkeep.service.records import Principal
from llmkeep.settings import ServiceSettings, SettingsError

from .credentials import bearer_token, is_user_name, refused
from .keys import KeySet

logger = logging.getLogger(__name__)

#: Seconds by which the issuer's clock may be off.
LEEWAY: Final = 10.0

#: With keys: what issuers sign with today.
_KEY_ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
_SECRET_ALGORITHMS: Final = ("HS256",)


class JWTSignIn:
    """Whom a valid token names.

    Raises SettingsError where the settings name no key, or do not fit together.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._secret: Final = settings.jwt_secret
        self._keys: Final = (
            KeySet(settings.jwt_jwks_url) if settings.jwt_jwks_url is not None else None
        )
        self._algorithms: Final = settings.jwt_algorithms or (
            _KEY_ALGORITHMS if self._keys else _SECRET_ALGORITHMS
        )
        self._issuer: Final = settings.jwt_issuer
        self._audience: Final = settings.jwt_audience
        self._user_claim: Final = settings.jwt_user_claim
        self._administrator_claim: Final = settings.jwt_administrator_claim
        self._administrators: Final = frozenset(settings.administrators)
        _check(settings, self._algorithms)

    async def user_of(self, connection: HTTPConnection) -> Principal:
        """The user of the request's token."""
        token = bearer_token(connection)
        try:
            claims = self._claims(token, await self._key_of(token))
        except jwt.PyJWTError as error:
            _refuse(error)
        user: object = claims.get(self._user_claim)
        if not is_user_name(user):
            raise refused(f"the token's {self._user_claim} is no name of 1 to 128 characters")
        return Principal(
            user=user,
            is_administrator=user in self._administrators or self._is_administrator(claims),
        )

    async def _key_of(self, token: str) -> jwt.PyJWK | str:
        """What the token has to be signed with."""
        if self._keys is None:
            assert self._secret is not None
            return self._secret.get_secret_value()
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in self._algorithms:  # before anybody is asked for keys
            raise jwt.InvalidAlgorithmError("its alg is not one of SERVICE__JWT_ALGORITHMS")
        return await self._keys.key(header.get("kid"))

    def _claims(self, token: str, key: jwt.PyJWK | str) -> Mapping[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=list(self._algorithms),
            issuer=self._issuer,
            audience=self._audience,
            leeway=LEEWAY,
            options={"require": ["exp", self._user_claim], "enforce_minimum_key_length": True},
        )

    def _is_administrator(self, claims: Mapping[str, Any]) -> bool:
        if self._administrator_claim is None:
            return False
        name, is_valued, wanted = self._administrator_claim.partition("=")
        said = claims.get(name)
        if not is_valued:
            return said is True
        listed = said.split() if isinstance(said, str) else said
        return isinstance(listed, list) and wanted in listed


def _check(settings: ServiceSettings, algorithms: tuple[str, ...]) -> None:
    """Whether the settings fit together."""
    if (settings.jwt_secret is None) == (settings.jwt_jwks_url is None):
        raise SettingsError(
            "SERVICE__JWT_SECRET: with SERVICE__SIGN_IN=jwt there has to be either a secret or "
            "the address of keys in SERVICE__JWT_JWKS_URL"
        )
    if any(name.startswith("HS") != (settings.jwt_secret is not None) for name in algorithms):
        raise SettingsError(
            "SERVICE__JWT_ALGORITHMS: HS256, HS384 and HS512 go with SERVICE__JWT_SECRET, all "
            "others with SERVICE__JWT_JWKS_URL"
        )
    if settings.jwt_secret is None and settings.jwt_audience is None:
        raise SettingsError(
            "SERVICE__JWT_AUDIENCE: has to be named, since the same keys sign tokens that are "
            "meant for others"
        )
    if settings.jwt_secret is not None:
        _check_length(settings.jwt_secret, algorithms)


def _check_length(secret: SecretStr, algorithms: tuple[str, ...]) -> None:
    """RFC 7518, 3.2: as long as the digest."""
    needed = max(int(name.removeprefix("HS")) // 8 for name in algorithms)
    if len(secret.get_secret_value().encode()) < needed:
        raise SettingsError(
            f"SERVICE__JWT_SECRET: {', '.join(algorithms)} needs at least {needed} characters"
        )


def _refuse(error: jwt.PyJWTError) -> NoReturn:
    """Tell the user what he can do, and the log what is wrong."""
    logger.info("a JWT was refused: %s", type(error).__name__)
    if isinstance(error, jwt.ExpiredSignatureError):
        raise refused("the token has expired: sign in again") from None
    if isinstance(error, jwt.InvalidAudienceError | jwt.InvalidIssuerError):
        raise refused(
            "the token is meant for another service: see SERVICE__JWT_AUDIENCE and "
            "SERVICE__JWT_ISSUER"
        ) from None
    if isinstance(error, jwt.MissingRequiredClaimError):
        raise refused(f"the token lacks a claim: {error.claim}") from None
    raise refused("the token is not valid here") from None
