"""What travels with one run: who asks, under which rules, and who listens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from llmkeep.settings import AgentSettings, settings

from .listening import Listener
from .memory import UserId


@dataclass(frozen=True, slots=True)
class ToolRules:
    """Under which rules tools are called."""

    timeout: float
    """Seconds that one call may take."""
    threads: int
    """How many synchronous tools may run at once in this process."""
    approve: frozenset[str]
    """Names of tools that need approval, beside those that are marked; `*` is every tool."""
    approval_timeout: float
    """Seconds after which a call that waits for approval counts as declined."""

    @classmethod
    def of(cls, chosen: AgentSettings) -> Self:
        """The rules that the settings say."""
        return cls(
            timeout=chosen.tool_timeout,
            threads=chosen.tool_threads,
            approve=frozenset(chosen.approve_tools),
            approval_timeout=chosen.approval_timeout,
        )


@dataclass(frozen=True, slots=True)
class RunContext:
    """What is a user's own in a run; lives as long as the run.

    A tool gets it by a parameter `runtime: ToolRuntime[RunContext]`, as `runtime.context`.
    """

    user_id: UserId
    session_id: str
    db_session: Any = None
    user: Any = None
    prompt: str = ""
    rules: ToolRules | None = None
    """None: those that the settings say."""
    # Any: LangChain makes a pydantic schema of this class for every tool that takes it.
    listener: Any = field(default=None, repr=False)
    """The run's `Listener`; None where a graph is used directly."""


class _Request(Protocol):
    """What LangChain gives a hook: for a model, or for a tool."""

    @property
    def runtime(self) -> Any: ...


def context_of(request: _Request) -> RunContext | None:
    """The context of the run; None where the graph is used directly, without one."""
    context: object = request.runtime.context
    return context if isinstance(context, RunContext) else None


def listener_of(request: _Request) -> Listener | None:
    """Who listens to the run, if anybody does."""
    context = context_of(request)
    return None if context is None else context.listener


def rules_of(request: _Request) -> ToolRules:
    """The rules of the run, or those that the settings say."""
    context = context_of(request)
    return (context and context.rules) or ToolRules.of(settings.agents)
