"""Which fault a request meets, and what the client may make of it.

Both follow from the seed, the request's number and the attempt alone, so the upstream and whoever
judges it agree without talking, and a seed replays the same faults however the threads run.
"""

from __future__ import annotations

import enum
import random
import re
from typing import Final

#: What a request says, and the upstream recognises it by.
MARK: Final = re.compile(rb"chaos-(\d+)-")

#: Seconds of silence: a patient client sits it out, an impatient one gives up before.
STALL: Final = 0.8
IMPATIENCE: Final = 0.3
#: What Retry-After asks for, in seconds.
RETRY_AFTER: Final = 0.05


class Fault(enum.Enum):
    """What happens to one attempt."""

    # The whole answer comes.
    NONE = "whole"
    SHREDDED = "in pieces that end anywhere"
    CLOSED_AFTER = "whole, and the connection is closed as it is about to be used again"
    STALL_BEFORE = "silence, then whole"
    STALL_AMID = "silence in the middle, then the rest"
    CUT_AT_REUSE = "whole, and the connection is reset when the next request comes over it"
    # No answer comes: the client may ask again.
    TOO_MANY = "429 with Retry-After"
    FAILED = "500"
    RESET_BEFORE = "a reset instead of an answer"
    CLOSED_BEFORE = "the connection is closed instead of an answer"
    #: Not planned for a request: it meets what the one before it on the connection has left.
    CUT = "a reset, since the connection had been kept alive for nothing"
    # Half an answer comes: the request is paid for, and must not be sent again.
    RESET_AMID = "a reset in the middle"
    CLOSED_AMID = "the connection is closed in the middle"
    BROKEN_CHUNK = "a chunk whose length is no number"
    BROKEN_EVENT = "an event that is no JSON"
    SAYS_FAILURE = "an event that says the provider failed"
    ENDS_EARLY = "it ends in order, but early"

    @property
    def is_whole(self) -> bool:
        """The client gets all of the answer, if it waits."""
        return self in _WHOLE

    @property
    def is_accepted(self) -> bool:
        """The client has got the head of an answer: it must not send the request again."""
        return self not in _REFUSED

    @property
    def stalls(self) -> bool:
        """An impatient client gives up."""
        return self in (Fault.STALL_BEFORE, Fault.STALL_AMID)


_WHOLE: Final = frozenset(
    {
        *(Fault.NONE, Fault.SHREDDED, Fault.CLOSED_AFTER, Fault.STALL_BEFORE, Fault.STALL_AMID),
        Fault.CUT_AT_REUSE,
    }
)
_REFUSED: Final = frozenset(
    {Fault.TOO_MANY, Fault.FAILED, Fault.RESET_BEFORE, Fault.CLOSED_BEFORE, Fault.CUT}
)
_FAULTS: Final = [fault for fault in Fault if fault not in (Fault.NONE, Fault.CUT)]


def chance(*parts: object) -> random.Random:
    """Random numbers that follow from `parts`."""
    return random.Random(" ".join(map(str, parts)))


def fault_of(seed: int, number: int, attempt: int) -> Fault:
    """What happens to this attempt (the first is 1): nothing half of the time.

    Attempts that are cut do not count.
    """
    draw = chance(seed, "fault", number, attempt)
    return Fault.NONE if draw.random() < 0.5 else draw.choice(_FAULTS)


def question(number: int) -> str:
    """What the client asks."""
    return f"chaos-{number}- how are you?"


def answer(number: int) -> str:
    """What the whole answer says."""
    return f"Request {number} is answered with these few words"
