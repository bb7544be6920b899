"""A model class's arguments: copied, and called by the names of their fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pydantic
from langchain_core.language_models import BaseChatModel


def own_copy(value: Any) -> Any:
    """`value` with containers of its own, and the same objects in them."""
    if isinstance(value, Mapping):
        return {name: own_copy(each) for name, each in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(own_copy(each) for each in value)
    return value


def field_names(model_class: type[BaseChatModel], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`arguments` with every alias replaced by the name of its field; what is no field stays."""
    names = {name: name for name in model_class.model_fields}
    for name, field in model_class.model_fields.items():
        names |= dict.fromkeys(_aliases(field), name)
    return {names.get(given, given): value for given, value in arguments.items()}


def parameter(model_class: type[BaseChatModel], field: str) -> str:
    """A name by which the class takes `field`."""
    info = model_class.model_fields.get(field)
    config = model_class.model_config
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    return field if info is None or by_name else (info.alias or field)


def _aliases(field: pydantic.fields.FieldInfo) -> Iterator[str]:
    for alias in (field.alias, field.validation_alias):
        if isinstance(alias, str):
            yield alias
        elif isinstance(alias, pydantic.AliasChoices):
            yield from (choice for choice in alias.choices if isinstance(choice, str))
