"""The date and the time, in any time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from langchain_core.tools import ToolException


def tell_time(time_zone: str | None = None) -> str:
    """Give the date, the time, the offset from UTC and the day of the week.

    Without `time_zone`, a name such as Europe/Paris, it is the machine's own. Raises ToolException
    for a name that is not known.
    """
    if not time_zone:
        now = datetime.now().astimezone()
        return f"{now.isoformat(timespec='seconds')} ({now:%A}, {now.tzname()})"
    try:
        zone = ZoneInfo(time_zone.strip())
    except (OSError, ValueError, LookupError):
        # LookupError is ZoneInfoNotFoundError's base, the others come of names that are paths.
        raise ToolException(
            f"there is no time zone {time_zone!r:.80}: use a name such as Europe/Paris or UTC"
        ) from None
    now = datetime.now(zone)
    return f"{now.isoformat(timespec='seconds')} ({now:%A}, {zone.key})"
