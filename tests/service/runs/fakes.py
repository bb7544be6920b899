"""An agent that tells what the test says, step by step; a store that fails when it shall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from typing import Any

from ag_ui.core import (
    Event,
    Interrupt,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    RunFinishedSuccessOutcome,
    RunStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    TokenUsage,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)

from llmkeep.service.errors import Invalid
from llmkeep.service.records import RunRequest, UserMessage

#: What a fake agent does in the middle: it tells an event, or waits, or fails.
Step = Event | asyncio.Event | BaseException | Callable[[], Awaitable[None]]


def text(message_id: str, *parts: str) -> list[Step]:
    """A message of the assistant, in parts."""
    return [
        TextMessageStartEvent(message_id=message_id, role="assistant"),
        *(TextMessageContentEvent(message_id=message_id, delta=part) for part in parts),
        TextMessageEndEvent(message_id=message_id),
    ]


def call(message_id: str, call_id: str, name: str = "dig", arguments: str = "{}") -> list[Step]:
    """A tool call in a message of the assistant."""
    return [
        ToolCallStartEvent(tool_call_id=call_id, tool_call_name=name, parent_message_id=message_id),
        ToolCallArgsEvent(tool_call_id=call_id, delta=arguments),
        ToolCallEndEvent(tool_call_id=call_id),
    ]


def result(call_id: str, content: str = "done", status: str = "success") -> Event:
    return ToolCallResultEvent(
        message_id=call_id,
        tool_call_id=call_id,
        content=content,
        role="tool",
        metadata={"status": status, "duration": 0.5},
    )


def interrupted(call_id: str) -> RunFinishedEvent:
    """The end of a run that waits for a person."""
    waiting = Interrupt(id=f"interrupt-{call_id}", reason="tool_call", tool_call_id=call_id)
    outcome = RunFinishedInterruptOutcome(interrupts=[waiting])
    return RunFinishedEvent(thread_id="t", run_id="r", outcome=outcome)


def failed(message: str = "no luck", code: str = "failed") -> RunErrorEvent:
    return RunErrorEvent(message=message, code=code)


class FakeHandler:
    """Tells its steps; a run that is stopped tells what its stop steps are, and `cancelled`."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._stops: dict[str, asyncio.Event] = {}

    def stop(self, session_id: str) -> bool:
        self.agent.stops.append(session_id)
        stop = self._stops.get(session_id)
        if stop is None or stop.is_set() or self.agent.ignores_stop:
            return self.agent.ignores_stop
        stop.set()
        return True

    async def run(
        self, question: Any, session_id: str, *, run_id: str, taken: Iterable[str] = ()
    ) -> AsyncGenerator[Event, None]:
        agent = self.agent
        agent.asked.append(question)
        stop = self._stops[session_id] = asyncio.Event()
        agent.running += 1
        agent.most = max(agent.most, agent.running)
        try:
            yield RunStartedEvent(thread_id=session_id, run_id=run_id)
            for step in agent.next_steps():
                if isinstance(step, asyncio.Event):
                    await _either(step, stop)
                elif isinstance(step, BaseException):
                    raise step
                elif callable(step):
                    await step()
                else:
                    yield step
                await asyncio.sleep(0)
                if stop.is_set():
                    for told in agent.when_stopped:
                        yield told
                    yield _finished(session_id, run_id, RunFinishedCancelledOutcome())
                    return
                is_end = isinstance(step, RunFinishedEvent | RunErrorEvent)
                if is_end and not agent.goes_on_after_end:
                    return
            if not agent.ends_without_end:
                yield _finished(session_id, run_id, RunFinishedSuccessOutcome())
        finally:
            self._stops.pop(session_id, None)
            agent.running -= 1


class Agent:
    """Gives handlers; each run takes the next script, the last one again and again."""

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self.scripts: list[Sequence[Step]] = [*scripts]
        self.asked: list[Any] = []
        self.stops: list[str] = []
        self.when_stopped: Sequence[Event] = ()
        self.running = 0
        self.most = 0
        self.is_loaded = True
        self.loading: asyncio.Event | None = None
        self.failure: Exception | None = None
        self.ignores_stop = False
        self.ends_without_end = False
        self.goes_on_after_end = False
        self._handler = FakeHandler(self)

    def next_steps(self) -> Sequence[Step]:
        if not self.scripts:
            return text(f"a{len(self.asked)}", "Hello", " there")
        return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]

    async def handler(self, user: str, model: str | None) -> Any:
        if self.loading is not None:
            await self.loading.wait()
        if self.failure is not None:
            raise self.failure
        return self._handler

    def will_load(self, model: str | None) -> bool:
        return not self.is_loaded

    async def name(self, model: str | None) -> str:
        if model == "unknown":
            raise Invalid("no such model", code="invalid_model")
        return model or "fake:model"


class Store:
    """A store whose writing the test can hold up and let fail; all else is the real one's."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.writes = 0
        self.hold: asyncio.Event | None = None
        self.held = asyncio.Event()
        #: Called with the changes and the number of each write; what it raises is raised.
        self.before: Callable[[Sequence[Any], int], None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def write(self, changes: Sequence[Any]) -> None:
        self.writes += 1
        number = self.writes
        if self.hold is not None:
            self.held.set()
            await self.hold.wait()
        if self.before is not None:
            self.before(changes, number)
        await self._real.write(changes)


def request(run_id: str = "r1", *said: str, thread_id: str = "t", **more: Any) -> RunRequest:
    """A request; a message `m1` says "say m1"."""
    messages = tuple(UserMessage(each, f"say {each}") for each in said)
    fingerprint = more.pop("fingerprint", run_id)
    return RunRequest(
        thread_id=thread_id, run_id=run_id, fingerprint=fingerprint, messages=messages, **more
    )


def usage(tokens: int) -> TokenUsage:
    return TokenUsage(provider="fake", model="model", input_tokens=tokens, output_tokens=1)


async def _either(one: asyncio.Event, other: asyncio.Event) -> None:
    tasks = [asyncio.ensure_future(each.wait()) for each in (one, other)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _finished(thread_id: str, run_id: str, outcome: Any) -> Event:
    return RunFinishedEvent(thread_id=thread_id, run_id=run_id, outcome=outcome, usage=[usage(10)])
