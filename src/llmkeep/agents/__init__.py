"""Agents: a model, tools, a prompt and a memory, for one user each; needs the extra `agents`.

What is costly is shared by all of them: the model's instance and the compiled graph.
"""

from __future__ import annotations

try:
    from .base import StatefulAgent
    from .context import RunContext
    from .handler import ConversationHandler
    from .memory import ConversationMemory, thread_of
    from .tools import BUILTIN_TOOLS
except ModuleNotFoundError as missing:
    if (missing.name or "").startswith("llmkeep"):
        raise
    raise ImportError(
        f'{missing.name} is not installed: pip install "llmkeep[agents]"', name=missing.name
    ) from None

__all__ = [
    "BUILTIN_TOOLS",
    "ConversationHandler",
    "ConversationMemory",
    "RunContext",
    "StatefulAgent",
    "thread_of",
]
