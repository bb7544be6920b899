"""Pruning: of a conversation's checkpoints, only what something can still go on from is kept.

LangGraph stores the whole conversation anew at every step, so unpruned the cost of one grows with
the square of its length. A checkpoint that another one followed is history: nothing needs it to
go on. What is left is the newest and the end of every branch, with what waits there.

This is the rule, and the pruning of a saver when a run has ended; the savers do it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointMetadata

logger = logging.getLogger(__name__)

#: Classes of savers of which it was said that they keep everything.
_told: Final[set[type]] = set()


class Row(NamedTuple):
    """What the rule looks at, of one checkpoint."""

    namespace: str
    id: str
    parent: str | None
    #: The checkpoint of the whole graph that a subgraph was called from.
    root: str | None
    #: Whether its value is computed from its ancestors (a `DeltaChannel`).
    is_delta: bool


async def prune(saver: BaseCheckpointSaver[Any], thread_id: str) -> None:
    """Prune a conversation, as far as its saver can; what goes wrong is logged and not raised."""
    try:
        await saver.aprune([thread_id])
    except NotImplementedError as error:
        if type(saver) not in _told:
            _told.add(type(saver))
            logger.warning(
                "%s keeps every checkpoint: it does not prune%s. A conversation's size grows with "
                "the square of its length",
                type(saver).__name__,
                f" ({error})" if str(error) else "",
            )
    except Exception as error:  # the run itself ended well; the next one prunes again
        logger.warning("a conversation was not pruned: %s", type(error).__name__)


def superseded(rows: Iterable[Row]) -> set[tuple[str, str]]:
    """The checkpoints of a conversation that may go, by namespace and id.

    These are all that have a child, except the newest of a namespace; and with the checkpoint that
    a subgraph was called from goes the call's own namespace. Being one of them is final, whatever
    is written meanwhile: nobody's newest checkpoint is among them.

    Raises NotImplementedError for a conversation with a `DeltaChannel`, which is computed from all
    ancestors.
    """
    spaces: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if row.is_delta:
            raise NotImplementedError("it uses a DeltaChannel")
        spaces[row.namespace][row.id] = row
    gone = {
        (namespace, parent)
        for namespace, space in spaces.items()
        for parent in {row.parent for row in space.values()} & space.keys() - {max(space)}
        if parent is not None
    }
    for namespace, space in spaces.items():
        # A call has its task's id behind a colon; a subgraph that remembers has none.
        if ":" in namespace and ("", space[max(space)].root) in gone:
            gone.update((namespace, each) for each in space)
    return gone


def row_of(
    namespace: str, checkpoint_id: str, parent: str | None, metadata: CheckpointMetadata
) -> Row:
    """What the rule looks at, of a checkpoint with this metadata."""
    root = (metadata.get("parents") or {}).get("")
    return Row(namespace, checkpoint_id, parent, root, "counters_since_delta_snapshot" in metadata)
