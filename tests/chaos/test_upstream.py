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
from tests.chaos.processes import connections_of_loops, eventually, journal_of, upstream
from tests.chaos.storm import registered
from tests.chaos.verdict import accounts, books, is_explained, judge
from tests.chaos.watched import Usage

SEED = 1


@pytest.fixture
def port() -> Iterator[int]:
    """A running upstream's; what leads there is closed after the test."""
    llmkeep.close()
    Usage.forget_all()
    with upstream(SEED, refuses=False) as port, registered():
        yield port
        llmkeep.close(timeout=5)


@pytest.fixture
def lines(port: int) -> list[Line]:
    """Handles over it."""
    return make_lines(port)


def _first_with(fault: Fault) -> int:
    return next(number for number in range(1000) if fault_of(SEED, number, 1) is fault)


@pytest.mark.parametrize("which", [2, 5], ids=["openai", "anthropic"])
def test_each_fault_is_what_it_says(lines: list[Line], which: int) -> None:
    """Without retries a caller gets the answer, or an error that the fault explains."""
    line = lines[which]
    assert line.retries == 0
    last = [Fault.CUT_AT_REUSE, Fault.CLOSED_AFTER]  # they spoil it for the next request
    for fault in [*(set(Fault) - {*last, Fault.CUT}), Fault.CUT_AT_REUSE]:
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


@pytest.mark.parametrize("which", [3, 5], ids=["retries", "does not"])
def test_a_connection_is_cut_as_it_is_used_again(lines: list[Line], port: int, which: int) -> None:
    """The next request has been sent when it is: with retries it is sent again, once.

    Anthropic's SDK: OpenAI's closes a connection whose stream has come to its `[DONE]`.
    """
    line = lines[which]
    first = _first_with(Fault.CUT_AT_REUSE)
    second = _first_with(Fault.NONE)
    assert "".join(chunk.text for chunk in line.handle.stream(question(first))) == answer(first)
    if line.retries:
        text = "".join(chunk.text for chunk in line.handle.stream(question(second)))
        assert text == answer(second)
    else:
        with pytest.raises(Exception, match="onnection") as told:
            list(line.handle.stream(question(second)))
        assert is_explained(told.value)
    names = [name for name, *_ in journal_of(port)[str(second)]]
    assert names == (["CUT", "NONE"] if line.retries else ["CUT"])


def test_whose_connections_are_open_is_known(lines: list[Line], port: int) -> None:
    """Those of loops are told from a synchronous client's, which may stay until it is closed."""
    number = _first_with(Fault.NONE)

    async def ask() -> int:
        async for _ in lines[0].handle.astream(question(number)):
            pass
        return await asyncio.to_thread(connections_of_loops, port)

    list(lines[0].handle.stream(question(number)))
    assert asyncio.run(ask()) == 1
    assert eventually(lambda: connections_of_loops(port) == 0)


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
        assert books(replace(nothing, **{wrong: 1}))
    assert books(replace(nothing, closed=1))  # more than was built
    assert books(nothing, replace(nothing, closed=1))


def test_figures_that_others_have_counted_otherwise_are_noticed() -> None:
    """Each of them forgets one, or counts one twice."""
    stats = llmkeep.ClientCache(lambda key: key).stats()
    stats = replace(stats, acquired=3, builds=2, builds_ok=2, closed=2)
    events = {"Built": 2, "Closed": 2}
    counted = {"entered": 3, "unsure": 0, "built": 2}
    assert accounts(stats, events, **counted) == []
    for name in ("acquired", "builds", "builds_ok", "closed", "live", "building"):
        for by in (-1, 1):
            changed = replace(stats, **{name: getattr(stats, name) + by})
            # One factory call more than instances: it may have failed.
            assert bool(accounts(changed, events, **counted)) is ((name, by) != ("builds", 1))
    for name in ("build_failures", "builds_abandoned", "close_failures"):
        assert accounts(replace(stats, **{name: 1}), events, **counted)
    assert accounts(stats, {**events, "CloseFailed": 1}, **counted)


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
