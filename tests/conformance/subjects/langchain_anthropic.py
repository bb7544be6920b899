"""langchain-anthropic as it comes: one `ChatAnthropic`, shared."""

from __future__ import annotations

from tests.conformance.chat_models import ChatModel, arguments
from tests.conformance.subject import Asking, Model, Subject


class Bare(Subject):
    """`ChatAnthropic(...)`."""

    name = "langchain-anthropic"
    about = "one `ChatAnthropic` for the process"
    distributions = ("langchain-anthropic", "langchain-core", "anthropic")
    modules = ("langchain_anthropic",)

    def model(self, model: Model) -> Asking:
        """A model."""
        from langchain_anthropic import ChatAnthropic

        return ChatModel(ChatAnthropic(**arguments(model, "anthropic")))


SUBJECT = Bare()
