"""The settings tree: names, where values come from, and what a wrong one is answered with."""

from __future__ import annotations

import subprocess
import sys

import pytest

from llmkeep.settings import SettingsError, load


def test_the_environment_is_read_by_the_names_of_the_tree(monkeypatch):
    monkeypatch.setenv("LLM__DEFAULT_PROVIDER", "anthropic")
    monkeypatch.setenv("AGENTS__CONVERSATION_HANDLER_DEFAULT_MODEL", "openai:gpt-5")
    monkeypatch.setenv("AGENTS__CONVERSATION_HANDLER_TEMPERATURE", "0.5")
    settings = load()
    assert settings.llm.default_provider == "anthropic"
    assert settings.agents.conversation_handler_default_model == "openai:gpt-5"
    assert settings.agents.conversation_handler_temperature == 0.5


def test_without_variables_there_are_defaults():
    settings = load()
    assert settings.llm.default_provider == "openai"
    assert settings.agents.conversation_handler_default_model is None
    assert settings.agents.conversation_handler_temperature is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AGENTS__CONVERSATION_HANDLER_TEMPERATURE", "hot"),
        ("AGENTS__CONVERSATION_HANDLER_TEMPERATURE", "3"),
        ("AGENTS__CONVERSATION_HANDLER_DEFAULT_MODEL", " "),
        ("AGENTS__MAX_STEPS", "0"),
        ("LLM__DEFAULT_PROVIDER", ""),
    ],
)
def test_a_wrong_value_is_refused_at_start_by_its_name(monkeypatch, variable: str, value: str):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refused:
        load()
    assert str(refused.value).startswith(f"{variable}: ")
    assert "\n" not in str(refused.value)


def test_the_import_itself_refuses():
    """A program that starts with a wrong value does not get far."""
    ended = subprocess.run(
        [sys.executable, "-c", "import llmkeep.settings"],
        env={"AGENTS__MAX_STEPS": "many"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode != 0
    assert ended.stderr.splitlines()[-1].startswith(
        "llmkeep.settings.SettingsError: AGENTS__MAX_STEPS: "
    )


def test_an_assignment_is_validated_too():
    settings = load()
    with pytest.raises(SettingsError, match=r"^AGENTS__CONVERSATION_HANDLER_TEMPERATURE: "):
        settings.agents.conversation_handler_temperature = 9
    assert settings.agents.conversation_handler_temperature is None
    with pytest.raises(SettingsError, match=r"^AGENTS: "):
        settings.agents = 5  # type: ignore[assignment]
    settings.agents.conversation_handler_temperature = 1
    assert settings.agents.conversation_handler_temperature == 1.0


def test_variables_of_others_are_let_pass(monkeypatch):
    monkeypatch.setenv("LLM", "gpt-4")
    monkeypatch.setenv("AGENTS", "[1]")
    monkeypatch.setenv("LLM__SOMEBODYS", "own")
    assert load() == load()
