"""Tool calls that wait for somebody's yes: what is asked, and what the answer is for the agent."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from ag_ui.core import Interrupt, ResumeEntry

from .text import arguments_text

#: The reason of a call that waits for approval.
TOOL_CALL: Final = "tool_call"

Ask = Callable[[str, str], Awaitable[str]]
"""Asks a question with a default; raises EOFError where there is no answer."""

Say = Callable[[str], None]


def answered(interrupt: Interrupt, approved: bool, arguments: Any = None) -> ResumeEntry:
    """The answer to one call, with other arguments where there are some."""
    payload: dict[str, Any] = {"approved": approved}
    if arguments is not None:
        payload["args"] = arguments
    return ResumeEntry(interrupt_id=interrupt.id, status="resolved", payload=payload)


def answer_all(interrupts: Iterable[Interrupt], approved: bool) -> list[ResumeEntry]:
    """The same answer to all calls; what asks for something else is left without an answer."""
    return [
        answered(each, approved)
        if each.reason == TOOL_CALL
        else ResumeEntry(interrupt_id=each.id, status="cancelled")
        for each in interrupts
    ]


async def ask_all(interrupts: Iterable[Interrupt], ask: Ask, say: Say) -> list[ResumeEntry]:
    """Ask for each of them. Raises EOFError if one is left without an answer."""
    return [await _ask_one(each, ask, say) for each in interrupts]


async def _ask_one(interrupt: Interrupt, ask: Ask, say: Say) -> ResumeEntry:
    about = interrupt.metadata or {}
    if interrupt.reason != TOOL_CALL:  # a graph of somebody's own asks for something else
        say(interrupt.message or json.dumps(about.get("value"), default=str))
        return ResumeEntry(interrupt_id=interrupt.id, status="resolved", payload=await ask(">", ""))
    arguments = about.get("args") or {}
    say(f"{about.get('name') or 'tool'}({arguments_text(json.dumps(arguments))})")
    if _has_expired(interrupt):
        say("It has waited too long: that counts as no.")
        return answered(interrupt, approved=False)
    while True:
        match (await ask("Allow it? y/n/edit", "")).strip().lower():
            case "y" | "yes":
                return answered(interrupt, approved=True)
            case "n" | "no":
                return answered(interrupt, approved=False)
            case "e" | "edit":
                edited = await _edited(arguments, ask, say)
                if edited is not None:
                    return answered(interrupt, approved=True, arguments=edited)


def _has_expired(interrupt: Interrupt) -> bool:
    end = interrupt.expires_at
    return end is not None and datetime.fromisoformat(end) <= datetime.now(UTC)


async def _edited(arguments: Any, ask: Ask, say: Say) -> dict[str, Any] | None:
    """Other arguments; None if one thinks better of it."""
    text = json.dumps(arguments, ensure_ascii=False)
    while True:
        try:
            text = await ask("arguments>", text)
        except EOFError:
            return None
        try:
            edited = json.loads(text)
        except ValueError as error:
            say(f"that is no JSON: {error}")
            continue
        if isinstance(edited, dict):
            return edited
        say("arguments are a JSON object: {...}")
