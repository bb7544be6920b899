"""Which line of the tested code it was: the innermost one that belongs to no library.

Not here: source text. A line may quote a credential.
"""

from __future__ import annotations

import functools
import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple


def _library_folders() -> Iterator[str]:
    yield from map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))
    yield from site.getsitepackages()
    yield site.getusersitepackages()
    yield str(Path(__file__).parent.parent)  # llmkeep itself, also where it is not installed


_LIBRARIES: Final = tuple({f"{Path(folder).resolve()}{os.sep}" for folder in _library_folders()})


class Place(NamedTuple):
    """A line that ran."""

    file: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{_shown(self.file)}:{self.line} in {self.name}"


def place_here() -> Place:
    """The innermost line, of all that run here, that belongs to no library; else the outermost."""
    frame = None
    for frame in frames_here():
        if not _is_of_library(frame.f_code.co_filename):
            break
    assert frame is not None
    return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)


def modules_here() -> Iterator[str]:
    """The names of the modules whose code runs here, innermost first."""
    return (frame.f_globals.get("__name__", "") for frame in frames_here())


def frames_here() -> Iterator[FrameType]:
    """All that runs on this thread, innermost first; a coroutine's callers included."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


@functools.cache
def _is_of_library(file: str) -> bool:
    return file.startswith("<") or str(Path(file).resolve()).startswith(_LIBRARIES)


def _shown(file: str) -> str:
    """The path from the working directory, if it lies in there."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except ValueError:
        return file
