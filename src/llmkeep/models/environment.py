"""Reading many environment variables at every lease.

`os.environ.get` answers for a variable that is not set by way of two exceptions. A provider's table
names about thirty, nearly none of which is set: 10 to 20 microseconds, which is ten times a lease.
So the mapping behind `os.environ` is asked where there is one, as since Python 3.0, and
`os.environ` itself anywhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, final

Looked = tuple[str | None, ...]
"""What some variables said at one moment; None for each that is not set."""


@final
class Variables:
    """Some environment variables, by name; a constant."""

    __slots__ = ("_encoded", "_last", "_names")

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._encoded: tuple[Any, tuple[Any, ...]] = (None, ())
        #: What was found last, as it is in there, and what that says.
        self._last: tuple[tuple[Any, ...], Looked] = ((), ())

    def look(self) -> Looked:
        """Their values now, in the order of the names; the same object while nothing changes."""
        environ: Any = os.environ  # whatever it is now: tests put other mappings in its place
        data = getattr(environ, "_data", None)
        if type(data) is not dict:
            return tuple(map(environ.get, self._names))
        of, encoded = self._encoded
        if of is not environ:
            encoded = tuple(map(environ.encodekey, self._names))
            self._encoded = (environ, encoded)
        values = tuple(map(data.get, encoded))
        last, looked = self._last
        if values != last:
            decode = environ.decodevalue
            looked = tuple([None if value is None else decode(value) for value in values])
            self._last = (values, looked)
        return looked
