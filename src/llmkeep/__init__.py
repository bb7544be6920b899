"""llmkeep: one instance per configuration, built once, leased while in use, closed when not.

`import llmkeep` loads the core alone; everything else is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .core import (
    BuildTimeout,
    CacheClosed,
    ClientCache,
    Lease,
    LeaseMisuse,
    LeaseTimeout,
    LLMKeepError,
    Scope,
    Spec,
    WouldDeadlock,
    freeze,
)

if TYPE_CHECKING:
    from .models import chat_model, clear, close, default_cache, stats

__version__ = "0.1.0"

__all__ = [
    "BuildTimeout",
    "CacheClosed",
    "ClientCache",
    "LLMKeepError",
    "Lease",
    "LeaseMisuse",
    "LeaseTimeout",
    "Scope",
    "Spec",
    "WouldDeadlock",
    "chat_model",
    "clear",
    "close",
    "default_cache",
    "freeze",
    "stats",
]

_MODELS = frozenset({"chat_model", "clear", "close", "default_cache", "stats"})


def __getattr__(name: str) -> Any:
    if name in _MODELS:
        from . import models

        return getattr(models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
