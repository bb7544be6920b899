"""Processes: what a parent opened, and its children inherit."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.conformance import forked
from tests.conformance.children import Children, shared_connections
from tests.conformance.outcome import DoesNotApply
from tests.conformance.stage import Made, Stage, scenario, start, until

GROUP = "Processes"


@scenario(GROUP, needs="model")
def forked_children_ask(stage: Stage) -> None:
    """A parent that has asked forks four children, and all ask at once: no connection is shared."""
    llm = stage.asker()
    stage.call(llm.ask, stage.prompt())
    children = Children(stage)

    def ask() -> None:
        for _ in range(3):
            stage.call(llm.ask, stage.prompt())

    for _ in range(4):
        children.fork(ask)
    ask()
    children.wait()
    ask()
    stage.wrong(shared_connections(stage.upstream.control("tell")["received"]))
    llm.shut()


@scenario(GROUP, needs="model")
def forked_children_run_loops(stage: Stage) -> None:
    """The same with event loops in parent and children."""
    llm = stage.asker()

    async def ask() -> None:
        for _ in range(3):
            await stage.acall(llm.aask(stage.prompt()))

    asyncio.run(ask())
    children = Children(stage)
    for _ in range(4):
        children.fork(lambda: asyncio.run(ask()))
    asyncio.run(ask())
    children.wait()
    stage.wrong(shared_connections(stage.upstream.control("tell")["received"]))
    llm.shut()


@scenario(GROUP, needs="model")
def forked_in_the_middle_of_a_stream(stage: Stage) -> None:
    """A child is forked while the parent reads a stream, and ends: the parent's stream goes on."""
    llm = stage.asker()
    pieces = llm.stream(stage.prompt("hold"))
    stage.call(next, pieces)
    children = Children(stage)
    children.fork(lambda: stage.call(llm.ask, stage.prompt()))
    children.wait()
    stage.upstream.control("release")
    rest = stage.call("".join, pieces)
    stage.wrong(rest is None)
    stage.call(llm.ask, stage.prompt())
    stage.wrong(shared_connections(stage.upstream.control("tell")["received"]))
    llm.shut()


@scenario(GROUP)
def forked_under_load(stage: Stage) -> None:
    """Children are forked while threads build and lease: each child gets clients, its own."""
    made = Made()
    kept = stage.keeper(made)
    stop = threading.Event()

    def load(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            with kept.use(f"{number} {turn % 50}"):
                pass

    def child() -> None:
        inherited = set(map(id, made.clients))
        for number in range(20):
            client = stage.call(_take, kept, f"{number % 4} {number}")
            stage.wrong(id(client) in inherited)

    with kept.use("0 1"):
        pass
    threads = [start(load, number) for number in range(4)]
    until(lambda: len(made.begun) > 20)
    children = Children(stage)
    for _ in range(4):
        children.fork(child)
    children.wait()
    stop.set()
    stage.results(threads)
    kept.shut()


def _multiprocessing(stage: Stage, method: str, count: int) -> None:
    """Worker processes that ask, of a parent that has asked."""
    llm = stage.asker()
    stage.call(llm.ask, stage.prompt())
    forked.ASKER = llm
    context: Any = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    name = type(stage.subject).__module__.rpartition(".")[2]
    given = (name, stage.upstream.url, stage.upstream.authority, queue)
    workers = [context.Process(target=forked.work, args=given) for _ in range(count)]
    for worker in workers:
        worker.start()
    stage.call(llm.ask, stage.prompt())
    for worker in workers:
        worker.join(40)
    stage.outcome.processes = sum(worker.exitcode != 0 for worker in workers)
    for worker in workers:
        if worker.exitcode is None:
            worker.kill()
            worker.join()
        worker.close()
    while not queue.empty():
        forked.add(stage, queue.get())
    queue.close()
    stage.wrong(shared_connections(stage.upstream.control("tell")["received"]))
    llm.shut()


@scenario(GROUP, needs="model")
def multiprocessing_fork(stage: Stage) -> None:
    """`multiprocessing` with fork: workers ask over what they inherit, none shares a connection."""
    _multiprocessing(stage, "fork", 3)


@scenario(GROUP, needs="model", heavy=True)
def multiprocessing_spawn(stage: Stage) -> None:
    """`multiprocessing` with spawn: workers make their own, parent and workers end in order."""
    _multiprocessing(stage, "spawn", 1)


@scenario(GROUP, needs="model", heavy=True)
def multiprocessing_forkserver(stage: Stage) -> None:
    """`multiprocessing` with forkserver: as with spawn."""
    _multiprocessing(stage, "forkserver", 1)


def _environment(stage: Stage) -> dict[str, str]:
    return {
        **os.environ,
        "CONFORMANCE_SUBJECT": type(stage.subject).__module__.rpartition(".")[2],
        "CONFORMANCE_URL": stage.upstream.url,
        "CONFORMANCE_AUTHORITY": stage.upstream.authority,
    }


@scenario(GROUP, needs="model", heavy=True)
def gunicorn_preload(stage: Stage) -> None:
    """Gunicorn `--preload`: asked while loading, then by two forked workers, nothing is shared."""
    if find_spec("gunicorn") is None:
        raise DoesNotApply("gunicorn is not installed; forked_children_ask stands for it")
    stage.asker().shut()  # whether it applies
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2"]
    command += ["--bind", f"127.0.0.1:{port}", "--log-level", "error", "--no-control-socket"]
    server = subprocess.Popen(
        [*command, "tests.conformance.forked:application"], env=_environment(stage)
    )

    def ask(_: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            forked.add(stage, answer.read())

    try:
        until(lambda: _listens(port), 40.0)
        stage.patience = 20.0
        stage.together(8, ask)
    finally:
        server.send_signal(signal.SIGTERM)
        stage.outcome.processes = int(server.wait(40) != 0)
    received = stage.upstream.control("tell")["received"]
    stage.outcome.asked += 1  # what the parent asked while loading
    stage.wrong(shared_connections(received))


@scenario(GROUP, needs="model", heavy=True)
def celery_prefork(stage: Stage) -> None:
    """Celery's prefork pool, over files for a broker: as with gunicorn."""
    if find_spec("celery") is None:
        raise DoesNotApply("celery is not installed; multiprocessing_fork stands for it")
    stage.asker().shut()  # whether it applies
    with tempfile.TemporaryDirectory() as folder:
        for name in ("broker", "results"):
            Path(folder, name).mkdir()
        os.environ["CONFORMANCE_FOLDER"] = folder
        command = [sys.executable, "-m", "celery", "-A"]
        command += ["tests.conformance.forked_celery", "worker", "-P", "prefork", "-c", "2"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"]
        worker = subprocess.Popen(
            command,
            env={**_environment(stage), "PYTHONWARNINGS": "ignore::UserWarning"},  # it is root's
        )
        try:
            from tests.conformance.forked_celery import ask

            waiting = [ask.delay() for _ in range(8)]
            for each in waiting:
                forked.add(stage, json.dumps(each.get(timeout=45)).encode())
        finally:
            worker.send_signal(signal.SIGTERM)
            stage.outcome.processes = int(worker.wait(40) != 0)
    stage.outcome.asked += 1  # what the parent asked while loading
    stage.wrong(shared_connections(stage.upstream.control("tell")["received"]))


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _take(kept: Any, key: str) -> Any:
    with kept.use(key) as client:
        return client
