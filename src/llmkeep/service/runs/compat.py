"""What readers that speak an older AG-UI are told: the log stores the truth, each reader its own.

Clients before 1.0 die of RUN_FINISHED with the outcome `cancelled`. They get it without outcome,
and before it a CUSTOM `run_cancelled`. That one has the number of the event before it: whoever is
cut between the two and comes again with that number gets both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Final

from ag_ui.core import CustomEvent

from llmkeep.service.records import Frame

from .events import serialised

Translation = Callable[[Sequence[Frame]], Sequence[Frame]]

_VERSION: Final = re.compile(r"(\d+)(\.\d+)*")


def translator(protocol_version: str | None) -> Translation | None:
    """What has to be done to a reader's frames; None: nothing, it speaks 1.0 or later.

    Args:
        protocol_version: as its request declares it; None: it declares none.
    """
    version = _VERSION.fullmatch(protocol_version or "")
    return None if version is not None and int(version[1]) >= 1 else _older


def _older(frames: Sequence[Frame]) -> Sequence[Frame]:
    last = frames[-1] if frames else None
    if last is None or not last.is_terminal:
        return frames
    event = json.loads(last.data)
    if (event.get("outcome") or {}).get("type") != "cancelled":
        return frames
    del event["outcome"]
    before = Frame(last.number - 1, serialised(CustomEvent(name="run_cancelled", value={})))
    finished = Frame(last.number, json.dumps(event, ensure_ascii=False), is_terminal=True)
    return [*frames[:-1], before, finished]
