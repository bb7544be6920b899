"""The core: keys, flights, leases, scopes, bounds. Knows no LangChain; standard library only."""

from .cache import ClientCache, all_caches
from .errors import (
    BuildTimeout,
    CacheClosed,
    LeaseMisuse,
    LeaseTimeout,
    LLMKeepError,
    WouldDeadlock,
)
from .lease import Lease
from .scopes import Scope
from .specs import Key, Spec, freeze

__all__ = [
    "BuildTimeout",
    "CacheClosed",
    "ClientCache",
    "Key",
    "LLMKeepError",
    "Lease",
    "LeaseMisuse",
    "LeaseTimeout",
    "Scope",
    "Spec",
    "WouldDeadlock",
    "all_caches",
    "freeze",
]
