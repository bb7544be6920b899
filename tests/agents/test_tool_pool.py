"""Synchronous tools on threads of our own: bounded, beside the loop, and in nobody's way."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import pytest
from langchain.tools import ToolRuntime
from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForToolRun
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import (
    BaseTool,
    InjectedToolArg,
    InjectedToolCallId,
    StructuredTool,
    Tool,
    ToolException,
    tool,
)
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.types import Command

from llmkeep.agents import RunContext
from llmkeep.agents.tool_pool import ToolBusy, is_pooled, is_synchronous, pool, pooled
from tests.agents.calling import called
from tests.agents.loops import on_loops_at_once

PATIENCE = 30.0
ASKED_BY = contextvars.ContextVar("asked_by", default="nobody")


class Gate:
    """A tool that waits inside until the test lets it go on."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.tool = tool(self.wait)

    def wait(self) -> str:
        """Wait."""
        self.entered.release()
        assert self.open.wait(PATIENCE)
        return "done"

    async def until_entered(self, calls: int = 1) -> None:
        for _ in range(calls):
            assert await asyncio.to_thread(self.entered.acquire, timeout=PATIENCE)


@contextmanager
def gate() -> Iterator[Gate]:
    opened = Gate()
    try:
        yield opened
    finally:
        opened.open.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)  # between two looks; the condition decides


async def test_a_synchronous_tool_runs_beside_the_loop():
    """On a daemon thread of ours, while the loop goes on."""
    threads: list[threading.Thread] = []

    @tool
    def where() -> str:
        """Tell the thread."""
        threads.append(threading.current_thread())
        return threads[0].name

    with gate() as held:
        waiting = asyncio.create_task(pooled(held.tool, 4).ainvoke({}))
        await held.until_entered()
        assert await pooled(where, 4).ainvoke({}) == "llmkeep-tool-where"
        assert not waiting.done()
        held.open.set()
        assert await waiting == "done"
    assert threads[0].daemon


async def test_a_full_pool_fails_the_call_at_once():
    with gate() as held:
        slow = pooled(held.tool, 2)
        waiting = [asyncio.create_task(slow.ainvoke({})) for _ in range(2)]
        await held.until_entered(2)
        with pytest.raises(ToolBusy, match=r"all 2 threads .* AGENTS__TOOL_THREADS"):
            await slow.ainvoke({})
        assert isinstance(ToolBusy(), ToolException)
        held.open.set()
        assert await asyncio.gather(*waiting) == ["done", "done"]
        assert await slow.ainvoke({}) == "done"
    assert pool.busy == 0


async def test_the_limit_is_looked_at_when_a_call_is_made():
    """One pool, and each call brings its own limit."""
    with gate() as held:
        waiting = asyncio.create_task(pooled(held.tool, 1).ainvoke({}))
        await held.until_entered()
        with pytest.raises(ToolBusy):
            await pooled(held.tool, 1).ainvoke({})
        more = asyncio.create_task(pooled(held.tool, 2).ainvoke({}))
        await held.until_entered()
        held.open.set()
        assert [await waiting, await more] == ["done", "done"]


async def test_a_cancelled_calls_thread_counts_until_it_ends():
    """Nobody can stop a thread: its result is dropped, its slot is not."""
    with gate() as held:
        slow = pooled(held.tool, 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await slow.ainvoke({})
        await held.until_entered()
        with pytest.raises(ToolBusy):
            await slow.ainvoke({})
        held.open.set()
        await until(lambda: pool.busy == 0)
        assert await slow.ainvoke({}) == "done"


def test_the_limit_holds_over_loops():
    """Four loops at once, two threads: never three at a time, and a call is done or busy."""
    guard = threading.Lock()
    now, most = 0, 0
    outcomes: list[str] = []

    @tool
    def count() -> str:
        """Count who is here."""
        nonlocal now, most
        with guard:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.001)
        with guard:
            now -= 1
        return "done"

    async def call(_loop: int) -> None:
        counted = pooled(count, 2)
        got = await asyncio.gather(
            *(counted.ainvoke({}) for _ in range(20)), return_exceptions=True
        )
        outcomes.extend(each if isinstance(each, str) else type(each).__name__ for each in got)

    on_loops_at_once(call)
    assert most <= 2
    assert len(outcomes) == 80
    assert set(outcomes) == {"done", "ToolBusy"}
    assert pool.busy == 0


def test_a_loop_that_has_gone_is_no_error():
    with gate() as held:

        async def give_up() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await pooled(held.tool, 1).ainvoke({})
            await held.until_entered()

        asyncio.run(give_up())
        held.open.set()
        asyncio.run(until(lambda: pool.busy == 0))


def test_a_hanging_tool_does_not_hold_up_the_exit():
    """Nor does the pool hold up `asyncio.run`, as the default executor would."""
    program = textwrap.dedent("""
        import asyncio, threading
        from langchain_core.tools import tool
        from llmkeep.agents.tool_pool import pool, pooled

        @tool
        def hang() -> str:
            "Never end."
            threading.Event().wait()

        async def main():
            try:
                async with asyncio.timeout(0.1):
                    await pooled(hang, 1).ainvoke({})
            except TimeoutError:
                print("given up", pool.busy)

        asyncio.run(main())
    """)
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert ended.stdout == "given up 1\n"
    assert ended.stderr == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
async def test_i9_a_forked_child_counts_anew():
    """Its parent's threads are not its own; the parent's count stays."""
    with gate() as held:
        waiting = asyncio.create_task(pooled(held.tool, 1).ainvoke({}))
        await held.until_entered()
        child = os.fork()
        if child == 0:
            verdict = 1
            try:
                # A loop of its own: the parent's is still marked as running here.
                thread = threading.Thread(target=lambda: asyncio.run(_child()))
                thread.start()
                thread.join(PATIENCE)
                verdict = 0 if not thread.is_alive() and CHILD_SAID == [6] else 2
            finally:
                os._exit(verdict)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert status == 0
        assert pool.busy == 1
        held.open.set()
        assert await waiting == "done"


CHILD_SAID: list[int] = []


async def _child() -> None:
    @tool
    def double(number: int) -> int:
        """Double a number."""
        return 2 * number

    assert pool.busy == 0
    CHILD_SAID.append(await pooled(double, 1).ainvoke({"number": 3}))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
async def test_i9_a_tool_that_forks_gives_back_what_it_took():
    """The child's copy of the thread ends its work too, and the count there stays at zero."""

    @tool
    def fork() -> int:
        """Start a child that returns from here as well."""
        child = os.fork()
        if child == 0:
            threading.Thread(target=_look_when_idle, args=[threading.current_thread()]).start()
            return 0
        return os.waitpid(child, 0)[1]

    assert await pooled(fork, 1).ainvoke({}) == 0
    assert pool.busy == 0


def _look_when_idle(worker: threading.Thread) -> None:
    """In the child: end the process with the verdict, once the worker has done its work."""
    deadline = time.monotonic() + PATIENCE
    while worker.name != "llmkeep-idle" and time.monotonic() < deadline:
        time.sleep(0.001)  # between two looks; the name decides
    os._exit(pool.busy if worker.name == "llmkeep-idle" else 99)


# --- a pooled tool is the tool --------------------------------------------------------------------


async def test_context_variables_are_the_callers():
    @tool
    def who() -> str:
        """Tell who asked."""
        asked_by = ASKED_BY.get()
        ASKED_BY.set("the tool")
        return asked_by

    ASKED_BY.set("me")
    assert await pooled(who, 1).ainvoke({}) == "me"
    assert ASKED_BY.get() == "me"


async def test_what_a_graph_injects_arrives():
    @tool
    def injected(
        city: str,
        runtime: ToolRuntime[RunContext],
        config: RunnableConfig,
        call: Annotated[str, InjectedToolCallId],
    ) -> str:
        """Tell what came."""
        assert runtime.tool_call_id == call
        assert "callbacks" in config
        return f"{city} {runtime.context.user_id} {call} {threading.current_thread().name}"

    answer = await called(pooled(injected, 1), RunContext("ann", "s1"), city="Bern")
    assert answer.content == "Bern ann call-1 llmkeep-tool-injected"
    assert answer.tool_call_id == "call-1"


async def test_an_argument_that_the_caller_injects_arrives():
    @tool
    def of_user(what: str, user: Annotated[str, InjectedToolArg]) -> str:
        """Tell whose it is."""
        return f"{what} of {user}"

    assert "user" not in pooled(of_user, 1).args
    assert await pooled(of_user, 1).ainvoke({"what": "the hat", "user": "Ann"}) == "the hat of Ann"


async def test_artifacts_and_commands_arrive():
    @tool(response_format="content_and_artifact")
    def drawing() -> tuple[str, bytes]:
        """Draw."""
        return "a cat", b"\x00"

    @tool
    def go_on(call: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Change the state."""
        return Command(update={"messages": [ToolMessage("changed", tool_call_id=call)]})

    drawn = await called(pooled(drawing, 1))
    assert (drawn.content, drawn.artifact) == ("a cat", b"\x00")
    changed = await called(pooled(go_on, 1))
    assert isinstance(changed, Command)
    assert (changed.update or {})["messages"][0].content == "changed"


class Counting(BaseTool):
    """A tool of a class of its own, which keeps something."""

    name: str = "counting"
    description: str = "Count the calls"
    calls: int = 0

    def _run(self, by: int, run_manager: CallbackManagerForToolRun | None = None) -> str:
        assert run_manager is not None
        self.calls += by
        return f"{self.calls} {threading.current_thread().name}"


async def test_a_tool_of_a_class_of_its_own_runs_as_itself():
    """What it keeps is kept in the one object that its owner has."""
    counting = Counting()
    assert await pooled(counting, 1).ainvoke({"by": 2}) == "2 llmkeep-tool-counting"
    assert (await called(pooled(counting, 1), by=3)).content == "5 llmkeep-tool-counting"
    assert counting.calls == 5
    assert await pooled(counting, 1).arun({"by": 1}) == "6 llmkeep-tool-counting"
    assert pooled(counting, 1).invoke({"by": 1}) == "7 MainThread"
    assert counting.calls == 7


async def test_callbacks_hear_of_it_once():
    heard: list[str] = []

    class Listener(BaseCallbackHandler):
        def on_tool_start(self, *_: Any, **more: Any) -> None:
            heard.append(f"start {more['inputs']}")

        def on_tool_end(self, output: Any, **_: Any) -> None:
            heard.append(f"end {output}")

    @tool
    def double(number: int) -> int:
        """Double a number."""
        return 2 * number

    await pooled(double, 1).ainvoke({"number": 4}, {"callbacks": [Listener()]})
    assert heard == ["start {'number': 4}", "end 8"]


def test_it_looks_as_the_tool_does():
    @tool(return_direct=True, extras={"defer_loading": True})
    def double(number: int) -> int:
        """Double a number."""
        return 2 * number

    double.metadata = {"mark": True}
    twin = pooled(double, 3)
    for name in BaseTool.model_fields:
        assert getattr(twin, name) == getattr(double, name), name
    assert type(twin) is type(double)
    assert twin.get_input_jsonschema() == double.get_input_jsonschema()
    assert convert_to_openai_tool(twin) == convert_to_openai_tool(double)
    assert (repr(twin), twin.model_dump()) == (repr(double), double.model_dump())
    assert (is_pooled(twin), is_pooled(double), is_pooled(None)) == (True, False, False)


def test_a_tool_of_the_oldest_kind_looks_as_it_does():
    """LangChain knows it by its class: it has no schema."""
    shout = Tool("shout", str.upper, "Shout")
    assert convert_to_openai_tool(pooled(shout, 1)) == convert_to_openai_tool(shout)


def test_the_same_tool_gives_the_same_object():
    """As long as somebody has it: it keeps no tool alive by itself."""
    gated = Gate().tool
    twin = pooled(gated, 3)
    assert pooled(gated, 3) is twin
    assert pooled(gated, 4) is not twin
    assert pooled(Gate().tool, 3) is not twin
    assert pooled(twin, 3) is twin
    from llmkeep.agents import tool_pool

    del gated, twin
    gc.collect()
    assert not [key for key in tool_pool._known if key[1] == 3]


async def test_an_asynchronous_tool_is_left_as_it_is():
    async def work(text: str) -> str:
        """Work."""
        return text

    class Own(BaseTool):
        name: str = "own"
        description: str = "Work"

        def _run(self) -> str:
            return "blocking"

        async def _arun(self) -> str:
            return "on the loop"

    for each in (tool(work), Own(), Tool("old", None, "Work", coroutine=work)):
        assert not is_synchronous(each)
        assert pooled(each, 1) is each
    assert is_synchronous(Tool("old", str.upper, "Work"))
    assert is_synchronous(StructuredTool.from_function(str.upper, name="new", description="Work"))
    assert await pooled(Tool("old", str.upper, "Work"), 1).ainvoke("text") == "TEXT"


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (ToolException("no such city"), "ToolException: no such city"),
        (LookupError("boom"), "LookupError: boom"),
        (StopIteration("over"), "RuntimeError: the tool raised StopIteration: over"),
        (SystemExit(3), "RuntimeError: the tool raised SystemExit: 3"),
        (KeyboardInterrupt(), "RuntimeError: the tool raised KeyboardInterrupt: "),
        (asyncio.CancelledError(), "RuntimeError: the tool raised CancelledError: "),
    ],
)
async def test_what_a_tool_raises_fails_that_call_alone(raised: BaseException, told: str):
    @tool
    def failing() -> str:
        """Fail."""
        raise raised

    with pytest.raises(Exception) as failed:
        await pooled(failing, 1).ainvoke({})
    assert f"{type(failed.value).__name__}: {failed.value}" == told
    assert pool.busy == 0
