"""The settings tree: names, where values come from, and what a wrong one is answered with."""

from __future__ import annotations

import json
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
        ("AGENTS__TOOLS", '["mine:search"'),
        ("AGENTS__TOOLS", '["mine:search", 3]'),
        ("AGENTS__BUILTIN_TOOLS", "calculator, abacus"),
        ("AGENTS__MCP_SERVERS", "npx"),
        ("AGENTS__MCP_SERVERS", "[1]"),
        ("AGENTS__MCP_SERVERS", '{"files": "npx"}'),
        ("AGENTS__MCP_SERVERS", '{"files": {"args": ["/"]}}'),
        ("AGENTS__TOOL_TIMEOUT", "0"),
        ("AGENTS__TOOL_TIMEOUT", "nan"),
        ("AGENTS__APPROVAL_TIMEOUT", "inf"),
        ("AGENTS__TOOL_THREADS", "0"),
        ("AGENTS__CONTEXT_TOKENS", "0"),
        ("AGENTS__CONTEXT_STRATEGY", "forget"),
    ],
)
def test_a_wrong_value_is_refused_at_start_by_its_name(monkeypatch, variable: str, value: str):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refused:
        load()
    assert str(refused.value).startswith(f"{variable}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("mine.tools:search", ("mine.tools:search",)),
        (" mine.tools:search ,other:lookup, ", ("mine.tools:search", "other:lookup")),
        (' ["mine.tools:search", "other:lookup"]', ("mine.tools:search", "other:lookup")),
        ("", ()),
        ("[]", ()),
    ],
)
def test_a_list_is_written_with_commas_or_as_json(monkeypatch, value: str, names):
    monkeypatch.setenv("AGENTS__TOOLS", value)
    monkeypatch.setenv("AGENTS__APPROVE_TOOLS", value)
    loaded = load().agents
    assert loaded.tools == loaded.approve_tools == names
    assigned = load().agents
    assigned.tools = value  # type: ignore[assignment]
    assert assigned.tools == names


def test_the_built_in_tools_can_be_fewer(monkeypatch):
    assert load().agents.builtin_tools == ("calculator", "current_time", "notes")
    monkeypatch.setenv("AGENTS__BUILTIN_TOOLS", "notes")
    assert load().agents.builtin_tools == ("notes",)
    monkeypatch.setenv("AGENTS__BUILTIN_TOOLS", "")
    assert load().agents.builtin_tools == ()


def test_servers_are_read_as_json(monkeypatch):
    assert load().agents.mcp_servers == {}
    monkeypatch.setenv("AGENTS__MCP_SERVERS", '{"files": {"command": "npx", "args": ["-y", "fs"]}}')
    assert load().agents.mcp_servers == {"files": {"command": "npx", "args": ["-y", "fs"]}}
    monkeypatch.setenv("AGENTS__MCP_SERVERS", " ")
    assert load().agents.mcp_servers == {}


@pytest.mark.parametrize(
    "value",
    [
        '{"files": {"env": {"TOKEN": "hunter2hunter2"}}}',
        '{"files": "hunter2hunter2"}',
        '{"files": hunter2hunter2}',
        '"hunter2hunter2"',
    ],
)
def test_i12_a_servers_credentials_are_not_shown(monkeypatch, value: str):
    """Neither in the refusal of a wrong value nor in the text of the settings."""
    monkeypatch.setenv("AGENTS__MCP_SERVERS", value)
    with pytest.raises(SettingsError) as refused:
        load()
    assert "hunter2" not in str(refused.value)
    server = {"url": "http://127.0.0.1", "headers": {"Authorization": "hunter2hunter2"}}
    monkeypatch.setenv("AGENTS__MCP_SERVERS", json.dumps({"files": server}))
    assert "hunter2" not in repr(load())
    with pytest.raises(SettingsError) as refused:
        load().agents = {"mcp_servers": {"files": {"env": "hunter2hunter2"}}}  # type: ignore[assignment]
    assert str(refused.value).startswith("AGENTS__MCP_SERVERS: ")
    assert "hunter2" not in str(refused.value)


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
    with pytest.raises(SettingsError, match=r"^AGENTS__TOOLS: at 1: .*, got 3$"):
        settings.agents.tools = ["mine:search", 3]  # type: ignore[assignment]
    settings.agents.conversation_handler_temperature = 1
    assert settings.agents.conversation_handler_temperature == 1.0


def test_variables_of_others_are_let_pass(monkeypatch):
    monkeypatch.setenv("LLM", "gpt-4")
    monkeypatch.setenv("AGENTS", "[1]")
    monkeypatch.setenv("LLM__SOMEBODYS", "own")
    assert load() == load()
