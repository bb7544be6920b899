"""Approvals and stops: a run that waits, or goes on after a yes, can be stopped at every event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from ag_ui.core import Event
from langchain_core.messages import ToolMessage

from tests.agents.events import assert_well_formed, kinds
from tests.support.scripted import Scripted
from tests.support.scripted_site import Site
from tests.support.scripted_talk import Heard, ask, kept


async def _read(stream: AsyncGenerator[Event, None], site: Site | None = None) -> Heard:
    """Read a stream to its end, letting `dig` go on."""
    heard = Heard()
    async with aclosing(stream):
        async for event in stream:
            heard.hear(event)
            if site is not None:
                site.done.set()
    return heard


async def _stop_after(
    stream: AsyncGenerator[Event, None], site: Site, stop: int, *, by_handler: bool
) -> Heard:
    """Read `stop` events, `dig` going on with the one before the last of them, then stop."""
    heard = Heard()
    async with aclosing(stream):
        async for event in stream:
            heard.hear(event)
            if len(heard.events) < stop:
                site.looked.set()
                site.done.set()
            elif not by_handler:
                break
            elif len(heard.events) == stop:
                site.handler.stop("s")
    return heard


async def _in_order(site: Site, interrupt_id: str | None) -> None:
    """No call is unanswered, a late yes does nothing, the conversation goes on."""
    executed = list(site.dug)
    if interrupt_id is not None:
        late = await _read(site.yes(interrupt_id))
        assert kinds(late.events)[-1] == "RUN_ERROR"
    assert (await ask(site.handler, "next")).text == "fine"
    assert site.dug == executed
    answered = [m.tool_call_id for m in await kept(site.handler) if isinstance(m, ToolMessage)]
    assert len(set(answered)) == len(answered)


@pytest.mark.parametrize("by_handler", [True, False])
async def test_a_run_that_goes_on_after_a_yes_can_be_stopped_after_every_event(
    by_handler: bool, wire: str, scripted: Scripted
):
    """The yes is used up, the tool runs once at most, and every call has its answer."""
    site = Site("whole")
    scripted.answers = site.answer_to
    whole = await _read(site.yes(await site.wait_for_approval()), site)
    site.assert_goes_on(whole)
    assert whole.text == "It is done."
    assert site.dug == [3]
    for stop in range(1, len(whole.events)):
        site = Site(f"{by_handler} {stop}")
        scripted.answers = site.answer_to
        interrupt_id = await site.wait_for_approval()
        heard = await _stop_after(site.yes(interrupt_id), site, stop, by_handler=by_handler)
        if by_handler:
            site.assert_goes_on(heard)
        assert len(site.dug) <= 1
        await _in_order(site, interrupt_id)


@pytest.mark.parametrize("by_handler", [True, False])
async def test_a_run_that_is_about_to_wait_can_be_stopped_after_every_event(
    by_handler: bool, wire: str, scripted: Scripted
):
    """Nothing waits after a stop: the call counts as cancelled, its neighbour as it ended."""
    for stop in range(1, 8):  # the last event but one is the neighbour's result
        site = Site(f"{by_handler} {stop}")
        scripted.answers = site.answer_to
        stream = site.handler.stream_response("go", "s")
        heard = await _stop_after(stream, site, stop, by_handler=by_handler)
        if by_handler:
            assert_well_formed(heard.events)
            assert kinds(heard.events)[-1] == "RUN_FINISHED"
        await _in_order(site, None)
        assert site.dug == []


async def test_a_yes_that_is_said_twice_at_once_executes_once(wire: str, scripted: Scripted):
    """Whoever comes second is told that nothing waits."""
    site = Site("twice")
    scripted.answers = site.answer_to
    interrupt_id = await site.wait_for_approval()
    site.done.set()
    both = await asyncio.gather(_read(site.yes(interrupt_id)), _read(site.yes(interrupt_id)))
    assert sorted(kinds(heard.events)[-1] for heard in both) == ["RUN_ERROR", "RUN_FINISHED"]
    assert site.dug == [3]
    assert (await ask(site.handler, "next")).text == "fine"
