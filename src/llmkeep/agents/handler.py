"""`ConversationHandler`: the agent one talks to, with tools, as the settings say."""

from __future__ import annotations

from typing import Any, Final

from llmkeep.settings import settings

from .base import StatefulAgent
from .choice import default_model_of
from .graphs import Tools
from .mcp import mcp_tools
from .memory import UserId
from .tools import takes_notes
from .tools.loading import chosen_tools

PROMPT: Final = (
    "You are a helpful assistant. Answer in the language of the question, briefly and to the "
    "point. Use a tool where one can tell better than you can, and say so if you do not know."
)


class ConversationHandler(StatefulAgent):
    """A conversation with tools.

    `settings.agents` says which model and tools it uses, and how. A changed setting takes effect
    with the next handler. Raises SettingsError where a tool that the settings name is none.
    """

    def __init__(self, user_id: UserId, db_session: Any, user: Any = None) -> None:
        chosen = settings.agents
        self._tools: Final = chosen_tools(
            chosen.builtin_tools, chosen.tools, database=takes_notes(db_session)
        )
        self._servers: Final = dict(chosen.mcp_servers)
        super().__init__(user_id, db_session, user)

    def _get_default_model(self) -> str:
        chosen = settings.agents.conversation_handler_default_model
        return chosen or default_model_of(settings.llm.default_provider)

    def _get_temperature(self) -> float | None:
        return settings.agents.conversation_handler_temperature

    @property
    def tools(self) -> Tools:
        """Ours (arithmetic, the time, notes), and those that the settings name."""
        return self._tools

    async def _served_tools(self) -> Tools:
        return await mcp_tools(self._servers, beside=self._tools)

    def _build_prompt(self) -> str:
        return PROMPT
