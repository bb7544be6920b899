"""What a conversation is to everybody: in both themes, on a phone, in Chinese, by keyboard."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from tests.support.browser import assert_accessible, assert_fits, picture
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Broken, Call, Gate, Text

from .conftest import OpenWindow, Person
from .talking import talk

LONG = "unbroken" * 40

ANSWER = f"""# Findings

Here is **what** I found, in `{LONG}`:

1. one thing
   - [x] done
   - [ ] not done
2. {LONG}

| name | {"wide " * 12} | value |
|---|---|---|
| {LONG[:60]} | 1 | 2 |

```python
def answer(question: str) -> str:
    return "{LONG}"  # longer than any window
```

> See [the page](https://example.invalid/{LONG}).
"""


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {}),
        ("dark", {"dark": True}),
        ("phone", {"phone": True}),
        ("phone-dark-zh", {"phone": True, "dark": True, "locale": "zh-CN"}),
    ],
)
async def test_conversation_can_be_used_by_all(
    person: Person,
    provider: Scripted,
    open_window: OpenWindow,
    name: str,
    options: dict[str, Any],
) -> None:
    """Axe finds nothing serious in any state, and nothing is wider than the window."""
    tab = await talk(person, open_window, **options)
    write = tab.page.get_by_role("textbox").last
    send = tab.page.locator("main form button").last
    await expect(write).to_be_visible()
    await assert_accessible(tab.page)
    await assert_fits(tab.page)
    await picture(tab.page, f"looks-{name}-empty")

    provider.say(Call(0, "call_bad", "break_down", f'{{"reason": "{LONG}"}}'))
    provider.say(Text(ANSWER))
    await write.fill(f"Show me everything, {LONG}")
    await send.click()
    await expect(tab.page.get_by_role("heading", name="Findings")).to_be_visible()
    await expect(tab.page.locator(".hljs-keyword").first).to_be_visible()
    await tab.page.locator("article button").click()
    await assert_accessible(tab.page)
    await assert_fits(tab.page)
    await picture(tab.page, f"looks-{name}-answer")

    provider.say(Call(0, "call_ask", "ask_first", f'{{"text": "{LONG}"}}'))
    await write.fill("Ask me first")
    await send.click()
    await expect(tab.page.locator("article[data-status=waiting]")).to_be_visible()
    await assert_accessible(tab.page)
    await assert_fits(tab.page)
    await picture(tab.page, f"looks-{name}-approval")

    provider.answers = lambda asked: (Text("I was about t"), Broken.RESET)
    await write.fill("Go wrong")
    await send.click()
    await expect(tab.page.get_by_role("alert").last).to_be_visible()
    await assert_accessible(tab.page)
    await assert_fits(tab.page)
    await picture(tab.page, f"looks-{name}-error")


async def test_conversation_is_led_by_keyboard_alone(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """The composer has the focus at first; Stop, the card and a new answer are a few tabs away."""
    provider.say(Call(0, "call_key", "break_down", '{"reason": "no ink"}'))
    provider.say(Text("Half"), Gate(), Text(" and half"))
    tab = await talk(person, open_window)
    await expect(tab.composer).to_be_focused()
    keyboard = tab.page.keyboard
    await keyboard.type("Line one")
    await keyboard.press("Shift+Enter")
    await keyboard.type("line two")
    await keyboard.press("Enter")
    await expect(tab.answers).to_contain_text("Half")
    assert await tab.questions.first.inner_text() == "Line one\nline two"

    await keyboard.press("Tab")
    await expect(tab.stop).to_be_focused()
    await keyboard.press("Enter")
    await expect(tab.answers).to_contain_text("Stopped")
    await expect(tab.composer).to_be_focused()

    provider.say(Text("Whole."))
    await keyboard.press("Shift+Tab")
    await expect(tab.page.get_by_role("button", name="Answer again")).to_be_focused()
    await keyboard.press("Enter")
    await expect(tab.answers).to_contain_text("Whole.")


async def test_answer_is_told_to_screen_readers_when_it_is_whole(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """Once that it is being written, once what it says: not word by word."""
    provider.say(Text("One "), gate := Gate(), Text("two."))
    tab = await talk(person, open_window)
    told = tab.page.locator("main [aria-live=polite]").last
    await tab.say("Count")
    await expect(tab.answers).to_contain_text("One")
    await expect(told).to_have_text("The answer is being written")
    gate.opened.set()

    await expect(told).to_have_text("One two.")
