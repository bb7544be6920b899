"""What a forked child does before anything else runs in it.

A child must not use, close or collect what its parent opened: it would speak on a socket that
both share. Whoever holds such things registers itself here, and in the child puts the inherited
ones aside with `keep_forever` and starts anew.
"""

from __future__ import annotations

import atexit
import os
from typing import Any, Final

from .registry import Registry

_owners: Final[Registry[Any]] = Registry()
_methods: Final[dict[type, str]] = {}
_inherited: Final[list[object]] = []


def on_fork_in_child(owner: object, method: str) -> None:
    """In a forked child, call `owner.<method>()`; `owner` is not kept alive by this.

    The methods run before the child's own code, in the order in which they were registered, and
    must neither wait for a lock nor raise. One method per class of owners.
    """
    _methods[type(owner)] = method
    _owners.add(owner)


def keep_forever(inherited: object) -> None:
    """Never collect or finalise `inherited`, at the exit of the interpreter neither."""
    _inherited.append(inherited)


def _in_child() -> None:
    for owner in _owners.living():
        getattr(owner, _methods[type(owner)])()


def _outlive_the_interpreter() -> None:
    # At exit modules are cleared and finalizers run. One reference more than anybody will drop
    # keeps what is inherited out of that.
    if _inherited:
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(_inherited))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
    atexit.register(_outlive_the_interpreter)
