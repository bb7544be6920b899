"""Chat models that are built once per configuration and leased per call.

`chat_model` makes a handle: a real chat model of the provider's class, for LangChain and everything
on it, from any thread, event loop, worker or forked child. Not here: agents.
"""

from __future__ import annotations

from typing import Any

try:
    import langchain_core  # noqa: F401
except ImportError as missing:
    raise ImportError(
        f'{missing.name} is not installed: pip install "llmkeep[openai]", or another extra',
        name=missing.name,
    ) from None

from .adapters import Adapter, MissingExtra, ModelConfigurationError
from .caches import ModelCache, aclose, clear, close, default_cache, stats
from .configuration import Configuration
from .handle import ModelHandle, handle_of
from .providers import find, register

__all__ = [
    "Adapter",
    "MissingExtra",
    "ModelCache",
    "ModelConfigurationError",
    "ModelHandle",
    "aclose",
    "chat_model",
    "clear",
    "close",
    "default_cache",
    "register",
    "stats",
]


def chat_model(
    model: str | None = None, *, model_provider: str | None = None, **parameters: Any
) -> ModelHandle:
    """A handle for `provider:model`: an instance of the provider's class that leases per call.

        llm = chat_model("openai:gpt-5-mini", temperature=0)

    Without a provider it is inferred from the model's name, as `init_chat_model` does. `parameters`
    are those of the provider's class. Two handles that mean the same share one kept instance; it is
    built here, where it does not exist yet. The environment variables of the provider are looked at
    again at each call.

    Raises ModelConfigurationError for an unknown provider, a missing key or a wrong parameter, and
    MissingExtra where a package is not installed; one line each.
    """
    for name in ("configurable_fields", "config_prefix"):
        if name in parameters:
            raise ModelConfigurationError(
                f"{name} is no parameter here: call .configurable_fields(...) on the handle"
            )
    adapter, name = find(model, model_provider)
    own = {field: parameters.pop(field) for field in adapter.handle_fields & parameters.keys()}
    return handle_of(Configuration(adapter, {adapter.model_parameter: name, **parameters}), own)
