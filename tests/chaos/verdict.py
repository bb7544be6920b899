"""What must hold after a storm, looked for in what callers were told and what the upstream saw."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import anthropic
import httpx
import httpx2
import openai

from llmkeep.core.stats import Stats
from tests.chaos.calls import Ending, Told
from tests.chaos.plan import RETRY_AFTER, Fault, answer

#: What a caller may be told of a fault of the upstream. Everything else is a fault of ours.
_EXPLAINED: Final = (
    openai.OpenAIError,
    anthropic.AnthropicError,
    httpx2.HTTPError,
    httpx.HTTPError,
    json.JSONDecodeError,
)
#: What lies beneath those: in the HTTP libraries, and below them. (A time limit of anyio's is a
#: cancellation that becomes a TimeoutError.)
_BENEATH: Final = (OSError, TimeoutError, asyncio.CancelledError)
_LIBRARIES: Final = frozenset({"httpcore", "httpcore2", "h11", "anyio"})

Attempts = list[list[Any]]


def judge(told: Iterable[Told], journal: Mapping[str, Attempts]) -> list[str]:
    """What must not be, a line each."""
    found = []
    for each in told:
        attempts = journal.get(str(each.number), [])
        played = [Fault[name] for name, *_ in attempts]
        problems = [*_billed(each, played), *_waited(attempts), *_answered(each, played)]
        story = f"{each.number} ({each.ending.name}, {', '.join(p.name for p in played)})"
        found += [f"{problem}: request {story}" for problem in problems]
    return found


def _billed(told: Told, played: list[Fault]) -> Iterable[str]:
    """No request is sent more often than its retry policy says."""
    if len(played) > 1 + told.line.retries:
        yield f"sent {len(played)} times with {told.line.retries} retries"
    if not told.line.impatient:  # on a busy machine that one gives up where nothing stalls, too
        for before in played[:-1]:
            if before.is_accepted:
                yield f"sent again after it was answered ({before.name})"


def _waited(attempts: Attempts) -> Iterable[str]:
    for (name, _, answered), (_, came, _) in itertools.pairwise(attempts):
        if name in ("TOO_MANY", "FAILED") and came - answered < RETRY_AFTER:
            yield f"sent again {came - answered:.3f} s after Retry-After: {RETRY_AFTER}"


def _answered(told: Told, played: list[Fault]) -> Iterable[str]:
    """Callers get their own answer, or an error that the upstream explains."""
    whole = answer(told.number)
    if not whole.startswith(told.text):
        yield f"got somebody else's answer: {told.text!r}"
    last = played[-1] if played else None
    if told.error is not None:
        strange = [each for each in _chain(told.error) if not is_explained(each)]
        if strange:
            yield f"was told {strange[0]!r} in {told.error!r}"
        elif last is not None and last.is_whole and not told.line.impatient:
            yield f"failed though it was answered: {told.error!r}"
    elif told.ending is Ending.READS:
        if not told.complete:
            yield "did not read to the end"
        elif last is None or not (last.is_whole or last is Fault.ENDS_EARLY):
            yield "succeeded without an answer"
        elif last.is_whole and told.text != whole:
            yield f"lost a part of its answer: {told.text!r}"


def _chain(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_explained(error: BaseException | None) -> bool:
    """Whether a failing upstream accounts for it."""
    module = type(error).__module__.partition(".")[0]
    return isinstance(error, _EXPLAINED + _BENEATH) or module in _LIBRARIES


def books(stats: Stats, before: Stats | None = None) -> list[str]:
    """I13: figures that do not add up, or went backwards."""
    found = []
    if stats.acquired != stats.hits + stats.built + stats.joined:
        found.append("acquired")
    ended = stats.builds_ok + stats.build_failures + stats.builds_abandoned
    if stats.builds != ended + stats.building:
        found.append("builds")
    if stats.live != stats.leased + stats.idle + stats.retired:
        found.append("live")
    if stats.live + stats.closed > ended:
        found.append("closed")
    if before is not None:
        gauges = ("building", "live", "leased", "idle", "retired")
        now, then = vars(stats), vars(before)
        found += [name for name in now if name not in gauges and now[name] < then[name]]
    return [f"I13: {name} in {stats}" for name in found]


def accounts(
    stats: Stats, events: Mapping[str, int], *, entered: int, unsure: int, built: int
) -> list[str]:
    """I13: figures at the end, when all is closed, that are not what others have counted.

    `events` are those that the cache has told, by name; `entered` calls reached a model, `unsure`
    ones may have had a lease all the same, and factories made `built` instances.
    """
    closed = sum(events.get(name, 0) for name in ("Closed", "CloseFailed", "Dropped"))
    sides = {
        "leases": entered <= stats.acquired <= entered + unsure,
        "factory calls": stats.builds_ok <= built <= stats.builds,
        "closed": stats.closed == closed == built,
        "ready": stats.builds_ok == events.get("Built", 0),
        "failed": stats.build_failures == events.get("BuildFailed", 0),
        "abandoned": stats.builds_abandoned == events.get("BuildAbandoned", 0),
        "failed closes": stats.close_failures == events.get("CloseFailed", 0) == 0,
        "nothing left": stats.live == stats.building == 0,
    }
    counted = f"{dict(events)}, {entered} entered, {unsure} unsure, {built} built"
    return [f"I13: {name} in {stats}; {counted}" for name, holds in sides.items() if not holds]


def interrupted(told: Iterable[Told], entered: Iterable[int]) -> int:
    """How many calls were cancelled before they reached a model, perhaps with a lease."""
    known = set(entered)
    endings = (Ending.CANCELLED, Ending.TIMES_OUT)
    return sum(each.ending in endings and each.number not in known for each in told)


def refusals(told: Iterable[Told]) -> int:
    """How many calls ended since no connection could be made."""
    chains = [_chain(each.error) for each in told]
    return sum(any(isinstance(e, ConnectionRefusedError) for e in chain) for chain in chains)


def summary(told: Iterable[Told]) -> Counter[str]:
    """How the calls ended."""
    return Counter(
        type(each.error).__name__ if each.error is not None else each.ending.name for each in told
    )
