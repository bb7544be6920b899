"""Tool calls in a real browser over a real service: seen live, side by side, and approved."""

from __future__ import annotations

import json

from playwright.async_api import expect

from tests.support.browser import picture
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Args, Call, Gate, Text
from tests.support.service_tools import Doors

from .conftest import OpenWindow, Person
from .talking import talk


async def test_calls_are_seen_from_their_first_argument_to_their_result(
    person: Person, provider: Scripted, doors: Doors, open_window: OpenWindow
) -> None:
    """Two at once, arguments interleaved: each card has its own, and its own end and duration."""
    door = doors["seen"]
    provider.say(
        Text("Let me look."),
        (Call(0, "call_wait", "wait_at"), Call(1, "call_break", "break_down")),
        (Args(0, '{"door": '), Args(1, '{"reason": "no ')),
        gate := Gate(),
        (Args(1, 'paper"}'), Args(0, '"seen"}')),
    )
    provider.say(Text("One went through."))
    tab = await talk(person, open_window)
    await tab.say("Use your tools")
    wait, fail = tab.card("wait_at"), tab.card("break_down")

    await expect(wait).to_contain_text("being called")
    await expect(wait).to_contain_text('{"door":')
    await expect(fail).to_contain_text('{"reason": "no')
    gate.opened.set()
    await door.reached.come()
    await expect(wait).to_contain_text("running")
    await expect(fail).to_contain_text("failed")
    await picture(tab.page, "tools-running")
    tops = [
        await card.evaluate("card => card.getBoundingClientRect().top") for card in (wait, fail)
    ]
    assert tops[0] == tops[1], "they are not side by side"
    door.opened.set()

    await expect(wait).to_contain_text("done")
    await expect(tab.answers).to_contain_text("One went through.")
    await expect(tab.page.get_by_text("went through seen")).to_have_count(0)
    await wait.get_by_role("button").click()
    await expect(wait).to_contain_text("went through seen")
    await picture(tab.page, "tools-done")
    await tab.page.reload()
    await expect(tab.card("wait_at")).to_contain_text("done")
    await expect(tab.card("break_down")).to_contain_text("failed")


async def test_stop_in_the_middle_of_a_tool_stops_it(
    person: Person, provider: Scripted, doors: Doors, open_window: OpenWindow
) -> None:
    """The tool is gone, its card says so, and the conversation goes on."""
    provider.say(Call(0, "call_stop", "wait_at", json.dumps({"door": "stopped"})))
    tab = await talk(person, open_window)
    await tab.say("Wait for me")
    await doors["stopped"].reached.come()
    await expect(tab.card("wait_at")).to_contain_text("running")

    await tab.stop.click()

    await expect(tab.card("wait_at")).to_contain_text("stopped")
    await doors["stopped"].left.come()
    provider.say(Text("Here I am."))
    await tab.say("Are you there?")
    await expect(tab.answers.last).to_contain_text("Here I am.")


async def test_call_waits_for_a_yes(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """It waits over a reload, runs when allowed, and the answer goes on in the same place."""
    provider.say(Call(0, "call_ask", "ask_first", '{"text": "hello"}'))
    tab = await talk(person, open_window)
    await tab.say("Say hello, if I may")
    await expect(tab.card("ask_first")).to_contain_text("needs your approval")
    await tab.page.reload()
    await expect(tab.card("ask_first")).to_contain_text("needs your approval")
    await picture(tab.page, "tools-approval")

    provider.say(Text("I said it."))
    await tab.page.get_by_role("button", name="Allow", exact=True).click()

    await expect(tab.card("ask_first")).to_contain_text("done")
    await expect(tab.answers).to_have_count(1)
    await expect(tab.answers).to_contain_text("I said it.")
    assert provider.asked[-1].messages[-1]["content"] == "said hello"


async def test_call_is_declined(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """It does not run, its card says so, and the model is told."""
    provider.say(Call(0, "call_no", "ask_first", '{"text": "hello"}'))
    tab = await talk(person, open_window)
    await tab.say("Say hello, if I may")
    provider.say(Text("Then not."))
    await tab.page.get_by_role("button", name="Deny").click()

    await expect(tab.card("ask_first")).to_contain_text("declined")
    await expect(tab.answers).to_contain_text("Then not.")


async def test_call_is_allowed_with_other_arguments(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """What is no JSON object is refused on the spot; the tool runs with what the person wrote."""
    provider.say(Call(0, "call_change", "ask_first", '{"text": "hello"}'))
    tab = await talk(person, open_window)
    await tab.say("Say hello, if I may")
    await tab.page.get_by_role("button", name="Change arguments").click()
    field = tab.page.get_by_role("textbox", name="JSON, as the tool is called with it")
    await field.fill("[1")
    await tab.page.get_by_role("button", name="Allow as changed").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("not a JSON object")
    await picture(tab.page, "tools-change")

    provider.say(Text("I said that."))
    await field.fill('{"text": "goodbye"}')
    await tab.page.get_by_role("button", name="Allow as changed").click()

    await expect(tab.answers).to_contain_text("I said that.")
    assert "said goodbye" in provider.asked[-1].messages[-1]["content"]


async def test_two_calls_go_on_when_both_are_decided_on(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """One yes and one no are sent together; until then nothing runs."""
    provider.say(
        Call(0, "call_one", "ask_first", '{"text": "one"}'),
        Call(1, "call_two", "ask_first", '{"text": "two"}'),
    )
    tab = await talk(person, open_window)
    await tab.say("Say both")
    cards = tab.card("ask_first")
    await expect(cards).to_have_count(2)
    await cards.first.get_by_role("button", name="Allow", exact=True).click()
    await expect(cards.first).to_contain_text("goes on when the other calls")
    assert len(provider.asked) == 1

    provider.say(Text("One of two."))
    await cards.last.get_by_role("button", name="Deny").click()

    await expect(tab.answers).to_contain_text("One of two.")
    await expect(cards.first).to_contain_text("done")
    await expect(cards.last).to_contain_text("declined")
