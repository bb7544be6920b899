"""The settings tree: one object, read from the environment at import, changeable at run time.

`settings.agents.conversation_handler_temperature` is the environment variable
`AGENTS__CONVERSATION_HANDLER_TEMPERATURE`, and so on for every field. A changed setting takes
effect with the next handler. What belongs to a provider (`OPENAI_API_KEY`, `OPENAI_BASE_URL` ...)
is not here: those variables mean what they mean elsewhere.
"""

from __future__ import annotations

from typing import Any, Final

from .checked import DELIMITER, Checked, SettingsError, refusal

# isort: split
from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from .agents import AgentSettings, LLMSettings
from .service import ServiceSettings
from .tokens import MAX_USER_LENGTH, TokenHolder

__all__ = [
    "MAX_USER_LENGTH",
    "AgentSettings",
    "LLMSettings",
    "ServiceSettings",
    "Settings",
    "SettingsError",
    "TokenHolder",
    "load",
    "settings",
]


class _Variables(EnvSettingsSource):
    """The environment, leaf by leaf: a variable named just `LLM` or `AGENTS` is somebody else's."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False


class Settings(Checked, BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_nested_delimiter=DELIMITER, extra="ignore", validate_assignment=True
    )

    llm: LLMSettings = Field(default_factory=LLMSettings)
    agents: AgentSettings = Field(default_factory=AgentSettings)
    service: ServiceSettings = Field(default_factory=ServiceSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_others: PydanticBaseSettingsSource,
        **_more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment; no files."""
        return init_settings, _Variables(settings_cls)


def load() -> Settings:
    """A new tree from the environment.

    Raises SettingsError, one line, for the first wrong value.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise refusal(error) from None


settings: Final = load()
