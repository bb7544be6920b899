"""The `openai` SDK as it comes: one `OpenAI` and one `AsyncOpenAI`, shared."""

from __future__ import annotations

from tests.conformance.sdk_clients import OpenAIClients, options
from tests.conformance.subject import Asking, Model, Subject


class Sdk(Subject):
    """`OpenAI(...)` and `AsyncOpenAI(...)`."""

    name = "openai SDK"
    about = "one `AsyncOpenAI` (and one `OpenAI`) for the process"
    distributions = ("openai", "httpx2")
    modules = ("openai", "asyncio")

    def model(self, model: Model) -> Asking:
        """A pair of clients."""
        from openai import AsyncOpenAI, OpenAI

        given = options(model, "openai")
        return OpenAIClients(OpenAI(**given), AsyncOpenAI(**given), model)


SUBJECT = Sdk()
