"""The journal: few transactions, nothing told before it is stored, faults kept apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from llmkeep.service.errors import Unavailable
from llmkeep.service.interfaces import Change, EventsAdded, RunChanged
from llmkeep.service.records import Frame
from llmkeep.service.runs import journal as journals
from llmkeep.service.runs.journal import PENDING_CHARACTERS, Journal, Pages


class Memory:
    """A store that keeps what it is given, when the test lets it."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Change]] = []
        self.tries = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Semaphore(0)
        self.refuse: Callable[[Sequence[Change]], bool] = lambda _changes: False

    async def write(self, changes: Sequence[Change]) -> None:
        self.tries += 1
        self.entered.release()
        await self.gate.wait()
        if self.refuse(changes):
            raise OSError("disk full")
        self.batches.append(changes)

    def numbers(self, run: int) -> list[int]:
        return [
            frame.number
            for batch in self.batches
            for change in batch
            if isinstance(change, EventsAdded) and change.run == run
            for frame in change.frames
        ]


class Teller:
    """A run that only writes."""

    def __init__(self, journal: Journal, key: int) -> None:
        self.told: list[int] = []
        self.lost: list[BaseException] = []
        self.count = 0
        self.pages: Pages = journal.pages(key, self._publish, self.lost.append)

    def say(self, data: str = "{}", *changes: Change) -> None:
        self.count += 1
        self.pages.add(Frame(self.count, data), changes)

    def _publish(self, frames: Sequence[Frame]) -> None:
        self.told += [frame.number for frame in frames]


@pytest.fixture(autouse=True)
def retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "RETRIES", (0.0, 0.0))


@pytest.fixture
def memory() -> Memory:
    return Memory()


@asynccontextmanager
async def writing(memory: Memory, **more: Any) -> AsyncIterator[Journal]:
    journal = Journal(memory, **{"interval": 0.0, **more})  # type: ignore[arg-type]
    journal.start()
    try:
        yield journal
    finally:
        await journal.close()


async def test_r1_nothing_is_told_before_it_is_stored(memory: Memory):
    """Frames are published when their transaction has ended, all of them at once."""
    memory.gate.clear()
    async with writing(memory) as journal:
        teller = Teller(journal, 1)
        teller.say()
        teller.say()
        await memory.entered.acquire()
        assert teller.told == []
        memory.gate.set()
        await teller.pages.settled()

        assert teller.told == memory.numbers(1) == [1, 2]


async def test_what_comes_while_it_writes_is_one_more_transaction(memory: Memory):
    """Fifty runs with twenty events each cost two transactions here, not a thousand."""
    memory.gate.clear()
    async with writing(memory) as journal:
        tellers = [Teller(journal, key) for key in range(50)]
        tellers[0].say()
        await memory.entered.acquire()
        for _ in range(20):
            for teller in tellers:
                teller.say()
        memory.gate.set()
        await journal.flush()

    assert len(memory.batches) == 2
    assert all(memory.numbers(each) == tellers[each].told for each in range(50))
    assert tellers[7].told == [*range(1, 21)]


async def test_an_interval_passes_between_two_transactions(memory: Memory):
    """Where several runs write, the first is written at once, what comes within it together."""
    async with writing(memory, interval=0.05) as journal:
        first, second = Teller(journal, 1), Teller(journal, 2)
        first.say()
        await memory.entered.acquire()
        for _ in range(30):
            second.say()
            first.say()
            await asyncio.sleep(0)
        await journal.flush()

    assert len(memory.batches) == 2
    assert memory.numbers(1) == [*range(1, 32)]


async def test_what_a_run_says_alone_is_written_at_once(memory: Memory):
    """A token does not wait for others that may never come."""
    async with asyncio.timeout(30), writing(memory, interval=3600.0) as journal:
        teller = Teller(journal, 1)
        for turn in range(1, 4):
            teller.say()
            await teller.pages.settled()
            assert len(memory.batches) == turn


async def test_r5_events_and_changes_are_in_one_transaction(memory: Memory):
    """What is added together is written together, in order."""
    async with writing(memory) as journal:
        teller = Teller(journal, 1)
        change = RunChanged(1, {"status": "success"})
        teller.say("{}", change)
        await journal.flush()

    assert memory.batches == [[EventsAdded(1, [Frame(1, "{}")]), change]]


async def test_a_failed_transaction_is_tried_again(memory: Memory):
    """Nobody notices a store that fails twice."""
    memory.refuse = lambda _changes: memory.tries <= 2
    async with writing(memory) as journal:
        teller = Teller(journal, 1)
        teller.say()
        await journal.flush()

    assert (teller.told, teller.lost, memory.tries) == ([1], [], 3)


async def test_r2_only_those_fail_whose_changes_fail(memory: Memory):
    """One run that cannot be written does not take the others with it."""
    memory.refuse = lambda changes: any(
        isinstance(each, EventsAdded) and each.run == 2 for each in changes
    )
    memory.gate.clear()
    async with writing(memory) as journal:
        tellers = [Teller(journal, key) for key in (1, 2, 3)]
        for teller in tellers:
            teller.say()
        memory.gate.set()
        await journal.flush()
        for teller in tellers:
            await teller.pages.settled()
            teller.say()
        await journal.flush()

    assert [teller.told for teller in tellers] == [[1, 2], [], [1, 2]]
    assert [len(teller.lost) for teller in tellers] == [0, 1, 0]


async def test_r2_a_store_that_cannot_be_written_at_all(memory: Memory):
    """Where it is the store and no run, all fail at once: nobody waits for the others' tries."""

    def refuse(_: Sequence[Change]) -> bool:
        raise Unavailable("locked")

    memory.refuse = refuse
    memory.gate.clear()
    async with writing(memory) as journal:
        tellers = [Teller(journal, key) for key in range(20)]
        for teller in tellers:
            teller.say()
        memory.gate.set()
        await journal.flush()

    assert [len(teller.lost) for teller in tellers] == [1] * 20
    assert memory.tries == 3


async def test_r2_a_journal_that_dies_keeps_nobody_waiting(memory: Memory):
    """A fault of its own is told to all runs, those that have nothing pending left alone."""
    journal = Journal(memory, interval=0.0)  # type: ignore[arg-type]
    journal._write_all = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    journal.start()
    teller, idle = Teller(journal, 1), Teller(journal, 2)
    teller.say()
    await teller.pages.settled()
    await journal.flush()
    with pytest.raises(ZeroDivisionError):
        await journal.close()

    assert (len(teller.lost), len(idle.lost)) == (1, 0)


async def test_r2_a_store_that_hangs_is_given_up(memory: Memory):
    """Its runs are told, and what it does later makes no difference."""
    memory.gate.clear()
    async with writing(memory, write_timeout=0.01) as journal:
        teller = Teller(journal, 1)
        teller.say()
        await teller.pages.settled()
        assert isinstance(teller.lost[0], TimeoutError)
        memory.gate.set()
        other = Teller(journal, 2)
        other.say()
        await journal.flush()

    assert (teller.told, other.told) == ([], [1])


async def test_what_is_not_written_yet_is_bounded(memory: Memory):
    """A run waits for room where the store is slow, and goes on when it has been written."""
    memory.gate.clear()
    async with writing(memory) as journal:
        teller = Teller(journal, 1)
        await asyncio.wait_for(teller.pages.room(), 5)
        teller.say("x" * (PENDING_CHARACTERS + 1))
        room = asyncio.create_task(teller.pages.room())
        await memory.entered.acquire()
        assert not room.done()
        memory.gate.set()
        await asyncio.wait_for(room, 5)

    assert teller.told == [1]


async def test_closing_writes_what_is_there(memory: Memory):
    """No interval is waited for, and nothing is lost."""
    async with writing(memory, interval=60.0) as journal:
        teller = Teller(journal, 1)
        teller.say()
        await memory.entered.acquire()
        teller.say()

    assert teller.told == [1, 2]
