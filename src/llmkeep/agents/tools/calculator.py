"""Arithmetic for a model: an expression in, a number out.

Not `eval`: the expression is parsed, and only the nodes named here are computed, each with a bound
on the size of its result, so that no input can take the process's time or memory.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Final

from langchain_core.tools import ToolException

Number = int | float

#: Characters of an expression, and bits of a whole number: 2048 bits are 617 digits.
MAX_LENGTH: Final = 500
MAX_BITS: Final = 2048

#: What people and models write for the operators.
_SPELLINGS: Final = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**"})

_CONSTANTS: Final = {"pi": math.pi, "e": math.e, "tau": math.tau}


def calculate(expression: str) -> str:
    """Compute `expression` and give the number as text.

    Raises ToolException, whose message tells the model what to change.
    """
    if len(expression) > MAX_LENGTH:
        raise ToolException(f"the expression is longer than {MAX_LENGTH} characters")
    try:
        tree = ast.parse(expression.translate(_SPELLINGS).strip(), mode="eval")
        return _written(_value(tree.body))
    except SyntaxError:
        reason = "it cannot be read"
    except ValueError as error:
        reason = str(error)
    except ZeroDivisionError:
        reason = "division by zero"
    except OverflowError:
        reason = "a number is too large"
    except (RecursionError, MemoryError):  # the parser raises both
        reason = "it is nested too deep"
    raise ToolException(f"cannot compute {expression!r:.100}: {reason}")


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=bool()):
            raise ValueError("only numbers can be computed")
        case ast.Constant(value=int() | float() as number):
            return _bounded(number)
        case ast.Name(id=name) if name.lower() in _CONSTANTS:
            return _CONSTANTS[name.lower()]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _bounded(_OPERATORS[type(op)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _call(name, arguments)
        case ast.Tuple():
            raise ValueError("write 1000, not 1,000: a comma parts the arguments of a function")
        case ast.Name(id=name):
            raise ValueError(f"{name} is not known: there are {', '.join(_CONSTANTS)}")
    raise ValueError(f"only numbers, + - * / // % ** and {', '.join(_FUNCTIONS)} can be computed")


def _call(name: str, arguments: list[ast.expr]) -> Number:
    function = _FUNCTIONS.get(name.lower())
    if function is None:
        raise ValueError(f"there is no function {name}: there are {', '.join(_FUNCTIONS)}")
    try:
        return _bounded(function(*map(_value, arguments)))
    except TypeError:
        raise ValueError(f"{name} does not take these {len(arguments)} arguments") from None


def _bounded(number: object) -> Number:
    if isinstance(number, int):
        if number.bit_length() > MAX_BITS:
            raise OverflowError
        return number
    if not isinstance(number, float):  # a root of a negative number is complex
        raise ValueError("the result is not a real number")  # noqa: TRY004 - told to the model
    if not math.isfinite(number):
        raise OverflowError
    return number


def _power(base: Number, exponent: Number) -> object:
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and abs(base) > 1 and exponent * math.log2(abs(base)) > MAX_BITS:
        raise OverflowError
    return base**exponent


def _factorial(number: Number) -> int:
    if number > MAX_BITS:
        raise OverflowError
    if not isinstance(number, int):
        raise ValueError("only a whole number has a factorial")  # noqa: TRY004 - told to the model
    return math.factorial(number)


def _round(number: Number, digits: Number = 0) -> Number:
    if not isinstance(digits, int) or abs(digits) > MAX_LENGTH:
        raise ValueError("round takes a whole number of digits")
    return round(number, digits) if digits else round(number)


_OPERATORS: Final[dict[type[ast.operator], Callable[[Number, Number], object]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}

_FUNCTIONS: Final[dict[str, Callable[..., object]]] = {
    "abs": abs,
    "round": _round,
    "min": min,
    "max": max,
    "sum": lambda *numbers: sum(numbers),
    "sqrt": math.sqrt,
    "cbrt": math.cbrt,
    "exp": math.exp,
    "log": math.log,
    "ln": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "floor": math.floor,
    "ceil": math.ceil,
    "factorial": _factorial,
    "gcd": math.gcd,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "degrees": math.degrees,
    "radians": math.radians,
}


def _written(number: Number) -> str:
    """Fifteen significant digits: what a float truly holds, so that 0.1 + 0.2 is 0.3."""
    return str(number) if isinstance(number, int) else f"{number:.15g}"
