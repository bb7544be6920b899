"""What may be relied on in a stream of AG-UI events, checked for any stream."""

from __future__ import annotations

from collections.abc import Sequence

from ag_ui.core import Event


def kinds(events: Sequence[Event]) -> list[str]:
    """The types of the events, in order."""
    return [event.type.value for event in events]


def assert_well_formed(events: Sequence[Event], *, goes_on: bool = False) -> None:
    """One start, one terminal event, everything opened is closed, calls go in their four steps.

    `goes_on`: calls that an earlier run announced may have their result here.
    """
    names = kinds(events)
    if names == ["RUN_ERROR"]:  # it never began
        return
    assert names[0] == "RUN_STARTED"
    assert names[-1] in ("RUN_FINISHED", "RUN_ERROR")
    assert sum(name.startswith("RUN_") for name in names) == 2
    open_texts: set[str] = set()
    steps: dict[str, str] = {}
    for event, name in zip(events, names, strict=True):
        if name.startswith("TEXT_MESSAGE_"):
            _check_text(getattr(event, "message_id", ""), name, open_texts)
        elif name.startswith("TOOL_CALL_"):
            call = getattr(event, "tool_call_id", "")
            allowed = {
                "TOOL_CALL_START": ("",),
                "TOOL_CALL_ARGS": ("TOOL_CALL_START", "TOOL_CALL_ARGS"),
                "TOOL_CALL_END": ("TOOL_CALL_START", "TOOL_CALL_ARGS"),
                "TOOL_CALL_RESULT": ("TOOL_CALL_END", "" if goes_on else "TOOL_CALL_END"),
            }
            assert steps.get(call, "") in allowed[name], f"{name} of {call} after {steps.get(call)}"
            steps[call] = name
    assert not open_texts
    assert all(step in ("TOOL_CALL_END", "TOOL_CALL_RESULT") for step in steps.values())


def _check_text(message: str, name: str, open_texts: set[str]) -> None:
    if name == "TEXT_MESSAGE_START":
        assert message not in open_texts
        open_texts.add(message)
    else:
        assert message in open_texts, f"{name} of {message}, which is not open"
        if name == "TEXT_MESSAGE_END":
            open_texts.remove(message)
