"""A service killed with SIGKILL at random moments under load: nothing lost, doubled or poisoned.

    python -m tests.service.whole.kill --times 50 --seed 1

Several people talk at once; the process is killed once they have heard a random number of events;
it is started again on the same folder, and everything that anybody was told is looked for. Then
they talk on, to a provider that refuses, as the real ones do, a history that is not whole.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx

from tests.support.scripted import Asked, Scripted
from tests.support.scripted_wire import Answer, Args, Call, Gate, Step, Text
from tests.support.service import Service
from tests.support.service_client import Client, Told, new_id, run_input
from tests.support.service_tools import Doors

#: How many talk at once, each in conversations of their own.
TALKERS: Final = 8
#: Runs of one conversation, after which a talker begins another.
LONG: Final = 6
#: Events that are heard between two kills, all talkers together.
EVENTS: Final = (1, 700)
#: Seconds after which it is killed in any case: all may be waiting for what never comes.
LIMIT: Final = 3.0

#: What is said where an answer must come.
QUIET: Final = "quiet"

_calls = count()


@dataclass
class Asking:
    """One run, as the one who asked for it knows it."""

    body: dict[str, Any]
    told: list[Told] = field(default_factory=list)

    @property
    def thread_id(self) -> str:
        return str(self.body["threadId"])

    @property
    def run_id(self) -> str:
        return str(self.body["runId"])

    @property
    def message(self) -> dict[str, str]:
        return dict(self.body["messages"][-1])

    @property
    def is_over(self) -> bool:
        return bool(self.told) and self.told[-1].is_terminal


def answer(asked: Asked) -> Answer:
    """What the model says; sometimes it comes to a stop and stays there."""
    last = asked.messages[-1]
    if last["content"] == QUIET:
        return [Text("yes")]
    chance = random.Random(f"{last['content']} {len(asked.messages)}")
    if last["role"] == "tool":
        return _words(chance)
    match chance.choices(("text", "call", "calls", "stuck", "stuck in a tool"), (8, 5, 4, 1, 1))[0]:
        case "call":
            return [*_words(chance), *_calculation(0, chance)]
        case "calls":
            return [*_calculation(0, chance), *_calculation(1, chance)]
        case "stuck":
            return [*_words(chance), Gate()]
        case "stuck in a tool":
            return [*_calculation(0, chance), Call(1, _call_id(), "wait_at", '{"door": "shut"}')]
    return _words(chance)


def _words(chance: random.Random) -> list[Step]:
    return [Text(f"word{number} ") for number in range(chance.randint(1, 40))]


def _calculation(index: int, chance: random.Random) -> list[Step]:
    number = chance.randint(1, 999)
    return [
        Call(index, _call_id(), "calculator", '{"expression":'),
        Args(index, f' "{number} + 1"}}'),
    ]


def _call_id() -> str:
    return f"call-{next(_calls)}"


class Round:
    """What is done between two kills."""

    def __init__(self, service: Service, chance: random.Random) -> None:
        self.service = service
        self.askings: list[Asking] = []
        self._chance = chance
        self._left = chance.randint(*EVENTS)
        self._enough = asyncio.Event()

    async def run(self) -> None:
        """Talk until enough has been heard, and kill the process in the middle of it."""
        async with Client(self.service.address) as client:
            talkers = [asyncio.create_task(self._talk(client)) for _ in range(TALKERS)]
            with suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), LIMIT)
            self.service.kill()
            await asyncio.gather(*talkers)

    async def _talk(self, client: Client) -> None:
        """One conversation after the other, until there is nobody there."""
        with suppress(httpx.TransportError):
            while True:
                thread_id = new_id("t")
                for _ in range(LONG):
                    asking = Asking(run_input(thread_id, new_id("say")))
                    self.askings.append(asking)
                    await self._ask(client, asking)

    async def _ask(self, client: Client, asking: Asking) -> None:
        # A client that goes away in the middle is a part of the load too.
        leaves_after = self._chance.choice((None, None, None, 1, 9))
        async with client.post(asking.body, on_disconnect="cancel") as stream:
            async for told in stream:
                asking.told.append(told)
                self._left -= 1
                if self._left <= 0:
                    self._enough.set()
                if told.number == leaves_after:
                    return


# --- what must hold afterwards ---


class Check:
    """Looks at everything that was told in a round, once the process is there again."""

    def __init__(self, client: Client, provider: Scripted) -> None:
        self._client = client
        self._provider = provider
        #: How the runs ended.
        self.ends: Counter[str] = Counter()

    async def all(self, askings: Sequence[Asking]) -> None:
        """Raises AssertionError for what is lost, doubled or poisoned."""
        threads: dict[str, list[Asking]] = {}
        for asking in askings:
            threads.setdefault(asking.thread_id, []).append(asking)
        for thread_id, own in threads.items():
            await self._thread(thread_id, own)
        assert self._provider.refused == []

    async def _thread(self, thread_id: str, askings: Sequence[Asking]) -> None:
        stored = await self._existing(thread_id, askings)
        messages = await self._client.messages(thread_id) if stored else []
        _assert_one_chain(messages)
        said = [m["id"] for m in messages if m["role"] == "user"]
        assert said == [asking.message["id"] for asking in stored], "a message is lost or doubled"
        for asking in stored:
            await self._run(asking, {m["id"]: m for m in messages})
        await self._talk_on(askings[-1], {each.run_id for each in stored}, len(messages))

    async def _existing(self, thread_id: str, askings: Sequence[Asking]) -> list[Asking]:
        """Those whose run is there; one of which anything was told must be."""
        path = f"/api/threads/{thread_id}/runs"
        answer = await self._client.http.get(path, params={"limit": 100})
        runs = {run["run_id"] for run in answer.json().get("runs", ())}
        for asking in askings:
            assert not asking.told or asking.run_id in runs, f"{asking.run_id} is lost"
        assert len(runs) == len(runs & {asking.run_id for asking in askings})
        return [asking for asking in askings if asking.run_id in runs]

    async def _run(self, asking: Asking, messages: dict[str, dict[str, Any]]) -> None:
        run = await self._client.run(asking.thread_id, asking.run_id)
        replay = await self._client.replay(asking.thread_id, asking.run_id)
        assert replay[: len(asking.told)] == asking.told, "what was told is not what is stored"
        assert run["last_event_id"] == len(replay)
        assert run["status"] not in ("pending", "running"), run
        if run["status"] == "interrupted":
            assert not asking.is_over
            assert run["code"] == "restart"
            assert replay[-1].event["code"] == "interrupted"
        assert messages[asking.message["id"]]["content"] == asking.message["content"]
        _assert_kept(replay, messages)
        self.ends[run["status"]] += 1

    async def _talk_on(self, last: Asking, stored: set[str], before: int) -> None:
        """The last run is asked for again, as a client does that has lost its connection."""
        async with self._client.post(last.body) as stream:
            again = await _rest(stream)
        if last.run_id in stored:
            assert [told.event for told in again[: len(last.told)]] == [t.event for t in last.told]
            assert len(await self._client.messages(last.thread_id)) == before
        else:  # nothing of it had arrived: it is made now, with its one message
            found = [m["id"] for m in await self._client.messages(last.thread_id)]
            assert found.count(last.message["id"]) == 1
        body = run_input(last.thread_id, QUIET)
        async with self._client.post(body) as stream:
            told = await _rest(stream)
        assert told[-1].kind == "RUN_FINISHED", told[-1]


async def _rest(stream: Any) -> list[Told]:
    """To the end, or until it hangs on what never comes: then the reader leaves."""
    found: list[Told] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(LIMIT):
            async for told in stream:
                found.append(told)  # noqa: PERF401 - what was found counts, also when it hangs
    return found


def _assert_one_chain(messages: Sequence[dict[str, Any]]) -> None:
    """Nobody has edited anything: each message follows the one before it."""
    ids = [message["id"] for message in messages]
    assert len(set(ids)) == len(ids), "a message is doubled"
    assert [m["parent_id"] for m in messages] == [None, *ids][: len(ids)], "the thread has branches"


def _assert_kept(replay: Sequence[Told], messages: dict[str, dict[str, Any]]) -> None:
    """Every text, call and result that was told is a message, whole where its end was told."""
    texts: dict[str, str] = {}
    calls: dict[str, list[str]] = {}
    for told in replay:
        event = told.event
        match told.kind:
            case "TEXT_MESSAGE_START":
                texts[event["messageId"]] = ""
            case "TEXT_MESSAGE_CONTENT":
                texts[event["messageId"]] += event["delta"]
            case "TEXT_MESSAGE_END":
                message = messages[event["messageId"]]
                assert message["content"] == texts.pop(event["messageId"])
            case "TOOL_CALL_START":
                calls[event["toolCallId"]] = [event["parentMessageId"], ""]
            case "TOOL_CALL_ARGS":
                calls[event["toolCallId"]][1] += event["delta"]
            case "TOOL_CALL_RESULT":
                message = messages[event["messageId"]]
                assert message["content"] == event["content"]
                assert message["status"] == event["metadata"]["status"]
                parent, arguments = calls[event["toolCallId"]]
                [call] = [
                    each
                    for each in messages[parent]["tool_calls"]
                    if each["id"] == event["toolCallId"]
                ]
                assert call["arguments"] == arguments
    for message_id, text in texts.items():  # open at the end: a part of it is kept
        assert messages[message_id]["content"] == text


# --- all together ---


async def kill_often(folder: Path, times: int, seed: int) -> Counter[str]:
    """So many rounds on one folder; gives how the runs ended. Raises AssertionError."""
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    with Scripted() as provider, Doors() as doors:
        provider.answers = answer
        with Service(folder, provider.base_url("openai"), **doors.variables) as service:
            for number in range(times):
                one = Round(service, chance)
                await one.run()
                provider.asked.clear()
                service.start()
                async with Client(service.address) as client:
                    check = Check(client, provider)
                    await check.all(one.askings)
                ends += check.ends
                print(f"kill {number + 1}: {dict(check.ends)}", file=sys.stderr, flush=True)
    return ends


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="kill", description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        ends = asyncio.run(kill_often(Path(folder) / "data", arguments.times, arguments.seed))
    print(f"killed {arguments.times} times: nothing lost, nothing doubled, none poisoned: {ends}")


if __name__ == "__main__":
    main()
