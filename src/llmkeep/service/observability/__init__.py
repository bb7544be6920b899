"""What the service tells its operator: logs, metrics and traces, without a word of a conversation.

Said are ids, names of routes, models and tools, counts and times; never a message, an argument, a
result, a credential.
"""

from .logs import configure_logging, log_context
from .metrics import Metrics
from .requests import add_observability
from .tracing import Tracing, make_tracing

__all__ = [
    "Metrics",
    "Tracing",
    "add_observability",
    "configure_logging",
    "log_context",
    "make_tracing",
]
