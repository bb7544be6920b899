"""Ids that clients give: of threads, runs and messages."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from llmkeep.service.errors import Invalid

MAX_LENGTH: Final = 128

#: Printable: no control characters and no line ends.
PATTERN: Final = rf"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]{{1,{MAX_LENGTH}}}$"

_RULE: Final = f"an id has 1 to {MAX_LENGTH} printable characters, and is neither . nor .."
_matches: Final = re.compile(PATTERN.replace("$", r"\Z")).match


_has_half: Final = re.compile("[\ud800-\udfff]").search


def is_id(text: str) -> bool:
    """Whether it can be one; `.` and `..` cannot be part of an address."""
    return _matches(text) is not None and text not in (".", "..") and not _has_half(text)


def check_id(text: object, name: str) -> str:
    """The id. Raises Invalid, which names what it is of, where it is none."""
    if isinstance(text, str) and is_id(text):
        return text
    raise Invalid(f"{name}: {_RULE}", code="invalid_id")


def _checked(text: str) -> str:
    if not is_id(text):
        raise PydanticCustomError("invalid_id", _RULE)
    return text


#: The same in JSON Schema.
ID_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": PATTERN,
    "minLength": 1,
    "maxLength": MAX_LENGTH,
}

Id = Annotated[str, AfterValidator(_checked), WithJsonSchema(ID_SCHEMA)]
"""An id in a body."""

PathId = Annotated[Id, BeforeValidator(unquote)]
"""An id in an address: routes are chosen before it is decoded, since it may hold a slash."""
