"""Connections that end, pages that are reloaded, servers that are killed: nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.async_api import Route, expect

from tests.support.browser import picture
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Gate, Text
from tests.support.service import Service

from .conftest import OpenWindow, Person
from .talking import Talk, talk

LOST = re.compile("The connection was lost")


async def test_reload_in_the_middle_of_an_answer_finds_it_and_goes_on(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """What was said is there at once, what comes later comes; nothing twice."""
    provider.say(Text("One, "), gate := Gate(), Text("two, three."))
    tab = await talk(person, open_window)
    await tab.say("Count")
    await expect(tab.answers).to_contain_text("One,")

    await tab.page.reload()

    await expect(tab.answers).to_contain_text("One,")
    await expect(tab.stop).to_be_visible()
    gate.opened.set()
    await tab.ended()
    await expect(tab.answers.locator("p").first).to_have_text("One, two, three.")
    assert len(provider.asked) == 1


async def test_second_tab_shows_the_same_answer_and_can_stop_it(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """It is opened in the middle, follows, and what it stops is stopped for both."""
    provider.say(Text("Hear "), gate := Gate(), Text("me"), Gate(), Text(" out"))
    first = await talk(person, open_window)
    await first.say("Speak")
    await expect(first.answers).to_contain_text("Hear")

    second = await talk(person, open_window, f"/t/{await first.thread_id()}")
    await expect(second.answers).to_contain_text("Hear")
    gate.opened.set()
    for tab in (first, second):
        await expect(tab.answers).to_contain_text("Hear me")
    await second.stop.click()

    for tab in (first, second):
        await expect(tab.answers).to_contain_text("Stopped")


async def test_open_tab_learns_of_what_is_said_in_another(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """As soon as somebody looks at it again."""
    provider.say(Text("First."))
    one = await talk(person, open_window)
    await one.say("Hello")
    await one.ended()
    other = Talk(await one.page.context.new_page())
    await other.page.goto(one.page.url)
    await expect(other.answers).to_contain_text("First.")

    provider.say(Text("Second."))
    await other.say("More")
    await expect(other.answers.last).to_contain_text("Second.")
    await one.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    await expect(one.answers.last).to_contain_text("Second.")


async def test_lost_connection_is_shown_and_resumed_where_it_broke(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """A stream that cannot be had is no end: the page says so, and asks until it has the rest."""
    provider.say(Text("Before, "), gate := Gate(), Text("after."))
    tab = await talk(person, open_window)
    is_cut = True

    async def cut(route: Route) -> None:
        await (route.abort() if is_cut else route.continue_())

    await tab.page.route("**/runs/*/stream*", cut)
    await tab.say("Speak")
    await expect(tab.answers).to_contain_text("Before,")
    await tab.page.reload()
    await expect(tab.page.get_by_text(LOST)).to_be_visible()
    await picture(tab.page, "connection-lost")
    is_cut = False
    gate.opened.set()

    await tab.ended()
    await expect(tab.page.get_by_text(LOST)).to_have_count(0)
    await expect(tab.answers.locator("p").first).to_have_text("Before, after.")


async def test_killed_server_is_waited_for_and_its_run_told_as_interrupted(
    start_service: Callable[..., Service], provider: Scripted, open_window: OpenWindow
) -> None:
    """The page says that it is cut off, comes back by itself, says what became of the answer."""
    server = start_service()
    provider.say(Text("I was saying"), Gate(), Text(" something"))
    window = await open_window()
    tab = Talk(await window.open(server.address))
    await tab.say("Speak")
    await expect(tab.answers).to_contain_text("I was saying")

    server.kill()
    await expect(tab.page.get_by_text(LOST)).to_be_visible()
    server.start()

    await expect(tab.page.get_by_role("alert")).to_contain_text("The server ended in the middle")
    await expect(tab.page.get_by_text(LOST)).to_have_count(0)
    await picture(tab.page, "connection-interrupted")
    provider.say(Text("Where was I?"))
    await tab.answers.get_by_role("button", name="Try again").click()
    await expect(tab.answers).to_contain_text("Where was I?")
    window.errors[:] = [each for each in window.errors if "ERR_CONNECTION" not in each]


async def test_message_that_cannot_be_delivered_is_delivered_when_it_can(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """Sent without a connection, it is shown as being sent, and answered once, after it is back."""
    tab = await talk(person, open_window)
    await expect(tab.composer).to_be_visible()
    await tab.page.context.set_offline(True)
    provider.say(Text("Got it."))
    await tab.say("Can you hear me?")
    await expect(tab.page.get_by_text("The server does not answer.")).to_be_visible()
    await picture(tab.page, "connection-sending")

    await tab.page.context.set_offline(False)

    await expect(tab.answers).to_contain_text("Got it.")
    assert len(provider.asked) == 1
