"""The `anthropic` SDK as it comes: one `Anthropic` and one `AsyncAnthropic`, shared."""

from __future__ import annotations

from tests.conformance.sdk_clients import AnthropicClients, options
from tests.conformance.subject import Asking, Model, Subject


class Sdk(Subject):
    """`Anthropic(...)` and `AsyncAnthropic(...)`."""

    name = "anthropic SDK"
    about = "one `AsyncAnthropic` (and one `Anthropic`) for the process"
    distributions = ("anthropic", "httpx2")
    modules = ("anthropic", "asyncio")

    def model(self, model: Model) -> Asking:
        """A pair of clients."""
        from anthropic import Anthropic, AsyncAnthropic

        given = options(model, "anthropic")
        return AnthropicClients(Anthropic(**given), AsyncAnthropic(**given), model)


SUBJECT = Sdk()
