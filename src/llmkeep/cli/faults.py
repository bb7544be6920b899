"""What the terminal says of an error: one line."""

from __future__ import annotations

from llmkeep.core.errors import LLMKeepError


def one_line(error: Exception) -> str:
    """The error for a person: what to change where we know it, and never a secret."""
    if isinstance(error, LLMKeepError | ImportError):
        # Text of our own. And where packages or settings are wrong, what is below cannot be had.
        return " ".join(str(error).split())
    from llmkeep.agents.faults import told_to_user

    return told_to_user(error)[0]
