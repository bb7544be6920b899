"""What is told of failures: a line that helps, without a secret."""

from __future__ import annotations

import pytest
from langchain_core.tools import ToolException
from langgraph.errors import GraphRecursionError

from llmkeep.agents.faults import MAX_LENGTH, blotted, redacted, told_to_model, told_to_user
from llmkeep.core import LLMKeepError

SECRET = "Zx81Qw77Lp30"


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: sk-{SECRET}. You can find",
        f"Incorrect API key provided: {SECRET}. You can find",
        f"GET https://api.example.com/v1?key={SECRET}&units=c: 401",
        f"cannot connect to postgres://bob:{SECRET}@db/main",
        f"{{'token': '{SECRET}', 'max_tokens': 5}}",
        f"Authorization: Bearer {SECRET}",
        f"headers were Bearer {SECRET}",
        f'{{"access_key": "{SECRET}"}}',
        f"password={SECRET};host=x",
        f"AKIA{SECRET}{SECRET}",
    ],
)
def test_i12_a_credential_in_foreign_text_is_blotted_out(text: str):
    """What an SDK says passes on without what looks like a key."""
    assert SECRET not in redacted(text)
    assert SECRET not in told_to_model(ValueError(text))
    assert SECRET not in told_to_user(ValueError(text))[0]


def test_i12_a_value_of_our_own_environment_is_blotted_out(monkeypatch):
    """The value of a key's variable is never passed on."""
    monkeypatch.setenv("WEATHER_API_KEY", SECRET)
    assert redacted(f"status of {SECRET}: unknown") == "status of ***: unknown"


def test_i12_of_two_secrets_the_longer_is_blotted_out_first(monkeypatch):
    """One that another begins with leaves nothing of that; lines and length stay."""
    monkeypatch.setenv("A_TOKEN", SECRET)
    monkeypatch.setenv("B_TOKEN", f"{SECRET}-and-more")
    long = "x" * 2 * MAX_LENGTH
    assert blotted(f"one {SECRET}-and-more\ntwo {SECRET} {long}") == f"one ***\ntwo *** {long}"


def test_text_without_credentials_stays():
    text = "KeyError: 'foo' in risk-free max_tokens: 5, missing key: name"
    assert redacted(text) == text


def test_text_is_one_line_and_short():
    text = redacted("a\n  b\t" + "c" * 2 * MAX_LENGTH)
    assert text.startswith("a b c")
    assert len(text) == MAX_LENGTH


def test_what_a_tool_means_to_say_is_said_as_it_is():
    assert told_to_model(ToolException("no such city")) == "no such city"
    assert told_to_model(ValueError("no such city")) == "ValueError: no such city"


class Refused(Exception):
    def __init__(self, status_code: int, text: str = "") -> None:
        super().__init__(text)
        self.status_code = status_code


class APIConnectionError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (Refused(401, SECRET), "the provider refused the API key (HTTP 401)", "refused_key"),
        (Refused(404, "no model"), "the provider answered HTTP 404: no model", "http_404"),
        (
            APIConnectionError("x"),
            "the provider cannot be reached (APIConnectionError)",
            "unreachable",
        ),
        (LLMKeepError("set THIS"), "set THIS", "configuration"),
        (ZeroDivisionError("oh"), "ZeroDivisionError: oh", "failed"),
    ],
)
def test_a_failed_run_is_told_in_a_line_with_a_code(error: Exception, message: str, code: str):
    assert told_to_user(error) == (message, code)


def test_too_many_steps_name_the_setting():
    message, code = told_to_user(GraphRecursionError("Recursion limit of 50 reached"))
    assert "AGENTS__MAX_STEPS" in message
    assert code == "max_steps"
