"""One run of a foreign test suite, with every httpx client over our transports or as it comes.

`python sdk_program.py theirs|ours EXTRAS PYTEST-ARGUMENTS...`; started by `sdk_suites`, in the
folder of the suite, whose package `tests` is not ours. Nothing in it is patched but `__init__` of
the two libraries' clients: it makes what `llmkeep.transports.client` and `async_client` make of the
same options, wherever the caller left the transport to the library.
"""

from __future__ import annotations

import functools
import sys
from typing import Any


def over_ours(library: Any) -> None:
    """Have the clients of `library` made over our transports."""
    from llmkeep.transports import AsyncLoopTransport, ForkSafeTransport
    from llmkeep.transports.clients import _options

    for kind, transport in (
        (library.Client, ForkSafeTransport),
        (library.AsyncClient, AsyncLoopTransport),
    ):
        _make_over(kind, library, transport, _options)


def _make_over(kind: Any, library: Any, transport: Any, options_for: Any) -> None:
    original = kind.__init__

    @functools.wraps(original)
    def __init__(self: Any, **options: Any) -> None:
        chosen = [options.get("transport"), *(options.get("mounts") or {}).values()]
        of_its_own = type(self)._init_transport is not kind._init_transport  # over aiohttp
        if of_its_own or any(each is not None for each in chosen):
            original(self, **options)
        else:
            original(self, **options_for(library, transport, options))

    kind.__init__ = __init__


def over_ours_in_anthropic() -> None:
    """Have anthropic's own default clients make ours: they make their transports themselves."""
    from anthropic import _base_client

    from llmkeep.transports import AsyncLoopTransport, ForkSafeTransport

    made_in: Any = _base_client
    made_in.HTTPTransport = functools.partial(ForkSafeTransport, library="httpx2")
    made_in.AsyncHTTPTransport = functools.partial(AsyncLoopTransport, library="httpx2")


class Swap:
    """The pytest plugin that puts our transports in place."""

    def pytest_configure(self) -> None:
        """Before the suite is imported, and after pytest has looked at what is imported."""
        import httpx
        import httpx2

        over_ours(httpx)
        over_ours(httpx2)
        over_ours_in_anthropic()


def main(side: str, extras: str, *arguments: str) -> int:
    """Run pytest. The extra packages come last, so that nothing pinned is replaced by them."""
    import pytest

    sys.path.append(extras)
    return int(pytest.main(list(arguments), plugins=[Swap()] if side == "ours" else []))


if __name__ == "__main__":
    sys.path[0] = ""  # the suite's folder, and not that of this program
    sys.exit(main(*sys.argv[1:]))
