"""Which provider a model's name belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .adapters import Adapter, ModelConfigurationError
from .provider_table import TABLE

#: By the name before the colon in `provider:model`.
PROVIDERS: Final[dict[str, Adapter]] = {adapter.provider: adapter for adapter in TABLE}

#: Names that `init_chat_model` knows the provider of, by how they begin.
_BEGINNINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("gpt-", "o1", "o3", "chatgpt", "text-davinci"),
    "anthropic": ("claude",),
    "cohere": ("command",),
    "fireworks": ("accounts/fireworks",),
    "google_vertexai": ("gemini",),
    "bedrock": ("amazon.", "anthropic.", "meta."),
    "mistralai": ("mistral", "mixtral"),
    "deepseek": ("deepseek",),
    "xai": ("grok",),
    "perplexity": ("sonar",),
    "upstage": ("solar",),
}


def register(adapter: Adapter) -> None:
    """Add a provider to the table, or put another adapter in place of one."""
    PROVIDERS[adapter.provider] = adapter


def find(model: str | None, provider: str | None = None) -> tuple[Adapter, str]:
    """The adapter and the model's own name for `provider:model`, or for what `provider` says.

    Without a provider it is inferred from the name, as `init_chat_model` does. Raises
    ModelConfigurationError, one line, for an unknown one.
    """
    if not isinstance(model, str) or not model:
        raise ModelConfigurationError('name a model: chat_model("openai:gpt-5-mini")')
    if provider is None:
        provider, model = _split(model)
    adapter = PROVIDERS.get(provider.replace("-", "_").lower())
    if adapter is None:
        raise ModelConfigurationError(f"unknown provider {provider!r}; known are: {_known()}")
    return adapter, model


def _split(model: str) -> tuple[str, str]:
    before, colon, after = model.partition(":")
    if colon and before.replace("-", "_").lower() in PROVIDERS:
        return before, after
    lowered = model.lower()
    for provider, beginnings in _BEGINNINGS.items():
        if lowered.startswith(beginnings):
            return provider, model
    raise ModelConfigurationError(
        f'no provider known for {model!r}: write "provider:{after or model}", '
        f"with one of {_known()}"
    )


def _known() -> str:
    return ", ".join(sorted(PROVIDERS))
