"""`ConversationHandler`: the agent one talks to, with tools, as the settings say."""

from __future__ import annotations

from llmkeep.settings import settings

from .base import StatefulAgent
from .choice import default_model_of
from .graphs import Tools
from .tools import BUILTIN_TOOLS

PROMPT = (
    "You are a helpful assistant. Answer in the language of the question, briefly and to the "
    "point. Use a tool where one can tell better than you can, and say so if you do not know."
)


class ConversationHandler(StatefulAgent):
    """A conversation with tools.

    `settings.agents` says which model it uses and how. A changed setting takes effect with the next
    handler.
    """

    def _get_default_model(self) -> str:
        chosen = settings.agents.conversation_handler_default_model
        return chosen or default_model_of(settings.llm.default_provider)

    def _get_temperature(self) -> float | None:
        return settings.agents.conversation_handler_temperature

    @property
    def tools(self) -> Tools:
        """Arithmetic and the time."""
        return BUILTIN_TOOLS

    def _build_prompt(self) -> str:
        return PROMPT
