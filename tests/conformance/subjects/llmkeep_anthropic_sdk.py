"""The `anthropic` SDK over llmkeep's transports: `AsyncAnthropic(http_client=async_client())`."""

from __future__ import annotations

from tests.conformance.outcome import DoesNotApply
from tests.conformance.sdk_clients import AnthropicClients, options
from tests.conformance.subject import Asking, Model, Subject


class Over(Subject):
    """The SDK's own clients, with our HTTP clients inside."""

    name = "llmkeep.transports (anthropic SDK)"
    ours = True
    about = "one `AsyncAnthropic(http_client=llmkeep.transports.async_client())` for the process"
    distributions = ("llmkeep", "anthropic", "httpx2")
    modules = ("llmkeep", "llmkeep.transports", "anthropic", "asyncio")
    process_threads = ("llmkeep-housekeeper", "llmkeep-idle")

    def model(self, model: Model) -> Asking:
        """A pair of clients."""
        from anthropic import Anthropic, AsyncAnthropic

        from llmkeep.transports import async_client, client

        if model.api_key is None:
            raise DoesNotApply("the key is the SDK client's own; the transport sends what it gets")
        given = options(model, "anthropic")
        return AnthropicClients(
            Anthropic(**given, http_client=client(follow_redirects=True)),
            AsyncAnthropic(**given, http_client=async_client(follow_redirects=True)),
            model,
        )


SUBJECT = Over()
