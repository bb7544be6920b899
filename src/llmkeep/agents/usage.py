"""What is summed of tokens for a conversation: LangChain's counts, flat, under AG-UI's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_TOTALS: Final = ("input_tokens", "output_tokens", "total_tokens")
_DETAILS: Final = (
    ("cached_input_tokens", "input_token_details", "cache_read"),
    ("reasoning_tokens", "output_token_details", "reasoning"),
)


def counts_of(usage: Mapping[str, Any] | None) -> dict[str, int]:
    """The counts in a message's `usage_metadata`; those that the provider did not give are none."""
    if not usage:
        return {}
    counts = {name: usage.get(name) for name in _TOTALS}
    for name, group, detail in _DETAILS:
        counts[name] = (usage.get(group) or {}).get(detail)
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def add_counts(one: dict[str, int] | None, other: dict[str, int] | None) -> dict[str, int]:
    """The sums; either may be missing."""
    one, other = one or {}, other or {}
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
