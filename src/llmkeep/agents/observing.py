"""Observing: a hook around each call of a model and of a tool, as for the spans of a trace.

Not here: what observes. The hook is an agent's `_observe`, which knows of the agent's user; it is
entered in the task that makes the call, so what it sets in the context is seen by what is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Literal, final

from langgraph.errors import GraphBubbleUp


@final
@dataclass(slots=True)
class Step:
    """One call of a model or a tool; lives as long as that is under way."""

    kind: Literal["model", "tool"]
    name: str
    """The tool's, or the model's as `provider:model`."""
    call_id: str = ""
    """Of a tool's call."""
    status: str = ""
    """Of a tool's call, when it has ended: success, error; or waiting, where it asks a person."""
    usage: Mapping[str, int] = field(default_factory=dict)
    """Of a model's call, when it has ended: `input_tokens` and the like, as far as told."""


Observe = Callable[[Step], AbstractContextManager[object]]


@contextmanager
def observed(observe: Observe, step: Step) -> Iterator[Step]:
    """Within `observe`, which is not told of a wait for a person as of a failure."""
    waits: GraphBubbleUp | None = None
    with observe(step):
        try:
            yield step
        except GraphBubbleUp as error:
            step.status = "waiting"
            waits = error
    if waits is not None:
        raise waits
