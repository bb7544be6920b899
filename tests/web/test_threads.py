"""The list of conversations in a real browser over a real service."""

from __future__ import annotations

from pathlib import Path

import httpx
from playwright.async_api import Locator, Page, Route, expect

from tests.support.browser import assert_accessible, assert_fits, picture
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Gate, Text
from tests.support.service_client import Client, run_input

from .conftest import OpenWindow, Person


async def _threads(client: Client, *titles: str) -> None:
    """Conversations, the last one the newest."""
    for title in titles:
        await client.json("POST", "/api/threads", json={"thread_id": title, "title": title})


async def _open(person: Person, open_window: OpenWindow, **options: object) -> Page:
    window = await open_window(token=person.token, **options)
    return await window.open(f"{person.address}/settings")


def _row(page: Page, title: str) -> Locator:
    return page.get_by_role("link", name=title)


def _titles(page: Page) -> Locator:
    return page.locator("[data-thread]")


async def _choose(page: Page, title: str, action: str) -> None:
    await _row(page, title).hover()
    await page.get_by_role("button", name=f"Actions for “{title}”").click()
    await page.get_by_role("menuitem", name=action).click()


async def test_list_loads_as_one_scrolls_and_is_searched_on_the_server(
    person: Person, open_window: OpenWindow
) -> None:
    """A page at a time; a search finds what was not loaded yet, and says when there is nothing."""
    async with person.client() as client:
        await _threads(client, *(f"talk {number:02}" for number in range(40)))
    page = await _open(person, open_window)
    await expect(_titles(page).first).to_contain_text("talk 39")
    await expect(_titles(page)).to_have_count(30)

    await _titles(page).last.scroll_into_view_if_needed()
    await expect(_titles(page)).to_have_count(40)

    await page.get_by_role("searchbox").fill("talk 07")
    await expect(_titles(page)).to_have_count(1)
    await page.get_by_role("searchbox").fill("nobody said that")
    await expect(page.get_by_text("Nothing found")).to_be_visible()
    await picture(page, "threads-nothing-found")
    await page.get_by_role("button", name="Clear the search").click()
    await expect(_titles(page).first).to_contain_text("talk 39")


async def test_renaming_holds_and_what_is_refused_is_taken_back(
    person: Person, open_window: OpenWindow
) -> None:
    """The new title is there at once, in the browser's other tab too, and after a reload."""
    async with person.client() as client:
        await _threads(client, "first title")
    page = await _open(person, open_window)
    other = await page.context.new_page()
    await other.goto(f"{person.address}/settings")
    await expect(_row(other, "first title")).to_be_visible()
    await page.bring_to_front()  # a tab behind another one draws, and so acts, once in a while

    await _choose(page, "first title", "Rename")
    await page.keyboard.type("second title")
    await page.keyboard.press("Enter")
    await expect(_row(page, "second title")).to_be_focused()
    await expect(_row(other, "second title")).to_be_visible()

    async def refuse(route: Route) -> None:
        await route.fulfill(status=503, json={"code": "unavailable", "detail": "Try again later."})

    await page.route("**/api/threads/*", refuse)
    await page.keyboard.press("F2")
    await page.keyboard.type("third title")
    await page.keyboard.press("Enter")
    await expect(
        page.get_by_text("“second title” keeps its title. Try again later.")
    ).to_be_visible()
    await expect(_row(page, "second title")).to_be_visible()
    await picture(page, "threads-rename-refused")


async def test_deleting_can_be_undone_and_else_holds(
    person: Person, open_window: OpenWindow
) -> None:
    """By menu and by key; undone by the button and by Ctrl+Z; a reload does not bring it back."""
    async with person.client() as client:
        await _threads(client, "goes", "stays")
    page = await _open(person, open_window)

    await _choose(page, "goes", "Delete")
    await expect(_row(page, "goes")).to_have_count(0)
    await expect(page.get_by_text("“goes” was deleted.")).to_be_visible()
    await picture(page, "threads-deleted")
    await page.get_by_role("button", name="Undo").click()
    await expect(page.get_by_text("“goes” is back.")).to_be_visible()

    await _row(page, "goes").focus()
    await page.keyboard.press("Delete")
    await expect(page.get_by_role("button", name="Undo")).to_be_visible()
    await expect(_row(page, "stays")).to_be_focused()
    await page.keyboard.press("Control+z")
    await expect(_row(page, "goes")).to_be_visible()

    await _choose(page, "goes", "Delete")
    await expect(page.get_by_role("button", name="Undo")).to_be_visible()
    await page.reload()
    await expect(_row(page, "stays")).to_be_visible()
    await expect(_row(page, "goes")).to_have_count(0)


async def test_export_is_a_file_with_the_conversation(
    person: Person, provider: Scripted, open_window: OpenWindow, tmp_path: Path
) -> None:
    """It is named after the title, and comes although a link could not carry the credentials."""
    provider.say(Text("The answer."))
    async with person.client() as client:
        await _threads(client, "What: this?")
        await client.ask("What: this?", "The question.")
    page = await _open(person, open_window)

    for action, name in (
        ("Export as Markdown", "What this.md"),
        ("Export as JSON", "What this.json"),
    ):
        async with page.expect_download() as download:
            await _choose(page, "What: this?", action)
        file = await download.value
        await file.save_as(tmp_path / name)
        assert file.suggested_filename == name
        text = (tmp_path / name).read_text("utf-8")
        assert "The question." in text
        assert "The answer." in text


async def test_list_shows_what_happens_elsewhere(
    person: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """A conversation that is answered in another program is busy, and then it is not; it has a
    title by itself.
    """
    page = await _open(person, open_window)
    await expect(page.get_by_text("No conversations yet")).to_be_visible()
    gate = Gate()
    provider.say(Text("One "), gate, Text("two."))

    async with (
        person.client() as client,
        client.post(run_input("elsewhere", "Count to two for me")) as stream,
    ):
        await stream.until("TEXT_MESSAGE_CONTENT")
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await expect(_titles(page)).to_contain_text(["Answering"])
        await picture(page, "threads-busy")
        gate.opened.set()
        await stream.rest()
        title = (await client.json("GET", "/api/threads/elsewhere"))["title"]

    await expect(page.get_by_text("Answering")).to_have_count(0)
    assert title
    await expect(_row(page, title)).to_be_visible()


async def test_list_is_used_by_keyboard_alone(person: Person, open_window: OpenWindow) -> None:
    """Tab comes to it once, arrow keys go through it, Enter opens, Escape takes back."""
    async with person.client() as client:
        await _threads(client, "c", "b", "a")
    page = await _open(person, open_window)
    await expect(_titles(page)).to_have_count(3)

    await page.get_by_role("searchbox").focus()
    await page.keyboard.press("Tab")
    await expect(_titles(page).nth(0)).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Actions for “b”")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    await page.keyboard.press("End")
    await expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Actions for “b”")).to_be_focused()

    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("F2")
    await page.keyboard.type("not this")
    await page.keyboard.press("Escape")
    await expect(_row(page, "b")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{person.address}/t/b")
    await expect(_titles(page).nth(1)).to_have_attribute("aria-current", "page")


async def test_list_that_cannot_be_renewed_stays_and_says_so(
    person: Person, open_window: OpenWindow
) -> None:
    """A lost connection takes nothing away; a first visit without one offers to try again."""
    async with person.client() as client:
        await _threads(client, "still here")
    page = await _open(person, open_window)
    await expect(_row(page, "still here")).to_be_visible()

    await page.route("**/api/threads?*", lambda route: route.abort())
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(page.get_by_text("The list may be out of date.")).to_be_visible()
    await expect(_row(page, "still here")).to_be_visible()
    await picture(page, "threads-stale")
    await page.reload()
    await expect(page.get_by_text("The conversations could not be loaded")).to_be_visible()
    await picture(page, "threads-failed")

    await page.unroute("**/api/threads?*")
    await page.get_by_role("button", name="Try again").click()
    await expect(_row(page, "still here")).to_be_visible()


async def test_list_can_be_used_by_all(person: Person, open_window: OpenWindow) -> None:
    """Axe finds nothing serious in either theme, nor in the open menu; a phone has a drawer."""
    async with person.client() as client:
        await _threads(client, "一次很长的对话，标题比侧栏还要宽得多得多得多得多", "short")
        assert httpx.codes.is_success((await client.http.get("/api/threads")).status_code)
    for phone in (False, True):
        page = await _open(person, open_window, dark=phone, phone=phone)
        if phone:
            await page.get_by_role("button", name="Open the list of conversations").click()
        await expect(_row(page, "short")).to_be_visible()
        await page.get_by_role("button", name="Actions for “short”").click()
        await assert_accessible(page)
        await assert_fits(page)
        await picture(page, f"threads-{'phone-dark' if phone else 'light'}")
