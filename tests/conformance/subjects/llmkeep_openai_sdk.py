"""The `openai` SDK over llmkeep's transports: `AsyncOpenAI(http_client=async_client())`."""

from __future__ import annotations

from tests.conformance.outcome import DoesNotApply
from tests.conformance.sdk_clients import OpenAIClients, options
from tests.conformance.subject import Asking, Model, Subject


class Over(Subject):
    """The SDK's own clients, with our HTTP clients inside."""

    name = "llmkeep.transports (openai SDK)"
    ours = True
    about = "one `AsyncOpenAI(http_client=llmkeep.transports.async_client())` for the process"
    distributions = ("llmkeep", "openai", "httpx2")
    modules = ("llmkeep", "llmkeep.transports", "openai", "asyncio")
    process_threads = ("llmkeep-housekeeper", "llmkeep-idle")

    def model(self, model: Model) -> Asking:
        """A pair of clients."""
        from openai import AsyncOpenAI, OpenAI

        from llmkeep.transports import async_client, client

        if model.api_key is None:
            raise DoesNotApply("the key is the SDK client's own; the transport sends what it gets")
        given = options(model, "openai")
        return OpenAIClients(
            OpenAI(**given, http_client=client(follow_redirects=True)),
            AsyncOpenAI(**given, http_client=async_client(follow_redirects=True)),
            model,
        )


SUBJECT = Over()
