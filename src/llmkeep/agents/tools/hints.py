"""What our tools say of themselves to a small model in this process, beside their schemas.

`llmkeep.models.local_tools` tells what the parts are: patterns that decide a call, examples that
are shown, and narrower schemas. Other models are not told of it: it is in the tools' `extras`.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from typing import Any, Final

_NUMBER: Final = r"\d+(?:\.\d+)?"
_COUNT: Final = (
    rf"(?:{_NUMBER}|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty"
    r"|thirty|fifty|hundred|thousand|million)\b)"
)
_CALCULATOR: Final = {
    "patterns": [
        # 12 * (3 + 4), but no date
        (
            rf"(?!\b\d+([-/.])\d+\1\d)(?P<expression>[-(]*{_NUMBER}\)*"
            rf"(?:\s*(?:\*\*|//|[-+*/^%×÷])\s*[-(]*{_NUMBER}\)*)+)"
        ),
        (
            rf"{_COUNT}\s*(?:plus|minus|times|x|over|multiplied|divided|modulo|mod"
            rf"|squared|cubed|to the"
            rf" power|to the \w+ power|percent|per cent|%)(?:\W|$)"
        ),
        rf"\b(?:square|cube|cubic) root\b.*{_COUNT}",
        rf"\b(?:sum|total|product|difference|average|mean|remainder|quotient|half|twice)\b.*{_COUNT}",
        rf"\b(?:add|subtract|multiply|divide|calculate|compute|work out)\s+.*{_COUNT}.*{_COUNT}",
        (
            rf"{_COUNT}.*{_COUNT}.*\b(?:how (?:much|many)|what)\b.*\?|"
            rf"\bhow (?:much|many)\b.*{_COUNT}"
        ),
        rf"{_COUNT}.*\b(?:how (?:much|many)|in total|altogether|average)\b",
    ],
    "examples": [
        {"message": message, "arguments": {"expression": expression}}
        for message, expression in (
            ("What is 3 times 14?", "3 * 14"),
            ("How much is 20 plus 5?", "20 + 5"),
            ("What is 30% of 90?", "90 * 30 / 100"),
            ("What is the square root of 2?", "sqrt(2)"),
            ("Divide 10 by 4.", "10 / 4"),
            ("2 cups cost 3.50 each. What do I pay?", "2 * 3.50"),
            ("What is 5 squared?", "5 ** 2"),
            ("Take 8 from 20.", "20 - 8"),
            ("Add 1, 2 and 3.", "1 + 2 + 3"),
            ("How many days are in 6 weeks?", "6 * 7"),
            ("What is three to the power of 4?", "3 ** 4"),
            ("17 modulo 3", "17 % 3"),
            ("Multiply 18 by 11.", "18 * 11"),
            ("A car needs 50 litres for 5 trips. How much is that for each trip?", "50 / 5"),
        )
    ],
    "arguments": {"expression": {"pattern": "^[0-9a-z+*/%()., -]+$"}},
}

_ZONES: Final = sorted(
    zone
    for zone in zoneinfo.available_timezones()
    if zone == "UTC"
    or zone.partition("/")[0]
    in {"Africa", "America", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"}
)
_ASKS: Final = (
    r"(?:^|\b(?:what|what's|which|how|tell|give|show|know|current|local|is it)\b)[^.!?]*?"
)
_PLACE: Final = r"(?P<time_zone>[A-Za-z][\w/ +-]*)"
_TIME: Final = {
    "patterns": [
        (
            rf"{_ASKS}\b(?:time|date|day)(?:\s+(?:is|it|now|right|today|do|they|have|we|currently))*"
            rf"\s+(?:in|at|for)\s+(?:the\s+)?{_PLACE}"
        ),
        (
            rf"\bis it\b[^.!?]*?\b(?:morning|noon|afternoon|evening|night|late|early"
            rf"|dark)\b[^.!?]*?"
            rf"\s+in\s+{_PLACE}"
        ),
        r"\b(?:time|date)\s+(?P<time_zone>UTC|GMT)\b",
        r"\b(?P<time_zone>UTC|GMT)\s+(?:time|date)\b",
        (
            r"\b(?:what|what's|which)\b[^.!?]*?\b(?:time|date|day|month|year|weekday)\b"
            r"(?:\s+of the \w+)?\s*(?:is it|it is|is today|today|now|do we have|have we|$|[?.!])"
        ),
        r"\b(?:today'?s date|current (?:date|time)|local time|time now|the time,? please)\b",
        r"\bhow late is it\b",
    ],
    "examples": [
        {"message": message, "arguments": arguments}
        for message, arguments in (
            ("What time is it?", {}),
            ("What time is it in Vienna?", {"time_zone": "Europe/Vienna"}),
            ("Which day is today?", {}),
            ("What time is it in Miami?", {"time_zone": "America/New_York"}),
            ("Give me the time in Osaka.", {"time_zone": "Asia/Tokyo"}),
            ("What is the date?", {}),
            ("Is it night in Nigeria?", {"time_zone": "Africa/Lagos"}),
            ("What time is it in Germany?", {"time_zone": "Europe/Berlin"}),
        )
    ],
    "arguments": {"time_zone": {"anyOf": [{"enum": _ZONES}, {"type": "null"}]}},
}

_PLEASE: Final = r"^\W*(?:(?:please|can you|could you|would you|hey|ok|okay)\W+)*"
_ADD_NOTE: Final = {
    "patterns": [
        (
            rf"{_PLEASE}(?:(?:add|make|take|write|save|keep|create)\s+(?:me\s+)?(?:down\s+)?(?:an?\s+)?"
            r"(?:new\s+)?note|note(?:\s+down)?|write\s+down|jot\s+down|remember(?!\s+(?:when|how|me|the"
            r" time)\b))\b\s*(?:that\b|to\b|of\b|saying\b)?\s*[:,-]?\s*(?P<text>\S.*?)\s*$"
        ),
    ],
    "examples": [
        {"message": "Add a note: feed the cat.", "arguments": {"text": "feed the cat"}},
        {
            "message": "Remember that the door code is 99.",
            "arguments": {"text": "the door code is 99"},
        },
    ],
}
_ABOUT: Final = r"\s+(?:(?:for|about|on|of|with|the|a|an|any|my)\s+)*(?P<query>[^?.!]*[^?.!\s])"
_SEARCH_NOTES: Final = {
    "patterns": [
        (
            rf"\b(?:search|find|look up|look for|look in|show|list|check)\b[^.?!]*?\bnotes?\b"
            rf"(?:\s+(?:that|which|mention|mentioning|containing))*{_ABOUT}"
        ),
        rf"\bmy notes?\b[^.?!]*?\b(?:about|on|for|mention)\b{_ABOUT}",
        (
            rf"\b(?:which|what|any)\s+(?:of my\s+)?notes?\b[^.?!]*?\b(?:mention|about"
            rf"|on|contain|say)\w*"
            rf"{_ABOUT}"
        ),
        rf"\bdid I (?:write|note|save)(?:\s+down)?(?:\s+(?:about|on))?\b{_ABOUT}",
        r"\b(?:show|list|read|what are)\b[^.?!]*?\bmy notes\b",
    ],
    "examples": [
        {"message": "Search my notes for passwords.", "arguments": {"query": "passwords"}},
        {"message": "What did I note about Anna?", "arguments": {"query": "Anna"}},
    ],
}
_DELETE_NOTE: Final = {
    "patterns": [
        r"\b(?:delete|remove|erase|drop|forget)\b[^.?!]*?\bnotes?\b\D{0,15}(?P<note>\d+)",
    ],
    "examples": [{"message": "Delete note 2.", "arguments": {"note": 2}}],
}

#: By a tool's name, for `extras`.
HINTS: Final[Mapping[str, dict[str, Any]]] = {
    "calculator": {"llmkeep": _CALCULATOR},
    "current_time": {"llmkeep": _TIME},
    "add_note": {"llmkeep": _ADD_NOTE},
    "search_notes": {"llmkeep": _SEARCH_NOTES},
    "delete_note": {"llmkeep": _DELETE_NOTE},
}
