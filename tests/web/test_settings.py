"""The settings in a real browser: what is chosen holds, at once and after a reload."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.support.browser import assert_accessible, assert_fits, picture
from tests.support.service import Service

from .conftest import OpenWindow


async def _background(page: Page) -> str:
    return str(await page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor"))


async def test_language_is_the_browsers_at_first_then_the_one_that_was_chosen(
    service: Service, open_window: OpenWindow
) -> None:
    """A first visit speaks the browser's language; a choice takes effect at once and stays."""
    window = await open_window(locale="zh-CN")
    page = await window.open(f"{service.address}/settings")
    await expect(page.get_by_role("heading", name="设置")).to_be_visible()
    assert await page.evaluate("document.documentElement.lang") == "zh-CN"
    await picture(page, "settings-zh")

    await page.get_by_label("English").check()
    await expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    await page.reload()

    await expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    assert await page.evaluate("document.documentElement.lang") == "en"


async def test_theme_follows_the_system_until_one_is_chosen(
    service: Service, open_window: OpenWindow
) -> None:
    """The system's change is followed at once; a choice holds against it, in other tabs too."""
    window = await open_window()
    page = await window.open(f"{service.address}/settings")
    await expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    light = await _background(page)

    await page.emulate_media(color_scheme="dark")
    dark = await _background(page)
    assert dark != light
    other = await window.open(f"{service.address}/settings")
    await page.get_by_label("Light", exact=True).check()

    assert await _background(page) == light
    await other.emulate_media(color_scheme="dark")
    await expect(other.locator("html")).to_have_attribute("data-theme", "light")
    assert await _background(other) == light


async def test_theme_that_was_chosen_is_there_before_the_first_paint(
    service: Service, open_window: OpenWindow
) -> None:
    """A reload shows no flash of the other theme: it is set before the page's own code runs."""
    window = await open_window()
    page = await window.open(f"{service.address}/settings")
    await page.get_by_label("Dark", exact=True).check()
    dark = await _background(page)

    # Without its code the page never gets further than the first paint.
    await page.route("**/assets/*.js", lambda route: route.abort())
    await page.reload(wait_until="load")

    assert await page.locator("html").get_attribute("data-theme") == "dark"
    assert await _background(page) == dark


async def test_settings_tell_who_one_is_and_can_be_used_by_all(
    service: Service, open_window: OpenWindow
) -> None:
    """Axe finds nothing serious in either theme; a phone need not be moved sideways."""
    for dark in (False, True):
        window = await open_window(dark=dark, phone=dark)
        page = await window.open(f"{service.address}/settings")
        await expect(page.get_by_text("Tokens today")).to_be_visible()
        await expect(page.get_by_role("radio").first).to_be_visible()
        await assert_accessible(page)
        await assert_fits(page)
        await picture(page, f"settings-{'phone-dark' if dark else 'light'}")


async def test_model_is_chosen_among_those_that_the_server_offers(
    service: Service, open_window: OpenWindow
) -> None:
    """The choice is kept; one that is gone is said to be, and the server's is used."""
    window = await open_window()
    page = await window.open(f"{service.address}/settings")
    models = page.get_by_role("group", name="Model").get_by_role("radio")
    await expect(models.first).to_be_checked()

    await models.nth(1).check()
    await page.reload()
    await expect(models.nth(1)).to_be_checked()

    await page.evaluate(
        "localStorage.setItem('llmkeep.preferences', JSON.stringify({model: 'openai:gone'}))"
    )
    await page.reload()
    await expect(page.get_by_text("openai:gone is no longer offered")).to_be_visible()
    await expect(models.first).to_be_checked()
