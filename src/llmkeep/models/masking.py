"""What of a configuration may be shown: `masked` hides credentials, `secrets_in` finds them.

Hidden is what a type calls a secret (`SecretStr`), what stands under a name that says so
(`api_key`, `Authorization`, `mcp_servers[...].authorization_token`), every header's value, and the
user and password of an address. A credential under an innocent name in a free-form parameter
cannot be told from other text; the fields that providers have for credentials are all covered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from pydantic import SecretBytes, SecretStr

MASK: Final = "**********"

#: "max_tokens" is none: the word stands alone or last.
_SECRET_NAME: Final = re.compile(
    r"^key$|(?:^|[_\-.])(?:(?:access|private|subscription|signing)[_-]?key|key[_-]?id|passwd"
    r"|passphrase|token|auth|credentials?|cookies?|signature)$"
    r"|secret|password|authorization|api[_-]?key",
    re.IGNORECASE,
)
_HEADERS: Final = re.compile(r"headers$", re.IGNORECASE)
#: The user and password of an address, or the value of a parameter of its query.
_IN_ADDRESS: Final = re.compile(
    r"(?<=://)([^/?#\s]+)(?=@)|(?<=[?&])(?:[^=&#\s]*(?:key|token|secret|sig|password|auth)[^=&#\s]*)"
    r"=([^&#\s]+)",
    re.IGNORECASE,
)


class SealedSecret(SecretStr):
    """Stands where a credential was: says that there is one, and not which."""

    def __init__(self, where: str = "this credential") -> None:
        super().__init__(MASK)
        self._where = where

    def get_secret_value(self) -> NoReturn:
        """Raise AttributeError: the credential is with the kept instance, not here."""
        raise AttributeError(
            f"{self._where} is not kept on the handle: read it where you got it from, "
            "or pass the handle itself to whoever needs the model"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SealedSecret)

    def __hash__(self) -> int:
        return hash(SealedSecret)

    def __repr__(self) -> str:
        return f"SecretStr({MASK!r})"

    def __str__(self) -> str:
        return MASK


def masked(value: Any, name: str = "") -> Any:
    """A copy of `value`, which stands under `name`, with its credentials hidden.

    Containers are copied, so that nothing done to the result reaches the original.
    """
    if isinstance(value, (SecretStr, SecretBytes)):
        return SealedSecret(name or "this credential") if value.get_secret_value() else value
    if isinstance(value, str):
        return _masked_text(value, name)
    if isinstance(value, bytes):
        return MASK.encode() if _is_secret_name(name) else value
    if isinstance(value, Mapping):
        if _HEADERS.search(name):
            return dict.fromkeys(value, MASK)
        return {key: masked(each, str(key)) for key, each in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(masked(each, name) for each in value)
    return value


def secrets_in(value: Any, name: str = "") -> Iterator[str]:
    """Every text that `masked(value, name)` hides."""
    if isinstance(value, (SecretStr, SecretBytes)):
        secret = value.get_secret_value()
        yield secret.decode(errors="replace") if isinstance(secret, bytes) else secret
    elif isinstance(value, str):
        if _is_secret_name(name):
            yield value
        yield from _in_address(value)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            hidden = _HEADERS.search(name) and isinstance(each, str)
            yield from (each,) if hidden else secrets_in(each, str(key))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from secrets_in(each, name)


def scrubbed(text: str, value: Any) -> str:
    """`text` with every credential of `value` hidden in it."""
    for secret in sorted(filter(None, secrets_in(value)), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _masked_text(value: str, name: str) -> str:
    if value and _is_secret_name(name):
        return MASK
    for secret in _in_address(value):
        value = value.replace(secret, MASK)
    return value


def _in_address(value: str) -> list[str]:
    if "://" not in value:
        return []
    return [user or parameter for user, parameter in _IN_ADDRESS.findall(value)]


def _is_secret_name(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None
