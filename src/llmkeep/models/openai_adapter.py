"""OpenAI and everything that speaks its protocol through a class of langchain-openai's.

Such classes take `http_client` and `http_async_client`. Ours are given where the caller gave none,
and what the class would have derived from having none is put right.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from .adapters import Adapter, Kept
from .http_clients import clients_for, keepalive_options


@dataclass(frozen=True)
class HttpClientAdapter(Adapter):
    """A class that takes `http_client` and `http_async_client`."""

    on_the_wire: frozenset[str] = frozenset()
    sdk: str = "openai"
    """The SDK that will use the clients."""

    def construct(self, arguments: dict[str, Any]) -> Kept:
        """A model over clients of ours, or of the caller's where there are any."""
        return self._over_our_clients(arguments)

    def _over_our_clients(self, arguments: dict[str, Any], **options: Any) -> Kept:
        ours = dict(
            zip(("http_client", "http_async_client"), clients_for(self.sdk, **options), strict=True)
        )
        ours = {name: made for name, made in ours.items() if arguments.get(name) is None}
        model = self.make({**arguments, **ours})
        model.model_fields_set.difference_update(ours)
        return Kept(model, tuple(ours.values()))


@dataclass(frozen=True)
class OpenAIAdapter(HttpClientAdapter):
    """`ChatOpenAI` and `AzureChatOpenAI`, which look at more than the clients."""

    def construct(self, arguments: dict[str, Any]) -> Kept:
        """A model that behaves as one whose class made its own clients."""
        given = {name for name, value in arguments.items() if value is not None}
        proxy = arguments.get("openai_proxy", os.environ.get("OPENAI_PROXY")) or None
        if not given.isdisjoint({"http_client", "http_async_client"}):
            # The class refuses a proxy beside a client, and derives nothing.
            return self._over_our_clients(arguments)
        options = arguments.get("http_socket_options")
        kept = self._over_our_clients(
            {**arguments, "openai_proxy": None},
            proxy=proxy,
            socket_options=keepalive_options() if options is None else options,
        )
        model: Any = kept.model
        model.model_fields_set.difference_update({"openai_proxy"} - arguments.keys())
        if proxy:
            model.__dict__["openai_proxy"] = proxy
        elif given.isdisjoint(_SWITCH_USAGE_OFF) and self._asks_for_usage(model, arguments):
            model.stream_usage = True
        return kept

    def _asks_for_usage(self, model: Any, arguments: dict[str, Any]) -> bool:
        """Whether the class, making its own clients, would ask for token usage in streams.

        It does so for OpenAI's own endpoint and for LangSmith's gateway: other servers may not
        know the option.
        """
        if model.openai_api_base is None:
            return self.provider == "azure_openai" or "OPENAI_BASE_URL" not in os.environ
        explicit = arguments.get("base_url") or arguments.get("openai_api_base")
        return explicit is None and not os.environ.get("OPENAI_API_BASE")


_SWITCH_USAGE_OFF = frozenset(
    {"stream_usage", "client", "root_client", "async_client", "root_async_client"}
)
