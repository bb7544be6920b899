"""Which model an agent uses, and the key under which its instance is shared."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

from langchain_core.language_models.chat_models import BaseChatModel
from pydantic import SecretStr

import llmkeep
from llmkeep.core import freeze
from llmkeep.models.providers import PROVIDERS, find
from llmkeep.settings import SettingsError

InstanceKey = str | tuple[str | int | float | bool | None, ...]
"""Text, or a tuple of plain values: `(provider, model, temperature, ...)` for handlers."""

#: A small, current model of each provider that can be named without one.
DEFAULT_MODELS: Final[Mapping[str, str]] = {
    "openai": "gpt-5-mini",
    "anthropic": "claude-haiku-4-5",
    "google_genai": "gemini-flash-latest",
    "local": "smollm2",
}


@final
@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model, and how it is asked: what an agent needs to get its instance."""

    provider: str
    model: str
    temperature: float | None
    parameters: Mapping[str, Any] = field(repr=False)
    key: InstanceKey

    def build(self) -> BaseChatModel:
        """Make the handle. Raises what `llmkeep.chat_model` raises."""
        parameters = dict(self.parameters)
        if self.temperature is not None:
            parameters["temperature"] = self.temperature
        return llmkeep.chat_model(f"{self.provider}:{self.model}", **parameters)


def choose(
    provider: str, model: str, temperature: float | None, parameters: Mapping[str, Any]
) -> ModelChoice:
    """Bring a configuration and its key together.

    Parameters are in the key as a fingerprint alone: a credential may be among them.
    """
    if temperature is not None:
        temperature = float(temperature)  # 0 and 0.0 are one temperature
    key: InstanceKey = (provider, model, temperature)
    if parameters:
        key = (*key, freeze({name: _plain(each) for name, each in parameters.items()}).key[:16])
    return ModelChoice(provider, model, temperature, parameters, key)


def split_model(name: str, default_provider: str, *, own_server: bool = False) -> tuple[str, str]:
    """The provider and the model in `model` or `provider:model`.

    With a server of one's own, `llama3.2:3b` is a model with its tag. Raises
    ModelConfigurationError for an unknown provider.
    """
    before, colon, _ = name.partition(":")
    if not colon or (own_server and before not in PROVIDERS):
        return default_provider, name
    adapter, model = find(name)
    return adapter.provider, model


def default_model_of(provider: str) -> str:
    """The model of a provider that nobody named one of. Raises SettingsError if we know none."""
    try:
        return DEFAULT_MODELS[provider]
    except KeyError:
        raise SettingsError(
            f"AGENTS__CONVERSATION_HANDLER_DEFAULT_MODEL: name a model of the provider {provider!r}"
        ) from None


def endpoint(provider: str, base_url: str) -> dict[str, Any]:
    """The parameters for a server of one's own, which may want no key, and is asked for tokens."""
    parameters: dict[str, Any] = {"base_url": base_url}
    if provider == "openai":
        parameters["stream_usage"] = True  # LangChain asks OpenAI's own server alone by itself
        if not os.environ.get("OPENAI_API_KEY"):
            parameters["api_key"] = "none"
    return parameters


def _plain(value: Any) -> Any:
    """A value that `freeze` tells from others by what it holds."""
    return ("secret", value.get_secret_value()) if isinstance(value, SecretStr) else value
