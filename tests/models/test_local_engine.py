"""One request at a time, stopped when asked, freed once: the engine with the model in the box.

The callback of a request runs on the model's thread, so a test that holds it holds the model.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmkeep.models import local_engine
from llmkeep.models.adapters import MissingExtra
from llmkeep.models.local import ChatLocal
from llmkeep.models.local_engine import (
    Delivery,
    Engine,
    Job,
    LocalModelBusy,
    LocalModelError,
    PromptTooLong,
)
from llmkeep.models.local_native import Setup

PATIENCE = 60.0

try:
    SETUP = ChatLocal(model="smollm2", context_size=512)._setup()
except MissingExtra as missing:
    pytest.skip(str(missing), allow_module_level=True)


def a_request(tokens: int = 5, **options: Any) -> dict[str, Any]:
    """A request whose answer is exactly `tokens` long."""
    return {
        "messages": [{"role": "user", "content": "Tell me about rivers."}],
        "stream": True,
        "return_progress": True,
        "temperature": 0,
        "max_tokens": tokens,
        "ignore_eos": True,
        **options,
    }


class Reader:
    """Takes what a request delivers; holds the model at the first piece while the gate is shut."""

    def __init__(self, *, held: bool = False) -> None:
        self.inbox: queue.Queue[Delivery] = queue.Queue()
        self.begun = threading.Event()
        self.gate = threading.Event()
        if not held:
            self.gate.set()

    def __call__(self, delivery: Delivery) -> None:
        self.inbox.put(delivery)
        self.begun.set()
        assert self.gate.wait(PATIENCE)

    def until_the_end(self) -> list[Any]:
        return list(iter(lambda: self.inbox.get(timeout=PATIENCE), None))

    def failure(self) -> BaseException:
        while True:
            delivery = self.inbox.get(timeout=PATIENCE)
            if isinstance(delivery, BaseException):
                return delivery
            assert delivery is not None, "the answer ended as if nothing had happened"


def pieces(deliveries: list[Any]) -> list[str]:
    choices = [choice for each in deliveries for choice in each.get("choices", ())]
    return [choice["delta"]["content"] for choice in choices if choice["delta"].get("content")]


@pytest.fixture(scope="module")
def loaded() -> Iterator[Engine]:
    engine = Engine()
    engine.load(SETUP)
    yield engine
    engine.close()


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


def test_answer_comes_in_pieces_before_it_is_whole(loaded: Engine) -> None:
    """The first piece is delivered while the model has not finished."""
    reader = Reader(held=True)

    job = loaded.start(SETUP, a_request(), reader)

    assert reader.begun.wait(PATIENCE)
    assert not job.finished.is_set()
    reader.gate.set()
    assert len(pieces(reader.until_the_end())) > 1


def test_first_use_loads_and_load_is_done_once(engine: Engine) -> None:
    """Weights are loaded by the first request, and `load` after that does nothing."""
    assert not engine.loaded
    reader = Reader()

    engine.start(SETUP, a_request(), reader)

    reader.until_the_end()
    assert engine.loaded
    engine.load(Setup(Path("/nowhere"), context_size=16))


def test_i7_stopped_answer_ends_and_the_next_one_begins(loaded: Engine) -> None:
    """A stop ends the answer at its next piece, and whoever asks next waits for that alone."""
    first, second = Reader(held=True), Reader()
    job = loaded.start(SETUP, a_request(tokens=400), first)
    assert first.begun.wait(PATIENCE)

    job.stop()
    loaded.start(SETUP, a_request(), second)  # while the first is still in the library's hands
    assert not job.finished.is_set()
    first.gate.set()

    assert pieces(second.until_the_end())
    assert job.finished.is_set()
    assert len(pieces(first.until_the_end())) < 3


def test_answers_stopped_in_a_row_all_end(loaded: Engine) -> None:
    """Requests that are stopped before their turn comes run through without an answer."""
    readers = [Reader() for _ in range(5)]
    jobs = []
    for reader in readers:
        jobs.append(loaded.start(SETUP, a_request(tokens=400), reader))
        jobs[-1].stop()

    assert all(job.finished.wait(PATIENCE) for job in jobs)
    last = Reader()
    loaded.start(SETUP, a_request(), last)
    assert pieces(last.until_the_end())


def test_second_caller_is_refused_while_one_is_answered(loaded: Engine) -> None:
    """Concurrent use is an error that says what to use instead, and harms nobody."""
    reader = Reader(held=True)
    loaded.start(SETUP, a_request(), reader)
    assert reader.begun.wait(PATIENCE)

    with pytest.raises(LocalModelBusy, match=r"one at a time.*chat_model"):
        loaded.start(SETUP, a_request(), Reader())

    reader.gate.set()
    assert pieces(reader.until_the_end())


def test_next_call_is_never_refused_once_the_end_was_read(loaded: Engine) -> None:
    """The end of an answer is told after the engine is free again."""
    second = Reader()
    refused: list[Exception] = []

    def ask_again_at_the_end(delivery: Delivery) -> None:
        if delivery is None:
            try:
                loaded.start(SETUP, a_request(tokens=1), second)
            except LocalModelBusy as busy:
                refused.append(busy)
                second(None)

    loaded.start(SETUP, a_request(tokens=1), ask_again_at_the_end)

    second.until_the_end()
    assert not refused


def test_i4_close_stops_a_running_answer_and_frees(engine: Engine) -> None:
    """Closing in the middle of an answer ends it with an error that says so, and waits for it."""
    reader = Reader(held=True)
    job = engine.start(SETUP, a_request(tokens=400), reader)
    assert reader.begun.wait(PATIENCE)

    assert engine.close(timeout=0) is False  # the library is still in its step: nothing freed
    assert engine.loaded
    closer = threading.Thread(target=engine.close)
    closer.start()
    reader.gate.set()
    closer.join(PATIENCE)

    assert not engine.loaded
    assert job.finished.is_set()
    assert "closed while it was answering" in str(reader.failure())


def test_i3_close_waits_for_every_answer_that_was_stopped(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a stopped answer that is still in the library stands another: both end before."""

    class StoppedJob(Job):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.stopped = True

    first = Reader(held=True)
    job = engine.start(SETUP, a_request(tokens=400), first)
    assert first.begun.wait(PATIENCE)
    job.stop()
    monkeypatch.setattr(local_engine, "Job", StoppedJob)
    engine.start(SETUP, a_request(), Reader())

    assert engine.close(timeout=0.3) is False  # as it would at any time: the first cannot end

    first.gate.set()
    assert engine.close() is True
    assert job.finished.is_set()


def test_i4_closing_twice_from_many_threads_frees_once(engine: Engine) -> None:
    """Every call of `close` returns after the memory is free, and the engine stays closed."""
    engine.load(SETUP)
    barrier = threading.Barrier(4)
    seen = []

    def close() -> None:
        barrier.wait(PATIENCE)
        seen.append((engine.close(), engine.loaded))

    threads = [threading.Thread(target=close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert seen == [(True, False)] * 4
    for use in (lambda: engine.load(SETUP), lambda: engine.start(SETUP, a_request(), Reader())):
        with pytest.raises(LocalModelError, match="was closed"):
            use()


def test_close_without_weights_is_nothing(engine: Engine) -> None:
    """An engine that was never used closes at once."""
    assert engine.close() is True


def test_closing_one_leaves_another_at_work(loaded: Engine, engine: Engine) -> None:
    """Two sets of weights live side by side; one is freed while the other answers."""
    engine.load(SETUP)
    reader = Reader(held=True)
    loaded.start(SETUP, a_request(), reader)
    assert reader.begun.wait(PATIENCE)

    engine.close()

    reader.gate.set()
    assert pieces(reader.until_the_end())


def test_prompt_that_does_not_fit_names_the_setting(loaded: Engine) -> None:
    """A prompt longer than the context is refused with both numbers, and nothing is broken."""
    reader = Reader()
    words = [{"role": "user", "content": "word " * 1000}]
    loaded.start(SETUP, a_request(messages=words), reader)

    failure = reader.failure()

    assert isinstance(failure, PromptTooLong)
    assert "512" in str(failure)
    assert "raise context_size" in str(failure)
    again = Reader()
    loaded.start(SETUP, a_request(), again)
    assert pieces(again.until_the_end())


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": "hot"},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "what"}}}},
        {"messages": [{"role": "user", "content": "half a surrogate \ud800"}]},
        {"max_tokens": -5},
    ],
)
def test_refused_request_is_one_line_and_harms_nothing(
    loaded: Engine, wrong: dict[str, Any]
) -> None:
    """What llama.cpp refuses, by an event or by throwing, arrives as one line."""
    reader = Reader()
    loaded.start(SETUP, {**a_request(), **wrong}, reader)

    failure = reader.failure()

    assert isinstance(failure, LocalModelError)
    assert str(failure).startswith("the local model refused the request: ")
    assert "\n" not in str(failure)
    again = Reader()
    loaded.start(SETUP, a_request(), again)
    assert pieces(again.until_the_end())


def test_i6_failed_load_is_told_and_not_kept(engine: Engine, tmp_path: Path) -> None:
    """A file that cannot be loaded fails each caller in one line, and the next load may work."""
    broken = tmp_path / "broken.gguf"
    with SETUP.path.open("rb") as whole:
        broken.write_bytes(whole.read(1 << 20))
    wrong = Setup(broken, context_size=512)
    reader = Reader()

    with pytest.raises(LocalModelError, match=r"cannot load .*broken\.gguf"):
        engine.load(wrong)
    engine.start(wrong, a_request(), reader)
    assert "cannot load" in str(reader.failure())

    engine.load(SETUP)
    assert engine.loaded


def test_deaf_reader_ends_the_answer(loaded: Engine) -> None:
    """A reader whose event loop is closed cannot be told anything: the model stops by itself."""
    told = 0

    def deliver(_: Delivery) -> None:
        nonlocal told
        told += 1
        raise RuntimeError("Event loop is closed")

    job = loaded.start(SETUP, a_request(tokens=400), deliver)

    assert job.finished.wait(PATIENCE)
    assert told <= 2
