"""Anthropic: `ChatAnthropic` has no field for an HTTP client, so ours go in where it keeps its own.

The class makes its two SDK clients when they are first wanted and remembers them in the cached
properties `_client` and `_async_client`, out of the arguments in `_client_params`. These three
names are the only ones of a foreign class's own that are used here; a release without them is
refused with a sentence.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

from .adapters import Adapter, Kept, ModelConfigurationError
from .http_clients import anthropic_keepalive_options, clients_for
from .sdk_locks import sdk_locks

#: Headers that carry a credential of their own.
_CREDENTIAL_HEADERS = frozenset({"authorization", "x-api-key"})


@dataclass(frozen=True)
class AnthropicAdapter(Adapter):
    """`ChatAnthropic` over HTTP clients of ours."""

    def construct(self, arguments: dict[str, Any]) -> Kept:
        """A model whose two SDK clients exist already, over our transports."""
        import anthropic

        model: Any = self.make(arguments)
        self._check(type(model))
        sdk_locks.renew_in_children("langchain_anthropic")
        ours, ours_async = clients_for(
            "anthropic",
            proxy=model.anthropic_proxy,
            socket_options=anthropic_keepalive_options(),
        )
        parameters = model._client_params
        vars(model)["_client"] = anthropic.Anthropic(**parameters, http_client=ours)
        vars(model)["_async_client"] = anthropic.AsyncAnthropic(
            **parameters, http_client=ours_async
        )
        return Kept(model, (ours, ours_async))

    def lacks_key(self, model: Any) -> bool:
        """False also when a header brings the credential."""
        lines = os.environ.get("ANTHROPIC_CUSTOM_HEADERS", "").splitlines()
        headers = [*(model.default_headers or ()), *(line.partition(":")[0] for line in lines)]
        return super().lacks_key(model) and _CREDENTIAL_HEADERS.isdisjoint(
            header.strip().lower() for header in headers
        )

    def _check(self, model_class: type) -> None:
        for name in self.sealed:
            if not isinstance(getattr(model_class, name, None), functools.cached_property):
                raise ModelConfigurationError(
                    f"this release of langchain-anthropic keeps its clients elsewhere ({name} is "
                    "gone): install one that llmkeep knows, langchain-anthropic<2"
                )
