"""What a GGUF file says about itself: looked up in its header without reading the weights.

This is no general reader: it finds single texts and numbers, which is all that is asked before a
model is loaded. The format is described in llama.cpp's `docs/gguf.md`.
"""

from __future__ import annotations

import functools
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: The header is searched this far, in bytes; vocabularies of 300,000 tokens end well before.
_FAR_ENOUGH: Final = 64 * 1024 * 1024
_MAGIC: Final = b"GGUF"
_LENGTH: Final = struct.Struct("<Q")
_TYPE: Final = struct.Struct("<I")
_TEXT: Final = 8
_NUMBERS: Final = {4: struct.Struct("<I"), 5: struct.Struct("<i"), 10: struct.Struct("<Q")}


@dataclass(frozen=True)
class Header:
    """What is asked of a file: the context it was trained for, and its chat template."""

    context_length: int | None
    """Tokens; None where the file does not say."""
    chat_template: str
    """Jinja source; empty where the file has none."""

    @property
    def renders_tools(self) -> bool:
        """Whether the template knows tool calls; others drop them without a word."""
        return "tool_calls" in self.chat_template


def read_header(path: Path) -> Header:
    """The header of the file at `path`. Raises OSError, and ValueError where it is no GGUF file."""
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _read(path: Path, _modified: int) -> Header:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{path} is not a GGUF file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            architecture = _find(content, "general.architecture")
            context = _find(content, f"{architecture}.context_length")
            template = _find(content, "tokenizer.chat_template")
    return Header(
        context_length=context if isinstance(context, int) else None,
        chat_template=template if isinstance(template, str) else "",
    )


def _find(content: mmap.mmap, key: str) -> str | int | None:
    """The value of `key`: keys stand in the file behind their length, before their type."""
    written = _LENGTH.pack(len(key)) + key.encode()
    start = content.find(written, 0, _FAR_ENOUGH)
    if start < 0:
        return None
    kind_at = start + len(written)
    value_at = kind_at + _TYPE.size
    try:
        (kind,) = _TYPE.unpack_from(content, kind_at)
        if kind in _NUMBERS:
            (number,) = _NUMBERS[kind].unpack_from(content, value_at)
            return int(number)
        if kind == _TEXT:
            (length,) = _LENGTH.unpack_from(content, value_at)
            text_at = value_at + _LENGTH.size
            return content[text_at : text_at + length].decode(errors="replace")
    except struct.error:  # the file ends here
        pass
    return None
