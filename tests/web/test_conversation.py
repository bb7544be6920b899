"""A conversation in a real browser over a real service: said, answered, stopped, said otherwise."""

from __future__ import annotations

import re

from playwright.async_api import Request, expect

from tests.support.browser import picture
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Broken, Gate, Text

from .conftest import OpenWindow, Person
from .talking import talk


async def test_first_message_is_answered_word_by_word(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """Said on a first visit, the answer is there as it comes; then who answered, and its tokens."""
    provider.say(Text("Good "), gate := Gate(), Text("morning."))
    tab = await talk(person, open_window)
    await expect(tab.page.get_by_text("What would you like to know?")).to_be_visible()
    await picture(tab.page, "conversation-empty")

    await tab.say("Hello, who is there?")
    await expect(tab.answers).to_contain_text("Good")
    await expect(tab.stop).to_be_visible()
    gate.opened.set()
    await tab.ended()

    await expect(tab.answers).to_contain_text("Good morning.")
    await expect(tab.answers).to_contain_text("10 tokens in, 5 out")
    await expect(tab.page.get_by_role("link", name="Hello, who is there?")).to_be_visible()
    assert await tab.thread_id()


async def test_stop_ends_the_answer_and_keeps_what_was_said(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """The model is left at once, the half answer stays, also after a reload, and one writes on."""
    provider.say(Text("This is only ha"), Gate(), Text("lf"))
    tab = await talk(person, open_window)
    await tab.say("Talk to me")
    await expect(tab.answers).to_contain_text("only ha")

    await tab.stop.click()

    await expect(tab.answers).to_contain_text("Stopped")
    await provider.asked[-1].dropped.come()
    await expect(tab.composer).to_be_focused()
    await tab.page.reload()
    await expect(tab.answers).to_contain_text("This is only ha")
    await expect(tab.answers).to_contain_text("Stopped")

    provider.say(Text("Again, then."))
    await tab.say("Go on")
    await expect(tab.answers.last).to_contain_text("Again, then.")


async def test_message_is_said_otherwise_and_both_versions_stay(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """An edit is another version beside the first, each with what was said after it."""
    provider.say(Text("Red it is."))
    tab = await talk(person, open_window)
    await tab.say("Red")
    await expect(tab.answers).to_contain_text("Red it is.")
    await tab.ended()

    provider.say(Text("Blue it is."))
    await tab.questions.hover()
    await tab.page.get_by_role("button", name="Edit").click()
    await tab.page.get_by_role("textbox", name="Edit your message").fill("Blue")
    await tab.page.get_by_role("button", name="Send as edited").click()

    await expect(tab.answers).to_contain_text("Blue it is.")
    await expect(tab.questions).to_contain_text("Blue")
    assert [each["content"] for each in provider.asked[-1].messages if each["role"] == "user"] == [
        "Blue"
    ]
    await tab.ended()
    await tab.page.get_by_role("button", name="The version before").click()
    await expect(tab.answers).to_contain_text("Red it is.")
    await tab.page.reload()
    await expect(tab.answers).to_contain_text("Blue it is.")
    await expect(tab.page.get_by_text("2 of 2")).to_have_count(1)


async def test_answer_is_given_again_beside_the_first(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """A new answer is another version; what is said next hangs under the one that is shown."""
    provider.say(Text("Heads."))
    tab = await talk(person, open_window)
    await tab.say("Toss a coin")
    await expect(tab.answers).to_contain_text("Heads.")
    await tab.ended()

    provider.say(Text("Tails."))
    await tab.page.get_by_role("button", name="Answer again").click()
    await expect(tab.answers).to_contain_text("Tails.")
    await tab.ended()
    await tab.page.get_by_role("button", name="The version before").click()
    await expect(tab.answers).to_contain_text("Heads.")

    provider.say(Text("Heads once more."))
    await tab.say("And again")
    await expect(tab.answers.last).to_contain_text("Heads once more.")
    said = [each["content"] for each in provider.asked[-1].messages if each["role"] == "assistant"]
    assert said == ["Heads."]


async def test_message_sent_meanwhile_waits_for_its_turn_or_is_taken_back(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """Both are queued by the service; one is taken back, the other is answered after the first."""
    provider.say(Text("One"), gate := Gate(), Text(" moment."))
    tab = await talk(person, open_window)
    await tab.say("First")
    await expect(tab.answers).to_contain_text("One")

    provider.say(Text("Second answer."))
    await tab.say("Second")
    await tab.say("Third")
    await expect(tab.page.get_by_text("Waiting for the answer before it")).to_have_count(2)
    await picture(tab.page, "conversation-queue")
    await tab.page.get_by_role("button", name="Do not send").last.click()
    await expect(tab.page.get_by_text("Third")).to_have_count(0)
    gate.opened.set()

    await expect(tab.answers.last).to_contain_text("Second answer.")
    await tab.ended()
    assert await tab.questions.all_text_contents() == ["First", "Second"]
    assert len(provider.asked) == 2


async def test_what_went_wrong_is_said_and_can_be_tried_again(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """A provider that breaks off: the reason where the answer would be, and a way on."""
    provider.answers = lambda asked: (Text("I was about t"), Broken.RESET)
    tab = await talk(person, open_window)
    await tab.say("Tell me")
    alert = tab.page.get_by_role("alert")
    await expect(alert).to_be_visible()
    await picture(tab.page, "conversation-error")
    await tab.page.reload()
    await expect(alert).to_be_visible()

    provider.answers = None
    provider.say(Text("Here it is."))
    await alert.get_by_role("button", name="Try again").click()

    await expect(tab.answers).to_contain_text("Here it is.")
    await expect(alert).to_have_count(0)


async def test_draft_is_kept_with_its_thread(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """What was not sent is there after a reload, each thread's own, and gone once it was sent."""
    provider.say(Text("Yes."))
    tab = await talk(person, open_window)
    await tab.say("A thread")
    await tab.ended()
    await tab.composer.fill("half a thought")
    await tab.page.get_by_role("link", name="New conversation").click()
    await expect(tab.composer).to_have_value("")
    await tab.composer.fill("another")

    await tab.page.reload()
    await expect(tab.composer).to_have_value("another")
    await tab.page.get_by_role("link", name="A thread").click()
    await expect(tab.composer).to_have_value("half a thought")

    provider.say(Text("Done."))
    await tab.composer.press("Enter")
    await expect(tab.answers.last).to_contain_text("Done.")
    await tab.page.reload()
    await expect(tab.answers.last).to_contain_text("Done.")
    await expect(tab.composer).to_have_value("")


async def test_one_thread_goes_on_while_another_is_looked_at(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """Leaving a running answer stops nothing; coming back finds it further on."""
    provider.say(Text("Slow"), gate := Gate(), Text(" and steady."))
    tab = await talk(person, open_window)
    await tab.say("The slow one")
    await expect(tab.answers).to_contain_text("Slow")

    provider.say(Text("Quick."))
    await tab.page.get_by_role("link", name="New conversation").click()
    await tab.say("The quick one")
    await expect(tab.answers).to_contain_text("Quick.")
    gate.opened.set()
    await tab.page.get_by_role("link", name="The slow one").click()

    await expect(tab.answers).to_contain_text("Slow and steady.")
    await tab.ended()


async def test_refused_message_comes_back_to_where_it_was_written(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """One that is too long: why, and the text, so that it can be made shorter."""
    tab = await talk(person, open_window)
    long = "word " * 30_000
    await tab.say(long)

    await expect(tab.page.get_by_role("alert")).to_contain_text("was not sent")
    await expect(tab.composer).to_have_value(long.strip())
    await expect(tab.questions).to_have_count(0)
    assert provider.asked == []


async def test_answer_can_do_nothing_but_be_read(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """HTML is shown and not run, an image is not fetched, a script's address leads nowhere."""
    provider.say(
        Text("<img src=x onerror=alert(1)> <script>alert(2)</script>\n\n"),
        Text("![a](https://images.invalid/spy.png) [bad](javascript:alert(3)) "),
        Text("[good](https://example.invalid/there)"),
    )
    asked: list[str] = []
    tab = await talk(person, open_window)
    tab.page.on("request", lambda request: _note(asked, request, person.address))
    await tab.say("Attack me")
    await tab.ended()

    await expect(tab.answers).to_contain_text("<script>alert(2)</script>")
    good = tab.page.get_by_role("link", name="good")
    await expect(good).to_have_attribute("rel", re.compile("noopener"))
    await expect(tab.page.get_by_role("link", name="bad")).to_have_count(0)
    await expect(tab.answers.locator("img, script")).to_have_count(0)
    assert asked == []


def _note(asked: list[str], request: Request, address: str) -> None:
    if not request.url.startswith(address):
        asked.append(request.url)


async def test_code_gets_its_colours_once_it_is_whole(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """The highlighter is fetched with the first code, and copying gives the code alone."""
    provider.say(Text("```python\ndef f():\n"), gate := Gate(), Text("    return 1\n```\n"))
    fetched: list[str] = []
    tab = await talk(person, open_window)
    tab.page.on("request", lambda request: fetched.append(request.url))
    await tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await tab.say("Write code")
    await expect(tab.page.get_by_text("def f():")).to_be_visible()
    assert not [url for url in fetched if "highlight" in url]
    gate.opened.set()

    await expect(tab.answers.locator(".hljs-keyword").first).to_have_text("def")
    await tab.page.get_by_role("button", name="Copy this code").click()
    copied = await tab.page.evaluate("navigator.clipboard.readText()")
    assert copied == "def f():\n    return 1"


async def test_conversation_that_is_not_there_says_so(
    person: Person, somebody_else: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """Another one's thread is nobody's: no trace of it, and a way to begin one's own."""
    provider.say(Text("Private."))
    mine = await talk(person, open_window)
    await mine.say("Mine")
    await mine.ended()

    theirs = await talk(somebody_else, open_window, f"/t/{await mine.thread_id()}")

    await expect(theirs.page.get_by_text("There is no such conversation")).to_be_visible()
    await picture(theirs.page, "conversation-missing")
    await theirs.page.get_by_role("link", name="Begin a new one").click()
    await expect(theirs.composer).to_be_visible()
