"""The settings tree: one object, read from the environment at import, changeable at run time.

`settings.agents.conversation_handler_temperature` is the environment variable
`AGENTS__CONVERSATION_HANDLER_TEMPERATURE`, and so on for every field. A changed setting takes
effect with the next handler. What belongs to a provider (`OPENAI_API_KEY`, `OPENAI_BASE_URL` ...)
is not here: those variables mean what they mean elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from llmkeep.core.errors import LLMKeepError

try:
    from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_settings import (
        BaseSettings,
        EnvSettingsSource,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
    )
except ImportError as missing:
    raise ImportError(
        f'{missing.name} is not installed: pip install "llmkeep[agents]"', name=missing.name
    ) from None

_DELIMITER: Final = "__"

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class SettingsError(LLMKeepError, ValueError):
    """A setting has a wrong value; the message starts with its environment variable's name."""


class _Checked:
    """An assignment is validated like the environment is, and refused in the same words."""

    prefix: ClassVar[tuple[str, ...]] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise _refusal(error, *self.prefix) from None


class _Section(_Checked, BaseModel):
    """A branch of the tree."""

    # Unknown names are let pass: an application may keep settings of its own in LLM__...
    model_config = ConfigDict(validate_assignment=True, extra="ignore", protected_namespaces=())


class LLMSettings(_Section):
    """Which models are used where nothing else says so."""

    prefix: ClassVar[tuple[str, ...]] = ("LLM",)

    default_provider: Name = "openai"
    """The provider of every model that is named without one."""

    base_url: Name | None = None
    """The address of an OpenAI-compatible server, for the default provider's models alone.

    None: the provider's own, or what its own variable (`OPENAI_BASE_URL` ...) says.
    """


class AgentSettings(_Section):
    """What agents are made of."""

    prefix: ClassVar[tuple[str, ...]] = ("AGENTS",)

    conversation_handler_default_model: Name | None = None
    """`model` or `provider:model`. None: a small current model of the default provider."""

    conversation_handler_temperature: float | None = Field(default=None, ge=0, le=2)
    """None: the provider's own default."""

    max_steps: int = Field(default=50, ge=2)
    """How many steps one answer may take; asking the model is one, each round of tools another."""


class _Variables(EnvSettingsSource):
    """The environment, leaf by leaf: a variable named just `LLM` or `AGENTS` is somebody else's."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False


class Settings(_Checked, BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_nested_delimiter=_DELIMITER, extra="ignore", validate_assignment=True
    )

    llm: LLMSettings = Field(default_factory=LLMSettings)
    agents: AgentSettings = Field(default_factory=AgentSettings)

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
        raise _refusal(error) from None


def _refusal(error: ValidationError, *prefix: str) -> SettingsError:
    """One line for the first thing that is wrong: the variable, what was expected, what came."""
    first = error.errors(include_url=False)[0]
    variable = _DELIMITER.join((*prefix, *map(str, first["loc"]))).upper()
    message = first["msg"][:1].lower() + first["msg"][1:]
    return SettingsError(f"{variable}: {message}, got {first['input']!r:.80}")


settings: Final = load()
