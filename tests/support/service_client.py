"""A client of the service for tests: every event with its number, exactly as it came.

It checks what must hold of any stream: numbers follow each other, frames end in LF, nothing comes
behind the terminal event. It repairs nothing, and reconnects only where a test does.

    async with Client(service.address) as client:
        async with client.post(run_input("t1", "hello")) as stream:
            async for told in stream: ...
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx
from httpx_sse import EventSource

#: Seconds without a byte: above the time between two heartbeats.
SILENCE = 20.0

TERMINAL = ("RUN_FINISHED", "RUN_ERROR")


@dataclass(frozen=True)
class Told:
    """One event of a run, and its number."""

    number: int
    event: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.event["type"])

    @property
    def is_terminal(self) -> bool:
        return self.kind in TERMINAL


def run_input(
    thread_id: str,
    *texts: str,
    run_id: str | None = None,
    messages: Sequence[Mapping[str, Any]] | None = None,
    protocol: str | None = "1.0",
    **more: Any,
) -> dict[str, Any]:
    """The body of a POST: RunAgentInput with new user messages; `more` are its other members.

    Keyword arguments of `more` are camelCase, as on the wire: `forwardedProps={...}`.
    """
    said = [{"id": new_id("m"), "role": "user", "content": text} for text in texts]
    return {
        "threadId": thread_id,
        "runId": run_id or new_id("r"),
        "messages": list(messages or ()) + said,
        "tools": [],
        "context": [],
        "state": {},
        "forwardedProps": {},
        **({"protocolVersion": protocol} if protocol else {}),
        **more,
    }


def new_id(kind: str) -> str:
    """An id that nobody has used."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


class Refused(AssertionError):
    """The service answered with a problem where a stream was expected."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(f"{answer.status_code}: {answer.text}")
        self.answer = answer
        self.status = answer.status_code
        self.problem: dict[str, Any] = answer.json()


class Client:
    """Speaks to one service as one user; lives as long as its `async with` block."""

    def __init__(self, address: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        #: For whatever has no method here.
        self.http = httpx.AsyncClient(
            base_url=address, headers=headers, timeout=SILENCE, limits=limits, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    # --- streams ---

    @asynccontextmanager
    async def post(self, body: Mapping[str, Any], **query: Any) -> AsyncIterator[Stream]:
        """Start a run and read it. Leaving the block closes the connection. Raises Refused."""
        async with self.http.stream("POST", "/api/agent", json=body, params=query) as answer:
            yield await _stream(answer, after=0)

    @asynccontextmanager
    async def follow(
        self, thread_id: str, run_id: str, after: int = 0, *, protocol: str | None = "1.0"
    ) -> AsyncIterator[Stream]:
        """Read a run from behind event `after`. Raises Refused."""
        path = f"/api/threads/{thread_id}/runs/{run_id}/stream"
        query = {"protocol_version": protocol} if protocol else {}
        headers = {"Last-Event-ID": str(after)} if after else {}
        async with self.http.stream("GET", path, params=query, headers=headers) as answer:
            yield await _stream(answer, after=after)

    async def ask(self, thread_id: str, *texts: str, **more: Any) -> list[Told]:
        """One whole run; `more` as for `run_input`."""
        async with self.post(run_input(thread_id, *texts, **more)) as stream:
            return await stream.rest()

    async def replay(self, thread_id: str, run_id: str, after: int = 0) -> list[Told]:
        """The rest of a run, to its end."""
        async with self.follow(thread_id, run_id, after) as stream:
            return await stream.rest()

    # --- the rest of the interface ---

    async def json(self, method: str, path: str, **more: Any) -> Any:
        """What is answered, which must be a success. Raises Refused."""
        answer = await self.http.request(method, path, **more)
        if answer.is_error:
            raise Refused(answer)
        return answer.json()

    async def threads(self, **query: Any) -> list[dict[str, Any]]:
        """One page of the user's threads."""
        page = await self.json("GET", "/api/threads", params=query)
        return list(page["threads"])

    async def messages(self, thread_id: str) -> list[dict[str, Any]]:
        """All of a thread, of all branches, oldest first."""
        return list((await self.json("GET", f"/api/threads/{thread_id}/messages"))["messages"])

    async def runs(self, thread_id: str) -> list[dict[str, Any]]:
        """A thread's runs, newest first."""
        return list((await self.json("GET", f"/api/threads/{thread_id}/runs"))["runs"])

    async def run(self, thread_id: str, run_id: str) -> dict[str, Any]:
        """One run as it is now."""
        return dict(await self.json("GET", f"/api/threads/{thread_id}/runs/{run_id}"))

    async def cancel(self, thread_id: str, run_id: str, *, wait: bool = True) -> dict[str, Any]:
        """Stop it; with `wait` it has ended when this returns."""
        path = f"/api/threads/{thread_id}/runs/{run_id}/cancel"
        return dict(await self.json("POST", path, json={}, params={"wait": str(wait).lower()}))


class Stream:
    """The events of one answer, each checked as it comes."""

    def __init__(self, answer: httpx.Response, after: int) -> None:
        self.answer = answer
        self.last = after
        self.ended = False
        self._events = self._read()

    def __aiter__(self) -> AsyncIterator[Told]:
        return self._events

    async def next(self) -> Told:
        """The next event."""
        return await anext(self._events)

    async def until(self, kind: str) -> list[Told]:
        """Everything up to the next event of this kind, and that."""
        found = []
        async for told in self._events:
            found.append(told)
            if told.kind == kind:
                return found
        raise AssertionError(f"no {kind} among {[each.kind for each in found]}")

    async def rest(self) -> list[Told]:
        """Everything to the end, which must be a terminal event."""
        found = [told async for told in self._events]
        assert self.ended, f"the stream merely ended: {[each.kind for each in found][-3:]}"
        return found

    async def _read(self) -> AsyncIterator[Told]:
        async for frame in EventSource(self.answer).aiter_sse():
            if not frame.data:  # a comment, which the decoder takes for an event once ids are there
                continue
            told = Told(int(frame.id), json.loads(frame.data))
            assert told.number == self.last + 1, f"event {told.number} came after {self.last}"
            assert not self.ended, f"{told.kind} came after the end"
            self.last, self.ended = told.number, told.is_terminal
            yield told


async def _stream(answer: httpx.Response, after: int) -> Stream:
    if answer.is_error:
        await answer.aread()
        raise Refused(answer)
    assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
    return Stream(answer, after)


def kinds(told: Iterable[Told]) -> list[str]:
    """The types of the events, in order."""
    return [each.kind for each in told]


def text_of(told: Iterable[Told]) -> str:
    """All text that was told, of all messages."""
    return "".join(str(each.event["delta"]) for each in told if each.kind == "TEXT_MESSAGE_CONTENT")
