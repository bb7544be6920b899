"""How a wrong setting is refused: in one line that starts with its environment variable's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from llmkeep.core.errors import LLMKeepError

try:
    import pydantic_settings as _pydantic_settings  # noqa: F401 - the tree needs it
    from pydantic import BaseModel, ConfigDict, ValidationError
except ImportError as missing:
    raise ImportError(
        f'{missing.name} is not installed: pip install "llmkeep[agents]"', name=missing.name
    ) from None

#: Between the parts of a variable's name.
DELIMITER: Final = "__"

#: Fields with credentials in them: what came is not shown.
_SECRET_FIELDS: Final = frozenset({"mcp_servers", "tokens", "jwt_secret", "jwt_jwks_url"})


class SettingsError(LLMKeepError, ValueError):
    """A setting has a wrong value; the message starts with its environment variable's name."""

    __module__ = "llmkeep.settings"  # where it is imported from, as a traceback shows it


class Checked:
    """An assignment is validated like the environment is, and refused in the same words."""

    prefix: ClassVar[tuple[str, ...]] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise refusal(error, *self.prefix) from None


class Section(Checked, BaseModel):
    """A branch of the tree."""

    # Unknown names are let pass: an application may keep settings of its own in LLM__...
    model_config = ConfigDict(validate_assignment=True, extra="ignore", protected_namespaces=())


def refusal(error: ValidationError, *prefix: str) -> SettingsError:
    """One line for the first thing that is wrong: the variable, what was expected, what came."""
    first = error.errors(include_url=False)[0]
    place = [*prefix, *map(str, first["loc"])]
    variable, inside = place[:2], place[2:]
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if inside and variable[-1] != "tokens":  # a token is the name of its own place
        message = f"at {'.'.join(inside):.80}: {message}"
    return SettingsError(f"{DELIMITER.join(variable).upper()}: {message}{_shown(place, first)}")


def _shown(place: list[str], first: Mapping[str, Any]) -> str:
    """What came, where no credential can be in it."""
    value = first["input"]
    if _SECRET_FIELDS.isdisjoint(place) and isinstance(value, str | int | float | None):
        return f", got {value!r:.80}"
    return "" if first["type"] == "value_error" else f", got a {type(value).__name__}"
