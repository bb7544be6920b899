"""Tool calls that wait for somebody's yes: what is asked, and what the answer is for the agent."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ag_ui.core import Interrupt, ResumeEntry

from .text import arguments_text, cleaned

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
    """The same answer to all of them."""
    return [answered(each, approved) for each in interrupts]


async def ask_all(interrupts: Iterable[Interrupt], ask: Ask, say: Say) -> list[ResumeEntry]:
    """Ask for each of them. Raises EOFError if one is left without an answer."""
    return [await _ask_one(each, ask, say) for each in interrupts]


async def _ask_one(interrupt: Interrupt, ask: Ask, say: Say) -> ResumeEntry:
    about = interrupt.metadata or {}
    arguments = about.get("args") or {}
    name = cleaned(str(about.get("name") or interrupt.message or "a tool"))
    say(f"{name}({arguments_text(json.dumps(arguments))})")
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
