"""The JSON schemas that bind what a local model writes as a call's arguments.

Plain functions of schemas. llama.cpp makes a grammar of them, so a model cannot write anything
else; where it knows no grammar for a part of one, that part is left out here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

#: Words of a message out of which every part is offered: 24 words have 300 parts.
_MOST_WORDS: Final = 24
#: Characters of a text that is not taken from a message: a small model often finds no end.
_MOST_CHARACTERS: Final = 200


def closed(parameters: Schema, known: Schema, required: Collection[str]) -> dict[str, Any]:
    """`parameters` with `required` arguments and no others than it names; `known` are fixed."""
    fixed = {name: {"const": value} for name, value in known.items()}
    properties = {**(parameters.get("properties") or {}), **fixed}
    return {
        **parameters,
        "type": "object",
        "properties": properties,
        "required": sorted({*required, *known} & properties.keys()),
        "additionalProperties": False,
    }


def narrowed(parameters: Schema, arguments: Mapping[str, Schema]) -> dict[str, Any]:
    """`parameters` with what `arguments` says of each, without what has no grammar."""
    properties = {
        name: _writable({**schema, **arguments[name]} if name in arguments else schema)
        for name, schema in (parameters.get("properties") or {}).items()
    }
    return {**parameters, "properties": properties}


def copied(parameters: Schema, message: str) -> dict[str, Any]:
    """`parameters` with texts and numbers that stand in `message`, as far as they can.

    Copying is what a small model is good at. Numbers that may be left out are, where there is none.
    """
    required = parameters.get("required") or ()
    properties = {
        name: taken
        for name, schema in (parameters.get("properties") or {}).items()
        if (taken := _taken(schema, message, optional=name not in required)) is not None
    }
    return {**parameters, "properties": properties}


def _taken(schema: Schema, message: str, *, optional: bool) -> Schema | None:
    if schema.keys().isdisjoint({"anyOf", "enum", "const", "pattern", "format"}):
        match schema.get("type"):
            case "integer" | "number":
                numbers = [_number(each) for each in re.findall(r"\d+(?:\.\d+)?", message)]
                if schema["type"] == "integer":
                    numbers = [each for each in numbers if isinstance(each, int)]
                return {"enum": numbers} if numbers else (None if optional else schema)
            case "string":
                return _text(schema, message)
    return schema


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def _text(schema: Schema, message: str) -> Schema:
    words = message.split()
    if not words or len(words) > _MOST_WORDS:
        most = min(schema.get("maxLength", _MOST_CHARACTERS), _MOST_CHARACTERS)
        return {**schema, "maxLength": most}
    parts = [
        " ".join(words[start:end]).strip(_AROUND)
        for start in range(len(words))
        for end in range(start + 1, len(words) + 1)
    ]
    return {"enum": list(dict.fromkeys(filter(None, parts)))}


#: What stands around a part of a message without being one.
_AROUND: Final = " .,;:!?\"'()"


def _writable(schema: Any) -> Any:
    """`schema` without the patterns that llama.cpp has no grammar for."""
    if isinstance(schema, Mapping):
        pattern = schema.get("pattern")
        unfit = isinstance(pattern, str) and not _PLAIN_PATTERN.fullmatch(pattern)
        return {
            name: _writable(value)
            for name, value in schema.items()
            if not (unfit and name == "pattern")
        }
    return [_writable(each) for each in schema] if isinstance(schema, list) else schema


#: Anchored, and without groups that begin with a question mark or classes behind a backslash.
_PLAIN_PATTERN: Final = re.compile(r"\^(?:[^\\(]|\\[^a-zA-Z]|\((?!\?))*\$")
