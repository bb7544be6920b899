"""How well the model in the box calls tools: 60 prompts, each the only message of a conversation.

All built-in tools are bound, as an agent binds them. Counted are the right tool and no other, and
arguments that come to the right result; plain talk is right where no tool fits. The prompts are by
the author of the rules and of the tools' hints, but they were written before anything was tuned and
nothing was tuned on them: `local_tuning_prompts.json` has those that were used for that.

    python -m benchmarks local                       both ways, with the held-out prompts
    python -m benchmarks.local_evaluation --tuning   the other prompts, and each that went wrong
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from langchain_core.tools import BaseTool, ToolException

from llmkeep.agents.tools import builtin_tools
from llmkeep.agents.tools.calculator import calculate
from llmkeep.models.local import ChatLocal

from .harness import Report, Table

HERE: Final = Path(__file__).resolve().parent
HELD_OUT: Final = "local_prompts.json"
TUNED_ON: Final = "local_tuning_prompts.json"
_GROUPS: Final[Mapping[str | None, str]] = {
    "calculator": "calculator",
    "current_time": "current_time",
    "add_note": "notes",
    "search_notes": "notes",
    "delete_note": "notes",
    None: "no tool fits",
}

Prompt = Mapping[str, Any]


@dataclass
class Score:
    """What came of some prompts; by group, and of "all"."""

    asked: Counter[str] = field(default_factory=Counter)
    right_tool: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    """With the right arguments as well."""
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def count(self, prompt: Prompt, calls: Sequence[Mapping[str, Any]]) -> None:
        """Add what the model did with one prompt."""
        tool = prompt["tool"]
        right_tool = [call["name"] for call in calls] == ([tool] if tool else [])
        right = right_tool and (tool is None or _is_right(prompt, calls[0]["args"]))
        for group in (_GROUPS[tool], "all"):
            self.asked[group] += 1
            self.right_tool[group] += right_tool
            self.right[group] += right
        if not right:
            made = [f"{call['name']}({call['args']})" for call in calls]
            self.wrong.append(f"{prompt['prompt']} -> {', '.join(made) or 'no call'}")


def measure(quick: bool) -> Report:
    """Ask the held-out prompts, or every third one; with the tools' hints, and without."""
    helped, alone = _scores(HELD_OUT, 3 if quick else 1)
    rows = [
        [group, *(str(count[group]) for count in (helped.asked, helped.right_tool, helped.right))]
        + [str(count[group]) for count in (alone.right_tool, alone.right)]
        for group in helped.asked
        if group != "all"
    ]
    total = helped.asked["all"]
    return Report(
        title="What the model in the box makes of tools",
        text=(
            f"SmolLM2-135M-Instruct, {total} held-out prompts, five tools."
            f" With the patterns and examples that the tools declare for it {helped.right['all']}"
            f" are right ({helped.right_tool['all']} as to the tool), by the tools' names,"
            f" descriptions and schemas alone {alone.right['all']} ({alone.right_tool['all']})."
            f" A prompt took {median(helped.seconds):.2f} s and {median(alone.seconds):.2f} s."
        ),
        tables=[
            Table(
                ("prompts for", "asked", "right tool", "and arguments", "alone", "and arguments"),
                rows,
            )
        ],
        data={
            name: {
                "asked": total,
                "right tool": score.right_tool["all"],
                "right": score.right["all"],
                "wrong": score.wrong,
            }
            for name, score in (("with hints", helped), ("alone", alone))
        },
    )


def _scores(file: str, step: int) -> tuple[Score, Score]:
    prompts = json.loads((HERE / file).read_text(encoding="utf-8"))["prompts"][::step]
    tools = builtin_tools(("calculator", "current_time", "notes"), database=True)
    bare = [tool.model_copy(update={"extras": None}) for tool in tools]
    # Of plain talk only that there is no call counts, so it need not be long.
    model = ChatLocal(model="smollm2", max_tokens=120)
    model.load()
    try:
        return _score(model, tools, prompts), _score(model, bare, prompts)
    finally:
        model.close()


def _score(model: ChatLocal, tools: Sequence[BaseTool], prompts: Sequence[Prompt]) -> Score:
    score = Score()
    bound = model.bind_tools(tools)
    for prompt in prompts:
        begin = time.perf_counter()
        answer = bound.invoke(prompt["prompt"])
        score.seconds.append(time.perf_counter() - begin)
        score.count(prompt, answer.tool_calls)
    return score


def _is_right(prompt: Prompt, arguments: Mapping[str, Any]) -> bool:
    match prompt:
        case {"value": value}:
            try:
                return math.isclose(float(calculate(arguments["expression"])), value)
            except ToolException:
                return False
        case {"zones": zones}:
            return arguments.get("time_zone") in list(zones)
        case {"number": number}:
            return int(arguments["note"]) == int(number)
        case {"words": words}:
            text = str(arguments.get("text") or arguments.get("query") or "").casefold()
            return all(word in text for word in words)
    raise ValueError(f"nothing says what is right for {prompt['prompt']!r}")


def main() -> None:
    """Print what went wrong, with the tools' hints and without."""
    file = TUNED_ON if "--tuning" in sys.argv[1:] else HELD_OUT
    for name, score in zip(("with hints", "alone"), _scores(file, 1), strict=True):
        print(f"\n{name}: {score.right['all']} of {score.asked['all']} right; not these:")
        print("\n".join(score.wrong))


if __name__ == "__main__":
    main()
