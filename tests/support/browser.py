"""A browser for tests of the page: Debian's Chromium, headless, through playwright.

One process serves all tests of a session; each page has a context of its own, which shares nothing
with another's: no cookie, no store, no cache. Playwright's asynchronous interface, since the other
one keeps a loop in the thread that all other tests need.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    async_playwright,
    expect,
)

ROOT = Path(__file__).resolve().parents[2]

#: Where a build puts the page that the service serves.
STATIC = ROOT / "src" / "llmkeep" / "service" / "static"

#: Checks a page against the rules of WCAG; installed beside the page's own packages.
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"

#: A folder for pictures to look at; without it none is taken.
PICTURES = os.environ.get("SHOTS")

#: Milliseconds that a page may take for what a test waits for.
PATIENCE = 15_000

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 860}

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: What a browser says by itself of an answer that is no 2xx; whether that is wrong, a test decides.
_REFUSED = re.compile(r"Failed to load resource")


def chromium() -> str | None:
    """The path of the browser, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """A browser; ends with the block."""
    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


class Window:
    """One person's browser: pages that share cookies and stores. Notes what goes wrong in them."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        #: Errors of scripts, and of the content security policy.
        self.errors: list[str] = []
        context.set_default_timeout(PATIENCE)
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))

    async def open(self, address: str) -> Page:
        """A new tab at this address."""
        page = await self.context.new_page()
        await page.goto(address)
        return page

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not _REFUSED.search(message.text):
            self.errors.append(message.text)


#: Where the page keeps a token that is to be remembered.
_TOKEN = "llmkeep.token"


def remembering(token: str) -> str:
    """A script that makes a window's first visit that of somebody who is signed in."""
    return (
        f"if (location.protocol === 'http:' && localStorage.getItem({_TOKEN!r}) === null)"
        f" localStorage.setItem({_TOKEN!r}, {token!r})"
    )


def window_options(
    *, dark: bool = False, locale: str = "en-US", phone: bool = False
) -> dict[str, Any]:
    """What playwright is told of a person's browser."""
    return {
        "color_scheme": "dark" if dark else "light",
        "locale": locale,
        "viewport": PHONE if phone else DESK,
        "has_touch": phone,
        "is_mobile": phone,
        "reduced_motion": "reduce",
    }


async def assert_accessible(page: Page) -> None:
    """Axe finds nothing that is serious or worse."""
    await page.evaluate(AXE.read_text("utf-8"))
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [
        f"{each['id']}: {each['help']} {[node['target'] for node in each['nodes']]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert not serious, "\n".join(serious)


async def assert_fits(page: Page) -> None:
    """Nothing is wider than the window: a phone need not be moved sideways to read."""
    wider = await page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wider <= 0, f"the page is {wider} pixels too wide"


async def picture(page: Page, name: str) -> None:
    """A picture to be looked at, where somebody wants some (`SHOTS=folder`)."""
    if PICTURES:
        await page.screenshot(path=Path(PICTURES) / f"{name}.png")
