"""Which model the terminal talks with: each rule, and that the earlier one wins."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from llmkeep.cli.pick import BOX, NoModel, Pick, find_server, first_model, pick
from llmkeep.models import ModelConfigurationError
from llmkeep.settings import SettingsError, load
from tests.cli.servers import listing, serving


def picked(model: str | None = None, base_url: str | None = None, **more: Any) -> Pick:
    return pick(model, base_url, load(), **{"environment": {}, "servers": (), **more})


def test_what_is_said_wins():
    chosen = picked("anthropic:claude-haiku-4-5", environment={"OPENAI_API_KEY": "x"})
    assert chosen == Pick("anthropic:claude-haiku-4-5")


def test_a_model_without_a_provider_is_the_default_providers():
    assert picked("gpt-5-mini").model == "openai:gpt-5-mini"
    with pytest.raises(ModelConfigurationError, match="nosuch:thing"):
        picked("nosuch:thing")


def test_a_model_of_a_server_of_ones_own_may_have_a_tag():
    address = "http://127.0.0.1:9/v1"
    assert picked("llama3.2:3b", address) == Pick("openai:llama3.2:3b", address)


def test_an_address_alone_is_asked_for_its_models():
    with serving(listing("nomic-embed-text", "llama3.2:3b", "other")) as port:
        address = f"http://127.0.0.1:{port}/v1"
        chosen = picked(base_url=address)
        assert (chosen.model, chosen.base_url) == ("openai:llama3.2:3b", address)
        assert picked(environment={"OPENAI_BASE_URL": address}).base_url == address
        assert picked(base_url=f"{address}/").model == "openai:llama3.2:3b"


@pytest.mark.parametrize(
    "answer",
    [
        lambda _path: (404, b"no"),
        lambda _path: (200, b"<html>"),
        lambda _path: (200, b'{"data": 5}'),
        lambda _path: (200, b'{"data": [{}]}'),
        lambda _path: (200, b"[]"),
        lambda _path: (200, b'{"data": []}'),
        lambda _path: (200, b'{"data": [{"id": "text-embedding-3"}]}'),
    ],
)
def test_a_server_that_is_none_of_the_kind_is_no_server(answer):
    with serving(answer) as port:
        assert find_server([("it", port)]) is None
        with pytest.raises(NoModel) as refused:
            first_model(f"http://user:secret@127.0.0.1:{port}/v1")
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("address", ["", "nonsense", "ftp://127.0.0.1/v1", "http://", "http://x:y"])
def test_what_is_no_address_is_said(address: str):
    with pytest.raises(NoModel, match="no models at"):
        first_model(address)


def test_a_setting_comes_before_a_key(monkeypatch):
    monkeypatch.setenv("AGENTS__CONVERSATION_HANDLER_DEFAULT_MODEL", "anthropic:claude-opus-5")
    assert picked(environment={"OPENAI_API_KEY": "x"}).model == "anthropic:claude-opus-5"
    monkeypatch.delenv("AGENTS__CONVERSATION_HANDLER_DEFAULT_MODEL")
    monkeypatch.setenv("LLM__DEFAULT_PROVIDER", "anthropic")
    assert picked(environment={"OPENAI_API_KEY": "x"}).model.startswith("anthropic:")
    assert picked(environment={"OPENAI_BASE_URL": "http://x"}).model.startswith("anthropic:")
    monkeypatch.setenv("LLM__DEFAULT_PROVIDER", "groq")
    with pytest.raises(SettingsError, match="groq"):
        picked()


def test_the_address_of_the_settings_is_for_the_default_provider_alone(monkeypatch):
    monkeypatch.setenv("LLM__BASE_URL", "http://127.0.0.1:9/v1")
    assert picked("llama3.2:3b").base_url == "http://127.0.0.1:9/v1"
    assert picked(BOX) == Pick(BOX, is_demonstration=True)


def test_a_key_decides_and_openais_comes_first():
    keys = {"ANTHROPIC_API_KEY": "x"}
    assert picked(environment=keys).model.startswith("anthropic:")
    assert picked(environment={**keys, "OPENAI_API_KEY": "x"}).model.startswith("openai:")
    assert "ANTHROPIC_API_KEY" in picked(environment=keys).reason


def test_a_key_whose_package_is_missing_decides_nothing(monkeypatch):
    monkeypatch.setattr("llmkeep.agents.picking.find_spec", lambda _name: None)
    assert picked(environment={"OPENAI_API_KEY": "x"}).model == BOX


def test_a_server_on_this_machine_comes_before_the_box():
    with serving(listing("qwen")) as port, socket.create_server(("127.0.0.1", 0)) as silent:
        servers = [("Nobody", 1), ("Silent", silent.getsockname()[1]), ("Ollama", port)]
        chosen = picked(servers=servers)
    assert chosen.model == "openai:qwen"
    assert chosen.base_url == f"http://127.0.0.1:{port}/v1"
    assert "Ollama" in chosen.reason


def test_the_model_in_the_box_is_the_last():
    assert picked() == Pick(BOX, is_demonstration=True)
    assert picked(environment={"LLMKEEP_LOCAL_MODEL": "a.gguf"}) == Pick("local:a.gguf")
