"""Draws `docs/page.png`: a conversation in the real page, over the real service, in a real browser.

    python -m tests.support.draw_page

The model's words are scripted, everything else is what runs.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import ViewportSize, async_playwright, expect

from tests.support.browser import FLAGS, ROOT, chromium
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Call, Text, Usage
from tests.support.service import Service

PICTURE = ROOT / "docs" / "page.png"
SIZE: ViewportSize = {"width": 1200, "height": 830}
QUESTIONS = ("What is 17 % of 2,340, and what time is it in Tokyo?", "Keep that rate in mind.")
ANSWER = """17 % of 2,340 is **397.8**. In Tokyo:

- it is **9:41** on 24 November 2026,
- nine hours ahead of `UTC`, all year."""


def _script(provider: Scripted) -> None:
    provider.say(
        Text("Let me look both up."),
        Call(0, "call_1", "calculator", '{"expression": "0.17 * 2340"}'),
        Call(1, "call_2", "current_time", '{"timezone": "Asia/Tokyo"}'),
        Usage(380, 41),
    )
    provider.say(Text(ANSWER), Usage(462, 58))
    note = '{"text": "The rate is 17 %"}'
    provider.say(Text("I will note it."), Call(0, "call_3", "add_note", note), Usage(540, 24))


async def draw(address: str) -> None:
    """Hold the conversation, and take the picture."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = await browser.new_page(viewport=SIZE, locale="en-GB")
        await page.goto(address)
        for question in QUESTIONS:
            composer = page.get_by_role("textbox", name="Write a message")
            await composer.fill(question)
            await composer.press("Enter")
            await expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
            await page.wait_for_timeout(1500)  # until all is drawn: a picture proves nothing
        await page.screenshot(path=PICTURE)
        await browser.close()


def main() -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder, Scripted() as provider:
        _script(provider)
        with Service(
            Path(folder) / "data",
            provider.base_url("openai"),
            "--model",
            "openai:gpt-5-mini",
            AGENTS__APPROVE_TOOLS="add_note",
        ) as service:
            asyncio.run(draw(service.address))


if __name__ == "__main__":
    main()
