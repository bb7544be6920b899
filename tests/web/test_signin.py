"""Signing in, in a real browser over a service that asks for tokens."""

from __future__ import annotations

from playwright.async_api import Page, Route, expect

from tests.support.browser import assert_accessible, assert_fits, picture

from .conftest import OpenWindow, Person


async def _sign_in(page: Page, token: str, *, remember: bool = False) -> None:
    await page.get_by_label("Access token").fill(token)
    if remember:
        await page.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Sign in").click()


async def test_form_takes_a_right_token_and_says_what_is_wrong_with_another(
    person: Person, open_window: OpenWindow
) -> None:
    """Nothing of the page is shown before; a reload asks for nothing again."""
    window = await open_window()
    page = await window.open(f"{person.address}/settings")
    await expect(page.get_by_label("Access token")).to_be_focused()
    await expect(page.get_by_role("navigation")).to_have_count(0)

    await _sign_in(page, "wrong")
    await expect(page.get_by_text("The server does not accept this token.")).to_be_visible()
    await picture(page, "signin-refused")
    await _sign_in(page, f"Bearer {person.token}")

    await expect(page.get_by_text(person.name)).to_be_visible()
    await page.reload()
    await expect(page.get_by_text(person.name)).to_be_visible()


async def test_token_is_kept_for_the_tab_unless_it_is_to_be_remembered(
    person: Person, open_window: OpenWindow
) -> None:
    """A new tab asks again, unless the box was ticked; signing out forgets it everywhere."""
    window = await open_window()
    page = await window.open(f"{person.address}/settings")
    await _sign_in(page, person.token)
    await expect(page.get_by_text(person.name)).to_be_visible()
    other = await window.open(f"{person.address}/settings")
    await expect(other.get_by_label("Access token")).to_be_visible()

    await _sign_in(other, person.token, remember=True)
    await expect(other.get_by_text(person.name)).to_be_visible()
    third = await window.open(f"{person.address}/settings")
    await expect(third.get_by_text(person.name)).to_be_visible()

    await third.get_by_role("button", name="Sign out").click()
    await expect(third.get_by_label("Access token")).to_be_visible()
    await expect(other.get_by_label("Access token")).to_be_visible()
    assert await third.evaluate("localStorage.getItem('llmkeep.token')") is None


async def test_session_that_ends_is_renewed_over_the_page_as_it_was(
    person: Person, open_window: OpenWindow
) -> None:
    """A 401 at any time asks to sign in; what was being written is still there."""
    window = await open_window(token=person.token)
    page = await window.open(f"{person.address}/")
    composer = page.get_by_role("textbox", name="Write a message")
    await composer.fill("half a thought")

    async def refuse(route: Route) -> None:
        await route.fulfill(status=401, json={"status": 401, "code": "unauthorized", "detail": "-"})

    await page.route("**/api/threads?*", refuse)
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Your session has ended.")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_visible()
    await assert_accessible(page)
    await picture(page, "signin-again")

    await page.unroute("**/api/threads?*")
    await _sign_in(page, person.token)

    await expect(dialog).to_have_count(0)
    await expect(composer).to_have_value("half a thought")


async def test_two_people_see_only_what_is_theirs(
    person: Person, somebody_else: Person, open_window: OpenWindow
) -> None:
    """Another's conversation is in nobody's list; whoever signs in next sees none of it."""
    async with person.client() as client:
        await client.json("POST", "/api/threads", json={"title": "my secret plan"})
    window = await open_window()
    page = await window.open(f"{person.address}/settings")
    await _sign_in(page, person.token)
    await expect(page.get_by_role("link", name="my secret plan")).to_be_visible()

    await page.get_by_role("button", name="Sign out").click()
    await _sign_in(page, somebody_else.token)

    await expect(page.get_by_text("No conversations yet")).to_be_visible()
    await expect(page.get_by_text("my secret plan")).to_have_count(0)


async def test_form_can_be_used_by_all(person: Person, open_window: OpenWindow) -> None:
    """Axe finds nothing serious in either theme; in Chinese, and on a phone too."""
    for dark in (False, True):
        window = await open_window(dark=dark, phone=dark, locale="zh-CN" if dark else "en-US")
        page = await window.open(person.address)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await assert_accessible(page)
        await assert_fits(page)
        await picture(page, f"signin-{'phone-dark-zh' if dark else 'light'}")
