"""The instruments of a storm: each fault is what it says, and what must not be is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

import llmkeep
from tests.chaos.calls import Ending, Line, Told, make_lines
from tests.chaos.plan import Fault, answer, fault_of, question
from tests.chaos.storm import journal_of, registered, upstream
from tests.chaos.verdict import books, is_explained, judge
from tests.chaos.watched import Usage

SEED = 1


@pytest.fixture
def lines() -> Iterator[list[Line]]:
    """Handles over a running upstream, closed after the test."""
    llmkeep.close()
    Usage.faults.clear()
    with upstream(SEED, refuses=False) as port, registered():
        yield make_lines(port)
        llmkeep.close(timeout=5)


def _first_with(fault: Fault) -> int:
    return next(number for number in range(1000) if fault_of(SEED, number, 1) is fault)


@pytest.mark.parametrize("which", [2, 5], ids=["openai", "anthropic"])
def test_each_fault_is_what_it_says(lines: list[Line], which: int) -> None:
    """Without retries a caller gets the answer, or an error that the fault explains."""
    line = lines[which]
    assert line.retries == 0
    # The one that spoils the connection for the next request comes last.
    for fault in sorted(Fault, key=lambda fault: fault is Fault.CLOSED_AFTER):
        number = _first_with(fault)
        text, error = "", None
        try:
            for chunk in line.handle.stream(question(number)):
                text += chunk.text
        except Exception as told:
            error = told
        ends_well = fault.is_whole or fault is Fault.ENDS_EARLY
        assert (error is None) is ends_well, (fault, error)
        assert ends_well or is_explained(error), (fault, error)
        assert answer(number).startswith(text)
        assert (text == answer(number)) is fault.is_whole, fault


def _told(line: Line, **values: object) -> Told:
    whole = Told(1, line, Ending.READS, answer(1), complete=True)
    return replace(whole, **values)  # type: ignore[arg-type]


def test_the_verdict_notices() -> None:
    """Every rule about calls is broken once, by hand."""
    patient = Line(None, retries=2, impatient=False)
    fine = ["NONE", 0.0, 0.0]
    refused = ["TOO_MANY", 0.0, 1.0]

    def found(told: Told, *attempts: list[object]) -> str:
        return "; ".join(judge([told], {"1": list(attempts)}))

    assert found(_told(patient), fine) == ""
    assert found(_told(patient), refused, ["NONE", 1.06, 1.1]) == ""
    assert "after Retry-After" in found(_told(patient), refused, ["NONE", 1.01, 1.1])
    assert "sent 4 times" in found(_told(patient), *[["FAILED", n, n] for n in range(3)], fine)
    assert "after it was answered" in found(_told(patient), ["RESET_AMID", 0.0, 0.0], fine)
    assert "somebody else's" in found(_told(patient, text=answer(2)), fine)
    assert "lost a part" in found(_told(patient, text="Request"), fine)
    assert "without an answer" in found(_told(patient), ["FAILED", 0.0, 0.0])
    closed = RuntimeError("this transport has been closed")
    assert "was told RuntimeError" in found(_told(patient, error=closed), fine)
    wrapped = OSError()
    wrapped.__cause__ = closed
    assert "was told RuntimeError" in found(_told(patient, error=wrapped), fine)


def test_figures_that_do_not_add_up_are_noticed() -> None:
    """Each sum of I13, and a counter that goes backwards."""
    nothing = llmkeep.ClientCache(lambda key: key).stats()
    assert books(nothing) == []
    for wrong in ("acquired", "builds", "live"):
        assert len(books(replace(nothing, **{wrong: 1}))) == 1
    assert books(nothing, replace(nothing, closed=1))


def test_i3_a_close_under_a_lease_is_noticed(lines: list[Line]) -> None:
    """A shutdown that breaks a lease is such a close, the only one that there is."""
    stream = lines[0].handle.stream(question(_first_with(Fault.NONE)))
    next(stream)
    with pytest.warns(ResourceWarning, match="1 leases were out"):
        llmkeep.close(timeout=0)
    assert any(fault.startswith("I3: closed under 1") for fault in Usage.faults)
    with suppress(Exception):
        list(stream)


async def test_refuses_connections_now_and_then() -> None:
    """The listener is closed for a moment, again and again, and keeps its port."""
    with upstream(SEED) as port:
        for _ in range(2):
            while await _is_refused(port):
                pass
            while not await _is_refused(port):
                pass
        assert await asyncio.to_thread(journal_of, port) == {}


async def _is_refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:  # a reset: refused while the connection waited to be accepted
        return True
    writer.close()
    await writer.wait_closed()
    return False
