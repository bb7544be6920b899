"""The service as it is run: `llmkeep serve` in a process of its own, with a data folder of its own.

It may be killed, ended in order, and started again on the same folder and port. Not here: what is
said to it (`service_client`), and the provider that it asks (`scripted`).

    with Service(tmp_path / "data", provider.base_url("openai")) as service:
        ... # a client or a browser at service.address
        service.kill()
        service.start()
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any, Self

import httpx

from tests.support.scripted_signal import PATIENCE, Signal

#: The repository: from here the process finds the tests' own tools.
ROOT = Path(__file__).resolve().parents[2]

#: One user may do more than any test does; a test of limits says otherwise.
UNLIMITED = {"SERVICE__REQUESTS_PER_MINUTE": "1000000", "SERVICE__CONCURRENT_RUNS": "1000000"}

#: Seconds that a process may take to import everything and to print its address.
START = 60.0

_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")


class Service:
    """One data folder, and the process that has it; the process ends with the `with` block.

    Args:
        folder: the data folder; made where there is none.
        base_url: of the OpenAI-compatible provider that is asked.
        arguments: of `llmkeep serve`, behind host and port.
        variables: of the environment, beside those that are always set.
    """

    def __init__(self, folder: Path, base_url: str, *arguments: str, **variables: str) -> None:
        self.folder = folder
        self.port = 0
        self._arguments = arguments
        self._environment = {
            **os.environ,
            "OPENAI_API_KEY": "not-a-key",
            "OPENAI_BASE_URL": base_url,
            "PYTHONUNBUFFERED": "1",
            "SERVICE__DATA_DIR": str(folder),
            **UNLIMITED,
            **variables,
        }
        #: The last lines that it wrote, for a test to look at.
        self.lines: deque[str] = deque(maxlen=10_000)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread
        self._told: Signal

    # --- its life ---

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        """Begin, on the port of the last time if there was one; it answers when this returns."""
        assert self._process is None, "it runs already"
        self._told = Signal()
        self._process = self.process(port=self.port)
        self._reader = threading.Thread(
            target=self._read, args=(self._process, self._told), name="service output"
        )
        self._reader.start()
        self._told.wait(START)
        assert self.port, f"it ended before it printed an address:\n{self.output}"
        return self

    def process(self, *, port: int = 0) -> subprocess.Popen[str]:
        """A process on this folder, whatever else runs there; the caller ends it."""
        serve = ["-m", "llmkeep.cli", "serve", "--host", "127.0.0.1", "--port", str(port)]
        return subprocess.Popen(
            [sys.executable, *serve, *self._arguments],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def kill(self) -> None:
        """SIGKILL: nothing in it is told. Nothing where it does not run."""
        if self._process is not None:
            self._process.kill()
            self._ended()

    def terminate(self, seconds: float = PATIENCE) -> int:
        """SIGTERM, and wait until it has ended; gives its exit status."""
        self.interrupt()
        return self.wait(seconds)

    def interrupt(self) -> None:
        """SIGTERM alone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Until it has ended by itself; gives its exit status. Raises TimeoutExpired."""
        assert self._process is not None
        status = self._process.wait(seconds)
        self._ended()
        return status

    def restart(self) -> Self:
        """Kill it, and start it again at the same address."""
        self.kill()
        return self.start()

    def _ended(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()

    def _read(self, process: subprocess.Popen[str], told: Signal) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line)
            if not told.is_set() and (found := _ADDRESS.search(line)):
                self.port = int(found[1])
                told.set()
        if not told.is_set():
            self.port = 0
            told.set()

    # --- what can be asked about it ---

    @property
    def address(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """What it wrote, on both streams."""
        return "".join(self.lines)

    def get(self, path: str, **more: Any) -> Any:
        """What it answers to one GET, as JSON; for tests that are not asynchronous."""
        answer = httpx.get(f"{self.address}{path}", timeout=PATIENCE, trust_env=False, **more)
        answer.raise_for_status()
        return answer.json()
