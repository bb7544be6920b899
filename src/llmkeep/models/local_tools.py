r"""Tools as a local model meets them: which fit a message, and what schema binds the model to them.

Small models choose badly and write arguments well when they are shown how. So a tool may say more
about itself than its JSON schema does, for this model alone, in its `extras`:

    @tool(extras={"llmkeep": {
        "patterns": [r"(?P<expression>\d+( *[-+*/] *\d+)+)"],
        "examples": [{"message": "What is 3 times 4?", "arguments": {"expression": "3 * 4"}}],
        "arguments": {"expression": {"pattern": "^[0-9+*/ -]+$"}},
    }})

`patterns` are regular expressions that the user's message is searched for, the most decisive first,
ignoring case. Where one is found the tool is called, where none is it is not; named groups are
arguments, and the model is asked for those that are missing. `examples` are shown to the model.
`arguments` narrows the schema of single arguments. All of it is optional, and nothing here knows
any tool by name. A tool without patterns is offered to the model where a message shares a word with
its name or description, and its arguments are taken from the message.

Plain functions of values: when the model is asked is decided in `local_turns`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from .local_engine import LocalModelError
from .local_schemas import closed, copied, narrowed

#: The key in a tool's `extras`, and in a bound tool beside `function`.
HINTS: Final = "llmkeep"
#: Characters of a message that patterns are searched in.
_SEARCHED: Final = 2000
#: Calls that patterns may find in one message.
_MOST_CALLS: Final = 8
#: Examples of a tool that are shown where it is one of several.
_SHOWN: Final = 4
_UNDECIDED: Final = object()


@dataclass(frozen=True)
class Example:
    """What a user might say, and the arguments that are right then."""

    message: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Tool:
    """One tool; lives as long as the call that it was bound to."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """The JSON schema of its arguments, narrowed as the tool asks for."""
    patterns: tuple[re.Pattern[str], ...]
    examples: tuple[Example, ...]

    @property
    def properties(self) -> Mapping[str, Any]:
        """The schema of each argument."""
        return self.parameters.get("properties") or {}

    @property
    def shown(self) -> list[Example]:
        """Its examples, or those of its schema: values of each argument, behind what it does."""
        values = {
            name: each["examples"] for name, each in self.properties.items() if "examples" in each
        }
        if self.examples or not values.keys() >= self.required:
            return list(self.examples)
        rows = (dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=False))
        return [Example(f"{self.task}: {', '.join(map(str, row.values()))}", row) for row in rows]

    @property
    def copies(self) -> bool:
        """Whether the arguments of its examples, if it has any, stand in their messages."""
        return all(
            str(value) in each.message for each in self.shown for value in each.arguments.values()
        )

    @property
    def asked_for(self) -> list[str]:
        """How a user might ask for it: what it does, as a demand and as a question; examples."""
        task = self.task or self.name
        shown = [each.message for each in self.examples]
        return [task, f"Can you {task[:1].lower()}{task[1:]}?", *shown][:_SHOWN]

    @property
    def task(self) -> str:
        """What it does: the first sentence of its description, without the full stop."""
        return re.split(r"\.(?:\s|$)", self.description, maxsplit=1)[0]

    @property
    def required(self) -> frozenset[str]:
        """The arguments that a call must have."""
        return frozenset(self.parameters.get("required") or ())


@dataclass(frozen=True)
class Call:
    """A call that is to be made, with the arguments that are known already."""

    tool: Tool
    arguments: Mapping[str, Any]
    missing: frozenset[str] = frozenset()
    """Arguments that the model has to write, beside those that every call must have."""
    complete: bool = False
    """Whether there is nothing left to write."""

    def schema(self, message: str | None) -> dict[str, Any]:
        """What binds the model that writes the arguments.

        With a `message` they are taken from it, unless the tool's examples are not.
        """
        parameters = self.tool.parameters
        if message is not None and self.tool.copies:
            parameters = copied(parameters, message)
        return closed(parameters, self.arguments, self.tool.required | self.missing)


def bound_tool(tool: dict[str, Any] | type | Callable[..., Any] | BaseTool) -> dict[str, Any]:
    """What is bound to the model for `tool`: OpenAI's shape, and what the tool says beside it.

    Raises LocalModelError, one line, where that is wrong.
    """
    bound = convert_to_openai_tool(tool)
    if hints := (getattr(tool, "extras", None) or {}).get(HINTS):
        bound = {**bound, HINTS: hints}
    read_tool(bound)
    return bound


def wire_tool(bound: Mapping[str, Any]) -> dict[str, Any]:
    """What a chat template is given for a bound tool."""
    return {name: value for name, value in bound.items() if name != HINTS}


def read_tool(bound: Mapping[str, Any]) -> Tool:
    """The tool that was bound. Raises LocalModelError, one line, where it cannot be read."""
    function = bound.get("function")
    if not isinstance(function, Mapping) or not function.get("name"):
        raise LocalModelError(f"the local model calls functions only, and no {bound.get('type')!r}")
    name, description = function["name"], " ".join((function.get("description") or "").split())
    hints = bound.get(HINTS) or {}
    parameters = narrowed(function.get("parameters") or {}, hints.get("arguments") or {})
    try:
        patterns = tuple(re.compile(each, re.IGNORECASE) for each in hints.get("patterns") or ())
        examples = tuple(
            Example(each["message"], each["arguments"]) for each in hints.get("examples") or ()
        )
    except (re.error, TypeError, KeyError, AttributeError) as wrong:
        raise LocalModelError(f"tool {name}: extras[{HINTS!r}] cannot be read: {wrong}") from None
    return Tool(
        name=name,
        description=description,
        parameters=parameters,
        patterns=patterns,
        examples=examples,
    )


# --- which tools fit ------------------------------------------------------------------------------


def decided_calls(tools: Iterable[Tool], message: str) -> list[Call]:
    """The calls that the tools' own patterns find in `message`, in its order.

    Of each tool the first pattern that is found counts, as often as it is. Of matches that overlap
    the one that begins first counts, or the longest.
    """
    text = message[:_SEARCHED]
    found = [(match, tool) for tool in tools for match in _matches(tool, text)]
    found.sort(key=lambda each: (each[0].start(), -each[0].end()))
    calls: list[Call] = []
    covered = 0
    for match, tool in found[:_MOST_CALLS]:
        if match.start() >= covered:
            calls.append(_decided(tool, match))
            covered = match.end()
    return calls


def chosen_call(tool: Tool, message: str) -> Call:
    """The call of a tool that was chosen, with what `message` names of its arguments' values."""
    named = _named_arguments(tool, message)
    return Call(tool, named, complete=not tool.properties.keys() - named.keys())


def fitting(tools: Iterable[Tool], message: str) -> list[Tool]:
    """The tools that have a word of their name or description in common with `message`.

    Those with patterns of their own are not among them: those are found, or do not fit.
    """
    said = _words(message)
    return [tool for tool in tools if not tool.patterns and not said.isdisjoint(_vocabulary(tool))]


def _matches(tool: Tool, text: str) -> list[re.Match[str]]:
    for pattern in tool.patterns:
        if matches := list(pattern.finditer(text)):
            return matches
    return []


def _decided(tool: Tool, match: re.Match[str]) -> Call:
    said = {name: text for name, text in match.groupdict().items() if text}
    values = {
        name: _value(text, tool.properties[name])
        for name, text in said.items()
        if name in tool.properties
    }
    known = {name: value for name, value in values.items() if value is not _UNDECIDED}
    known = {**_named_arguments(tool, match.string, but=values.keys()), **known}
    missing = (tool.required | values.keys()) - known.keys()
    return Call(tool, known, missing, complete=not missing)


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    """`text` as a value of `schema`, or `_UNDECIDED`."""
    text = text.strip()
    for each in schema.get("anyOf") or (schema,):
        if "enum" in each:
            if named := _named(each["enum"], text):
                return named[0]
        elif each.get("type") in ("integer", "number"):
            try:
                return int(text) if each["type"] == "integer" else float(text)
            except ValueError:
                continue
        elif each.get("type") == "string" and re.search(each.get("pattern", ""), text):
            return text
    return _UNDECIDED


def _named_arguments(tool: Tool, message: str, but: Collection[str] = ()) -> dict[str, Any]:
    """The arguments that have a list of values of which the message names one."""
    found: dict[str, Any] = {}
    for name, schema in tool.properties.items():
        lists = [each["enum"] for each in schema.get("anyOf") or (schema,) if "enum" in each]
        named = [value for each in lists for value in _named(each, message)]
        if len(named) == 1 and name not in but:
            found[name] = named[0]
    return found


def _named(values: Iterable[Any], text: str) -> list[str]:
    """Those of `values` that `text` names, whole or by what is behind their last slash."""
    said = f" {_spelled(text)} "
    named = [
        value
        for value in values
        if isinstance(value, str)
        and any(f" {_spelled(each)} " in said for each in (value, value.rpartition("/")[2]))
    ]
    return sorted(named, key=lambda value: -len(value.rpartition("/")[2]))


def _spelled(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


# --- what the model is shown ----------------------------------------------------------------------


def as_json(value: Any) -> str:
    """JSON as the model is shown it, and as it writes it."""
    return json.dumps(value, ensure_ascii=False)


def _vocabulary(tool: Tool) -> frozenset[str]:
    return _words(f"{tool.name.replace('_', ' ')} {tool.description}")


def _words(text: str) -> frozenset[str]:
    """The words of `text` that say what it is about, without their endings."""
    words = re.findall(r"[^\W\d_]{3,}", text.casefold())
    return frozenset(_ENDING.sub("", word)[:6] for word in words if word not in _EMPTY_WORDS)


_ENDING: Final = re.compile(r"(?<=\w{3})(?:ing|ed|es|s|e)$")
#: Words that say nothing of what a message, or a tool, is about.
_EMPTY_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "all also and any are ask been being but can could did does each every example for from "
        "get give given good had has have her him his how into its just know let like made make "
        "many may more most much must name need new none not now off one only other our out "
        "please return returns said say see set she should show some such take tell than that "
        "the their them then there these they thing things this those too tool use used user "
        "uses using very want was way were what when where which who why will with would yes "
        "you your ",
    )
)
