"""Agents: a model, tools, a prompt and a memory, for one user each; needs the extra `agents`.

What is costly is shared by all of them: the model's instance and the compiled graph.
"""

from __future__ import annotations

try:
    from .approvals import BadAnswer, NotWaiting
    from .base import StatefulAgent
    from .context import RunContext
    from .handler import ConversationHandler
    from .history import NothingToAnswer, Turn
    from .leased_saver import LeasedSaver
    from .memory import ConversationMemory, thread_of
    from .run import RunCancelled, RunInterrupted
    from .sqlite_memory import SqliteMemory
    from .tools import BUILTIN_TOOLS, needs_approval
except ModuleNotFoundError as missing:
    if (missing.name or "").startswith("llmkeep"):
        raise
    raise ImportError(
        f'{missing.name} is not installed: pip install "llmkeep[agents]"', name=missing.name
    ) from None

__all__ = [
    "BUILTIN_TOOLS",
    "BadAnswer",
    "ConversationHandler",
    "ConversationMemory",
    "LeasedSaver",
    "NotWaiting",
    "NothingToAnswer",
    "RunCancelled",
    "RunContext",
    "RunInterrupted",
    "SqliteMemory",
    "StatefulAgent",
    "Turn",
    "needs_approval",
    "thread_of",
]
