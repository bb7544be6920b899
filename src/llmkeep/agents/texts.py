"""Text that can go over a wire: JSON may carry halves of characters that UTF-8 cannot."""

from __future__ import annotations


def encodable(text: str) -> str:
    """The text with halves that belong together joined, and U+FFFD for each that is alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
