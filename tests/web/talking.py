"""A conversation's page as a person uses it: what they read, write and press."""

from __future__ import annotations

import re
from typing import Any

from playwright.async_api import Locator, Page, expect

from tests.support.browser import PATIENCE

from .conftest import OpenWindow, Person

# The first answer of a process waits for imports and for the model.
expect.set_options(timeout=PATIENCE)


class Talk:
    """One tab on a conversation."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.composer = page.get_by_role("textbox", name="Write a message")
        self.stop = page.get_by_role("button", name="Stop", exact=True)
        self.answers = page.get_by_role("group", name="Assistant")
        self.questions = page.get_by_role("group", name="You")

    async def say(self, text: str) -> None:
        """Write it and press Enter."""
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def ended(self) -> None:
        """Wait until no run is on."""
        await expect(self.stop).to_have_count(0)

    def card(self, tool: str) -> Locator:
        """The card of a tool's call."""
        return self.page.get_by_role("article", name=f"Tool {tool}")

    async def thread_id(self) -> str:
        """Of the conversation, which has one as soon as something was said."""
        await expect(self.page).to_have_url(re.compile("/t/"))
        return self.page.url.rsplit("/", 1)[1]


async def talk(person: Person, open_window: OpenWindow, path: str = "/", **options: Any) -> Talk:
    """A new window of this person's, on a new conversation or another page."""
    window = await open_window(token=person.token, **options)
    return Talk(await window.open(f"{person.address}{path}"))
