"""Specs and keys: what tells one configuration from another.

A spec is any hashable value, or a mapping of plain values (nested). `freeze` seals it into a
`Spec` with a `Key`: a fingerprint that holds no secret, keyed with a number that is random per
process, so that it can be shown and logged. Identity is type-tagged: `True`, `1` and `1.0` are
three values.

Values that are not plain data (enum members, dataclasses, `SecretStr` ...) have only their own
`__hash__` and `__eq__` to be told apart by. That is foreign code and runs here, never under a
cache's lock (see `Spec.key_in`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

if TYPE_CHECKING:
    from .slots import Home, Known

_PROCESS_SECRET: Final = os.urandom(32)
_SERIAL: Final = itertools.count()
_SCALARS: Final = frozenset({str, int, float, complex, bool, bytes, type(None)})


@final
class Key(str):
    """The fingerprint of a spec: no secret can be read from it, and it means nothing elsewhere."""

    __slots__ = ()


@final
class Foreign:
    """A part of a spec that only its own `__eq__` can tell from another; compared outside locks."""

    __slots__ = ("hash", "structure")

    def __init__(self, structure: object) -> None:
        self.structure = structure
        self.hash = hash(structure)


@final
class Spec:
    """A sealed spec: its key, and the value that `build` will be called with.

    Specs of plain data that are equal have equal keys. Where a part can only be told apart by its
    own `__eq__`, the key is a new one each time, and a cache looks for equal ones that it knows.

    Sealing once and leasing with the result saves the hashing. Neither `repr` nor pickle shows
    the value.
    """

    __slots__ = ("_value", "foreign", "key")

    def __init__(self, value: Any, key: Key, foreign: Foreign | None = None) -> None:
        self._value = value
        self.key: Final = key
        self.foreign: Final = foreign

    def thaw(self) -> Any:
        """The value, as a copy of its own where it is a mapping."""
        return _copy(self._value)

    def key_in(self, home: Home) -> tuple[Key, Known]:
        """The key under which an equal spec is known in `home`, or else the own one.

        And the known specs that were compared with: this runs their `__eq__`, so outside the
        lock, and whoever adds one has to see whether that was overtaken.
        """
        foreign = self.foreign
        if foreign is None:
            return self.key, ()
        known = home.foreign.get(foreign.hash, ())
        for other, key in known:
            if other is foreign or other.structure == foreign.structure:
                return key, known
        return self.key, known

    def __repr__(self) -> str:
        return f"<Spec {self.key[:8]}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Spec may hold credentials and is not pickled: freeze it where it is used"
        )


def freeze(spec: Any) -> Spec:
    """Seal `spec`; later changes to it change nothing.

    Raises TypeError where a part can be neither hashed nor taken apart, and ValueError where a
    mapping contains itself. The message names the place, never the value.
    """
    kind = type(spec)
    if kind is Spec:
        return spec  # type: ignore[no-any-return]
    if kind is str:
        return _freeze_text(spec)
    parts = _Taken()
    try:
        structure = parts.take(spec, "spec", nested=False)
        value = _copy(spec)
    except RecursionError:
        raise ValueError("the spec contains itself") from None
    if parts.foreign:
        return Spec(value, _key_of(f"foreign {next(_SERIAL)}"), Foreign(structure))
    return Spec(value, _key_of(_written(structure)))


# In memory only, as the specs of any cache are; a text that is a credential is no worse off here.
@lru_cache(maxsize=1024)
def _freeze_text(spec: str) -> Spec:
    return Spec(spec, _key_of(_written(("str", spec))))


def _key_of(material: str) -> Key:
    encoded = material.encode("utf-8", "surrogatepass")
    return Key(blake2b(encoded, digest_size=16, key=_PROCESS_SECRET).hexdigest())


def display_id() -> str:
    """A name for something on display: new each time, and random per process."""
    material = next(_SERIAL).to_bytes(8, "little")
    return blake2b(material, digest_size=4, key=_PROCESS_SECRET).hexdigest()


def _written(structure: object) -> str:
    """Plain structure as text: equal structures give equal text, and different ones different."""
    if isinstance(structure, tuple):
        return f"({','.join(map(_written, structure))})"
    if isinstance(structure, frozenset):
        return f"{{{','.join(sorted(map(_written, structure)))}}}"
    return repr(structure)


class _Taken:
    """One walk over a spec, which turns it into nested tuples tagged with the types."""

    def __init__(self) -> None:
        self.foreign = False

    def take(self, part: Any, where: str, *, nested: bool) -> tuple[Any, ...]:
        kind = type(part)
        if kind in _SCALARS:
            # repr: it tells 0.0 from -0.0, and makes nan equal to itself.
            return (kind.__name__, repr(part))
        if isinstance(part, Mapping):
            return ("mapping", frozenset(self._pairs(part, where)))
        if kind is tuple:
            return ("tuple", *self._each(part, where, nested))
        if nested and kind is list:
            return ("list", *self._each(part, where, nested))
        if kind is frozenset or (nested and kind is set):
            return ("set", frozenset(self._each(part, where, nested)))
        return self._opaque(part, where)

    def _pairs(self, part: Mapping[Any, Any], where: str) -> Iterator[tuple[Any, ...]]:
        for name, value in part.items():
            yield (
                self.take(name, where, nested=True),
                self.take(value, _at(where, name), nested=True),
            )

    def _each(self, parts: Iterable[Any], where: str, nested: bool) -> list[tuple[Any, ...]]:
        return [self.take(part, _at(where, n), nested=nested) for n, part in enumerate(parts)]

    def _opaque(self, part: Any, where: str) -> tuple[Any, ...]:
        try:
            hash(part)
        except TypeError:
            raise TypeError(
                f"{where} is a {type(part).__name__}, which is not hashable: "
                "a spec is a hashable value, or a mapping of plain values"
            ) from None
        self.foreign = True
        return (type(part), part)


def _at(where: str, name: Any) -> str:
    return f"{where}[{name!r}]" if type(name) in (str, int) else f"{where}[...]"


def _copy(part: Any) -> Any:
    if isinstance(part, Mapping):
        return {name: _copy(value) for name, value in part.items()}
    kind = type(part)
    if kind in (list, tuple, set, frozenset):
        return kind(_copy(each) for each in part)
    return part
