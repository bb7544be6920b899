"""The page in a real browser over a real service.

All tests of this folder run on one loop, which the browser belongs to. They are left out, with a
reason, where there is no browser or no built page.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.browser import (
    AXE,
    STATIC,
    Window,
    chromium,
    remembering,
    running_browser,
    window_options,
)
from tests.support.scripted import Scripted
from tests.support.service import Service
from tests.support.service_client import Client
from tests.support.service_fixtures import (
    doors,
    provider,
    scripted_server,
    service,
    service_process,
    start_service,
)
from tests.support.service_tools import Doors

__all__ = [
    "doors",
    "provider",
    "scripted_server",
    "service",
    "service_process",
    "start_service",
]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for all, and reasons to leave them out."""
    lacking = None
    if chromium() is None:
        lacking = "there is no Chromium: apt install chromium"
    elif not (STATIC / "index.html").is_file() or not AXE.is_file():
        lacking = "the page is not built: make page"
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
        if lacking:
            item.add_marker(pytest.mark.skip(reason=lacking))


class OpenWindow(Protocol):
    """Opens somebody's browser; see `window_options`."""

    def __call__(self, *, token: str | None = None, **options: Any) -> Awaitable[Window]: ...


@dataclass(frozen=True)
class Person:
    """A user of the service that people sign in to; each test has its own."""

    address: str
    name: str
    token: str

    def client(self) -> Client:
        """The same person without a browser."""
        return Client(self.address, self.token)


PEOPLE = 60

#: Among the people; sees the keep.
ADMINISTRATOR = "keeper"


def token_of(name: str) -> str:
    """What signs this user in."""
    return f"token-of-{name}-which-nobody-guesses"


@pytest.fixture(scope="session")
def people_service(
    scripted_server: Scripted, doors: Doors, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service that asks for tokens, so that no test sees what another one left in it."""
    names = [*(f"person{number}" for number in range(PEOPLE)), ADMINISTRATOR]
    tokens = {
        token_of(name): {"user": name, "administrator": name == ADMINISTRATOR} for name in names
    }
    variables = {"SERVICE__SIGN_IN": "token", "SERVICE__TOKENS": json.dumps(tokens)}
    folder = tmp_path_factory.mktemp("people") / "data"
    base_url = scripted_server.base_url("openai")
    with Service(folder, base_url, **doors.variables, **variables) as service:
        yield service


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def person(people_service: Service, provider: Scripted, _numbers: Iterator[int]) -> Person:
    """Somebody without any conversations yet."""
    name = f"person{next(_numbers)}"
    return Person(people_service.address, name, token_of(name))


@pytest.fixture
def somebody_else(people_service: Service, _numbers: Iterator[int]) -> Person:
    """Another one."""
    name = f"person{next(_numbers)}"
    return Person(people_service.address, name, token_of(name))


@pytest.fixture
def keeper(people_service: Service, provider: Scripted) -> Person:
    """The administrator, who is the same in every test."""
    return Person(people_service.address, ADMINISTRATOR, token_of(ADMINISTRATOR))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The browser that all tests share, on the loop that they share.

    That loop's worker thread outlives each of them, so it is there before the first.
    """
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(max_workers=1))
    await asyncio.to_thread(lambda: None)
    async with running_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def open_window(browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Window]]]:
    """Opens windows, which end with the test; it fails where a script in one of them did."""
    async with AsyncExitStack() as stack:
        windows: list[Window] = []

        async def open_window(*, token: str | None = None, **options: Any) -> Window:
            context = await browser.new_context(**window_options(**options))
            if token is not None:
                await context.add_init_script(remembering(token))
            stack.push_async_callback(context.close)
            windows.append(Window(context))
            return windows[-1]

        yield open_window
    for window in windows:
        assert window.errors == []
