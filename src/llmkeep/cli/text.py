"""Text of others, made fit for a terminal: nothing in it is a control sequence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

#: Characters of a tool's result that are shown.
MAX_RESULT: Final = 1000

# C0 without tab and newline, delete, C1, and what turns the order of the text after it.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def cleaned(text: str) -> str:
    """The text without control characters, line ends and tabs excepted."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


def shortened(text: str, length: int) -> str:
    """The text, at most so long."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def one_line(text: str, length: int) -> str:
    """The text in one line, at most so long."""
    return shortened(" ".join(cleaned(text).split()), length)


def result_text(content: object) -> str:
    """What a tool answered, as it is shown."""
    return cleaned(shortened(content, MAX_RESULT)) if isinstance(content, str) else "(not text)"


def arguments_text(text: str) -> str:
    """Arguments as one would write them; as they came where they are no JSON object."""
    try:
        given = json.loads(text or "{}")
    except ValueError:
        return cleaned(text)
    if not isinstance(given, dict):
        return cleaned(text)
    return ", ".join(f"{cleaned(name)}={_value(each)}" for name, each in given.items())


def usage_text(usage: Mapping[str, Any]) -> str:
    """Tokens in and out, as one reads them; nothing where none is known."""
    parts = [
        f"{usage[name]:,} {word}"
        for name, word in (("input_tokens", "in"), ("output_tokens", "out"))
        if usage.get(name)
    ]
    return f"{', '.join(parts)} tokens" if parts else ""


def _value(value: object) -> str:
    written = json.dumps(value, ensure_ascii=False)
    # What would be dropped is shown: an argument that is agreed to must be all there.
    return _CONTROL.sub(lambda each: f"\\u{ord(each[0]):04x}", written)
