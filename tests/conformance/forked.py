"""What runs in worker processes of multiprocessing, gunicorn and Celery.

The subject is named by the arguments, or by the environment where a server imports this module.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from .children import add_report, report_of
from .stage import Stage
from .subject import load
from .upstream import Address

#: What a parent made, for children that inherit it.
ASKER: Any = None


def ask(stage: Stage, llm: Any) -> bytes:
    """Ask twice, once on a loop; what was counted."""
    stage.call(llm.ask, stage.prompt())
    stage.call(asyncio.run, llm.aask(stage.prompt()))
    return report_of(stage)


def add(stage: Stage, said: bytes) -> None:
    """Add what a worker counted."""
    add_report(stage, said)


def work(subject: str, url: str, authority: str, queue: Any) -> None:
    """A worker of multiprocessing."""
    stage = Stage(load(subject), Address(url, authority))
    llm = ASKER or stage.asker()
    queue.put(ask(stage, llm))
    if ASKER is None:
        llm.shut()  # its own


class FromEnvironment:
    """The subject that a server's parent process makes and uses, before it forks."""

    def __init__(self) -> None:
        address = Address(os.environ["CONFORMANCE_URL"], os.environ["CONFORMANCE_AUTHORITY"])
        self.subject = load(os.environ["CONFORMANCE_SUBJECT"])
        self._address = address
        self.llm = Stage(self.subject, address).asker()
        self.llm.ask(f"while loading {os.getpid()} 0")

    def ask(self) -> bytes:
        """What a worker counted."""
        return ask(Stage(self.subject, self._address), self.llm)


_loaded = FromEnvironment() if "CONFORMANCE_SUBJECT" in os.environ else None


def application(environment: Any, start_response: Any) -> list[bytes]:
    """A WSGI application that asks."""
    assert _loaded is not None
    said = _loaded.ask()
    start_response("200 OK", [("content-length", str(len(said)))])
    return [said]
