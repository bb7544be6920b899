"""Bearer tokens, and whom they sign in: JSON in a variable or a file, never quoted by an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic_settings import NoDecode

from .checked import SettingsError
from .values import read_json

#: The shortest token that cannot be guessed, in characters.
MIN_TOKEN_LENGTH: Final = 16

#: The longest name of a user, in characters.
MAX_USER_LENGTH: Final = 128

_TOKENS_SHAPE: Final = 'it is {"<token>": {"user": "<name>", "administrator": false}, ...}'


def _user(name: str) -> str:
    if not (1 <= len(name) <= MAX_USER_LENGTH and name.isprintable()):
        raise ValueError(f"a user's name has 1 to {MAX_USER_LENGTH} printable characters")
    return name


class TokenHolder(BaseModel):
    """Whom a bearer token signs in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: Annotated[str, AfterValidator(_user)]
    administrator: bool = False


def _tokens(value: object) -> object:
    """What is wrong with them, in words that quote none: they are the keys of the mapping."""
    value = read_json(value)
    if not isinstance(value, Mapping):
        raise ValueError(_TOKENS_SHAPE)  # noqa: TRY004 - pydantic lets a TypeError pass
    for token, holder in value.items():
        text = token.get_secret_value() if isinstance(token, SecretStr) else str(token)
        is_sendable = text.isascii() and text.isprintable() and " " not in text
        if not is_sendable or len(text) < MIN_TOKEN_LENGTH:
            raise ValueError(
                f"a token has at least {MIN_TOKEN_LENGTH} characters, printable ASCII and no space"
            )
        try:
            TokenHolder.model_validate(holder)
        except ValidationError:
            raise ValueError(_TOKENS_SHAPE) from None
    return value


Tokens = Annotated[dict[SecretStr, TokenHolder], NoDecode, BeforeValidator(_tokens)]


def tokens_in(file: Path) -> dict[SecretStr, TokenHolder]:
    """The tokens of a file. Raises SettingsError."""
    try:
        text = file.expanduser().read_text(encoding="utf-8")
        return TypeAdapter[dict[SecretStr, TokenHolder]](Tokens).validate_python(text)
    except OSError as error:
        why = f"{file} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        why = f"{file} is not UTF-8"
    except ValidationError as error:
        why = f"in {file}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
    raise SettingsError(f"SERVICE__TOKENS_FILE: {why}")
