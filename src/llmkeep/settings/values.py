"""Values of settings as they stand in an environment variable: lists by commas or in JSON."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_settings import NoDecode


def listed(value: object) -> object:
    """The parts of a text, which is a JSON list or is parted by commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return read_json(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def read_json(value: object) -> object:
    """What a text holds as JSON; nothing, if it is empty."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return {}
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# NoDecode: the source reads lists as JSON alone, and answers bad JSON in words of its own.
Names = Annotated[tuple[Name, ...], NoDecode, BeforeValidator(listed)]
