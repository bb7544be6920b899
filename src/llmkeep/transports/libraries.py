"""Which HTTP library is used: httpx2 or httpx, whose public names are the same for our purposes.

The code of this layer takes the library as a parameter; it is never imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

LIBRARIES = ("httpx2", "httpx")


def load(library: str | None) -> Any:
    """The module called `library`, or the first of `LIBRARIES` that is installed for None.

    Raises ValueError for another name, ImportError where the library is missing.
    """
    if library is None:
        library = next((name for name in LIBRARIES if find_spec(name)), LIBRARIES[0])
    elif library not in LIBRARIES:
        raise ValueError(f"library must be one of {LIBRARIES} or None, not {library!r}")
    try:
        return import_module(library)
    except ImportError as error:
        raise ImportError(f"llmkeep.transports needs {library}: pip install {library}") from error
