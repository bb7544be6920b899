"""`llmkeep doctor`: what works here, and what to do about the rest.

Looks and asks, and changes nothing. Keys are only looked for: none is shown, and none is tried.
"""

from __future__ import annotations

import json
import platform
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

import llmkeep
from llmkeep.core.errors import LLMKeepError

from .faults import one_line
from .text import cleaned

#: Seconds after which a check that has not come to its end is given up.
PATIENCE: Final = 15.0

OK: Final = "ok"
OFF: Final = "off"
WRONG: Final = "wrong"

_SIGNS: Final = {OK: ("✓", "green"), OFF: ("-", "dim"), WRONG: ("✗", "red")}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one thing."""

    group: str
    name: str
    state: str
    """`ok`: it works; `off`: it is not there, and need not be; `wrong`: it is there, and fails."""
    detail: str
    remedy: str = ""
    """What to do about it."""


Check = Callable[[], Iterable[Finding]]


def diagnose(data_folder: Path | None, *, as_json: bool) -> int:
    """Tell what works; the exit status is 0 if one can chat."""
    try:
        from . import checks
    except LLMKeepError as error:  # a setting is wrong: nothing can be made with it
        return _tell([Finding("settings", "environment", WRONG, one_line(error))], as_json=as_json)
    found = _in_parallel(checks.all_checks(data_folder))
    return _tell(found, as_json=as_json)


def _tell(found: Sequence[Finding], *, as_json: bool) -> int:
    can_chat = any(each.group == "chat" and each.state == OK for each in found)
    if as_json:
        about: dict[str, Any] = {
            "llmkeep": llmkeep.__version__,
            "python": platform.python_version(),
            "can_chat": can_chat,
            "findings": [asdict(each) for each in found],
        }
        print(json.dumps(about, indent=2))
    else:
        _print(found)
    return 0 if can_chat else 1


def _print(found: Sequence[Finding]) -> None:
    console = Console(highlight=False, markup=False)
    console.print(f"llmkeep {llmkeep.__version__}, Python {platform.python_version()}")
    group = ""
    for each in found:
        if each.group != group:
            group = each.group
            console.print(Text(f"\n{group}", style="bold"))
        sign, style = _SIGNS[each.state]
        line = Text.assemble((sign, style), f" {each.name:<16} ", cleaned(each.detail))
        console.print(line, soft_wrap=True)
        if each.remedy:
            console.print(Text(f"{'':19}{cleaned(each.remedy)}", style="bold"), soft_wrap=True)


def _in_parallel(checks: Sequence[tuple[str, Check]]) -> list[Finding]:
    """What the checks found, in their order; each has a thread, since it may wait for something."""
    results: dict[int, list[Finding]] = {}

    def look(at: int, group: str, check: Check) -> None:
        try:
            results[at] = list(check())
        except Exception as error:
            results[at] = [Finding(group, "", WRONG, one_line(error))]

    threads = [
        # Daemons: the program's end does not wait for one that hangs.
        threading.Thread(target=look, args=(at, group, check), name=f"doctor {at}", daemon=True)
        for at, (group, check) in enumerate(checks)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    hanging = [Finding(group, "", WRONG, "it does not come to an end") for group, _ in checks]
    return [each for at, late in enumerate(hanging) for each in results.get(at, [late])]
