"""Locks that SDKs' classes hold while they compute something once: in a forked child they are free.

On Python 3.11 `functools.cached_property` has a lock for each class and attribute, held while the
value is computed. The SDKs' clients make their resources so (`client.messages`), and LangChain's
models their own description. A child forked by one thread while another computes would wait for
ever. Since 3.12 there is no such lock, and nothing to do.
"""

from __future__ import annotations

import sys
import threading
from functools import cached_property
from typing import Any, Final, final

from llmkeep.core.fork import on_fork_in_child


@final
class SdkLocks:
    """The packages whose locks are made anew in a forked child; lives as long as the process."""

    def __init__(self) -> None:
        self._packages: Final = {"langchain_core"}
        if hasattr(cached_property(repr), "lock"):
            on_fork_in_child(self, "_renew")

    def renew_in_children(self, *packages: str) -> None:
        """From now on, do so for `packages`, as far as they are imported by then."""
        self._packages.update(packages)

    def _renew(self) -> None:
        for name, module in list(sys.modules.items()):
            # What SDKs call types is data, and most of their classes.
            if name.partition(".")[0] in self._packages and ".types" not in name:
                for thing in list(vars(module).values()):
                    # Not `isinstance`: there are proxies that would do something to answer.
                    if issubclass(type(thing), type) and thing.__module__ == name:
                        _renew_class(thing)


def _renew_class(kind: type) -> None:
    for attribute in list(vars(kind).values()):
        if type(attribute) is cached_property:
            computed: Any = attribute
            computed.lock = threading.RLock()


sdk_locks: Final = SdkLocks()
