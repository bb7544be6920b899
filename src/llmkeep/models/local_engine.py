"""The weights of one local model, answering one request at a time.

A request goes in as a mapping, and each piece of the answer comes to a callback on a thread of the
request's own. This is not the chat model (that is `local.ChatLocal`), and it queues nobody: who
calls while it answers gets an error. Callers take turns through `Scope.exclusive(1)`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.exceptions import ContextOverflowError

from llmkeep.core.errors import LLMKeepError
from llmkeep.core.fork import keep_forever

from .local_native import Setup, process, read_ahead, settle

#: What a request delivers: pieces of the answer, then None, or the exception that ended it.
Delivery = Mapping[str, Any] | BaseException | None


class LocalModelError(LLMKeepError):
    """A local model cannot do what was asked; the message is one line and says what to change."""


class LocalModelBusy(LocalModelError):
    """A local model was called while it was answering somebody else."""


class PromptTooLong(LocalModelError, ContextOverflowError):
    """The prompt alone has more tokens than the model's context."""


class Job:
    """One request; lives from its start until the native call has returned."""

    def __init__(self, request: Mapping[str, Any], deliver: Callable[[Delivery], object]) -> None:
        self.request = request
        self.finished = threading.Event()
        self.stopped = False
        self.lost = False  # started before a fork, and this is the child: nothing more comes
        self._deliver = deliver
        self._failure: BaseException | None = None

    def stop(self, reason: BaseException | None = None) -> None:
        """End the answer at its next piece; takes no lock and waits for nothing.

        Whoever still reads gets `reason`, if there is one.
        """
        self._failure = self._failure or reason
        self.stopped = True

    def receive(self, event: dict[str, Any]) -> bool:
        """Pass a piece of the answer on; True tells the library to end it (its thread calls)."""
        if not self.stopped:
            if "error" in event:
                self.stop(_refusal(event["error"]))
            else:
                self._tell(event)
        return self.stopped

    def end(self, failure: BaseException | None = None) -> None:
        """Tell the reader that nothing more comes."""
        self._tell(failure or self._failure)

    def _tell(self, delivery: Delivery) -> None:
        try:
            self._deliver(delivery)
        except RuntimeError:  # the reader's event loop is closed
            self.stopped = True


class Engine:
    """One set of weights; lives from the first `load` or `start` until `close`.

    A copied or pickled one has no weights yet.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # for these three; nothing slow or foreign under it
        self._server: Any = None
        self._current: Job | None = None
        self._closed = False
        self._freeing = threading.Lock()

    def __reduce__(self) -> tuple[type[Engine], tuple[()]]:
        return (Engine, ())

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._server is not None

    def load(self, setup: Setup) -> None:
        """Load the weights on this thread, unless they are there.

        Raises LocalModelError where that fails and after `close`, LocalModelBusy while another
        thread is at it.
        """
        if self.loaded:
            return
        job = Job({}, lambda _: None)
        previous = self._occupy(job)
        try:
            self._prepare(job, previous, setup)
        finally:
            self._vacate(job)
        if job.stopped:
            raise _closed()

    def start(
        self, setup: Setup, request: Mapping[str, Any], deliver: Callable[[Delivery], object]
    ) -> Job:
        """Answer `request` on a thread of its own, which calls `deliver` with each `Delivery`.

        Loads the weights where that has not been done. Raises LocalModelBusy while an answer that
        nobody has stopped is under way, LocalModelError after `close`.
        """
        job = Job(request, deliver)
        previous = self._occupy(job)
        thread = threading.Thread(
            target=self._answer, args=(job, previous, setup), name="llmkeep-local", daemon=True
        )
        try:
            thread.start()
        except BaseException:
            self._vacate(job)
            raise
        return job

    def close(self, timeout: float | None = None) -> bool:
        """Stop what is running, wait for it, and free the memory: final, and once.

        Any thread may call it, again too. Returns False where the running step took longer than
        `timeout` seconds: nothing is freed then.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            self._closed = True
            job = self._current
        if job is not None:
            job.stop(LocalModelError("the local model was closed while it was answering"))
            if not job.finished.wait(_left(deadline)):
                return False
        left = _left(deadline)
        if not self._freeing.acquire(timeout=-1 if left is None else left):
            return False
        try:
            holder, self._server = [self._server], None
            if holder[0] is not None:
                settle(holder[0])
                process.free(self, holder)
        finally:
            self._freeing.release()
        return True

    def forget(self) -> None:
        """In a forked child: the weights are the parent's; the next use loads them anew."""
        if self._server is not None:
            keep_forever(self._server)
        job, self._current, self._server = self._current, None, None
        self._lock, self._freeing = threading.Lock(), threading.Lock()
        if job is not None:
            job.stopped = job.lost = True

    def _occupy(self, job: Job) -> Job | None:
        """Make `job` the one that runs; returns the stopped one it has to wait for, if any."""
        with self._lock:
            previous = self._current
            if self._closed:
                raise _closed()
            if previous is not None and not previous.stopped:
                raise LocalModelBusy(
                    "this local model is busy with another call, and does one at a time:"
                    ' llmkeep.chat_model("local:...") lets callers take turns'
                )
            self._current = job
            return previous

    def _vacate(self, job: Job) -> None:
        with self._lock:
            if self._current is job:
                self._current = None
        job.finished.set()

    def _answer(self, job: Job, previous: Job | None, setup: Setup) -> None:
        failure: BaseException | None = None
        try:
            self._prepare(job, previous, setup)
            if not job.stopped:
                self._server.handle_chat_completions(dict(job.request), job.receive)
        except (LocalModelError, OSError) as failed:
            failure = failed
        except Exception as refused:  # the library throws RuntimeError and ValueError
            failure = _refusal({"message": refused})
            failure.__cause__ = refused
        # Before the reader learns of the end: its next call must not find this one.
        self._vacate(job)
        job.end(failure)

    def _prepare(self, job: Job, previous: Job | None, setup: Setup) -> None:
        if previous is not None:
            previous.finished.wait()
        if self.loaded or job.stopped:
            return
        read_ahead(setup.path)
        try:
            server = process.load(self, setup)
        except RuntimeError as failed:  # it gives no reason
            raise LocalModelError(
                f"cannot load {setup.path}: llama.cpp does not know this kind of model, or there"
                f" is too little memory for it with context_size={setup.context_size}"
            ) from failed
        settle(server)
        self._server = server


def _closed() -> LocalModelError:
    return LocalModelError("this local model was closed; make another one")


def _refusal(error: Mapping[str, Any]) -> LocalModelError:
    """The exception for an error that the library reports."""
    if error.get("type") == "exceed_context_size_error":
        return PromptTooLong(
            f"the prompt has {error.get('n_prompt_tokens')} tokens and the local model's context"
            f" holds {error.get('n_ctx')}: raise context_size, or send fewer messages"
        )
    line = " ".join(str(error.get("message")).split())
    return LocalModelError(f"the local model refused the request: {line}")


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
