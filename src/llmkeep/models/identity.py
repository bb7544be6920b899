"""What a value is, for a key: `structure` turns it into plain nested tuples tagged with its types.

Two values have equal structures when a model class would be configured alike by them. Plain data
counts by value, a `SecretStr` by what it holds, and whatever is no data (callables, HTTP clients)
by identity. The result may contain credentials: it goes into a fingerprint and nowhere else.

This is not the fingerprint: `llmkeep.core.freeze` makes that.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import types
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, final

import pydantic

_SCALARS: Final = frozenset({str, int, float, complex, bool, bytes, type(None)})
#: Immutable, compared by value, and with a `repr` that says the whole value.
_VALUES: Final = (
    decimal.Decimal,
    dt.date,
    dt.time,
    dt.timedelta,
    pathlib.PurePath,
    uuid.UUID,
)
#: Name of each object that counted by identity, by `id`; an entry goes when its object does.
_names: Final[dict[int, tuple[weakref.ref[Any], str]]] = {}


@final
class Identity:
    """An object that counts as itself and nothing else; keeps it alive while a key holds this."""

    __slots__ = ("_name", "_thing")

    def __init__(self, thing: object) -> None:
        self._thing = thing
        self._name: str | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and other._thing is self._thing

    def __hash__(self) -> int:
        return id(self._thing)

    def __repr__(self) -> str:
        """A name that no other object ever has: an `id` is used again after its object."""
        if self._name is None:
            self._name = _name_of(self._thing)
        return f"<{type(self._thing).__qualname__} {self._name}>"


def _name_of(thing: object) -> str:
    known = _names.get(id(thing))
    if known is not None and known[0]() is thing:
        return known[1]
    name, key = uuid.uuid4().hex, id(thing)
    try:
        # `name` is compared: by the time of the call another object may have the same id.
        reference = weakref.ref(thing, lambda _: _forget(key, name))
    except TypeError:
        return name  # for this one place alone: it can only tell apart what is one
    _names[key] = (reference, name)
    return name


def _forget(key: int, name: str) -> None:
    known = _names.get(key)
    if known is not None and known[1] == name:
        _names.pop(key, None)


def structure(value: Any) -> tuple[Any, ...]:
    """The plain structure of `value`: nested tuples, with `Identity` where there is no data.

    Raises ValueError where a container contains itself.
    """
    try:
        return _take(value)
    except RecursionError:
        raise ValueError("a parameter contains itself") from None


def is_object(value: Any) -> bool:
    """Whether `value` as a whole counts by identity."""
    return _take_whole(value) is None


def holds_object(value: Any) -> bool:
    """Whether anything in `value` counts by identity."""
    return _has_identity(structure(value))


def _has_identity(part: Any) -> bool:
    return isinstance(part, Identity) or (isinstance(part, tuple) and any(map(_has_identity, part)))


def _take(value: Any) -> tuple[Any, ...]:
    taken = _take_whole(value)
    return taken if taken is not None else _by_identity(value)


def _take_whole(value: Any) -> tuple[Any, ...] | None:
    kind = type(value)
    if kind in _SCALARS:
        return (kind.__name__, repr(value))  # repr tells 0.0 from -0.0, and nan equals itself
    for types_, take in _TAKERS:
        if isinstance(value, types_):
            return take(value)
    if hasattr(value, "as_dict") and kind.__name__ == "Timeout":  # httpx and httpx2
        return ("timeout", *_pairs(value.as_dict()))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return (_named(kind), *_pairs({each.name: getattr(value, each.name) for each in fields}))
    return None


def _by_identity(value: Any) -> tuple[Any, ...]:
    if isinstance(value, types.MethodType):  # a new object at each access
        return ("method", Identity(value.__func__), Identity(value.__self__))
    return ("object", Identity(value))


def _pairs(mapping: Mapping[Any, Any]) -> Iterator[tuple[Any, ...]]:
    return iter(sorted(((_take(name), _take(each)) for name, each in mapping.items()), key=repr))


def _named(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _take_pydantic(value: pydantic.BaseModel) -> tuple[Any, ...]:
    return (_named(type(value)), *_pairs({**vars(value), **(value.model_extra or {})}))


_TAKERS: Final[tuple[tuple[Any, Callable[[Any], tuple[Any, ...]]], ...]] = (
    (enum.Enum, lambda value: ("enum", _named(type(value)), value.name, _take(value.value))),
    (str, lambda value: (_named(type(value)), str.__repr__(value))),
    (int, lambda value: (_named(type(value)), int.__repr__(value))),
    (float, lambda value: (_named(type(value)), float.__repr__(value))),
    (Mapping, lambda value: ("mapping", *_pairs(value))),
    (list, lambda value: ("list", *map(_take, value))),
    (tuple, lambda value: ("tuple", *map(_take, value))),
    ((set, frozenset), lambda value: ("set", *sorted(map(_take, value), key=repr))),
    (
        (pydantic.SecretStr, pydantic.SecretBytes),
        lambda value: ("secret", _take(value.get_secret_value())),
    ),
    (_VALUES, lambda value: (_named(type(value)), repr(value))),
    (pydantic.BaseModel, _take_pydantic),
)
