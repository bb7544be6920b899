"""llmkeep's handle for Anthropic's chat model: `llmkeep.chat_model("anthropic:...")`."""

from __future__ import annotations

from tests.conformance.chat_models import ChatModel, arguments
from tests.conformance.subject import Asking, Model, Subject


class Handle(ChatModel):
    """A handle, and the cache behind it."""

    def forget(self) -> None:
        """Retire the instance."""
        self.llm.invalidate()

    def shut(self) -> None:
        """Close the default cache."""
        import llmkeep

        llmkeep.close(timeout=5)


class Ours(Subject):
    """A chat model that leases its clients per call."""

    name = "llmkeep chat_model (anthropic)"
    ours = True
    about = 'one `llmkeep.chat_model("anthropic:...")` for the process'
    distributions = ("llmkeep", "langchain-anthropic", "langchain-core", "anthropic")
    modules = ("llmkeep", "llmkeep.models", "llmkeep.transports", "langchain_anthropic")
    process_threads = ("llmkeep-housekeeper", "llmkeep-idle")

    def model(self, model: Model) -> Asking:
        """A handle."""
        import llmkeep

        given = arguments(model, "anthropic")
        return Handle(llmkeep.chat_model(f"anthropic:{given.pop('model')}", **given))


SUBJECT = Ours()
