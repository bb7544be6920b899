"""The built-in tools: right on good input, a sentence for the model on bad, and never dangerous."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from langchain_core.tools import ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool

from llmkeep.agents.tools import BUILTIN_TOOLS, builtin_tools
from llmkeep.agents.tools.calculator import MAX_LENGTH, calculate
from llmkeep.agents.tools.clock import tell_time
from llmkeep.settings import SettingsError


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("12 * (3 + 4) ** 2", "588"),
        ("2^10", "1024"),
        ("0.1 + 0.2", "0.3"),
        ("7 / 2", "3.5"),
        ("7 // 2 + 7 % 2", "4"),
        ("-2 ** 2", "-4"),
        ("2 × 3 − 4 ÷ 2", "4"),
        ("sqrt(2)", "1.4142135623731"),
        ("Round(10 / 3, 2)", "3.33"),
        ("round(2.5)", "2"),
        ("max(1, 2, 3) - min(1, 2, 3)", "2"),
        ("factorial(20)", "2432902008176640000"),
        ("2 ** 0.5 * PI", "4.44288293815837"),
        ("10 ** 30", "1" + "0" * 30),
        ("1_000 + 0x10", "1016"),
    ],
)
def test_calculator_computes(expression: str, result: str):
    assert calculate(expression) == result


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("1 / 0", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("2 +", "cannot be read"),
        ("", "cannot be read"),
        ("1; 2", "cannot be read"),
        ("\0", "cannot be read"),
        ("1,000 + 1", "write 1000, not 1,000"),
        ("(-8) ** (1/3)", "not a real number"),
        ("sqrt(-1)", "math domain error"),
        ("x + 1", "x is not known"),
        ("min()", "does not take these 0 arguments"),
        ("round(1, 2.5)", "whole number of digits"),
        ("factorial(2.5)", "whole number has a factorial"),
        ("True + 1", "only numbers"),
        ("'a' * 9", "only numbers"),
        ("1j ** 2", "only numbers"),
        ("(1).__class__", "only numbers"),
        ("[n for n in (1, 2)]", "only numbers"),
        ("__import__('os').system('true')", "only numbers"),
        ("open('/etc/passwd')", "no function open"),
        ("sqrt(x=1)", "only numbers"),
        ("1 if 1 else 2", "only numbers"),
        ("1 < 2", "only numbers"),
    ],
)
def test_calculator_says_what_is_wrong(expression: str, reason: str):
    with pytest.raises(ToolException, match=re.escape(reason)):
        calculate(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "9 ** 9 ** 9",
        "9 ** 9 ** 9 ** 9",
        "2 ** 2049",
        "(2 ** 2000) * (2 ** 2000)",
        "factorial(1e9)",
        "factorial(3000)",
        "exp(1000)",
        "1e400",
        "1e308 * 10",
        "2.0 ** 9999",
        "(-9) ** 9999",
    ],
)
def test_calculator_bounds_what_a_number_may_take(expression: str):
    with pytest.raises(ToolException, match="too large"):
        calculate(expression)


def test_calculator_bounds_the_expression_itself():
    with pytest.raises(ToolException, match="longer than"):
        calculate("1" * (MAX_LENGTH + 1))
    with pytest.raises(ToolException, match="cannot compute"):
        calculate("(" * MAX_LENGTH)
    assert calculate("-" * (MAX_LENGTH - 1) + "1") == "-1"


def test_current_time_knows_its_zone():
    told = tell_time("Asia/Kolkata")
    stamp, day, zone = re.fullmatch(r"(\S+) \((\w+), (\S+)\)", told).groups()  # type: ignore[union-attr]
    moment = datetime.fromisoformat(stamp)
    assert moment.utcoffset() == timedelta(hours=5, minutes=30)
    assert day == f"{moment:%A}"
    assert zone == "Asia/Kolkata"
    assert datetime.fromisoformat(tell_time().split()[0]).utcoffset() is not None


@pytest.mark.parametrize("zone", ["Mars", "../../etc/passwd", "/etc/passwd", "a\0b", "Europe"])
def test_current_time_refuses_what_is_no_zone(zone: str):
    with pytest.raises(ToolException, match="there is no time zone"):
        tell_time(zone)


def test_tools_are_described_and_typed():
    """As a model is told, with an example for each argument."""
    shapes: Any = {
        each["name"]: each["parameters"]
        for each in (convert_to_openai_tool(tool)["function"] for tool in BUILTIN_TOOLS)
    }
    assert list(shapes) == ["calculator", "current_time"]
    assert shapes["calculator"]["required"] == ["expression"]
    assert not shapes["current_time"].get("required")
    for shape in shapes.values():
        assert all(each["description"] for each in shape["properties"].values())
        assert all(each["examples"] for each in shape["properties"].values())


def test_tools_work_blocking_and_on_a_loop():
    calculator, current_time = BUILTIN_TOOLS
    assert calculator.invoke({"expression": "6 * 7"}) == "42"
    assert asyncio.run(calculator.ainvoke({"expression": "6 * 7"})) == "42"
    assert "UTC" in asyncio.run(current_time.ainvoke({"time_zone": "UTC"}))


def test_fewer_tools_are_the_same_objects():
    assert builtin_tools(["current_time", "current_time"], database=True) == BUILTIN_TOOLS[1:]
    assert builtin_tools([], database=True) == ()
    with pytest.raises(SettingsError, match=r"^AGENTS__BUILTIN_TOOLS: .*'abacus'"):
        builtin_tools(["abacus"], database=True)
