"""The service's settings: names, defaults, and what a wrong one is answered with."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import SecretStr

from llmkeep.settings import ServiceSettings, SettingsError, TokenHolder, load

TOKEN = "hunter2-hunter2-hunter2"


def test_without_variables_the_service_is_for_one_user_on_this_machine():
    settings = load().service
    assert (settings.host, settings.port, settings.sign_in) == ("127.0.0.1", 8000, "none")
    assert settings.allowed_hosts == settings.allowed_origins == settings.models == ()
    assert settings.tokens_per_day is None
    assert settings.folder().parts[-2:] == ("llmkeep", "service")


def test_the_environment_is_read_by_the_names_of_the_tree(monkeypatch, tmp_path):
    for variable, value in {
        "DATA_DIR": str(tmp_path),
        "PORT": "0",
        "SIGN_IN": "token",
        "TOKENS": json.dumps({TOKEN: {"user": "anna", "administrator": True}}),
        "MODELS": "openai:gpt-5, anthropic:claude",
        "JWT_ALGORITHMS": "RS256,ES256",
        "PROXY_ADDRESSES": "10.0.0.0/8, ::1",
        "ALLOWED_ORIGINS": "https://App.example.org/",
        "LOG_LEVEL": "DEBUG",
    }.items():
        monkeypatch.setenv(f"SERVICE__{variable}", value)
    settings = load().service
    assert settings.folder() == settings.data_dir == Path(tmp_path)
    assert settings.port == 0
    assert settings.sign_in == "token"
    assert settings.tokens == {SecretStr(TOKEN): TokenHolder(user="anna", administrator=True)}
    assert settings.models == ("openai:gpt-5", "anthropic:claude")
    assert settings.jwt_algorithms == ("RS256", "ES256")
    assert settings.proxy_addresses == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert settings.allowed_origins == ("https://app.example.org",)
    assert settings.log_level == "debug"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "65536"),
        ("SIGN_IN", "password"),
        ("TOKENS", "hunter2"),
        ("TOKENS", "[]"),
        ("TOKENS", '{"hunter2": {"user": "anna"}}'),
        ("TOKENS", f'{{"{TOKEN} x": {{"user": "anna"}}}}'),
        ("TOKENS", f'{{"{TOKEN}": "anna"}}'),
        ("TOKENS", f'{{"{TOKEN}": {{"user": "an\\nna"}}}}'),
        ("TOKENS", f'{{"{TOKEN}": {{"user": "anna", "admin": true}}}}'),
        ("JWT_SECRET", TOKEN),
        ("JWT_ALGORITHMS", "none"),
        ("JWT_JWKS_URL", "http://keys.example.org/jwks.json"),
        ("JWT_JWKS_URL", f"https://me:{TOKEN}@keys.example.org/jwks.json"),
        ("PROXY_ADDRESSES", "10.0.0.1/8"),
        ("PROXY_ADDRESSES", "proxy.example.org"),
        ("PROXY_HEADER", "X Forwarded"),
        ("ALLOWED_ORIGINS", "app.example.org"),
        ("ALLOWED_ORIGINS", "null"),
        ("ALLOWED_ORIGINS", "*"),
        ("REQUESTS_PER_MINUTE", "0"),
        ("TOKENS_PER_DAY", "0"),
        ("RUN_TIMEOUT", "inf"),
        ("UNDO_SECONDS", "-1"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name_and_no_secret_is_quoted(monkeypatch, variable, value):
    monkeypatch.setenv(f"SERVICE__{variable}", value)
    with pytest.raises(SettingsError) as refused:
        load()
    assert str(refused.value).startswith(f"SERVICE__{variable}: ")
    assert "\n" not in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_i12_no_credential_is_in_the_text_of_the_settings():
    """Neither in a repr nor in what is dumped as JSON, nor in the refusal of an assignment."""
    settings = ServiceSettings.model_validate(
        {"tokens": {TOKEN: {"user": "anna"}}, "jwt_secret": TOKEN * 2}
    )
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hunter2" not in text
    with pytest.raises(SettingsError) as refused:
        load().service = {"tokens": {TOKEN: {"user": ""}}}  # type: ignore[assignment]
    assert str(refused.value).startswith("SERVICE__TOKENS: ")
    assert "hunter2" not in str(refused.value)
