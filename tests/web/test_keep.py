"""The live view of the cache in a real browser, over a service that keeps real instances."""

from __future__ import annotations

from collections.abc import Callable

from playwright.async_api import Page, expect

from tests.support.browser import assert_accessible, assert_fits, picture
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Gate, Text
from tests.support.service import Service
from tests.support.service_client import Client, new_id, run_input

from .conftest import OpenWindow, Person


async def _answered(client: Client, provider: Scripted) -> None:
    """Something is asked, so that there is an instance."""
    provider.say(Text("yes"))
    await client.ask(new_id("t"), "Is there an instance?")


async def _open(person: Person, open_window: OpenWindow, **options: object) -> Page:
    window = await open_window(token=person.token, **options)
    return await window.open(f"{person.address}/keep")


async def test_keep_is_shown_to_administrators_alone(
    person: Person, open_window: OpenWindow
) -> None:
    """Others are told whom to ask."""
    page = await _open(person, open_window)
    await expect(page.get_by_text("Only administrators can see the keep")).to_be_visible()
    await assert_accessible(page)
    await picture(page, "keep-not-for-you")


async def test_keep_shows_instances_and_leases_as_they_come_and_go(
    keeper: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """While an answer is written its model's instance is in use, and afterwards it is not."""
    page = await _open(keeper, open_window)
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    gate = Gate()
    provider.say(Text("one "), gate, Text("two"))

    async with (
        keeper.client() as client,
        client.post(run_input(new_id("t"), "Count")) as stream,
    ):
        await stream.until("TEXT_MESSAGE_CONTENT")
        rows = page.get_by_role("row").filter(has_text="in use")
        await expect(rows).not_to_have_count(0)
        await picture(page, "keep-in-use")
        gate.opened.set()
        await stream.rest()

    await expect(rows).to_have_count(0)
    await expect(page.get_by_role("row").filter(has_text="ready")).not_to_have_count(0)
    await expect(page.get_by_role("row").filter(has_text="tls")).to_have_count(0)
    await page.get_by_label("Also show").check()
    await expect(page.get_by_role("row").filter(has_text="tls")).not_to_have_count(0)
    await picture(page, "keep-all")


async def test_keep_draws_its_last_minutes_and_has_them_as_tables(
    keeper: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """Charts come when there is something to draw, and say the same to who does not see them."""
    async with keeper.client() as client:
        await _answered(client, provider)
        page = await _open(keeper, open_window)
        chart = page.get_by_role("img", name="Leases granted per second: found ready")
        await expect(chart.locator("canvas")).to_be_visible()
        await _answered(client, provider)

    figure = page.get_by_role("figure", name="Instances")
    await figure.get_by_text("Show as a table").click()
    await expect(figure.get_by_role("row")).not_to_have_count(0)
    await expect(page.get_by_role("figure", name="Latency")).to_be_visible()
    await figure.scroll_into_view_if_needed()
    await picture(page, "keep-charts")


async def test_keep_is_cleared_after_a_question(
    keeper: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """Escape means no; yes retires the instances, and says how many."""
    async with keeper.client() as client:
        await _answered(client, provider)
    page = await _open(keeper, open_window)
    model = page.get_by_role("row").filter(has_text="process")
    await expect(model).not_to_have_count(0)

    await page.get_by_role("button", name="Clear the keep").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await assert_accessible(page)
    await picture(page, "keep-clear")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(model).not_to_have_count(0)

    await page.get_by_role("button", name="Clear the keep").click()
    await page.get_by_role("button", name="Clear", exact=True).click()
    await expect(page.get_by_text("retired.")).to_be_visible()
    await expect(page.get_by_text("The keep is empty")).to_be_visible()
    await picture(page, "keep-empty")


async def test_keep_goes_on_when_the_server_is_back(
    start_service: Callable[..., Service], open_window: OpenWindow
) -> None:
    """A killed server is not taken for a quiet one: what was seen stays, and is said to be old."""
    service = start_service()
    window = await open_window()
    page = await window.open(f"{service.address}/keep")
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()

    service.kill()
    await expect(page.get_by_text("Disconnected")).to_be_visible()
    await picture(page, "keep-disconnected")
    service.start()

    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await expect(page.get_by_text("Disconnected")).to_have_count(0)


async def test_keep_can_be_used_by_all(
    keeper: Person, provider: Scripted, open_window: OpenWindow
) -> None:
    """Axe finds nothing serious in either theme; in Chinese, and on a phone too."""
    async with keeper.client() as client:
        await _answered(client, provider)
    for phone in (False, True):
        locale = "zh-CN" if phone else "en-US"
        page = await _open(keeper, open_window, dark=phone, phone=phone, locale=locale)
        await expect(page.locator("canvas").first).to_be_visible()
        await page.locator("details summary").first.click()
        await assert_accessible(page)
        await assert_fits(page)
        await picture(page, f"keep-{'phone-dark-zh' if phone else 'light'}")
