"""langchain-openai as it comes: one `ChatOpenAI`, shared."""

from __future__ import annotations

from tests.conformance.chat_models import ChatModel, arguments
from tests.conformance.subject import Asking, Model, Subject


class Bare(Subject):
    """`ChatOpenAI(...)`."""

    name = "langchain-openai"
    about = "one `ChatOpenAI` for the process"
    distributions = ("langchain-openai", "langchain-core", "openai")
    modules = ("langchain_openai",)

    def model(self, model: Model) -> Asking:
        """A model."""
        from langchain_openai import ChatOpenAI

        return ChatModel(ChatOpenAI(**arguments(model, "openai")))


SUBJECT = Bare()
