"""How llama.cpp is loaded into this process, and what its being here asks for.

The runtime is `xllamacpp`, a thin wrapper around llama.cpp's own server, called in the process and
not through its port. This module makes such a server and guards what it keeps for the whole
process; who calls it, and when it is freed, is decided by `local_engine.Engine`.

What the library needs, found out by trying it (release 2026.10), and where it is met:

- It holds the interpreter while it loads a model and while it frees one: 0.15 s and 0.02 s for 100
  MB. The file is read before (`read_ahead`) and steps under way end before (`settle`), both
  without the interpreter, so that nothing but the library's own work is in these two calls.
- Freed before its main loop has begun, a model hangs for ever: `settle` after loading.
- At `exit`, a loaded model sometimes hangs and an unfinished answer crashes: `atexit` closes both.
- It has threads and state that a fork does not copy whole. In a child, freeing a model, also one
  of the child's own, ends the process, and `exit` waits for a thread that is not there: such
  children free nothing, and leave before the library's destructors.
- Its threads spin while they wait, and starve where cores are shared: `_library`.
- It listens on a socket whether or not anybody wants it: at an address that no one can reach.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import os
import secrets
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from llmkeep.core.fork import keep_forever, on_fork_in_child

#: Tokens of a prompt that are taken in one step. A step cannot be interrupted: 128 are a quarter of
#: a second and more on two cores with 135M parameters; a prompt of 4,000 took 6% longer than with
#: 256, and no longer than with the library's 2,048.
_STEP: Final = 128
#: How long, in seconds, the interpreter's exit waits for steps to end.
_EXIT_GRACE: Final = 10.0
#: The longest path of a Unix socket that every platform takes.
_SOCKET_PATH: Final = 100


@dataclass(frozen=True)
class Setup:
    """What is decided when weights are loaded; None leaves it to the library."""

    path: Path
    context_size: int
    threads: int | None = None
    gpu_layers: int | None = None


class Owner(Protocol):
    """Who may have a server."""

    def close(self, timeout: float | None = None) -> bool:
        """Stop, free, and tell whether that was done within `timeout` seconds."""

    def forget(self) -> None:
        """In a forked child: what was loaded, or was being loaded, does not exist here."""


class Process:
    """What the library keeps for the whole process; one, as old as that."""

    def __init__(self) -> None:
        # Around loading and freeing: nothing else guards that state where there is no GIL.
        self._lock = threading.Lock()
        self._owners: weakref.WeakSet[Owner] = weakref.WeakSet()
        self._inherited = False
        on_fork_in_child(self, "_after_fork")
        atexit.register(self._at_exit)

    def load(self, owner: Owner, setup: Setup) -> Any:
        """Load weights for `owner`. Raises RuntimeError, with no reason, where that fails."""
        with self._lock:
            # Before the library is touched: a fork from here on inherits its state.
            self._owners.add(owner)
            try:
                server = _new_server(setup)
            except BaseException:
                self._owners.discard(owner)
                raise
            if self._inherited:
                keep_forever(server)
            return server

    def free(self, owner: Owner, holder: list[Any]) -> None:
        """Free the server in `holder`, where nobody else has it."""
        with self._lock:
            holder.clear()
            self._owners.discard(owner)
        # malloc keeps much of it for later: 100 MB after five models of 100 MB.
        if (trim := _libc("malloc_trim")) is not None:
            trim(0)

    def _at_exit(self) -> None:
        deadline = time.monotonic() + _EXIT_GRACE
        for owner in list(self._owners):
            if not owner.close(max(0.0, deadline - time.monotonic())):
                _leave_without_destructors()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        owners = list(self._owners)
        self._owners.clear()
        if owners and not self._inherited:
            self._inherited = True
            _leave_without_destructors()
        for owner in owners:
            owner.forget()


process: Final = Process()


def settle(server: Any) -> None:
    """Return once the server's main loop has come round; does not hold the interpreter."""
    server.handle_metrics()


def read_ahead(path: Path) -> None:
    """Bring the file into the system's cache, in pieces, letting others run. Raises OSError."""
    piece = bytearray(1 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(piece):
            pass


def _leave_without_destructors() -> None:
    """Have C's `exit` end here, with its status, before it calls the library's destructors.

    `exit` calls the newest first, and Python's own end is done by then. Only glibc has such a
    call, and the library's Linux wheels need glibc.
    """
    if (on_exit := _libc("on_exit")) is not None:
        on_exit(_libc("_exit"), None)


def _libc(name: str) -> Any:
    """A function of the C library, or None where there is none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except TypeError:  # Windows
        return None


def _new_server(setup: Setup) -> Any:
    """Load the weights. The wrapper has no types: its objects stay with us and the engine."""
    library = _library()
    parameters = library.CommonParams()
    parameters.model.path = str(setup.path)
    parameters.n_ctx = setup.context_size
    parameters.n_batch = parameters.n_ubatch = _STEP
    parameters.n_parallel = 1
    parameters.cache_ram_mib = 0  # copies of finished conversations: 8 GB of them by default
    if setup.threads is not None:
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = setup.threads
    if setup.gpu_layers is not None:
        parameters.n_gpu_layers = setup.gpu_layers
    # Fitting the model to graphics cards loads it twice: only where there are some.
    parameters.fit_params = setup.gpu_layers != 0 and len(library.get_device_info()) > 1
    parameters.warmup = False  # the first answer is as good, and lets others run meanwhile
    parameters.verbosity = 0
    parameters.offline = True
    parameters.endpoint_metrics = True  # for `settle`
    parameters.endpoint_slots = parameters.ui = False
    parameters.cors_origins = ""
    parameters.api_keys = [secrets.token_urlsafe(32)]
    parameters.timeout_read = parameters.timeout_write = 1  # a stuck client would hold up freeing
    parameters.port = 0
    with _unreachable_address() as address:
        parameters.hostnames = [address]
        return library.Server(parameters)


def _library() -> Any:
    """The wrapper's module, imported so that its idle threads sleep, unless the user decided.

    OpenMP reads this once, when it is loaded. By default its threads spin while one waits for
    another, and two on two cores, beside one busy process, made 4 tokens a second, not 70.
    """
    if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        return importlib.import_module("xllamacpp")
    os.environ["OMP_WAIT_POLICY"] = "passive"
    try:
        return importlib.import_module("xllamacpp")
    finally:
        del os.environ["OMP_WAIT_POLICY"]


@contextmanager
def _unreachable_address() -> Iterator[str]:
    """Where the library may listen: a socket in a folder of ours, which is removed at once.

    Where there can be none, the loopback interface, behind a key that nobody knows.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="llmkeep-")
    except OSError:  # no folder can be written to
        yield "127.0.0.1"
        return
    with folder as name:
        path = str(Path(name) / "llm.sock")
        yield path if hasattr(socket, "AF_UNIX") and len(path) <= _SOCKET_PATH else "127.0.0.1"
